"""Who comes back with an empty directory is let in again, under a new origin.

Nothing is lost that others hold, or that it takes meanwhile. While the cluster forms it is refused.
"""

from __future__ import annotations

import asyncio

import pytest

from anabranch.gossip.messages import (
    Ack,
    Hello,
    Push,
)
from anabranch.node.node import Node
from anabranch.simulations.world.world import World
from anabranch.storage.errors import Unavailable

from .stories import THREE, append, disputes, draft, in_virtual_time, settled
from .strangers import (
    SHARD,
    dial,
    hear,
    hello_as,
    made_commit,
    now,
    shown,
    speak,
    state_of,
    two_founders,
    two_of_three,
)

# -- a founder that lost its directory before all have met -----------------------------------------


async def with_a_wiped_founder() -> tuple[World, Node, int]:
    """lon1 comes back with an empty directory while tok1 was never seen."""
    world = await two_founders()
    origin = world.nodes["lon1"].store.origin
    await append(world, "ny1", "before")
    await world.crash("lon1")
    world.lose_disk("lon1")
    await world.start("lon1")
    await append(world, "lon1", "by the stranger")
    await asyncio.sleep(3)
    return world, world.nodes["lon1"], origin


@in_virtual_time
async def test_a_wiped_founder_knows_that_it_is_a_stranger_and_refuses_appends():
    _, wiped, origin = await with_a_wiped_founder()
    assert wiped.store.origin != origin
    assert wiped.replication.stranger is not None
    assert "does not take this node for lon1" in wiped.replication.stranger
    assert f"{origin:016x}" in wiped.replication.stranger
    with pytest.raises(Unavailable, match="old directory"):
        await wiped.append(draft("s", "another"))


@in_virtual_time
async def test_a_wiped_founder_is_refused_and_nothing_of_it_is_mixed_in():
    world, wiped, origin = await with_a_wiped_founder()
    node = world.nodes["ny1"]
    assert node.replication.stranger is None
    assert node.members.origin("lon1") == origin
    assert node.replication.dialers["lon1"].state == "refused"
    assert "wiped or replaced" in str(node.replication.dialers["lon1"].error)
    assert wiped.store.origin not in {log[1] for log, _ in node.store.frontier.items()}
    assert settled(node) == settled(wiped) == []
    assert disputes(world) == {"ny1": [], "lon1": []}


@in_virtual_time
async def test_a_wiped_founder_is_let_in_once_all_others_have_met():
    """`Replication.stranger` has to be forgotten when its node enters an epoch.

    Else it refuses appends for ever, never appends its strays again, and so settles nothing.
    """
    world, wiped, origin = await with_a_wiped_founder()
    await world.start("tok1")
    await asyncio.sleep(10)
    for node in world.nodes.values():
        assert node.members.number == 2
        assert node.members.origin("lon1") == wiped.store.origin != origin
        assert {dialer.state for dialer in node.replication.dialers.values()} == {"connected"}
    assert wiped.replication.stranger is None
    await append(world, "lon1", "after")
    await world.until_settled()
    for node in world.nodes.values():
        assert sorted(shown(node)) == [b"after", b"before", b"by the stranger"]


# -- a member that lost its directory --------------------------------------------------------------


async def with_a_wiped_node() -> tuple[World, Node, int, int]:
    """tok1 comes back with an empty directory, and takes an append before it hears of it.

    The world, tok1, its origin before that, and the first one of its new directory.
    """
    world = await two_of_three()
    origin = world.nodes["ny1"].members.origin("tok1")
    assert origin is not None
    for name in ("ny1", "lon1"):
        await append(world, name, f"by {name} meanwhile")
    world.lose_disk("tok1")
    await world.start("tok1")
    first = world.nodes["tok1"].store.origin
    await append(world, "tok1", "by the stranger")
    await asyncio.sleep(6)
    return world, world.nodes["tok1"], origin, first


MEANWHILE = {"old", "by ny1 meanwhile", "by lon1 meanwhile", "by the stranger"}


@in_virtual_time
async def test_a_wiped_node_is_a_member_again_with_a_new_origin():
    world, wiped, origin, first = await with_a_wiped_node()
    assert wiped.store.origin not in (origin, first)
    assert wiped.replication.stranger is None
    for node in world.nodes.values():
        assert node.members.number == 2
        assert node.members.origin("tok1") == wiped.store.origin
        assert node.members.joined == {one.store.origin for one in world.nodes.values()}
        assert {dialer.state for dialer in node.replication.dialers.values()} == {"connected"}
        assert node.membership.waiting == {}
        assert node.membership.wanted == []
        assert node.membership.counts
    assert len({node.members.mark for node in world.nodes.values()}) == 1
    assert disputes(world) == {"ny1": [], "lon1": [], "tok1": []}


@in_virtual_time
async def test_who_said_that_it_had_much_that_nobody_else_got_is_let_in_all_the_same():
    """Nobody can give it that; it waited for it for ever."""
    world = await two_of_three()
    origin = world.nodes["ny1"].members.origin("tok1")
    for name in ("ny1", "lon1"):
        said = world.nodes[name].settler.standings.of(origin)
        said.frontier.advance((SHARD, origin), 5_000)
        said.version += 1
    world.lose_disk("tok1")
    await world.start("tok1")
    await asyncio.sleep(6)
    assert [node.members.number for node in world.nodes.values()] == [2, 2, 2]


@in_virtual_time
async def test_the_finals_of_its_old_origin_are_what_the_others_had():
    world, _, origin, _ = await with_a_wiped_node()
    for node in world.nodes.values():
        assert node.members.epoch.finals == {origin: {SHARD: 1}}
        assert node.store.frontier[SHARD, origin] == 1
        assert node.members.name(origin) == "tok1"


@in_virtual_time
async def test_nothing_that_was_acknowledged_is_lost_with_a_wiped_directory():
    world, wiped, origin, first = await with_a_wiped_node()
    await append(world, "tok1", "after")
    await world.until_settled()
    rows = settled(world.nodes["ny1"])
    assert len(rows) == len({row[1] for row in rows}) == 5
    for node in world.nodes.values():
        assert settled(node) == rows
        assert {*shown(node)} == {key.encode() for key in (*MEANWHILE, "after")}
        assert len(node.store.strays) == 0
        origins = {log[1] for log, _ in node.store.frontier.items()}
        assert origins <= {origin, *(one.store.origin for one in world.nodes.values())}
        assert first not in origins
    assert wiped.store.frontier[SHARD, wiped.store.origin] == 2


@pytest.mark.parametrize("name", ["ny1", "lon1", "tok1"])
@in_virtual_time
async def test_settlement_goes_on_without_the_old_directory(name):
    world, *_ = await with_a_wiped_node()
    receipt = await world.nodes[name].append(draft("s", "new"), ack="settled", timeout=2)
    assert receipt.reached
    assert receipt.settled
    assert settled(world.nodes[name])[-1][0] == receipt.key
    assert len(shown(world.nodes[name])) == 5


@in_virtual_time
async def test_what_a_wiped_node_takes_while_nobody_can_let_it_in_is_kept():
    """lon1 is down: ny1 alone is no majority of those who were members."""
    world = await two_of_three()
    await world.crash("lon1")
    world.lose_disk("tok1")
    await world.start("tok1")
    wiped = world.nodes["tok1"]
    for number in range(5):
        await append(world, "tok1", f"outside {number}")
        await asyncio.sleep(1)
    assert wiped.membership.is_outside
    assert world.nodes["ny1"].members.number == wiped.members.number == 1
    assert world.nodes["ny1"].membership.waiting.keys() == {"tok1"}
    assert len(wiped.store.strays) == 5
    receipt = await world.nodes["ny1"].append(draft("s", "new"), ack="settled", timeout=2)
    assert not receipt.reached
    again = await wiped.append(draft("s", "outside 3"))
    assert again.duplicate
    await world.start("lon1")
    await asyncio.sleep(10)
    await world.until_settled()
    assert {node.members.number for node in world.nodes.values()} == {2}
    for node in world.nodes.values():
        assert sorted(shown(node)) == sorted(
            key.encode() for key in ("old", "new", *(f"outside {n}" for n in range(5)))
        )


@in_virtual_time
async def test_a_wiped_node_that_crashes_outside_keeps_what_it_took():
    world = await two_of_three()
    await world.crash("lon1")
    world.lose_disk("tok1")
    for number in range(3):
        await world.start("tok1")
        await append(world, "tok1", f"outside {number}")
        await asyncio.sleep(3)
        await world.crash("tok1")
    await world.start("lon1", "tok1")
    await asyncio.sleep(10)
    await world.until_settled()
    for node in world.nodes.values():
        assert sorted(shown(node)) == sorted(
            key.encode() for key in ("old", *(f"outside {n}" for n in range(3)))
        )
    assert disputes(world) == {"ny1": [], "lon1": [], "tok1": []}


@in_virtual_time
async def test_a_wiped_node_does_not_become_a_member_by_meeting_one_who_is_new():
    """lon1 was wiped too: the two and ny1 do not make a cluster before an operator says so."""
    world = await two_of_three()
    await append(world, "ny1", "by ny1 alone")
    await world.crash("lon1")
    for name in ("lon1", "tok1"):
        world.lose_disk(name)
    await world.start("lon1", "tok1")
    await append(world, "lon1", "by the stranger")
    await append(world, "tok1", "by the other stranger")
    await asyncio.sleep(20)
    node = world.nodes["ny1"]
    assert [one.members.number for one in world.nodes.values()] == [1, 1, 1]
    assert [one.membership.is_outside for one in world.nodes.values()] == [False, True, True]
    assert node.membership.waiting.keys() == {"lon1", "tok1"}
    assert len({one.members.mark for one in world.nodes.values()}) == 1
    receipt = await node.append(draft("s", "new"), ack="settled", timeout=2)
    assert not receipt.reached
    holders = node.settler.settlement.holders(range(4), receipt.key[0])
    assert {node.members.name(holder.origin) for holder in holders} >= {"lon1", "tok1"}
    assert len(settled(node)) == 1
    assert settled(world.nodes["lon1"]) == settled(world.nodes["tok1"]) == []
    await world.replace_the_lost()
    await asyncio.sleep(5)
    await world.until_settled()
    keys = {b"old", b"by ny1 alone", b"new", b"by the stranger", b"by the other stranger"}
    for one in world.nodes.values():
        assert one.members.number == 2
        assert one.members.epoch.forced
        assert (len(shown(one)), {*shown(one)}) == (5, keys)


@in_virtual_time
async def test_an_old_directory_that_comes_back_is_let_in_again_with_all_that_it_had():
    """tok1 had acknowledged what nobody else has; its directory was put aside, not lost."""
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    await append(world, "tok1", "old")
    await world.until_settled()
    world.cut_off({"tok1"})
    await append(world, "tok1", "by tok1 alone")
    origin = world.nodes["tok1"].store.origin
    await world.crash("tok1")
    aside = world.snapshot("tok1")
    world.lose_disk("tok1")
    world.network.heal()
    await world.start("tok1")
    await asyncio.sleep(6)
    assert world.nodes["ny1"].members.number == 2
    await append(world, "tok1", "by the stranger")
    await world.until_settled()
    assert {*shown(world.nodes["ny1"])} == {b"old", b"by the stranger"}
    await world.crash("tok1")
    world.restore("tok1", aside)
    await world.start("tok1")
    await append(world, "tok1", "back")
    await asyncio.sleep(8)
    await world.until_settled()
    for node in world.nodes.values():
        assert node.members.number == 3
        assert node.members.origin("tok1") not in node.members.epoch.finals
        assert node.members.end((SHARD, origin), 99) == 1
        assert sorted(shown(node)) == sorted(
            [b"old", b"by the stranger", b"by tok1 alone", b"back"]
        )
    assert disputes(world) == {"ny1": [], "lon1": [], "tok1": []}


@pytest.mark.parametrize("which", ["provisional", "removed", "first"])
@in_virtual_time
async def test_a_commit_without_a_place_is_not_taken(which):
    """Above the finals of a removed origin; under an origin that never was, or is not, a member."""
    world, _, origin, first = await with_a_wiped_node()
    node = world.nodes["ny1"]
    await world.until_settled()
    await world.crash("tok1")
    origins = {"removed": origin, "first": first, "provisional": node.store.provisional}
    seq = 2 if which == "removed" else 1
    before = state_of(node)
    hello = hello_as(world, origin=node.members.origin("tok1"))
    link, answer = await dial(world, hello, epoch=2)
    assert isinstance(answer, Hello)
    await speak(link, Push([made_commit(world, origins[which], seq, now(world))]), epoch=2)
    assert isinstance(await hear(link), Ack)
    assert state_of(node) == before


# -- a member that is not sure of its directory yet ------------------------------------------------


async def with_a_copy_on_its_way() -> tuple[World, Node]:
    """ny1 has just started, and has a commit of tok1 that is not on its disk yet."""
    world = await two_of_three()
    for name in ("lon1", "ny1"):
        await world.crash(name)
    await world.start("ny1")
    node = world.nodes["ny1"]
    origin = node.members.origin("tok1")
    link, _ = await dial(world, hello_as(world, origin=origin))
    await append(world, "ny1", "before")
    world.disks["ny1"].sync_seconds = 0.2
    node.store.store_state(node.clock.wall_ms())  # what comes now is one group, after this
    await speak(link, Push([made_commit(world, origin, 2, now(world))]))
    while node.store.arrived(SHARD, origin) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert node.store.frontier[SHARD, origin] == 1
    assert not node.membership.sureness.sure
    return world, node


@in_virtual_time
async def test_a_stray_may_give_way_before_it_is_on_the_disk():
    """Was there: it was let go, then kept again though it was not shown any more.

    Nothing of its shard was settled from there on, and the next step of that stray took some
    innocent commit out of the fold. Now a stray gives way only once it is on the disk itself.
    """
    world, node = await with_a_copy_on_its_way()
    node.store.stamp(draft("s", "made 2"), node.clock.wall_ms())
    await node.log.wait_all()
    kept = [draft("s", key).commit_id for key in ("before", "made 2")]
    assert [one.id for one in node.store.strays] == kept
    assert all(one in node.history.tentative_with(one.id, one.shard) for one in node.store.strays)
    await append(world, "ny1", "after")
    await world.start("lon1")
    await asyncio.sleep(5)
    assert node.failure is None
    assert node.membership.sureness.sure
    assert len(node.store.strays) == 0


@pytest.mark.parametrize("ack", ["local", "settled"])
@in_virtual_time
async def test_who_appends_what_gives_way_before_it_is_on_the_disk_is_told_of_the_other(ack):
    """`Appends._receipt` asks the fold for a commit that is shown no more, and gets an IndexError.

    Who waits for `settled` was to be woken before it began to wait: it gets that after its time.
    """
    world, node = await with_a_copy_on_its_way()
    receipt = await node.append(draft("s", "made 2"), ack=ack, timeout=1)
    assert receipt.key[2] == node.members.origin("tok1")
    assert receipt.outcome == "tentative"
    assert receipt.reached == (ack == "local")
    assert disputes(world) == {"ny1": []}
