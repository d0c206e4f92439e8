"""Two nodes that settled differently find out, stop settling that shard, and lose nothing."""

from __future__ import annotations

import asyncio

import pytest

from anabranch.gossip.epoch import Change
from anabranch.node.fold import ACCEPTED, REJECTED
from anabranch.simulations.world.world import World
from anabranch.storage.commit import shard_of
from anabranch.storage.stamp import stamp_of

from .stories import THREE, append, disputes, draft, in_virtual_time, settled

SHARD = shard_of("s", 4)
OTHER_STREAM = next(f"s{n}" for n in range(99) if shard_of(f"s{n}", 4) != SHARD)


async def settled_world(sites: list[tuple[str, int]] = THREE) -> World:
    world = World(1, sites)
    await world.start()
    await asyncio.sleep(1)
    for number in range(6):
        await append(world, world.names[number % 3], str(number))
    await world.until_settled()
    return world


def tamper(world: World, name: str, shard: int = SHARD) -> None:
    """Let a node have another running hash than it should."""
    marks = world.nodes[name].history._marks
    marks[shard] = marks[shard]._replace(running=b"another hash than the others has"[:32])


@in_virtual_time
async def test_honest_nodes_dispute_nothing():
    world = await settled_world()
    await asyncio.sleep(5)
    assert disputes(world) == {"ny1": [], "lon1": [], "tok1": []}


@in_virtual_time
async def test_another_running_hash_is_found_by_all_and_stops_its_shard():
    world = await settled_world()
    tamper(world, "lon1")
    await asyncio.sleep(2)
    assert disputes(world) == {"ny1": [SHARD], "lon1": [SHARD], "tok1": [SHARD]}
    assert "lon1 and this node have settled shard" in world.nodes["ny1"].settler.disputes[SHARD]
    assert "differ within its first 6 commits" in world.nodes["ny1"].settler.disputes[SHARD]


@in_virtual_time
async def test_a_disputed_shard_takes_appends_and_settles_no_further():
    world = await settled_world()
    tamper(world, "lon1")
    await asyncio.sleep(2)
    node = world.nodes["ny1"]
    receipt = await node.append(draft("s", "more"), ack="settled", timeout=2)
    assert (receipt.reached, receipt.settled, receipt.outcome) == (False, False, "tentative")
    assert [len(settled(one)) for one in world.nodes.values()] == [6, 6, 6]
    assert node.history.tentative_commits == 1


@in_virtual_time
async def test_the_other_shards_go_on():
    world = await settled_world()
    tamper(world, "lon1")
    await asyncio.sleep(2)
    assert (await append(world, "ny1", "more", stream=OTHER_STREAM, ack="settled")).settled


@pytest.mark.parametrize("forger", ["ny1", "lon1", "tok1"])
@in_virtual_time
async def test_a_node_whose_fold_judges_otherwise_is_found(forger):
    """One node rejects a commit that the others accept, as a bug in its fold would."""
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    history = world.nodes[forger].history
    judge = history._judge

    def forged(shard, commits):
        judge(shard, commits)
        for held in commits:
            if held.id == draft("s", "the one").commit_id:
                held.outcome = REJECTED if held.outcome == ACCEPTED else held.outcome

    history._judge = forged
    await append(world, "ny1", "the one")
    await asyncio.sleep(3)
    assert disputes(world) == {"ny1": [SHARD], "lon1": [SHARD], "tok1": [SHARD]}


@in_virtual_time
async def test_a_dispute_is_found_again_after_a_restart():
    world = await settled_world()
    history = world.nodes["lon1"].history
    mark = history.mark(SHARD)
    tamper(world, "lon1")
    history._index.write([(b"w" + SHARD.to_bytes(2, "big"), _mark_value(history.mark(SHARD)))])
    world.indexes["lon1"].flush()
    await asyncio.sleep(2)
    await world.crash("lon1")
    await world.start("lon1")
    assert world.nodes["lon1"].history.mark(SHARD).running != mark.running
    await asyncio.sleep(2)
    assert disputes(world) == {"ny1": [SHARD], "lon1": [SHARD], "tok1": [SHARD]}


@in_virtual_time
async def test_a_dispute_lasts_over_restarts_of_those_who_found_it():
    """They remember few of their own hashes, and none from before a restart."""
    world = World(1, THREE, shards=64)
    await world.start()
    await asyncio.sleep(1)
    for number in range(60):
        await append(world, world.names[number % 3], str(number), stream=f"s{number}")
    await world.until_settled()
    ny1 = world.nodes["ny1"].history
    shard = max(shard for shard in range(64) if ny1.mark(shard).commits)
    stream = next(f"s{n}" for n in range(999) if shard_of(f"s{n}", 64) == shard)
    tamper(world, "lon1", shard)
    await asyncio.sleep(20)
    assert disputes(world) == {"ny1": [shard], "lon1": [shard], "tok1": [shard]}
    before = ny1.mark(shard).commits
    await append(world, "tok1", "more", stream=stream)
    for name in ("ny1", "tok1"):
        await world.crash(name)
        await world.start(name)
        assert [*world.nodes[name].settler.disputes] == [shard]
    await asyncio.sleep(5)
    assert world.nodes["ny1"].history.mark(shard).commits == before


@in_virtual_time
async def test_members_change_beside_a_dispute_and_without_the_odd_one_it_ends():
    world = await settled_world([("ny", 2), ("lon", 2), ("tok", 1)])
    tamper(world, "lon1")
    await asyncio.sleep(3)
    for number in range(30):
        await append(world, world.names[number % 5], f"m{number}")
    ny1 = world.nodes["ny1"].membership
    assert await ny1.until(Change(remove=(world.nodes["tok1"].store.origin,)), 10)
    await world.stop_one("tok1")
    await asyncio.sleep(3)
    assert [one for one in world.nodes.values() if not one.membership.has_a_vote] == []
    assert await ny1.until(Change(remove=(world.nodes["lon1"].store.origin,)), 10)
    await world.stop_one("lon1")
    assert (await append(world, "ny2", "after", ack="settled")).settled
    assert disputes(world) == {"ny1": [], "ny2": [], "lon2": []}


@in_virtual_time
async def test_a_dispute_ends_also_if_the_node_dies_as_the_odd_one_is_removed():
    """The epoch is on the disk by then, and no record yet that says that the dispute is over."""
    world = await settled_world([("ny", 2), ("lon", 2), ("tok", 1)])
    tamper(world, "lon1")
    await asyncio.sleep(3)
    odd = Change(remove=(world.nodes["lon1"].store.origin,))
    assert await world.nodes["ny1"].membership.until(odd, 10)
    await world.crash("ny1")
    await world.stop_one("lon1")
    await world.start("ny1")
    assert world.nodes["ny1"].members.number == 2
    assert disputes(world)["ny1"] == []


@in_virtual_time
async def test_nobody_disputes_later_what_one_has_settled_who_is_gone():
    """As where a majority has lost its directories, and the rest had not settled so far yet."""
    world = await settled_world()
    members = world.nodes["ny1"].members
    gone = members.origin("tok1")
    await world.crash("tok1")
    await asyncio.sleep(1)  # what it has said is known everywhere
    for name in ("ny1", "lon1"):
        world.nodes[name].settler._compare(gone, (SHARD, 7, b"a hash that only tok1 could tell"))
    world.nodes["ny1"].membership.want(Change(remove=(gone,)))
    await asyncio.sleep(3)
    assert members.number == 2
    for number in range(3):
        await append(world, "lon1", f"more {number}")
    await asyncio.sleep(2)
    assert world.nodes["ny1"].history.mark(SHARD).commits == 9
    assert (disputes(world)["ny1"], disputes(world)["lon1"]) == ([], [])


@in_virtual_time
async def test_a_broken_promise_is_refused_and_disputed_by_who_settled():
    """tok1's clock goes back below what it promised, as after a forged disk."""
    world = await settled_world()
    tok1 = world.nodes["tok1"]
    promised = tok1.store._promised
    tok1.store.hlc.last = promised - stamp_of(300)
    world.clocks["tok1"].offset_ms = -300
    receipt = await append(world, "tok1", "late")
    assert receipt.key[0] <= promised
    await append(world, "ny1", "makes ny1 settle")
    await asyncio.sleep(2)
    for name in ("ny1", "lon1"):
        node = world.nodes[name]
        if node.settler.disputes:
            assert "broke its promise" in node.settler.disputes[SHARD]
    assert any(world.nodes[name].settler.disputes for name in ("ny1", "lon1"))


def _mark_value(mark):
    from anabranch.storage.keys import mark_value

    return mark_value(mark)
