"""Directories of sealed segments that could not be read for a while, and what is known after."""

from __future__ import annotations

import asyncio
from random import Random
from unittest.mock import patch

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage import sealed as sealed_module
from anabranch.storage import sealer as sealer_module
from anabranch.storage.record import HEADER_BYTES
from anabranch.storage.sealer import Sealer
from anabranch.storage.segment import Gap

from .logs import Watched, files_of
from .sealing import commit_of, seal, sealed_disk, written
from .test_sealed import Mute, served, small


def many() -> tuple[SimDisk, list[tuple[int, bytes]]]:
    async def story() -> tuple[SimDisk, list[tuple[int, bytes]]]:
        groups = [[commit_of(n, size=60)] for n in range(20)]
        with patch.object(sealer_module, "BLOCK_BYTES", 500):
            disk, positions = await sealed_disk(groups, 1000)
        flat = [body for group in groups for body in group]
        return disk, list(zip(positions, flat, strict=True))

    return run(story())


def mute(before: SimDisk) -> Mute:
    disk = Mute(Random(0))
    for file, data in files_of(before).items():
        disk.append(file, data)
    return disk


def test_damage_that_was_a_failed_read_is_forgotten_also_if_its_directory_left_the_cache():
    before, records = many()
    disk = mute(before)
    names = [f"log/{one}" for one in disk.list("log") if one.endswith("sealed")]
    assert len(names) > 2
    disk.unread = frozenset({names[0]})
    with patch.object(sealed_module, "DIRECTORIES_CACHED_MAX", 1):
        watched = Watched(disk)  # the start reads it all
        assert watched.gaps
        disk.unread = frozenset()
        assert all(served(watched, records))
        for segment in list(watched.log.files.segments):
            list(watched.log.check(segment.base))
        assert all(served(watched, records))
    assert watched.log.gaps == []


def test_what_was_damaged_when_it_was_sealed_stays_known_when_reads_work_again():
    async def story() -> None:
        groups = [[commit_of(n, size=60)] for n in range(12)]
        disk = SimDisk(Random(0))
        positions = await written(disk, groups, 2500)
        records = list(zip(positions, [one for group in groups for one in group], strict=True))
        disk.flip("log/0000000000000000.seg", records[3][0] + HEADER_BYTES + 9)
        with patch.object(sealer_module, "BLOCK_BYTES", 500):
            await seal(disk)
        other = mute(disk)
        watched = Watched(other)
        gaps = watched.log.gaps
        assert gaps
        watched.log.files.exchange(watched.log.files.segments[0])  # nothing of it is in memory
        other.unread = frozenset({watched.log.files.segments[0].name})
        served(watched, records)
        other.unread = frozenset()
        assert watched.log.read(records[0][0], len(records[0][1])) == records[0][1]
        assert watched.log.gaps == gaps

    run(story())


def test_a_directory_that_could_not_be_mended_once_is_mended_when_it_rots_later():
    """The sealer gave up once, as blocks could not be read; the disk answers; later it rots."""
    before, _, name = small()

    async def story() -> None:
        disk = mute(before)
        disk.unread = frozenset({name})
        watched = Watched(disk)
        log, segment = watched.log, watched.log.files.segments[0]
        task = asyncio.get_running_loop().create_task(Sealer(disk, log).run())
        await asyncio.sleep(1)
        disk.unread = frozenset()
        list(log.check(segment.base))
        disk.flip(name, disk.size(name) - 1)
        list(log.check(segment.base))
        await asyncio.sleep(1)
        task.cancel()
        assert log.gaps == []

    run(story())


def test_damage_that_was_a_failed_read_is_forgotten_also_if_the_directory_is_made_anew():
    """All of a segment is unread at the start, then only its footer is rotten: it is mended."""
    before, records, name = small()

    async def story() -> None:
        disk = mute(before)
        disk.flip(name, disk.size(name) - 1)
        disk.unread = frozenset({name})
        watched = Watched(disk)
        assert watched.gaps
        disk.unread = frozenset()
        task = asyncio.get_running_loop().create_task(Sealer(disk, watched.log).run())
        await asyncio.sleep(1)
        assert files_of(disk)[name] == files_of(before)[name], "it was made anew"
        assert all(served(watched, records))  # a read comes before the scrub does
        for _ in range(2):
            for segment in list(watched.log.files.segments):
                list(watched.log.check(segment.base))
        assert all(served(watched, records))
        task.cancel()
        assert watched.log.gaps == []

    run(story())


def test_a_check_finds_all_that_is_gone_also_if_a_read_has_searched_for_it_before():
    before, records, name = small()
    disk = mute(before)
    watched = Watched(disk)
    segment = watched.log.files.segments[0]
    watched.log.files.exchange(segment)  # nothing of it is in memory
    disk.remove(name)
    assert not any(served(watched, records[:3]))
    found = [one for one in watched.log.check(segment.base) if isinstance(one, Gap)]
    assert Gap(segment.base, segment.end) in found
