"""What a simulated crash may do, and must be able to do: tests that never see it prove nothing.

The contract that it shares with the real disk is tests/storage/test_disk.py.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from random import Random

import pytest

from anabranch.node.config import Tuning
from anabranch.node.node import Node
from anabranch.node.pages import Slice, order_page
from anabranch.simulations.world.disk import DAMAGES, SECTOR_BYTES, SimDisk
from anabranch.simulations.world.loop import run
from anabranch.simulations.world.world import World
from anabranch.storage.errors import DamagedLog, DiskError, DiskFull, SyncFailed
from anabranch.storage.stamp import STAMP_MAX

from .stories import THREE, append, in_virtual_time

FILE, OTHER = "log/a", "log/b"
SEEDS = range(300)
COMMITS = 30


async def filled(seed: int = 1, **options: float) -> SimDisk:
    """Two files, synced in several writes, and something in one that is not."""
    disk, luck = SimDisk(Random(seed), **options), Random(seed)
    for name in (FILE, OTHER):
        for _ in range(8):
            disk.append(name, luck.randbytes(300))
        await disk.sync(name)
    disk.sync_names("log")
    disk.append(FILE, b"not synced")
    return disk


def contents(disk: SimDisk) -> dict[str, bytes]:
    return {name: disk.read(f"log/{name}", 0, 1 << 20) for name in disk.list("log")}


async def crashed(seed: int, unsynced: bytes) -> bytes:
    """What a crash leaves of a file that had one synced sector before this."""
    disk = SimDisk(Random(seed))
    disk.append(FILE, b"s" * SECTOR_BYTES)
    await disk.sync(FILE)
    disk.sync_names("log")
    disk.append(FILE, unsynced)
    disk.crash()
    return disk.read(FILE, 0, 1 << 20)


@in_virtual_time
async def test_what_was_synced_survives_every_crash():
    for seed in SEEDS:
        assert (await crashed(seed, b"u" * 3000))[:SECTOR_BYTES] == b"s" * SECTOR_BYTES


@in_virtual_time
async def test_of_the_rest_everything_nothing_and_any_sectors_may_survive():
    """Lost sectors in between read as zeros: the file has grown, its data has not arrived."""
    shapes = set()
    for seed in SEEDS:
        left = (await crashed(seed, b"u" * 4 * SECTOR_BYTES))[SECTOR_BYTES:]
        sectors = [left[at : at + SECTOR_BYTES] for at in range(0, len(left), SECTOR_BYTES)]
        assert all(set(sector) in ({ord("u")}, {0}) for sector in sectors[:-1])
        shapes.add("".join("u" if sector[0] else "0" for sector in sectors))
    assert {"", "u", "uu", "uuuu", "0u", "u0u", "00u", "0uu", "000u", "0000"} <= shapes
    assert [shape for shape in shapes if shape.endswith("0")] == ["0000"], "the length came first"


@in_virtual_time
async def test_a_record_may_be_torn_within_a_sector():
    lengths = {len(await crashed(seed, b"u" * 300)) - SECTOR_BYTES for seed in SEEDS}
    assert {0, 300} < lengths
    assert any(0 < length < 300 for length in lengths)


@in_virtual_time
async def test_a_name_that_was_not_synced_may_go_with_all_that_was_synced_in_it():
    left = set()
    for seed in SEEDS:
        disk = SimDisk(Random(seed))
        disk.append(FILE, b"s")
        await disk.sync(FILE)
        disk.crash()
        left.add(tuple(disk.list("log")))
    assert left == {(), ("a",)}


@in_virtual_time
async def test_a_sync_covers_what_was_appended_before_it_began():
    kept = set()
    for seed in SEEDS:
        disk = SimDisk(Random(seed))
        disk.append(FILE, b"1")
        disk.sync_names("log")
        sync = asyncio.get_running_loop().create_task(disk.sync(FILE))
        await asyncio.sleep(0)
        disk.append(FILE, b"2")
        await sync
        disk.crash()
        kept.add(disk.read(FILE, 0, 9))
    assert kept == {b"1", b"12", b"1\0"}


@in_virtual_time
async def test_a_sync_takes_its_time_and_may_fail():
    disk = SimDisk(Random(1), sync_seconds=0.1)
    disk.append(FILE, b"1")
    began = asyncio.get_running_loop().time()
    await disk.sync(FILE)
    assert 0.05 <= asyncio.get_running_loop().time() - began <= 0.15
    disk.failing_syncs = True
    with pytest.raises(SyncFailed):
        await disk.sync(FILE)


async def two_names() -> list[tuple[dict[str, bytes], bool]]:
    """What crashes leave after a file took the name of another, with and without a sync."""
    left = []
    for seed in SEEDS:
        for synced in (False, True):
            disk = SimDisk(Random(seed))
            for name, data in ((FILE, b"older"), (OTHER, b"newer")):
                disk.append(name, data)
                await disk.sync(name)
            disk.sync_names("log")
            disk.rename(OTHER, FILE)
            if synced:
                disk.sync_names("log")
            disk.crash()
            left.append((contents(disk), synced))
    return left


@in_virtual_time
async def test_a_rename_is_there_or_not_after_a_crash_and_there_once_names_were_synced():
    before, after = {"a": b"older", "b": b"newer"}, {"a": b"newer"}
    left = await two_names()
    assert all(files == after for files, synced in left if synced)
    unsynced = [files for files, synced in left if not synced]
    assert before in unsynced
    assert after in unsynced
    assert all(files in (before, after) for files in unsynced)


@in_virtual_time
async def test_a_removed_file_may_come_back_until_names_were_synced():
    left = set()
    for seed in SEEDS:
        for synced in (False, True):
            disk = SimDisk(Random(seed))
            disk.append(FILE, b"1")
            await disk.sync(FILE)
            disk.sync_names("log")
            disk.remove(FILE)
            if synced:
                disk.sync_names("log")
            disk.crash()
            left.add((synced, *contents(disk).values()))
            disk.crash()
            assert (synced, *contents(disk).values()) in left
    assert left == {(True,), (False,), (False, b"1")}


@in_virtual_time
async def test_of_several_changes_of_one_name_a_crash_keeps_the_first_ones():
    left = set()
    for seed in SEEDS:
        disk = SimDisk(Random(seed))
        disk.append(FILE, b"1")
        await disk.sync(FILE)
        disk.sync_names("log")
        disk.rename(FILE, "log/x")
        disk.rename("log/x", "log/y")
        disk.remove("log/y")
        disk.crash()
        left.add(tuple(disk.list("log")))
    assert left == {("a",), ("x",), ("y",), ()}


@in_virtual_time
async def test_changes_of_different_names_survive_a_crash_in_any_order():
    left = set()
    for seed in SEEDS:
        disk = SimDisk(Random(seed))
        for name in (FILE, OTHER):
            disk.append(name, b"1")
            await disk.sync(name)
        disk.sync_names("log")
        disk.rename(FILE, "log/x")
        disk.remove(OTHER)
        disk.crash()
        left.add(tuple(disk.list("log")))
    assert left == {("a", "b"), ("b", "x"), ("a",), ("x",)}


@in_virtual_time
async def test_a_name_that_was_made_anew_does_not_bring_the_old_file_back():
    for seed in SEEDS:
        disk = SimDisk(Random(seed))
        disk.append(FILE, b"old")
        await disk.sync(FILE)
        disk.sync_names("log")
        disk.remove(FILE)
        disk.append(FILE, b"new")
        await disk.sync(FILE)
        disk.crash()
        assert contents(disk) in ({"a": b"old"}, {"a": b"new"}, {})


@in_virtual_time
async def test_damage_spares_what_is_no_log_and_sealed_files_behind_a_position():
    disk = SimDisk(Random(1))
    names = (
        "log/0000000000000000.sealed",
        "log/0000000000000100.sealed",
        "log/x.tmp",
        "quarantine/x",
    )
    for name in (*names, "reserve"):
        disk.append(name, bytes(range(256)) * 4)
        await disk.sync(name)
        disk.sync_names(name.rpartition("/")[0])
    touched = set()
    for seed in SEEDS:
        spoiled = disk.clone()
        what = spoiled.damage(Random(seed), "flip", 0x100)
        touched.add(what.split(",")[0])
        at = int(what.split(":")[0].rsplit(" ", 1)[1])
        touched.add("beyond its base" if at > 0x100 else "")
    assert touched == {names[0], "beyond its base", ""}


@in_virtual_time
async def test_what_survived_one_crash_survives_the_next():
    for seed in SEEDS:
        disk = SimDisk(Random(seed))
        disk.append(FILE, b"u" * 3000)
        disk.append(OTHER, b"v" * 3000)
        disk.crash()
        once = {name: disk.read(f"log/{name}", 0, 9999) for name in disk.list("log")}
        disk.crash()
        assert {name: disk.read(f"log/{name}", 0, 9999) for name in disk.list("log")} == once


@in_virtual_time
async def test_a_cut_is_durable():
    for seed in SEEDS:
        disk = SimDisk(Random(seed))
        disk.append(FILE, b"s" * 1000)
        await disk.sync(FILE)
        disk.sync_names("log")
        disk.truncate(FILE, 10)
        disk.crash()
        assert disk.read(FILE, 0, 9999) == b"s" * 10


# -- what a disk can do besides ------------------------------------------------------------------


@in_virtual_time
async def test_a_crash_tells_what_it_did():
    counts: Counter[str] = Counter()
    for seed in SEEDS:
        disk = SimDisk(Random(seed))
        disk.append(FILE, b"u" * 3000)
        if seed % 2:
            disk.sync_names("log")
        disk.crash()
        counts += disk.counts
    ways = {"unsynced bytes lost", "torn", "sectors lost", "zero tail", "name lost"}
    assert set(counts) == ways
    assert min(counts.values()) > 20


@in_virtual_time
async def test_a_crash_of_a_quiet_disk_does_nothing():
    disk = await filled()
    await disk.sync(FILE)
    before = contents(disk)
    disk.crash()
    assert (contents(disk), disk.counts) == (before, Counter())


@pytest.mark.parametrize("late", [False, True])
@in_virtual_time
async def test_a_stall_holds_syncs_up_that_are_under_way_or_begin(late):
    disk, loop = await filled(sync_seconds=0.1), asyncio.get_running_loop()
    began = loop.time()
    if late:
        disk.stall(5)
    sync = loop.create_task(disk.sync(FILE))
    await asyncio.sleep(0.01)
    if not late:
        disk.stall(4.99)
    await sync
    assert loop.time() - began == pytest.approx(5)
    await disk.sync(FILE)
    assert loop.time() - began < 5.2


@in_virtual_time
async def test_a_slow_disk_takes_so_many_times_as_long():
    disk, loop = await filled(sync_seconds=0.1), asyncio.get_running_loop()
    disk.slow, began = 20, loop.time()
    await disk.sync(FILE)
    assert 1 <= loop.time() - began <= 3


@in_virtual_time
async def test_who_waits_for_the_next_sync_is_woken_before_anything_is_durable():
    disk = await filled()
    await disk.sync(OTHER)
    begins = disk.next_sync()
    before = disk.synced(FILE)
    sync = asyncio.get_running_loop().create_task(disk.sync(FILE))
    assert not begins.done()
    await begins
    assert disk.synced(FILE) == before
    await sync
    assert disk.synced(FILE) == before + b"not synced"


@in_virtual_time
async def test_what_a_lying_disk_confirms_is_lost():
    disk = SimDisk(Random(1))
    disk.lying = True
    disk.append(FILE, b"x" * 100)
    await disk.sync(FILE)
    disk.sync_names("log")
    assert disk.synced(FILE) == b""
    disk.lying = False
    await disk.sync(FILE)
    disk.sync_names("log")
    assert disk.synced(FILE) == b"x" * 100


@pytest.mark.parametrize("fault", ["broken", "full"])
@in_virtual_time
async def test_a_write_that_fails_leaves_nothing_but_a_crash_may_bring_a_part_back(fault):
    came_back = set()
    for seed in SEEDS:
        disk = await filled(seed)
        await disk.sync(FILE)
        before = disk.synced(FILE)
        disk.failing_writes = fault == "broken"
        disk.capacity_bytes = (1 << 40) if fault == "broken" else 4815
        with pytest.raises(DiskFull if fault == "full" else DiskError):
            disk.append(FILE, b"y" * 9)
        assert disk.read(FILE, 0, 1 << 20) == before
        disk.crash()
        after = disk.read(FILE, 0, 1 << 20)
        assert after.startswith(before)
        came_back.add(len(after) - len(before))
    assert came_back == set(range(10) if fault == "broken" else range(6))


@in_virtual_time
async def test_a_clone_is_equal_and_goes_its_own_way():
    disk = await filled()
    disk.next_sync()
    disk.damage(Random(1), "flip")
    one, two = disk.clone(), disk.clone()
    one.crash()
    two.crash()
    assert contents(one) == contents(two)
    one.append(OTHER, b"more")
    one.mend()
    assert len({repr(contents(each)) for each in (disk, one, two)}) > 1
    assert contents(disk)["b"] == contents(two)["b"] != contents(one)["b"]


# -- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DAMAGES)
@in_virtual_time
async def test_damage_concerns_what_was_synced_says_what_it_did_and_can_be_mended(kind):
    files = set()
    for seed in SEEDS:
        disk = await filled(seed)
        before = contents(disk)
        what = disk.damage(Random(seed), kind)
        after = contents(disk)
        name = what.split(",")[0].removeprefix("log/")
        files.add(name)
        at = int(what.split(":")[0].rsplit(" ", 1)[1])
        assert after.get(name) != before[name]
        assert after.get(name, b"")[:at] == before[name][:at]
        if kind not in ("truncate", "missing"):
            assert after[name][at + SECTOR_BYTES :] == before[name][at + SECTOR_BYTES :]
            assert after[name].endswith(b"not synced") == (name == "a")
        disk.append(OTHER, b"since")
        disk.append("log/new", b"since")
        disk.mend()
        mended = contents(disk)
        assert mended.pop("new") == b"since"
        if kind in ("truncate", "missing"):
            before = after  # who opens a shorter log, and writes, has taken it as it is
        assert mended == before | {"b": before.get("b", b"") + b"since"}
    assert files == {"a", "b"}


@pytest.mark.parametrize("kind", ["truncate", "missing"])
@in_virtual_time
async def test_what_is_appended_to_an_open_log_follows_what_is_mended(kind):
    for seed in SEEDS:
        disk = await filled(seed)
        before = contents(disk)
        disk.damage(Random(seed), kind)
        disk.append(OTHER, b"since")
        disk.mend()
        assert contents(disk) == before | {"b": before["b"] + b"since"}
        disk.crash()
        assert contents(disk)["a"].startswith(before["a"][:2400])


@in_virtual_time
async def test_a_cut_takes_the_damage_in_it_along():
    disk = await filled()
    before = contents(disk)
    for seed in range(50):
        disk.damage(Random(seed), "zero")
    disk.truncate(FILE, 700)
    disk.truncate(OTHER, 1)
    disk.append(OTHER, b"other")
    disk.mend()
    assert contents(disk) == {"a": before["a"][:700], "b": before["b"][:1] + b"other"}


@in_virtual_time
async def test_an_empty_disk_can_not_be_damaged():
    disk = SimDisk(Random(1))
    assert [disk.damage(Random(1), kind) for kind in DAMAGES] == [None] * len(DAMAGES)
    disk.append(FILE, b"not synced")
    assert [disk.damage(Random(1), kind) for kind in DAMAGES] == [None] * len(DAMAGES)


@in_virtual_time
async def test_a_wrong_read_has_one_wrong_block_and_leaves_the_disk_right():
    disk = await filled()
    before = contents(disk)["a"]
    disk.misread = 0.5
    wrong = [read for _ in SEEDS if (read := disk.read(FILE, 100, 2000)) != before[100:2100]]
    assert disk.counts["misread"] == len(wrong)
    assert len(wrong) > 100
    for read in wrong:
        places = [at for at in range(2000) if read[at] != before[100 + at]]
        assert len(read) == 2000
        assert (100 + places[0]) // SECTOR_BYTES == (100 + places[-1]) // SECTOR_BYTES
    disk.misread = 0.0
    assert contents(disk)["a"] == before


# -- nodes on damaged disks ----------------------------------------------------------------------

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
