"""What links do in a world of real nodes: damage at the giver, and a directory that was copied."""

from __future__ import annotations

import asyncio

import pytest

from anabranch.node.config import Tuning
from anabranch.node.node import Node
from anabranch.node.status import needs_of, state_of
from anabranch.simulations.plans.bounds import Bounds, bounded
from anabranch.simulations.world.clock import SimRandom
from anabranch.simulations.world.network import SimPort
from anabranch.simulations.world.world import World
from anabranch.storage.errors import DamagedLog, Unavailable
from anabranch.storage.index import MemoryIndex
from anabranch.tests.simulations.stories import append, in_virtual_time

TWO = [("ny", 1), ("lon", 1)]


@in_virtual_time
async def test_a_giver_leaves_out_a_log_that_it_can_not_read_and_gives_the_others():
    world = World(1, TWO, tuning=Tuning(push_window_bytes=1))
    await world.start()
    await asyncio.sleep(1)
    await world.crash("lon1")
    for number in range(40):
        await append(world, "ny1", f"k{number}", stream=f"s{number}")
    ny1 = world.nodes["ny1"]
    origin, noticed = ny1.store.origin, []
    shard, _, seq = next((s, o, n) for (s, o), n in ny1.store.frontier.items() if n > 1)
    position, _ = ny1.history.place_in_log(shard, origin, seq)
    body = ny1.history.body

    def damaged(at, length):
        if at == position:
            raise DamagedLog("a block is bad", at, at + length)
        return body(at, length)

    ny1.history.body = damaged
    ny1.replication._repair.notice = noticed.append
    await world.start("lon1")
    await asyncio.sleep(6)
    lon1 = world.nodes["lon1"]
    assert ny1.failure is None
    assert ny1.replication.dialers["lon1"].state == "connected"
    assert noticed
    assert noticed[0].position == position
    expected = dict(ny1.store.frontier.items()) | {(shard, origin): seq - 1}
    assert dict(lon1.store.frontier.items()) == expected


@in_virtual_time
async def test_a_commit_that_is_more_than_goes_at_a_time_is_given_all_the_same():
    with bounded(Bounds(pull_bytes=100)):
        world = World(1, TWO, tuning=Tuning(push_window_bytes=1))
        await world.start("ny1", "lon1")
        await asyncio.sleep(1)
        await world.crash("lon1")
        for number in range(10):
            await append(world, "ny1", f"k{number}", size=500)
        await world.start("lon1")
        await world.until_settled()


@in_virtual_time
async def test_the_older_process_on_a_copied_directory_is_refused_and_says_so():
    """A clone of lon1's directory starts under its name; links of the first one are open."""
    world = World(1, TWO)
    await world.start()
    await asyncio.sleep(1)
    await append(world, "lon1", "before")
    await world.until_settled()
    older = world.nodes["lon1"]
    newer = Node(
        world.config,
        "lon1",
        disk=world.disks["lon1"].clone(),
        index=MemoryIndex(),
        clock=world.clocks["lon1"],
        random=SimRandom(world.generator),
        network=SimPort(world.network, "lon1", world._name_of_url),
    )
    await newer.start()
    await asyncio.sleep(5)
    assert newer.boot != older.boot
    assert newer.replication.stranger is None
    assert newer.store.origin == world.nodes["ny1"].members.origin("lon1")
    assert newer.replication.dialers["ny1"].state == "connected"
    assert state_of(older) == "stranger"
    assert any("two processes run on copies" in need for need in needs_of(older))
    with pytest.raises(Unavailable, match="two processes"):
        await append(world, "lon1", "after")
    await newer.stop()


@in_virtual_time
async def test_a_healthy_comparison_takes_less_than_200_bytes_both_ways():
    world = World(1, TWO, tuning=Tuning(compare_seconds=4.0))
    await world.start()
    await append(world, "ny1", "a")
    await world.until_settled()
    await asyncio.sleep(3)
    ny1 = world.nodes["ny1"]
    dialer, compared = ny1.replication.dialers["lon1"], []
    ask = dialer._compare

    async def measured(talk):
        before = talk.traffic.sent["rest"]
        asked = await ask(talk)
        if asked:
            compared.append(talk.traffic.sent["rest"] - before)
        return asked

    answered, traffic = ny1.comparing.answered, ny1.replication.traffic["lon1"]
    came = []
    add = traffic.add_received
    sizes = []
    traffic.add_received = lambda body, size: (sizes.append(size), add(body, size))

    def counting(name, answer):
        came.append(sizes[-1])
        answered(name, answer)

    dialer._compare, ny1.comparing.answered = measured, counting
    await asyncio.sleep(60)
    assert len(compared) == len(came) > 2
    assert max(map(sum, zip(compared, came, strict=True))) < 200
    assert ny1.comparing.turns["lon1"].differences == 0
