"""What a simulated crash may do, and must be able to do: tests that never see it prove nothing.

The contract that it shares with the real disk is tests/storage/test_disk.py.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from anabranch.simulations.disk import SECTOR_BYTES, SimDisk
from anabranch.storage.errors import SyncFailed

from .stories import in_virtual_time

FILE, OTHER = "log/a", "log/b"
SEEDS = range(300)


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
    assert {"", "u", "uu", "uuuu", "0u", "u0u", "00u", "0uu", "000u"} <= shapes
    assert not any(shape.endswith("0") for shape in shapes)


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
    assert kept == {b"1", b"12"}


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
