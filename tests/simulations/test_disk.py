"""What a simulated crash may do, and must be able to do: tests that never see it prove nothing.

The contract that it shares with the real disk is tests/storage/test_disk.py.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest

from anabranch.simulations.world.disk import DAMAGES, SECTOR_BYTES, SimDisk
from anabranch.storage.errors import DamagedLog, DiskError, DiskFull, SyncFailed

from .stories import in_virtual_time

FILE, OTHER = "log/a", "log/b"
SEEDS = range(300)


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


def read_of(disk):
    """What is read of a file; None if it can't be."""
    try:
        return disk.read(FILE, 100, 2000)
    except DamagedLog:
        return None


@in_virtual_time
async def test_a_wrong_read_has_one_wrong_block_or_none_and_leaves_the_disk_right():
    disk = await filled()
    before = contents(disk)["a"]
    disk.misread = 0.5
    reads = [read_of(disk) for _ in SEEDS]
    assert disk.counts["failed read"] == reads.count(None) > 20
    wrong = [read for read in reads if read not in (None, before[100:2100])]
    assert disk.counts["misread"] == len(wrong) > 70
    for read in wrong:
        places = [at for at in range(2000) if read[at] != before[100 + at]]
        assert len(read) == 2000
        assert (100 + places[0]) // SECTOR_BYTES == (100 + places[-1]) // SECTOR_BYTES
    disk.misread = 0.0
    assert contents(disk)["a"] == before
