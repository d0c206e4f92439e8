"""A member that is gone for good is removed by itself, so settlement goes on; a site is not."""

from __future__ import annotations

import asyncio

import pytest

from anabranch.node.config import Tuning
from anabranch.node.fold import OrderKey
from anabranch.node.node import Node
from anabranch.node.pages import Slice, order_page
from anabranch.simulations.world.world import World

from .membership import Chronicle, origin_of, settles, start_asking, until, until_members
from .stories import cut_pair, draft, in_virtual_time

NINE = [("ny", 3), ("lon", 3), ("tok", 3)]
EVICT_AFTER_SECONDS = 5.0


async def founded(sites: list[tuple[str, int]] = NINE, seed: int = 1) -> tuple[World, Chronicle]:
    world = World(seed, sites, tuning=Tuning(evict_after_seconds=EVICT_AFTER_SECONDS))
    await world.start()
    await asyncio.sleep(3)
    return world, Chronicle(world)


def others(world: World, *gone: str) -> list[str]:
    return [name for name in world.names if name not in gone]


@pytest.mark.parametrize("name", ["ny1", "lon3", "tok2"])
@in_virtual_time
async def test_settlement_goes_on_soon_after_a_node_has_died(name):
    world, chronicle = await founded()
    rest = others(world, name)
    async with chronicle.looking_on():
        await chronicle.write(name, 5)
        await asyncio.sleep(0.5)  # what only a lost disk had is lost
        await world.crash(name)
        async with chronicle.under_load(lambda: rest):
            assert await settles(world, rest[0], 15) < EVICT_AFTER_SECONDS + 5
            await until_members(world, rest)
            assert await settles(world, rest[-1]) < 2
        await chronicle.ends(rest)
        assert chronicle.failed == chronicle.late == []
        assert {node.members.number for node in world.nodes.values()} == {2}


@in_virtual_time
async def test_who_joins_later_has_what_the_removed_node_had_settled():
    world, chronicle = await founded([("ny", 2), ("lon", 2), ("tok", 1)])
    rest = others(world, "lon2")
    async with chronicle.looking_on():
        await chronicle.write("lon2", 10)
        await world.until_settled()
        await chronicle.write("lon2", 10)
        await asyncio.sleep(0.03)  # some have these, some do not
        await world.crash("lon2")
        await until_members(world, rest)
        world.add("sfo1", "sfo", ["ny1"])
        await start_asking(world, "sfo1")
        await world.until_settled()
        await world.start("lon2")
        await chronicle.ends(world.names)


@in_virtual_time
async def test_the_last_node_of_a_site_is_not_removed_by_itself():
    world, chronicle = await founded([("ny", 2), ("lon", 2), ("tok", 1)])
    async with chronicle.looking_on():
        await chronicle.write("tok1", 3)
        await world.crash("tok1")
        await asyncio.sleep(6 * EVICT_AFTER_SECONDS)
        assert {node.members.number for node in world.nodes.values()} == {1}
        await chronicle.write("ny1", 3)
        assert world.nodes["ny1"].history.tentative_commits
        await world.start("tok1")
        await chronicle.ends(world.names)


@in_virtual_time
async def test_the_second_of_a_site_that_dies_is_removed_and_the_third_is_not():
    world, chronicle = await founded([("ny", 3), ("lon", 3)])
    rest = others(world, "ny2", "ny3")
    async with chronicle.looking_on():
        for name in ("ny2", "ny3"):
            await chronicle.write(name, 3)
            await asyncio.sleep(0.5)
            await world.crash(name)
            left_now = [one for one in world.names if one in world.nodes]
            await until_members(world, left_now, seconds=EVICT_AFTER_SECONDS + 5)
        await world.crash("ny1")
        await asyncio.sleep(4 * EVICT_AFTER_SECONDS)
        assert {node.members.number for node in world.nodes.values()} == {3}
        await world.start("ny1")
        await chronicle.ends(rest)


@in_virtual_time
async def test_a_node_that_only_a_mate_reaches_stays_while_the_mate_hears_it():
    """Its mate has to agree that it is gone, and passes on what it says."""
    world, chronicle = await founded([("ny", 2), ("lon", 2), ("tok", 1)])
    async with chronicle.looking_on():
        for name in others(world, "ny1", "ny2"):
            cut_pair(world, "ny2", name)
        async with chronicle.under_load(lambda: world.names, 0.2):
            for _ in range(4):
                await asyncio.sleep(EVICT_AFTER_SECONDS)
                assert {node.members.number for node in world.nodes.values()} == {1}
                await settles(world, "tok1", 10)
        assert chronicle.failed == chronicle.late == []
        world.network.heal()
        await chronicle.ends(world.names)


@in_virtual_time
async def test_a_node_that_only_another_site_reaches_stays():
    """Reports are passed on: silence is that of the last sign of life, by whatever way."""
    world, chronicle = await founded()
    async with chronicle.looking_on():
        for name in others(world, "ny2", "tok3"):
            cut_pair(world, "ny2", name)
        async with chronicle.under_load(lambda: world.names, 0.2):
            await asyncio.sleep(4 * EVICT_AFTER_SECONDS)
        assert {node.members.number for node in world.nodes.values()} == {1}
        assert chronicle.failed == chronicle.late == []
        world.network.heal()
        await chronicle.ends(world.names)


@pytest.mark.parametrize("crashes", [False, True])
@in_virtual_time
async def test_what_only_the_removed_node_had_is_there_once_it_is_back(crashes):
    world, chronicle = await founded()
    before = origin_of(world, "lon2")
    rest = others(world, "lon2")
    async with chronicle.looking_on():
        await chronicle.write("lon2", 5)
        world.cut_off({"lon2"})
        await chronicle.write("lon2", 20)
        await until_members(world, rest, seconds=EVICT_AFTER_SECONDS + 5)
        await chronicle.write("lon2", 5)
        await chronicle.write("lon1", 5)
        if crashes:
            await world.crash("lon2")
        world.network.heal()
        await start_asking(world, "lon2")
        await chronicle.ends(world.names)
    after = {node.members.origin("lon2") for node in world.nodes.values()}
    assert len(after) == 1 and before not in after
    assert all(before not in node.members.joined for node in world.nodes.values())
    assert all(before in node.members.epoch.finals for node in world.nodes.values())


@in_virtual_time
async def test_positions_of_a_removed_node_go_on_to_say_where_a_reader_was():
    """Those of what was cut off too, though it has another place now."""
    world, chronicle = await founded([("ny", 3), ("lon", 2)])
    ny3 = world.nodes["ny3"]
    before = ny3.store.origin
    kept = [await ny3.append(draft("s", f"kept {number}")) for number in range(3)]
    await asyncio.sleep(1)
    world.cut_off({"ny3"})
    cut_off = [await ny3.append(draft("s", f"cut off {number}")) for number in range(3)]
    await until_members(world, others(world, "ny3"), seconds=EVICT_AFTER_SECONDS + 5)
    world.network.heal()
    await chronicle.ends(world.names)
    assert before not in world.nodes["lon1"].members.joined
    for node in world.nodes.values():
        everything = [one.key for one in read(node, None)]
        assert len(everything) == 6
        assert {one.key for one in kept} < {*everything}
        assert not {one.key for one in cut_off} & {*everything}
        for one in kept + cut_off:
            rest = [key for key in everything if key > one.key]
            assert [found.key for found in read(node, (one.key, 0))] == rest


def read(node: Node, after: tuple[OrderKey, int] | None) -> list[Slice]:
    until = node.settler.final_until()
    wanted = {"types": frozenset(), "stream_prefix": "", "limit": 100, "before": 0}
    return order_page(node.history, after=after, until=until, **wanted).slices


@in_virtual_time
async def test_a_node_that_is_removed_again_and_again_loses_nothing():
    world, chronicle = await founded([("ny", 3), ("lon", 2)])
    origins = set()
    async with chronicle.looking_on():
        for turn in range(3):
            origins.add(origin_of(world, "ny3"))
            world.cut_off({"ny3"})
            await chronicle.write("ny3", 5)
            await until_members(world, others(world, "ny3"), seconds=EVICT_AFTER_SECONDS + 5)
            await chronicle.write("lon1", 5)
            world.network.heal()
            await chronicle.ends(world.names)
            assert len(origins) == turn + 1
            assert not origins & world.nodes["lon1"].members.joined


@in_virtual_time
async def test_a_site_that_is_cut_off_is_not_removed_and_nothing_pauses_elsewhere():
    world, chronicle = await founded()
    here = [name for name in world.names if not name.startswith("tok")]
    loop = asyncio.get_running_loop()
    async with chronicle.looking_on(), chronicle.under_load(lambda: world.names, 0.1):
        world.cut_off({"tok1", "tok2", "tok3"})
        until_seconds = loop.time() + 4 * EVICT_AFTER_SECONDS
        while loop.time() < until_seconds:
            began = loop.time()
            (taken,) = await chronicle.write("ny1")
            await until(lambda taken=taken: all(sees(world, one, taken) for one in here), 0.5)
            assert loop.time() - began < 0.5
            await asyncio.sleep(1)
        assert {node.members.number for node in world.nodes.values()} == {1}
        world.network.heal()
        await settles(world, "tok1", 20)
    await chronicle.ends(world.names)
    assert chronicle.failed == chronicle.late == []


def sees(world: World, name: str, commit_id: bytes) -> bool:
    """Whether a reader of the latest sees a commit at a node."""
    history = world.nodes[name].history
    return any(history.find(commit_id, shard) for shard in range(world.config.shards))
