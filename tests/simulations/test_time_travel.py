"""Directories that go back in time: restored, wiped, copied. Nobody is harmed by it."""

from __future__ import annotations

import asyncio

import pytest

from anabranch.gossip.frontier import LogKey
from anabranch.node.config import Tuning
from anabranch.node.node import Node
from anabranch.node.status import state_of
from anabranch.simulations.world.world import ROOM_BYTES, World
from anabranch.storage.errors import Unavailable

from .membership import (
    Chronicle,
    commits_on,
    left,
    origin_of,
    settles,
    start_asking,
    until,
    until_members,
)
from .stories import THREE, in_virtual_time

FIVE = [("ny", 2), ("lon", 2), ("tok", 1)]


async def founded(sites: list[tuple[str, int]] = THREE, **tuning) -> tuple[World, Chronicle]:
    tuning = {"evict_after_seconds": None, **tuning}
    world = World(1, sites, tuning=Tuning(**tuning))
    await world.start()
    await asyncio.sleep(3)
    chronicle = Chronicle(world)
    for name in world.names:
        await chronicle.write(name, 3)
    await world.until_settled()
    return world, chronicle


def never_again(world: World, lost: list[tuple[tuple[int, int, int], bytes]]) -> None:
    """No place in a log that a lost disk had names another commit anywhere."""
    on_lost = dict(lost)
    for disk in world.disks.values():
        for place, commit in commits_on(disk):
            assert on_lost.get(place, commit) == commit, f"{place} names two commits"


# -- restored --------------------------------------------------------------------------------------


@pytest.mark.parametrize("others_write_on", [False, True])
@pytest.mark.parametrize("sites", [THREE, FIVE])
@in_virtual_time
async def test_a_restored_node_goes_on_as_another_origin_and_loses_nothing(sites, others_write_on):
    world, chronicle = await founded(sites)
    async with chronicle.looking_on():
        before = origin_of(world, "lon1")
        await world.stop_one("lon1")
        snapshot = world.snapshot("lon1")
        await world.start("lon1")
        await chronicle.write("lon1", 10)
        await settles(world, "ny1")
        await world.crash("lon1")
        lost = commits_on(world.disks["lon1"])
        if others_write_on:
            await chronicle.write("ny1", 10)
        world.restore("lon1", snapshot)
        await world.start("lon1")
        await chronicle.write("lon1", 10)
        await chronicle.ends(world.names)
        assert before not in world.nodes["ny1"].members.joined
        never_again(world, lost)


@in_virtual_time
async def test_nothing_is_proven_by_a_restart_alone():
    world, chronicle = await founded()
    async with chronicle.looking_on():
        before = origin_of(world, "lon1")
        for end in (world.crash, world.stop_one):
            await chronicle.write("lon1", 5)
            await end("lon1")
            await world.start("lon1")
            await chronicle.write("lon1", 5)
            await chronicle.ends(world.names)
            assert origin_of(world, "lon1") == before
            assert world.nodes["ny1"].members.number == 1


@in_virtual_time
async def test_a_node_that_is_restored_during_a_cut_finds_out_afterwards():
    world, chronicle = await founded()
    async with chronicle.looking_on():
        before = origin_of(world, "lon1")
        await world.stop_one("lon1")
        snapshot = world.snapshot("lon1")
        await world.start("lon1")
        await chronicle.write("lon1", 5)
        await settles(world, "lon1")
        world.cut_off({"lon1"})
        await asyncio.sleep(1)
        only_here = await chronicle.write("lon1", 5)
        await world.crash("lon1")
        world.restore("lon1", snapshot)
        await world.start("lon1")
        await chronicle.write("lon1", 5)
        await chronicle.write("ny1", 5)
        await asyncio.sleep(5)
        assert state_of(world.nodes["lon1"]) == "unsure"
        await chronicle.write("lon1", 5)
        world.network.heal()
        await chronicle.ends(world.names, lost=only_here)
        assert before not in world.nodes["ny1"].members.joined


@in_virtual_time
async def test_a_node_that_is_restored_again_before_it_is_let_in_loses_nothing():
    world, chronicle = await founded()
    async with chronicle.looking_on():
        await world.stop_one("tok1")
        snapshot = world.snapshot("tok1")
        await world.start("tok1")
        await chronicle.write("tok1", 5)
        await settles(world, "tok1")
        for _ in range(3):
            await world.crash("tok1")
            world.restore("tok1", snapshot)
            await world.start("tok1")
            await asyncio.sleep(6)
            await chronicle.write("tok1", 5)
            await settles(world, "tok1")
        await chronicle.ends(world.names)


@in_virtual_time
async def test_two_of_five_are_restored_at_once():
    world, chronicle = await founded(FIVE)
    async with chronicle.looking_on():
        both = ("ny2", "lon2")
        for name in both:
            await world.stop_one(name)
        snapshots = {name: world.snapshot(name) for name in both}
        await world.start(*both)
        for name in both:
            await chronicle.write(name, 5)
            await settles(world, name)
        for name in both:
            await world.crash(name)
            world.restore(name, snapshots[name])
        await world.start(*both)
        for name in both:
            await chronicle.write(name, 5)
        await chronicle.ends(world.names)


# -- wiped -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("during_a_cut", [False, True])
@pytest.mark.parametrize("sites", [THREE, FIVE])
@in_virtual_time
async def test_a_node_whose_disk_was_wiped_comes_back_with_what_the_others_have(
    sites, during_a_cut
):
    world, chronicle = await founded(sites)
    async with chronicle.looking_on():
        before = origin_of(world, "lon1")
        await chronicle.write("lon1", 5)
        await settles(world, "lon1")
        only_here: list[bytes] = []
        if during_a_cut:
            world.cut_off({"lon1"})
            await asyncio.sleep(1)
            only_here = await chronicle.write("lon1", 5)
        await world.crash("lon1")
        lost = commits_on(world.disks["lon1"])
        world.lose_disk("lon1")
        await chronicle.write("ny1", 5)
        await world.start("lon1")
        await chronicle.write("lon1", 5)
        await asyncio.sleep(1)
        await chronicle.write("lon1", 5)
        world.network.heal()
        await chronicle.ends(world.names, lost=only_here)
        assert before not in world.nodes["ny1"].members.joined
        never_again(world, lost)


# -- copied ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [False, True])
@in_virtual_time
async def test_two_processes_on_copies_of_one_directory_never_share_a_place(cut):
    world, chronicle = await founded()
    async with chronicle.looking_on():
        await world.stop_one("lon1")
        world.copy("lon1", "twin")
        await world.start("lon1")
        await chronicle.write("lon1", 5)
        await settles(world, "lon1")
        if cut:
            world.cut_off({"twin"})
        await world.start("twin")
        await chronicle.write("twin", 5)
        await asyncio.sleep(4)
        await write_if_it_takes_any(chronicle, "lon1")
        await write_if_it_takes_any(chronicle, "twin")
        world.network.heal()
        await asyncio.sleep(20)
        await write_if_it_takes_any(chronicle, "lon1")
        await write_if_it_takes_any(chronicle, "twin")
        await asyncio.sleep(5)
        await world.stop_one("twin")
        await world.stop_one("lon1")
        await start_asking(world, "lon1")
        await chronicle.ends(["ny1", "lon1", "tok1"])


@in_virtual_time
async def test_a_copy_that_starts_while_the_first_is_cut_off():
    """Each stamps what the other knows nothing of: the newer start keeps the name."""
    world, chronicle = await founded()
    async with chronicle.looking_on():
        await world.stop_one("lon1")
        world.copy("lon1", "twin")
        await world.start("lon1")
        await asyncio.sleep(3)
        world.cut_off({"lon1"})
        await asyncio.sleep(1)
        await chronicle.write("lon1", 5)
        await world.start("twin")
        await asyncio.sleep(5)
        await chronicle.write("twin", 5)
        world.network.heal()
        await asyncio.sleep(5)
        await chronicle.write("twin", 5)
        await asyncio.sleep(5)
        await world.stop_one("twin")
        await world.stop_one("lon1")
        await start_asking(world, "lon1")
        await chronicle.ends(["ny1", "lon1", "tok1"])


@in_virtual_time
async def test_two_copies_that_start_at_the_same_moment():
    world, chronicle = await founded()
    async with chronicle.looking_on():
        await world.stop_one("lon1")
        world.copy("lon1", "twin")
        await world.start("twin", "lon1")
        for _ in range(3):
            await write_if_it_takes_any(chronicle, "lon1")
            await write_if_it_takes_any(chronicle, "twin")
            await asyncio.sleep(3)
        await world.stop_one("lon1")
        await world.stop_one("twin")
        await start_asking(world, "twin")  # each of them hands in what only it has
        await until(lambda: not left(world, ["ny1", "twin", "tok1"]), 60)
        await world.stop_one("twin")
        await start_asking(world, "lon1")
        await chronicle.ends(["ny1", "lon1", "tok1"])


@pytest.mark.parametrize("goes_on", ["lon1", "twin"])
@in_virtual_time
async def test_a_copy_of_a_node_that_runs_but_is_cut_off(goes_on):
    """The one case in which a place in a log gets two commits: those of the two are not mixed."""
    world, chronicle = await founded()
    async with chronicle.looking_on():
        await asyncio.sleep(1)
        world.cut_off({"lon1"})
        await asyncio.sleep(0.3)
        world.copy("lon1", "twin")
        await world.start("twin")
        await asyncio.sleep(4)
        assert origin_of(world, "twin") == origin_of(world, "lon1")
        only_there = await chronicle.write("lon1", 5)
        await chronicle.write("twin", 5)
        await settles(world, "twin")
        world.network.heal()
        await asyncio.sleep(5)
        assert state_of(world.nodes["lon1"]) == "stranger"
        with pytest.raises(Unavailable, match="copies of one data directory"):
            await chronicle.write("lon1")
        await world.stop_one("lon1")
        if goes_on == "twin":
            lost, members = only_there, ["ny1", "twin", "tok1"]
        else:
            await world.stop_one("twin")
            await world.start("lon1")
            lost, members = [], ["ny1", "lon1", "tok1"]
        await chronicle.ends(members, lost=lost, copied=True)


@in_virtual_time
async def test_a_copy_that_was_shorter_but_promised_more_is_not_overlooked():
    """The first one writes on for a moment, so its log is the longer one when it starts again."""
    world, chronicle = await founded()
    async with chronicle.looking_on():
        before = origin_of(world, "lon1")
        await asyncio.sleep(1)
        world.copy("lon1", "twin")
        world.cut_off({"lon1"})
        await chronicle.write("lon1", 20)
        await world.start("twin")
        await asyncio.sleep(3)
        assert origin_of(world, "twin") == before
        assert world.nodes["twin"].membership.sureness.sure
        longest = world.nodes["lon1"].log.end
        assert longest > world.nodes["twin"].log.end
        await world.crash("twin")
        await world.crash("lon1")
        world.network.heal()
        for _ in range(2):  # the second time the others know a start in between
            await world.start("lon1")
            await asyncio.sleep(0.5)
            await world.crash("lon1")
        await world.start("lon1")
        await chronicle.ends(["ny1", "lon1", "tok1"])
        assert before not in world.nodes["ny1"].members.joined


@in_virtual_time
async def test_what_a_node_made_is_given_to_nobody_before_it_is_sure():
    """A copy may have gone on with its log, which only a member knows that was not asked yet."""
    world, chronicle = await founded(all_confirm=True)

    def held_at(name: str) -> int:
        frontier = world.nodes[name].store.frontier
        return sum(seq for (_, origin), seq in frontier.items() if origin == before)

    async with chronicle.looking_on():
        before = origin_of(world, "lon1")
        world.cut_off({"lon1"})
        await chronicle.write("lon1", 5)
        await world.crash("lon1")
        world.network.heal()
        world.cut_off({"tok1"})
        await world.start("lon1")
        await asyncio.sleep(10)
        assert state_of(world.nodes["lon1"]) == "unsure"
        assert held_at("lon1") == held_at("ny1") + 5
        world.network.heal()
        await chronicle.ends(["ny1", "lon1", "tok1"])
        assert held_at("ny1") == held_at("lon1")


@in_virtual_time
async def test_a_copy_while_the_cluster_forms_does_not_speak_for_the_first_one():
    """What the copy says that it holds, the first one does not."""
    world = World(1, THREE, tuning=Tuning(evict_after_seconds=None))
    await world.start("ny1", "lon1")
    chronicle = Chronicle(world)
    async with chronicle.looking_on():
        await chronicle.write("lon1", 3)
        await asyncio.sleep(1)
        world.copy("lon1", "twin")
        await world.start("twin")
        await until(lambda: state_of(world.nodes["lon1"]) == "stranger", 5)
        with pytest.raises(Unavailable, match="copies of one data directory"):
            await chronicle.write("lon1")
        await world.start("tok1")
        await until(lambda: world.nodes["lon1"].members.number == 1, 5)
        await asyncio.sleep(1)
        for name, node in world.nodes.items():
            assert on_disk(node) == dict(node.store.frontier.items()), name
        await world.stop_one("twin")
        await world.stop_one("lon1")
        await start_asking(world, "lon1")
        await chronicle.ends(["ny1", "lon1", "tok1"])


def on_disk(node: Node) -> dict[LogKey, int]:
    """The last sequence of each log that a node can read back."""
    logs = [log for log, _ in node.store.frontier.items()]
    return {log: sum(1 for _ in node.history.log_entries(*log, 0)) for log in logs}


async def write_if_it_takes_any(chronicle: Chronicle, name: str) -> None:
    try:
        await chronicle.write(name, 5)
    except Unavailable:
        assert state_of(chronicle.node(name)) == "stranger"


# -- alone, and for long ---------------------------------------------------------------------------


@in_virtual_time
async def test_a_cluster_of_one_asks_nobody():
    world, chronicle = await founded([("ny", 1)])
    async with chronicle.looking_on():
        before = origin_of(world, "ny1")
        await world.crash("ny1")
        await world.start("ny1")
        await asyncio.sleep(0.2)
        assert world.nodes["ny1"].membership.sureness.sure
        await chronicle.write("ny1", 3, ack="settled")
        await chronicle.ends(["ny1"])
        assert origin_of(world, "ny1") == before


@in_virtual_time
async def test_a_cluster_of_one_that_is_restored_loses_only_what_came_after():
    world, chronicle = await founded([("ny", 1)])
    await world.stop_one("ny1")
    snapshot = world.snapshot("ny1")
    await world.start("ny1")
    lost = await chronicle.write("ny1", 3)
    await world.crash("ny1")
    world.restore("ny1", snapshot)
    await world.start("ny1")
    await chronicle.write("ny1", 3, ack="settled")
    await chronicle.ends(["ny1"], lost=lost)


@in_virtual_time
async def test_where_one_of_two_was_restored_nothing_is_final_until_an_operator_says_so():
    world, chronicle = await founded([("ny", 1), ("lon", 1)])
    async with chronicle.looking_on():
        await world.stop_one("lon1")
        snapshot = world.snapshot("lon1")
        await world.start("lon1")
        await chronicle.write("lon1", 5)
        await world.until_settled()
        await world.crash("lon1")
        world.restore("lon1", snapshot)
        await world.start("lon1")
        for name in world.names:
            await chronicle.write(name, 5)
        await asyncio.sleep(10)
        assert world.nodes["ny1"].members.number == 1
        assert world.nodes["ny1"].history.tentative_commits == 5
        await world.replace_the_lost()
        await chronicle.ends(world.names)


@pytest.mark.parametrize("crashes", [False, True])
@in_virtual_time
async def test_a_start_for_which_there_was_no_room_does_not_count(crashes):
    """It would be told of at the next one, as of a copy of the directory."""
    world, chronicle = await founded()
    before, disk = origin_of(world, "lon1"), world.disks["lon1"]
    await world.crash("lon1")
    disk.remove("reserve")  # it is used up already
    disk.capacity_bytes -= disk.free()
    await world.start("lon1")
    await asyncio.sleep(5)
    assert not world.nodes["lon1"].membership.sureness.sure
    if crashes:
        await world.crash("lon1")
    disk.capacity_bytes = ROOM_BYTES
    await world.start("lon1")
    await asyncio.sleep(5)
    await settles(world, "lon1")
    await chronicle.ends(world.names)
    assert origin_of(world, "lon1") == before


@pytest.mark.parametrize("all_confirm", [False, True])
@in_virtual_time
async def test_a_node_that_is_unsure_for_long_takes_appends_that_are_there_in_the_end(all_confirm):
    world, chronicle = await founded(FIVE, all_confirm=all_confirm)
    away = ("lon1", "lon2", "tok1")
    async with chronicle.looking_on():
        before = origin_of(world, "ny1")
        for name in ("ny1", *away):
            await world.crash(name)
        await world.start("ny1")
        for _ in range(5):
            await chronicle.write("ny1", 3)
            await asyncio.sleep(5)
        assert state_of(world.nodes["ny1"]) == "unsure"
        await world.start(*away)
        if all_confirm:
            await asyncio.sleep(5)
        await until(lambda: state_of(world.nodes["ny1"]) == "ready", 20)
        await chronicle.ends(world.names)
        assert origin_of(world, "ny1") == before


@in_virtual_time
async def test_all_nodes_crash_at_once_and_become_sure_together():
    world, chronicle = await founded(FIVE)
    async with chronicle.looking_on():
        for name in world.names:
            await chronicle.write(name, 3)
        for name in world.names:
            await world.crash(name)
        await world.start()
        for name in world.names:
            await chronicle.write(name, 3)
        await chronicle.ends(world.names)
        await until_members(world, world.names)
        assert world.nodes["ny1"].members.number == 1
