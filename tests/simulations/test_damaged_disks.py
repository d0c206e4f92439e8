"""Nodes on simulated disks that are damaged: they refuse, or are healed, and give nothing wrong."""

from __future__ import annotations

import asyncio
import re

import pytest

from anabranch.node.config import Tuning
from anabranch.node.node import Node
from anabranch.node.pages import Slice, order_page
from anabranch.simulations.world.disk import DAMAGES
from anabranch.simulations.world.loop import run
from anabranch.simulations.world.world import World
from anabranch.storage.errors import DamagedLog, DiskError
from anabranch.storage.stamp import STAMP_MAX

from .stories import THREE, append, in_virtual_time

COMMITS = 30

Shown = list[tuple[bytes, tuple[bytes, ...], int]]


def shown(node: Node) -> Shown:
    """All that a node serves as settled, with its payloads."""
    slices: list[Slice] = []
    page = None
    while page is None or not page.end:
        after = (slices[-1].key, slices[-1].places[-1]) if slices else None
        page = order_page(
            node.history,
            after=after,
            limit=1000,
            until=STAMP_MAX - 1,
            before=0,
            types=frozenset(),
            stream_prefix="",
        )
        slices += page.slices
    return [(one.commit.id, one.payloads, one.first_revision) for one in slices]


async def three_nodes(seed: int, **tuning: int) -> tuple[World, Shown]:
    """Nodes with several segments, all settled; and what they show."""
    world = World(seed, THREE, tuning=Tuning(segment_bytes=3000, **tuning))
    await world.start()
    for number in range(COMMITS):
        name = world.names[number % 3]
        await append(world, name, f"{number}", stream=f"s{number % 4}", size=100)
    await world.until_settled()
    return world, shown(world.nodes["ny1"])


async def shown_once_healed(world: World, name: str) -> Shown:
    """What a node serves once it can read all of it; its peers may have to give it back."""
    for _ in range(100):
        try:
            return shown(world.nodes[name])
        except DamagedLog as error:
            world.nodes[name].repair.notice(error)  # as whoever reads does
            await asyncio.sleep(0.5)
    raise AssertionError("it was never healed")


async def start_damaged(world: World) -> bool:
    """Whether a node starts; if not, it says so, and what is at fault."""
    says = ""
    try:
        await world.start("tok1")
    except DamagedLog as error:
        says = str(error)
        assert re.match(r"log/[0-9a-f]{16}\.seg|the log (begins|is good up to)", says)
    return not says


@pytest.mark.parametrize("index", ["index kept", "index lost"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_node_that_was_damaged_while_it_was_down_refuses_or_is_healed(kind, index):
    async def story(seed: int) -> bool:
        world, before = await three_nodes(seed)
        await world.stop_one("tok1")
        if index == "index lost":
            world.lose_index("tok1")
        assert world.disks["tok1"].damage(world.generator, kind)
        started = await start_damaged(world)
        if not started:
            world.disks["tok1"].mend()
            await world.start("tok1")
        await world.until_settled()
        assert await shown_once_healed(world, "tok1") == before
        await world.stop()
        return started

    assert sum(run(story(seed)) for seed in range(20)) > 4, "it refuses only if its end is gone"


@pytest.mark.parametrize("kind", [*DAMAGES, "misread"])
def test_a_node_that_is_damaged_while_it_is_up_serves_what_is_right_or_is_healed(kind):
    async def story(seed: int) -> bool:
        world, before = await three_nodes(seed)
        disk, noticed = world.disks["tok1"], False
        if kind == "misread":
            disk.misread = 0.5  # what was read wrong is read once more
        else:
            assert disk.damage(world.generator, kind)
        tok1 = world.nodes["tok1"]
        try:
            assert shown(tok1) == before
        except DiskError:
            noticed = True
        await tok1.scrub.read_all()
        noticed = noticed or tok1.scrub.found > 0
        for name in world.names:
            await append(world, name, f"later at {name}")
        await asyncio.sleep(1)
        disk.misread = 0.0
        await world.stop_one("tok1")
        await start_damaged(world)
        disk.mend()
        await world.start()
        await world.until_settled()
        after = await shown_once_healed(world, "tok1")
        assert after == shown(world.nodes["ny1"])
        assert after[:COMMITS] == before
        await world.stop()
        return noticed

    assert sum(run(story(seed)) for seed in range(12)) > 9


@pytest.mark.parametrize("kind", [*DAMAGES, "misread"])
def test_a_damaged_node_gives_its_peers_nothing_wrong(kind):
    async def story(seed: int) -> bool:
        world, before = await three_nodes(seed, push_window_bytes=1)  # so it reads its disk
        await world.stop_one("tok1")
        for number in range(COMMITS):
            await append(world, "ny1", f"more {number}", size=100)
        await asyncio.sleep(3)  # lon1 has it all as well
        if kind == "misread":
            world.disks["ny1"].misread = 0.5  # it is read again, so a few in a hundred are wrong
        else:
            assert world.disks["ny1"].damage(world.generator, kind)
        world.cut_off({"lon1"})
        await world.start("tok1")
        await asyncio.sleep(3)
        noticed = not world.is_up("ny1") or world.nodes["ny1"].repair.found > 0
        world.disks["ny1"].misread = 0.0
        world.disks["ny1"].mend()
        world.network.heal()
        await world.start()
        await world.until_settled()
        after = [await shown_once_healed(world, name) for name in sorted(world.nodes)]
        assert after[1:] == after[:-1]
        assert after[0][:COMMITS] == before
        keys = [payloads[0].rstrip(b"\0") for _, payloads, _ in after[0][COMMITS:]]
        assert keys == [b"more %d" % number for number in range(COMMITS)]
        await world.stop()
        return noticed

    assert sum(run(story(seed)) for seed in range(10)) > 0


@pytest.mark.parametrize(("kind", "seed"), [("truncate", 19), ("missing", 19)])
@in_virtual_time
async def test_a_log_that_was_rolled_back_does_not_give_a_sequence_twice(kind, seed):
    world, _ = await three_nodes(seed)
    await append(world, "tok1", "lost")
    await world.until_settled()
    await world.stop_one("tok1")
    world.lose_index("tok1")
    assert world.disks["tok1"].damage(world.generator, kind)
    if await start_damaged(world):
        await append(world, "tok1", "again")
        await world.until_settled()
        assert shown(world.nodes["tok1"]) == shown(world.nodes["ny1"])
