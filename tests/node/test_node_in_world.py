"""Real nodes in a simulated world: one story a test, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from anabranch.node.config import Tuning
from anabranch.simulations.world.world import World
from anabranch.tests.simulations.stories import THREE, append, cut_pair, draft, in_virtual_time


@in_virtual_time
async def test_a_report_that_comes_before_its_maker_is_known_is_not_lost():
    """tok1 tells ny1 of lon1, whom ny1 has not met: what it tells once it does not tell again."""
    world = World(1, THREE, tuning=Tuning(heartbeat_seconds=0.02))
    world.network.latency_seconds = 0.1
    cut_pair(world, "ny1", "lon1")
    await world.start("ny1", "tok1")
    await asyncio.sleep(1)
    await world.start("lon1")
    await asyncio.sleep(1)
    await append(world, "lon1", "early")
    await asyncio.sleep(1)
    await append(world, "ny1", "later")
    world.network.heal()
    await asyncio.sleep(5)
    assert [node.settler.disputes for node in world.nodes.values()] == [{}, {}, {}]
    assert world.settled()


@in_virtual_time
async def test_a_disk_that_is_slow_when_members_meet_does_not_stop_settlement_for_ever():
    """What was learned of the others is durable long after the link's time-out."""
    world = World(1, THREE)
    await world.start()
    world.disks["lon1"].sync_seconds = 8
    await asyncio.sleep(20)
    world.disks["lon1"].sync_seconds = 0.001
    await append(world, "ny1", "a")
    await append(world, "lon1", "b")
    await world.until_settled()


@pytest.mark.parametrize("end", ["stop", "kill"])
@in_virtual_time
async def test_a_node_that_has_ended_settles_nothing_more(end):
    """Its index belongs to the next life by then, or is closed."""
    world = World(1, [("ny", 1)])
    await world.start()
    node, index = world.nodes.pop("ny1"), world.indexes["ny1"]
    node._settling = True  # as if this turn of the loop never came
    await node.append(draft("s", "a"))
    assert node.history.tentative_commits == 1
    await getattr(node, end)()
    written = []
    index.write = written.append
    node._settling = False
    node.settle_soon()
    await asyncio.sleep(1)
    assert written == []


@pytest.mark.parametrize("seed", range(8))
@in_virtual_time
async def test_after_a_restart_a_node_stamps_above_all_that_it_holds(seed):
    """lon1's clock is ahead, within bounds; ny1 crashes just after it took a commit of lon1."""
    world = World(seed, [("ny", 1), ("lon", 1)])
    world.clocks["lon1"].offset_ms = 450
    world.disks["ny1"].sync_seconds = 0.05
    await world.start()
    await asyncio.sleep(0.5)
    theirs = await append(world, "lon1", "theirs")
    ny1 = world.nodes["ny1"]
    held = asyncio.Event()
    insert = ny1.history.insert
    ny1.history.insert = lambda commit: (insert(commit), held.set())
    await held.wait()
    await world.crash("ny1")
    await world.start("ny1")
    assert world.nodes["ny1"].history.tentative_commits == 1
    mine = await append(world, "ny1", "mine")
    assert mine.key > theirs.key
    assert mine.first_revision == 1
