"""Members come and go while clients write: nothing is lost, nothing waits, all agree."""

from __future__ import annotations

import asyncio

import pytest

from anabranch.gossip.epoch import Change
from anabranch.node.config import Tuning
from anabranch.node.status import state_of
from anabranch.simulations.world.weather import Route
from anabranch.simulations.world.world import World
from anabranch.storage.errors import Unavailable

from .membership import (
    Chronicle,
    left,
    let_in,
    origin_of,
    settles,
    start_asking,
    until,
    until_members,
    waits_at,
    want_out,
)
from .stories import THREE, cut_pair, disputes, in_virtual_time

PAIRS = [("ny", 2), ("lon", 2), ("tok", 1)]
NEVER = Tuning(evict_after_seconds=None)
SLOW_SECONDS = 0.01  # of a sync, so that many appends fall into the moments of a change


async def founded(sites: list[tuple[str, int]] = THREE, seed: int = 1) -> tuple[World, Chronicle]:
    world = World(seed, sites, tuning=NEVER)
    await world.start()
    await asyncio.sleep(3)
    return world, Chronicle(world)


def ready(world: World) -> list[str]:
    return [name for name, node in world.nodes.items() if state_of(node) in ("ready", "joining")]


# -- growing and shrinking -----------------------------------------------------------------------


@in_virtual_time
async def test_one_node_becomes_nine_in_three_sites_and_three_again_under_load():
    world, chronicle = await founded([("ny", 1)])
    world.disks["ny1"].sync_seconds = SLOW_SECONDS
    nine = [f"{site}{number}" for site in ("ny", "lon", "tok") for number in (1, 2, 3)]
    async with chronicle.looking_on(), chronicle.under_load(lambda: ready(world)):
        for number, name in enumerate(nine[1:]):
            world.add(name, name[:-1], [nine[number // 2]])
            world.disks[name].sync_seconds = SLOW_SECONDS
            if number % 2:
                await start_asking(world, name)
            else:
                await world.start(name)
                assert await let_in(world, name)
        await until_members(world, nine, seconds=60)
        await until(lambda: all(world.nodes[one].membership.counts for one in nine), 30)
        assert await settles(world, "tok3") < 2
        for name in ("ny1", "lon1", "tok1", "ny2", "lon2", "tok2"):
            assert await world.nodes[name].membership.leave(20)
            await world.stop_one(name)
    three = ["ny3", "lon3", "tok3"]
    await chronicle.ends(three)
    assert chronicle.failed == chronicle.late == []
    assert len(chronicle.acknowledged) > 100
    assert {"ny1", "tok3"} <= {*chronicle.acknowledged.values()}
    assert {node.members.number for node in world.nodes.values()} == {15}


@in_virtual_time
async def test_two_who_come_at_once_are_both_let_in():
    world, chronicle = await founded()
    world.add("ny2", "ny", ["ny1"])
    world.add("sfo1", "sfo", ["tok1"])
    async with chronicle.looking_on(), chronicle.under_load(lambda: ready(world)):
        await start_asking(world, "ny2", "sfo1")
        await until_members(world, ["ny1", "ny2", "lon1", "tok1", "sfo1"])
    await chronicle.ends(["ny1", "ny2", "lon1", "tok1", "sfo1"])
    assert chronicle.failed == chronicle.late == []


# -- joining -------------------------------------------------------------------------------------


@in_virtual_time
async def test_who_joins_copies_what_there_is_and_takes_appends_from_the_start():
    world, chronicle = await founded()
    for _ in range(100):
        await chronicle.write("ny1", 3)
    await world.until_settled()
    world.add("sfo1", "sfo", ["ny1"])
    async with chronicle.looking_on():
        await world.start("sfo1")
        early = await chronicle.write("sfo1", 5)
        membership = world.nodes["sfo1"].membership
        await until(lambda: membership.copied is not None, 5)
        await until(lambda: membership.copied == (300, 300), 20, lambda: str(membership.copied))
        late = await chronicle.write("sfo1", 5)
        assert world.nodes["sfo1"].members.number == 1
        assert len(world.nodes["sfo1"].store.strays) == len(early) + len(late)
        assert await let_in(world, "sfo1")
        await chronicle.ends([*world.names])


@in_virtual_time
async def test_who_knows_only_another_newcomer_is_let_in_even_if_it_starts_twice():
    """What it keeps of the members are names: of where they are it has to ask again."""
    world, chronicle = await founded()
    world.add("par1", "par", ["ny1"])
    world.add("sfo1", "sfo", ["par1"])
    await world.start("par1")
    await world.start("sfo1")
    await until(lambda: world.nodes["sfo1"].members.number == 1, 5)
    await world.crash("sfo1")
    await world.stop_one("par1")
    await world.start("sfo1")
    await asyncio.sleep(1)
    dialers = world.nodes["sfo1"].replication.dialers
    assert sorted(dialers) == ["lon1", "ny1", "par1", "tok1"]
    assert "name it in the file" in dialers["ny1"].error
    await world.start("par1")
    assert await let_in(world, "sfo1")
    assert sorted(dialers) == ["lon1", "ny1", "tok1"]
    assert await let_in(world, "par1")
    await chronicle.ends([*world.names])


async def founded_beside(sync_seconds: float) -> tuple[World, Chronicle]:
    """A cluster, and a machine sfo1 with a slow disk that knows ny1."""
    world, chronicle = await founded()
    world.add("sfo1", "sfo", ["ny1"])
    world.disks["sfo1"].sync_seconds = sync_seconds
    return world, chronicle


async def ends_as_a_member(world: World, chronicle: Chronicle) -> None:
    await until_members(world, world.names)
    await chronicle.write("sfo1", 6)
    await chronicle.ends([*world.names])


@in_virtual_time
async def test_what_a_newcomer_made_when_it_took_itself_for_a_founder_keeps_its_number():
    """It goes on as another origin, also if it died before it had that on its disk."""
    world, chronicle = await founded_beside(sync_seconds=0.05)
    async with chronicle.looking_on():
        await start_asking(world, "sfo1")
        writes = [asyncio.create_task(chronicle.write("sfo1")) for _ in range(6)]
        await until(lambda: world.nodes["sfo1"].members.epoch is not None, 5)
        await world.crash("sfo1")
        await start_asking(world, "sfo1")
        await asyncio.gather(*writes, return_exceptions=True)
        await ends_as_a_member(world, chronicle)


@in_virtual_time
async def test_so_does_what_was_not_on_its_disk_yet_when_it_heard_who_the_members_are():
    world, chronicle = await founded_beside(sync_seconds=0.5)
    async with chronicle.looking_on():
        await start_asking(world, "sfo1")
        node = world.nodes["sfo1"]
        await until(lambda: node.membership._carrying, 5)
        await asyncio.sleep(1.5)  # the epoch is on its way to the disk
        assert node.members.epoch is None
        await chronicle.write("sfo1")
        await ends_as_a_member(world, chronicle)


@in_virtual_time
async def test_a_ballot_that_takes_long_is_not_outbid_for_ever():
    """Each of two members wants the newcomer in; to keep what it votes takes either a second."""
    world, chronicle = await founded([("ny", 1), ("lon", 1)])
    world.add("sfo1", "sfo", ["ny1"])
    for here in world.names:
        world.disks[here].sync_seconds = 0.4
        for there in world.names:
            world.network.set_route(here, there, Route(latency_seconds=0.15))
    async with chronicle.looking_on():
        await start_asking(world, "sfo1")
        await until_members(world, world.names, seconds=25)
        await chronicle.ends([*world.names])


@in_virtual_time
async def test_who_crashes_while_it_joins_goes_on_after_its_restart():
    world, chronicle = await founded()
    await chronicle.write("lon1", 100)
    world.add("sfo1", "sfo", ["ny1"])
    async with chronicle.looking_on():
        for seconds in (0.05, 0.3, 1.0, 1.5):
            await start_asking(world, "sfo1")
            await chronicle.write("sfo1", 2)
            await asyncio.sleep(seconds)
            await world.crash("sfo1")
        await start_asking(world, "sfo1")
        await until_members(world, world.names)
        await chronicle.ends([*world.names])


@in_virtual_time
async def test_who_crashes_at_the_moment_it_is_let_in_is_a_member_after_its_restart():
    world, chronicle = await founded()
    world.add("sfo1", "sfo", ["ny1"])
    async with chronicle.looking_on():
        await start_asking(world, "sfo1")
        await chronicle.write("sfo1", 3)
        await until_members(world, world.names, at=["ny1"])
        await world.crash("sfo1")
        await chronicle.write("tok1", 3)
        await asyncio.sleep(3)
        await world.start("sfo1")
        await chronicle.ends([*world.names])


@in_virtual_time
async def test_who_knows_only_a_node_that_is_down_waits_for_it():
    world, chronicle = await founded()
    await world.crash("lon1")
    world.add("sfo1", "sfo", ["lon1"])
    async with chronicle.looking_on():
        await start_asking(world, "sfo1")
        await chronicle.write("sfo1", 3)
        await asyncio.sleep(10)
        assert "sfo1" not in world.nodes["ny1"].membership.waiting
        await chronicle.write("sfo1", 3)
        await world.start("lon1")
        await until_members(world, world.names)
        await chronicle.ends([*world.names])


@in_virtual_time
async def test_every_member_knows_who_waits():
    """An operator may ask any of them to let it in."""
    world, _ = await founded(PAIRS)
    world.add("sfo1", "sfo", ["lon2"])
    await world.start("sfo1")
    await until(
        lambda: waits_at(world, "sfo1") == ["ny1", "ny2", "lon1", "lon2", "tok1"],
        20,
        lambda: f"sfo1 waits at {waits_at(world, 'sfo1')}",
    )


# -- leaving -------------------------------------------------------------------------------------


@in_virtual_time
async def test_settlement_goes_on_within_two_seconds_after_a_planned_leave():
    world, chronicle = await founded(PAIRS)
    async with chronicle.looking_on():
        await chronicle.write("tok1", 20)
        leaving = asyncio.create_task(world.nodes["tok1"].membership.leave(20))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="append at another one"):
            await chronicle.write("tok1")
        assert await leaving
        await world.stop_one("tok1")
        assert await settles(world, "ny1") < 2
        await chronicle.ends(["ny1", "ny2", "lon1", "lon2"])
        assert origin_of(world, "ny1") in world.nodes["lon2"].members.joined


@in_virtual_time
async def test_who_has_left_does_not_come_back_by_itself():
    world, chronicle = await founded(PAIRS)
    async with chronicle.looking_on():
        await chronicle.write("tok1", 5)
        assert await world.nodes["tok1"].membership.leave(20)
        await world.crash("tok1")
        await world.start("tok1")
        await asyncio.sleep(20)
        assert state_of(world.nodes["tok1"]) == "left"
        with pytest.raises(Unavailable, match="append at another one"):
            await chronicle.write("tok1")
        assert world.nodes["ny1"].membership.waiting == {}
        await chronicle.ends(["ny1", "ny2", "lon1", "lon2"])


@in_virtual_time
async def test_who_leaves_hands_over_first_what_only_it_has():
    world, chronicle = await founded()
    async with chronicle.looking_on():
        world.cut_off({"tok1"})
        await asyncio.sleep(3)
        await chronicle.write("tok1", 300, size=20_000)
        assert not await world.nodes["tok1"].membership.leave(1)
        world.network.heal()
        dialers = world.nodes["tok1"].replication.dialers
        await until(lambda: all(one.state == "connected" for one in dialers.values()), 10)
        assert await world.nodes["tok1"].membership.leave(30)
        await world.stop_one("tok1")
        await chronicle.ends(["ny1", "lon1"])


@in_virtual_time
async def test_who_leaves_hands_over_first_what_it_holds_of_one_who_is_down():
    """Else the epoch without it owes commits to all that nobody has."""
    world, chronicle = await founded([("ny", 1), ("lon", 1), ("tok", 1), ("syd", 1)])
    async with chronicle.looking_on():
        for one in ("lon1", "tok1"):
            for other in ("ny1", "syd1"):
                cut_pair(world, one, other)
        await asyncio.sleep(3)
        await chronicle.write("tok1", 5)
        await asyncio.sleep(1)
        await world.crash("tok1")
        world.network.heal()
        assert await world.nodes["lon1"].membership.leave(30)
        await world.stop_one("lon1")
        await asyncio.sleep(3)
        assert all(world.nodes[name].membership.has_a_vote for name in ("ny1", "syd1"))
        await world.start("tok1")
        await chronicle.ends(["ny1", "syd1", "tok1"])


@in_virtual_time
async def test_who_leaves_while_it_is_unsure_appends_again_what_it_took_and_goes():
    world, chronicle = await founded()
    async with chronicle.looking_on():
        await world.crash("tok1")
        await world.start("tok1")
        await chronicle.write("tok1", 3)
        assert state_of(world.nodes["tok1"]) == "unsure"
        assert await world.nodes["tok1"].membership.leave(20)
        await world.stop_one("tok1")
        await chronicle.ends(["ny1", "lon1"])


@in_virtual_time
async def test_two_members_leave_down_to_one():
    world, chronicle = await founded()
    async with chronicle.looking_on():
        for name in ("tok1", "lon1"):
            await chronicle.write(name, 5)
            assert await world.nodes[name].membership.leave(20)
            await world.stop_one(name)
            assert await settles(world, "ny1") < 2
        await chronicle.ends(["ny1"])


# -- two changes at once, and proposers that crash -----------------------------------------------


@in_virtual_time
async def test_two_changes_at_once_from_two_members_are_both_made():
    world, chronicle = await founded([("ny", 3), ("lon", 3), ("tok", 1)])
    async with chronicle.looking_on():
        for name in ("ny3", "lon3"):
            await chronicle.write(name, 5)
        await asyncio.sleep(1)
        for name in ("ny3", "lon3"):
            await world.crash(name)
        alive = ["ny1", "ny2", "lon1", "lon2", "tok1"]
        async with chronicle.under_load(lambda: alive):
            want_out(world, "ny1", "lon3")
            want_out(world, "lon1", "ny3")
            await until_members(world, alive, at=alive)
            assert world.nodes["tok1"].members.number == 3
        await chronicle.ends(alive)
        assert chronicle.failed == chronicle.late == []


@pytest.mark.parametrize("seconds", [0.02, 0.03, 0.05, 0.07, 0.09, 0.11])
@in_virtual_time
async def test_what_a_proposer_began_that_crashed_others_end(seconds):
    """Nothing settles while a change is under way, so it has to come to an end."""
    world, chronicle = await founded(PAIRS)
    async with chronicle.looking_on():
        proposer = world.nodes["lon2"]
        want_out(world, "lon2", "tok1")
        await until(lambda: proposer.membership.epochs.frozen, 5)
        await asyncio.sleep(seconds)
        await world.crash("lon2")
        await asyncio.sleep(8)
        names = ["ny1", "ny2", "lon1", "tok1"]
        assert [one for one in names if world.nodes[one].membership.epochs.frozen] == []
        assert len({node.members.mark for node in world.nodes.values()}) == 1
        await world.start("lon2")
        if "tok1" not in world.nodes["ny1"].members:
            world.nodes["tok1"].membership.asks = True  # it was there all the time
        await until_members(world, world.names)
        await chronicle.write("tok1")
        await chronicle.ends([*world.names])


# -- a cluster that is forced apart --------------------------------------------------------------


@in_virtual_time
async def test_both_sides_of_a_cut_that_remove_each_other_by_force_never_mix():
    world, chronicle = await founded([("ny", 2), ("lon", 2)])
    sides = {"ny": ["ny1", "ny2"], "lon": ["lon1", "lon2"]}
    await chronicle.write("ny1", 3)
    await world.until_settled()
    world.cut_off({*sides["ny"]})
    await asyncio.sleep(4)
    for site, other in (("ny", "lon"), ("lon", "ny")):
        membership = world.nodes[f"{site}1"].membership
        gone = tuple(origin_of(world, name) for name in sides[other])
        await membership.force(Change(remove=gone))
        await until_members(world, sides[site])
        await chronicle.write(f"{site}1", 3)
        assert await settles(world, f"{site}2") < 2
    world.network.heal()
    await asyncio.sleep(10)
    for site, other in (("ny", "lon"), ("lon", "ny")):
        assert left(world, sides[site]) == []
        assert await settles(world, f"{site}1") < 2
        for name in sides[site]:
            node = world.nodes[name]
            assert node.members.number == 2
            assert not any(
                log[1] in world.nodes[f"{other}1"].members.joined
                and seq > node.members.end(log, seq)
                for log, seq in node.store.frontier.items()
            )
    refusals = [
        dialer.error
        for node in world.nodes.values()
        for dialer in node.replication.dialers.values()
        if dialer.state == "refused"
    ]
    assert refusals
    assert all("forced apart. Decide which side goes on" in str(one) for one in refusals)


# -- a dispute, and another epoch (tests/simulations/test_disputes.py has the rest) ----------------


@pytest.mark.parametrize("tampered_first", [True, False])
@in_virtual_time
async def test_a_disputed_shard_stays_so_in_the_next_epoch_and_all_data_is_kept(tampered_first):
    world, chronicle = await founded()
    shards = range(world.config.shards)
    for name in world.names:
        await chronicle.write(name, 6)
    await world.until_settled()
    shard = next(shard for shard in shards if world.nodes["ny1"].history.mark(shard).commits)
    if tampered_first:
        tamper(world, "lon1", shard)
        await asyncio.sleep(2)
    world.add("sfo1", "sfo", ["tok1"])
    await start_asking(world, "sfo1")
    await until_members(world, world.names)
    if not tampered_first:
        tamper(world, "lon1", shard)
    await asyncio.sleep(5)
    assert disputes(world) == {name: [shard] for name in world.names}
    assert all("sfo1" in node.members for node in world.nodes.values())
    before = [node.history.mark(shard).commits for node in world.nodes.values()]
    everywhere = [*chronicle.acknowledged]
    taken = {name: await chronicle.write(name, 6) for name in world.names}
    await asyncio.sleep(5)
    assert [node.history.mark(shard).commits for node in world.nodes.values()] == before
    for name, node in world.nodes.items():
        for commit_id in [*everywhere, *taken[name]]:
            assert any(node.history.find(commit_id, one) for one in shards), f"{name} lacks one"
        assert {standing.held.shard for standing in node.history.all_tentative()} == {shard}


def tamper(world: World, name: str, shard: int) -> None:
    """Let a node have another running hash than it should."""
    marks = world.nodes[name].history._marks
    marks[shard] = marks[shard]._replace(running=b"another hash than the others has"[:32])
