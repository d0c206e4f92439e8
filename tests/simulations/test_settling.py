"""How fast settlement is, what it waits for, and that nothing makes it wait for ever."""

from __future__ import annotations

import asyncio

import pytest

from anabranch.gossip.agreeing import packed
from anabranch.gossip.conversation import Conversation
from anabranch.gossip.epochs import Freeze
from anabranch.gossip.messages import Agree, Push
from anabranch.node.config import Tuning
from anabranch.node.receipt import Receipt
from anabranch.node.replication import Replication
from anabranch.simulations.watch.watched import WatchedWorld
from anabranch.simulations.world.world import World
from anabranch.storage.commit import EXPECT_NONE
from anabranch.storage.index import MemoryIndex

from .bugs import EVERY
from .stories import (
    THREE,
    append,
    cut_pair,
    disputes,
    draft,
    in_virtual_time,
    lag_seconds,
    settled,
)


@pytest.mark.parametrize("sites", [THREE, [("ny", 2), ("lon", 2), ("tok", 1)]])
@in_virtual_time
async def test_ack_settled_takes_one_round_trip_to_the_farthest_member(sites):
    """Not a heartbeat, which is a second here."""
    world = World(1, sites, tuning=Tuning(heartbeat_seconds=1.0))
    far = "tok1"
    world.network.delay = lambda here, there: 0.1 if far in (here, there) else 0.01
    await world.start()
    await asyncio.sleep(3.33)
    loop = asyncio.get_running_loop()
    for number, name in enumerate(["ny1", "lon1", far] * 3):
        began = loop.time()
        receipt = await append(world, name, str(number), ack="settled")
        took = loop.time() - began
        assert receipt.settled
        assert 0.2 <= took < 0.21, f"append {number} at {name} took {took:.3f} s"
        await asyncio.sleep(0.377)


@in_virtual_time
async def test_a_cluster_of_one_settles_with_its_own_fsync():
    world = World(1, [("ny", 1)])
    await world.start()
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await append(world, "ny1", "a", ack="settled")).settled
    assert loop.time() - began < 0.005


async def what_frozen_members_take_later() -> Receipt:
    """An append, asked for again, that both others got after they froze, before any epoch came.

    Both have promised what is above it, so nothing but their frontiers is lacking.
    """
    world = World(1, THREE)
    world.network.delay = lambda here, _: 0.4 if here == "ny1" else 0.01
    await world.start()
    await asyncio.sleep(3)
    ny1, others = world.nodes["ny1"], ("lon1", "tok1")
    await append(world, "ny1", "a")
    await asyncio.sleep(0.3)
    freeze = Agree([packed(Freeze(1, (1, ny1.store.origin)))])
    for other in others:
        await world.nodes[other].membership.agree(ny1.store.origin, freeze)
        assert world.nodes[other].membership.epochs.frozen
        assert not [*world.nodes[other].store.frontier.items()]
    await asyncio.sleep(0.5)
    held = [dict(one.store.frontier.items()) for one in world.nodes.values()]
    assert held[0] and held == held[:1] * 3
    assert {one.membership.number for one in world.nodes.values()} == {1}
    return await append(world, "ny1", "a")


@in_virtual_time
async def test_what_a_frozen_member_takes_counts_nowhere():
    """Its answer did not name that, so the next epoch may begin without it."""
    assert not (await what_frozen_members_take_later()).settled
    with EVERY["count any report"]():
        assert (await what_frozen_members_take_later()).settled


@in_virtual_time
async def test_a_partition_stops_settlement_and_nothing_else():
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    world.cut_off({"tok1"})
    for name in world.names:
        receipt = await append(world, name, name)
        assert (receipt.outcome, receipt.acked) == ("tentative", "local")
    waiting = await world.nodes["ny1"].append(draft("s", "wait"), ack="settled", timeout=3)
    assert not waiting.reached
    assert [node.settler.final_until() for node in world.nodes.values()] != [0, 0, 0]
    assert all(settled(node) == [] for node in world.nodes.values())
    world.network.heal()
    await world.until_settled()
    assert len(settled(world.nodes["tok1"])) == 4


@in_virtual_time
async def test_who_holds_settlement_back_is_named():
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    await world.crash("tok1")
    receipt = await append(world, "ny1", "a")
    await asyncio.sleep(1)
    node = world.nodes["ny1"]
    holders = node.settler.settlement.holders(range(4), receipt.key[0])
    assert [node.members.name(holder.origin) for holder in holders] == ["tok1"]


@in_virtual_time
async def test_two_nodes_that_do_not_reach_each_other_settle_through_a_third():
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    cut_pair(world, "ny1", "tok1")
    for number in range(5):
        for name in world.names:
            await append(world, name, f"{name} {number}")
    await world.until_settled(5)
    receipt = await append(world, "ny1", "last", ack="settled")
    assert receipt.settled
    await world.until_settled(5)
    assert len(settled(world.nodes["tok1"])) == 16


async def _load(world: World, seconds: float, pause_seconds: float) -> list[float]:
    """Let all nodes append all the time; the lag of settlement at each of them, now and then."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    numbers = iter(range(1_000_000))

    async def client(name: str) -> None:
        while loop.time() < end:
            number = next(numbers)
            await append(world, name, str(number), stream=f"s{number % 7}")
            await asyncio.sleep(world.generator.expovariate(1 / pause_seconds))

    clients = [loop.create_task(client(name)) for name in world.names]
    lags = []
    while loop.time() < end:
        await asyncio.sleep(0.25)
        lags += [lag_seconds(world, node) for node in world.nodes.values()]
    await asyncio.gather(*clients)
    return lags


@in_virtual_time
async def test_under_constant_load_settlement_keeps_up():
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    lags = await _load(world, 5, 0.01)
    assert max(lags) < 0.25, "a few round trips"
    await world.until_settled(1)


@in_virtual_time
async def test_under_constant_load_settlement_keeps_up_through_a_third_node():
    """There is always a push in flight, and what is lacking has to be pulled all the same."""
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    cut_pair(world, "ny1", "tok1")
    lags = await _load(world, 8, 0.01)
    assert max(lags) < 3
    await world.until_settled(3)


@in_virtual_time
async def test_a_node_that_comes_back_far_behind_catches_up_under_load():
    world = World(1, THREE, tuning=Tuning(push_window_bytes=2000))
    await world.start()
    await asyncio.sleep(1)
    await world.crash("tok1")
    for number in range(400):
        await append(world, "ny1", f"early {number}")
    await world.start("tok1")
    lags = await _load(world, 5, 0.01)
    assert max(lags[-6:]) < 0.5
    await world.until_settled(2)


@in_virtual_time
async def test_what_has_to_go_around_a_cut_goes_at_full_speed_and_once(monkeypatch):
    """Six megabytes are twelve pulls: each waits for the one before, and for nothing else."""
    world = World(1, [("ny", 1), ("lon", 2), ("tok", 2)], shards=1)
    await world.start()
    await asyncio.sleep(1)
    given = []
    give = Replication.give

    async def counted(self, wanted, bytes_max, name):
        given.extend(commits := await give(self, wanted, bytes_max, name))
        return commits

    monkeypatch.setattr(Replication, "give", counted)
    cut_pair(world, "ny1", "tok1")
    cut_pair(world, "ny1", "tok2")  # else it would take them for its site
    for number in range(30):
        await append(world, "ny1", str(number), size=200_000)
    await world.until_settled(4)
    assert len(given) == 30


@pytest.mark.parametrize("when", ["kept", "stopped", "crashed"])
@in_virtual_time
async def test_an_index_that_is_lost_comes_back_the_same(when):
    world = World(1, THREE, tuning=Tuning(segment_bytes=1500))
    await world.start()
    await asyncio.sleep(1)
    for number in range(40):
        await append(world, world.names[number % 3], str(number), stream=f"s{number % 5}")
    await asyncio.gather(
        append(world, "ny1", "one of", stream="contest", expected=EXPECT_NONE),
        append(world, "tok1", "the two", stream="contest", expected=EXPECT_NONE),
    )
    await world.until_settled()
    before = settled(world.nodes["lon1"])
    marks = [world.nodes["lon1"].history.mark(shard) for shard in range(4)]
    if when == "stopped":
        node = world.nodes.pop("lon1")
        world.network.down("lon1")
        await node.stop()
    else:
        await world.crash("lon1")
    if when != "kept":
        world.indexes["lon1"] = MemoryIndex()
    await world.start("lon1")
    again = settled(world.nodes["lon1"])
    assert again == before[: len(again)]
    await world.until_settled()
    assert settled(world.nodes["lon1"]) == before
    assert [world.nodes["lon1"].history.mark(s)[1:] for s in range(4)] == [m[1:] for m in marks]
    assert disputes(world) == {"ny1": [], "lon1": [], "tok1": []}


@in_virtual_time
async def test_a_commit_crosses_each_link_once(monkeypatch):
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    sent = []
    send = Conversation.send

    async def counted(self, body, **options):
        if isinstance(body, Push):
            sent.extend(body.commits)
        await send(self, body, **options)

    monkeypatch.setattr(Conversation, "send", counted)
    for number in range(20):
        await append(world, world.names[number % 3], str(number))
    await world.until_settled()
    assert len(sent) == 2 * 20


@in_virtual_time
async def test_what_is_written_while_a_link_is_opened_comes_once():
    """Pushes and pulls begin in one moment; what is new then may come by one of them only."""
    world = WatchedWorld(1, THREE)
    world.network.delay = lambda here, there: 0.08
    await world.start()
    await asyncio.sleep(1)
    for turn in range(4):
        world.cut_off({"tok1"}, reset=True)
        await asyncio.sleep(0.1)
        world.network.heal()
        for number in range(60):  # through the whole handshake
            world.append("ny1", draft("s", f"{turn} {number}"), "local", 4.0)
            await asyncio.sleep(0.01)
        await world.until_settled(10)
    assert world.history.transfers.links > 6
    assert world.history.transfers.repeated == 0
    await world.stop()
