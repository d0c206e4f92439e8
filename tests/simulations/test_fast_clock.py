"""A clock that is minutes ahead hurts its own node, and nobody else's clock (DESIGN 4)."""

from __future__ import annotations

import asyncio

import pytest

from anabranch.gossip.clocks import DOUBT_SECONDS
from anabranch.node.config import Tuning
from anabranch.simulations.world.network import Route
from anabranch.simulations.world.world import World
from anabranch.storage.errors import Unavailable
from anabranch.storage.stamp import milliseconds

from .stories import THREE, append, disputes, in_virtual_time, settled

AHEAD_MS = 120_000


async def _world_with_a_clock_that_jumps() -> World:
    """tok1's clock jumps two minutes ahead while nobody can tell it, and it takes an append."""
    world = World(1, THREE, shards=1, tuning=Tuning(heartbeat_seconds=0.5))
    await world.start()
    await asyncio.sleep(1)
    for other in ("ny1", "lon1"):
        world.network.cut("tok1", other)
        world.network.cut(other, "tok1")
    await asyncio.sleep(1)
    world.clocks["tok1"].offset_ms = AHEAD_MS
    with pytest.raises(Unavailable, match=r"clock is \d+ ms ahead"):
        await append(world, "tok1", "at once")  # it sees that itself, and waits for an answer
    await asyncio.sleep(DOUBT_SECONDS + 0.1)
    await append(world, "tok1", "from the future")
    world.network.heal()
    return world


@in_virtual_time
async def test_a_jump_ahead_is_noticed_at_once_and_forgotten_when_it_is_over():
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    for _ in range(3):
        world.clocks["tok1"].offset_ms = 3_600_000
        for _ in range(20):
            with pytest.raises(Unavailable, match=r"clock is \d+ ms ahead"):
                await append(world, "tok1", "in an hour")
            await asyncio.sleep(0.1)
        world.clocks["tok1"].offset_ms = 0
        await asyncio.sleep(0.5)  # what it promised meanwhile was within bounds
        await append(world, "tok1", "now")
    await world.until_settled()
    assert [node.replication.welcome.held_back for node in world.nodes.values()] == [{}, {}, {}]


def ahead_ms(world: World, name: str) -> int:
    """How far the last stamp of a node is ahead of true time."""
    true = world.clocks[name].wall_ms() - world.clocks[name].offset_ms
    return milliseconds(world.nodes[name].store.hlc.last) - true


@in_virtual_time
async def test_it_moves_no_other_clock():
    world = await _world_with_a_clock_that_jumps()
    for number in range(10):
        await append(world, "ny1", str(number))
        await asyncio.sleep(0.5)
    assert ahead_ms(world, "tok1") > AHEAD_MS - 6000
    assert ahead_ms(world, "ny1") <= 1
    assert ahead_ms(world, "lon1") <= 1


@in_virtual_time
async def test_its_commits_are_held_back_and_status_shows_it():
    world = await _world_with_a_clock_that_jumps()
    await asyncio.sleep(3)
    origin = world.nodes["tok1"].store.origin
    for name in ("ny1", "lon1"):
        node = world.nodes[name]
        assert list(node.replication.welcome.held_back) == [(0, origin)]
        assert node.store.frontier[0, origin] == 0
        assert node.history.tentative_commits == 0
        assert abs((node.clocks.offset(origin) or 0) - AHEAD_MS) < 1000
    assert world.nodes["tok1"].replication.welcome.held_back == {}


@in_virtual_time
async def test_it_refuses_appends_once_it_knows_and_the_others_do_not():
    world = await _world_with_a_clock_that_jumps()
    await asyncio.sleep(6)
    with pytest.raises(Unavailable, match=r"clock is \d+ ms ahead"):
        await append(world, "tok1", "another")
    for name in ("ny1", "lon1"):
        assert (await append(world, name, name)).outcome == "tentative"


@in_virtual_time
async def test_a_node_that_starts_with_a_fast_clock_knows_it_from_the_first_report():
    world = World(1, THREE)
    world.clocks["tok1"].offset_ms = AHEAD_MS
    await world.start()
    await asyncio.sleep(1)
    with pytest.raises(Unavailable, match="clock"):
        await append(world, "tok1", "a")


@in_virtual_time
async def test_all_arrives_when_time_has_caught_up():
    world = await _world_with_a_clock_that_jumps()
    await asyncio.sleep(5)
    world.clocks["tok1"].offset_ms = 0
    await asyncio.sleep(1)
    with pytest.raises(Unavailable, match="takes appends again in"):
        await append(world, "tok1", "another")
    await append(world, "ny1", "now")
    await asyncio.sleep(AHEAD_MS / 1000)
    await append(world, "tok1", "later")
    await world.until_settled()
    assert [node.replication.welcome.held_back for node in world.nodes.values()] == [{}, {}, {}]
    assert len(settled(world.nodes["ny1"])) == 3
    assert settled(world.nodes["ny1"]) == settled(world.nodes["tok1"])
    assert disputes(world) == {"ny1": [], "lon1": [], "tok1": []}


@in_virtual_time
async def test_of_two_clocks_the_slower_one_counts():
    world = World(1, [("ny", 1), ("lon", 1)])
    world.clocks["lon1"].offset_ms = 10_000
    await world.start()
    await asyncio.sleep(1)
    with pytest.raises(Unavailable, match="clock"):
        await append(world, "lon1", "a")
    assert (await append(world, "ny1", "a", ack="settled")).settled


@in_virtual_time
async def test_a_slow_clock_stops_nothing():
    world = World(1, THREE)
    world.clocks["lon1"].offset_ms = -30_000
    await world.start()
    await asyncio.sleep(1)
    for name in world.names:
        assert (await append(world, name, name, ack="settled")).settled
    await world.until_settled()
    assert [node.replication.welcome.held_back for node in world.nodes.values()] == [{}, {}, {}]


@pytest.mark.parametrize("latency_seconds", [0.2, 0.6])
@in_virtual_time
async def test_a_slow_network_is_no_fast_clock(latency_seconds):
    """What a message says of its sender's clock is as old as the message."""
    world = World(1, THREE)
    world.network.latency_seconds = latency_seconds
    await world.start()
    await asyncio.sleep(5)
    assert [node.ahead_text() for node in world.nodes.values()] == [None, None, None]
    for number in range(10):
        await append(world, world.names[number % 3], str(number))
        await asyncio.sleep(0.1)
    assert [node.replication.welcome.held_back for node in world.nodes.values()] == [{}, {}, {}]
    await world.until_settled()


@in_virtual_time
async def test_a_network_that_is_slow_one_way_only_is_no_fast_clock_either():
    world = World(1, THREE)
    for there in ("lon1", "tok1"):
        world.network.set_route(there, "ny1", Route(1.2, jitter=0.1))
        world.network.set_route("ny1", there, Route(0.01))
    await world.start()
    await asyncio.sleep(5)
    for number in range(10):
        await append(world, world.names[number % 3], str(number))
        await asyncio.sleep(0.1)
    assert [node.replication.welcome.held_back for node in world.nodes.values()] == [{}, {}, {}]
    await world.until_settled()


@pytest.mark.parametrize("ahead_ms", [700, 5000])
@in_virtual_time
async def test_a_fast_clock_is_noticed_over_ordinary_links(ahead_ms):
    world = World(1, THREE)
    world.network.latency_seconds = 0.1
    await world.start()
    await asyncio.sleep(3)
    world.clocks["tok1"].offset_ms = ahead_ms
    await asyncio.sleep(0.5)
    with pytest.raises(Unavailable, match=r"clock is \d+ ms ahead"):
        await append(world, "tok1", "a")


@in_virtual_time
async def test_a_slow_node_holds_nothing_back_of_who_is_near_because_another_is_far():
    world = World(1, THREE)
    for there, latency_seconds in (("lon1", 0.005), ("tok1", 0.6)):
        world.network.set_route(there, "ny1", Route(latency_seconds, jitter=0.05))
        world.network.set_route("ny1", there, Route(latency_seconds, jitter=0.05))
    world.clocks["ny1"].offset_ms = -10_000
    await world.start()
    await asyncio.sleep(5)
    for number in range(20):
        await append(world, "lon1", str(number))
        await asyncio.sleep(0.05)
        assert world.nodes["ny1"].replication.welcome.held_back == {}


@in_virtual_time
async def test_its_commits_do_not_stop_the_others_from_settling():
    world = await _world_with_a_clock_that_jumps()
    await asyncio.sleep(3)
    for name in ("ny1", "lon1"):
        receipt = await append(world, name, name, ack="settled")
        assert receipt.settled
        assert list(world.nodes[name].replication.welcome.held_back)
    await asyncio.sleep(AHEAD_MS / 1000)
    await world.until_settled()
    assert [node.replication.welcome.held_back for node in world.nodes.values()] == [{}, {}, {}]
    assert not any(disputes(world).values())
