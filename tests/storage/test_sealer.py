"""The sealer works in the background, gives way, and never takes the only copy of anything."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage import sealer as sealer_module
from anabranch.storage.disk import FileDisk
from anabranch.storage.errors import DiskError, DiskFull
from anabranch.storage.limits import BLOCK_BYTES, DISK_RESERVE_BYTES, SEAL_AGAIN_SECONDS
from anabranch.storage.record import HEADER_BYTES, parse
from anabranch.storage.sealed import stored_directory
from anabranch.storage.sealer import Sealer
from anabranch.storage.segment import Gap, sealed_name, segment_name

from .logs import OPENING, Watched, bodies_of, files_of
from .sealing import commit_of, seal, written
from .test_crash_points import Faulty, PowerCut

FIRST = HEADER_BYTES + len(OPENING)  # where the first commit is


def quick_disk() -> SimDisk:
    return SimDisk(Random(0), sync_seconds=0.0)


def forms(disk: SimDisk) -> list[str]:
    return [name.partition(".")[2] for name in disk.list("log")]


def test_it_seals_each_segment_once_the_next_has_begun():
    async def story() -> None:
        disk = quick_disk()
        watched = Watched(disk, segment_bytes=500)
        watched.log.start()
        running = asyncio.create_task(Sealer(disk, watched.log).run())
        for number in range(12):
            await watched.write_group([commit_of(number)])
            await asyncio.sleep(1)
            assert forms(disk) == ["sealed"] * (watched.log.segments - 1) + ["seg"]
            assert watched.log.sealed == watched.log.segments - 1
        assert watched.log.segments > 3
        running.cancel()
        await watched.log.close()
        assert bodies_of(Watched(disk).found) == [commit_of(number) for number in range(12)]

    run(story())


def test_it_keeps_to_its_pace_and_appends_go_on_meanwhile():
    async def story() -> None:
        disk = quick_disk()
        size = 20 * BLOCK_BYTES
        await written(disk, [[commit_of(n, size=10_000)] for n in range(size // 11_000)], size // 2)
        watched = Watched(disk)
        watched.log.start()
        loop = asyncio.get_running_loop()
        began, stretch = loop.time(), watched.log.files.segments[-1].base
        sealer = Sealer(disk, watched.log, bytes_per_second=1 << 20)
        sealing = asyncio.create_task(sealer.seal_all())
        appended = 0
        while not sealing.done():
            before = loop.time()
            await watched.write_group([b"meanwhile"])
            assert loop.time() - before < 0.01
            appended += 1
            await asyncio.sleep(0.05)
        took = loop.time() - began
        assert 0.9 * stretch / (1 << 20) < took < 1.3 * stretch / (1 << 20)
        assert appended > 20
        await watched.log.close()

    run(story())


def test_without_room_it_waits_and_leaves_nothing_behind():
    async def story() -> None:
        disk = quick_disk()
        await written(disk, [[commit_of(n)] for n in range(10)], 500)
        watched = Watched(disk)
        disk.capacity_bytes -= disk.free() - DISK_RESERVE_BYTES - 100
        with pytest.raises(DiskFull):
            await seal(disk, watched)
        running = asyncio.create_task(Sealer(disk, watched.log).run())
        await asyncio.sleep(1)
        assert set(forms(disk)) == {"seg"}
        disk.capacity_bytes = 1 << 40
        await asyncio.sleep(SEAL_AGAIN_SECONDS + 1)
        assert watched.log.sealed == watched.log.segments - 1
        running.cancel()

    run(story())


def test_room_that_runs_out_midway_leaves_nothing_behind(monkeypatch):
    async def story() -> None:
        disk = quick_disk()
        await written(disk, [[commit_of(n)] for n in range(10)], 500)
        before = files_of(disk)
        append, calls = disk.append, 0

        def full(name: str, data: bytes) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise DiskFull("no room")
            append(name, data)

        monkeypatch.setattr(disk, "append", full)
        with pytest.raises(DiskFull):
            await seal(disk)
        assert files_of(disk) == before

    run(story())


def test_what_is_not_read_back_as_it_was_written_is_not_used(monkeypatch):
    async def story() -> None:
        disk = quick_disk()
        await written(disk, [[commit_of(n)] for n in range(10)], 500)
        before = files_of(disk)
        append = disk.append

        def wrong(name: str, data: bytes) -> None:
            append(name, data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])

        monkeypatch.setattr(disk, "append", wrong)
        with pytest.raises(DiskError, match="not read back"):
            await seal(disk)
        assert files_of(disk) == before

    run(story())


def test_damaged_bytes_are_set_aside_before_their_segment_is_removed():
    async def story() -> None:
        disk = quick_disk()
        await written(disk, [[commit_of(n)] for n in range(10)], 500)
        disk.flip(segment_name(0), FIRST + 5)
        length = HEADER_BYTES + len(commit_of(0))
        spoiled = disk.read(segment_name(0), FIRST, length)
        watched = await seal(disk)
        gap = Gap(FIRST, FIRST + length)
        assert watched.log.gaps == [gap]
        assert disk.list("quarantine") == [f"{FIRST:016x}-{length}.bad"]
        assert disk.read("quarantine/" + disk.list("quarantine")[0], 0, 1000) == spoiled
        again = Watched(disk)
        assert again.gaps == [gap]
        assert bodies_of(again.found) == [commit_of(number) for number in range(1, 10)]

    run(story())


@pytest.mark.parametrize("spoiled", ["nothing", "sealed", "plain", "both"])
def test_of_two_forms_that_a_crash_left_a_good_one_is_kept(spoiled):
    async def story() -> None:
        disk = quick_disk()
        await written(disk, [[commit_of(n)] for n in range(10)], 500)
        plain = files_of(disk)[segment_name(0)]
        with patch.object(sealer_module, "BLOCK_BYTES", 150):
            await seal(disk)
        disk.append(segment_name(0), plain)
        if spoiled in ("sealed", "both"):
            opening = parse(disk.read(sealed_name(0), 0, HEADER_BYTES))
            assert opening is not None
            disk.flip(sealed_name(0), HEADER_BYTES + opening.length + 40)  # in the next block
        if spoiled in ("plain", "both"):
            disk.flip(segment_name(0), FIRST + 50)
        if spoiled == "both":
            with pytest.raises(DiskError, match="both are kept"):
                await seal(disk)
            assert {segment_name(0), sealed_name(0)} <= {*files_of(disk)}
            return
        watched = Watched(disk)
        await seal(disk, watched)
        assert segment_name(0) not in files_of(disk)
        again = Watched(disk)
        assert bodies_of(again.found) == [commit_of(number) for number in range(10)]
        assert watched.log.read(FIRST, len(commit_of(0))) == commit_of(0)

    run(story())


@pytest.mark.parametrize("cut", [False, True])
def test_a_directory_that_is_damaged_is_made_anew_byte_for_byte(cut):
    async def story() -> None:
        disk = quick_disk()
        await written(disk, [[commit_of(n)] for n in range(10)], 500)
        with patch.object(sealer_module, "BLOCK_BYTES", 150):
            await seal(disk)
        name = sealed_name(0)
        whole = files_of(disk)[name]
        directory = stored_directory(disk, name, 0)
        assert directory is not None
        end = directory.places[-1].offset + directory.places[-1].stored
        for offset in range(end, len(whole)):
            if cut:
                disk.truncate(name, offset)
            else:
                disk.flip(name, offset, 1 << offset % 8)
            watched = Watched(disk)
            assert watched.gaps == []
            await Sealer(disk, watched.log).mend_all()
            assert files_of(disk)[name] == whole
            assert watched.log.read(FIRST, len(commit_of(0))) == commit_of(0)

    run(story())


def test_a_directory_of_blocks_that_are_not_all_good_is_left_alone():
    async def story() -> None:
        disk = quick_disk()
        await written(disk, [[commit_of(n)] for n in range(10)], 500)
        with patch.object(sealer_module, "BLOCK_BYTES", 150):
            await seal(disk)
        name = sealed_name(0)
        for offset in (3, HEADER_BYTES + 5):  # the frame of a block, or its body
            other = disk.clone()
            other.flip(name, offset)
            other.flip(name, other.size(name) - 1)
            before = files_of(other)
            await Sealer(other, Watched(other).log).mend_all()
            assert files_of(other) == before

    run(story())


@pytest.mark.parametrize("what", ["before", "half", "after", "error", "full", "unconfirmed"])
def test_whatever_goes_wrong_while_a_directory_is_made_anew_nothing_is_lost(what):
    async def story(at: int) -> bool:
        disk = Faulty(at, -2, what)
        await written(disk, [[commit_of(n)] for n in range(10)], 500)
        await seal(disk)
        disk.flip(sealed_name(0), disk.size(sealed_name(0)) - 1)
        disk.at, disk.calls = at, []
        with suppress(DiskError, PowerCut):
            await Sealer(disk, Watched(disk).log).mend_all()
        went_wrong = len(disk.calls) > at
        disk.dead, disk.at = False, -2
        disk.crash()
        await Sealer(disk, Watched(disk).log).mend_all()
        again = Watched(disk)
        assert again.gaps == []
        assert bodies_of(again.found) == [commit_of(number) for number in range(10)]
        assert stored_directory(disk, sealed_name(0), 0) is not None
        return went_wrong

    at = 0
    while run(story(at)):
        at += 1
    assert at == 5, "append twice, sync, rename, sync of the names"


@pytest.mark.parametrize("part", ["footer", "directory", "all"])
def test_a_sealed_form_without_its_directory_does_not_count_beside_the_plain_one(part):
    async def story() -> None:
        disk = quick_disk()
        await written(disk, [[commit_of(n)] for n in range(10)], 500)
        plain = files_of(disk)[segment_name(0)]
        await seal(disk)
        disk.append(segment_name(0), plain)
        size = disk.size(sealed_name(0))
        if part == "all":
            disk.truncate(sealed_name(0), 0)
        else:
            disk.flip(sealed_name(0), size - (1 if part == "footer" else HEADER_BYTES + 3))
        for _ in range(2):
            watched = Watched(disk)
            assert bodies_of(watched.found) == [commit_of(number) for number in range(10)]
            assert watched.gaps == []
            await seal(disk, watched)
            assert segment_name(0) not in files_of(disk)

    run(story())


def test_a_large_record_is_a_block_alone():
    async def story() -> None:
        sizes = [100, BLOCK_BYTES * 3, 100, 200, BLOCK_BYTES - 500, 100]
        bodies = [commit_of(number, size=size) for number, size in enumerate(sizes)]
        disk = quick_disk()
        await written(disk, [bodies, [b"next"]], 1000)
        watched = await seal(disk)
        segment = watched.log.files.segments[0]
        directory = watched.log.files._sealed.directory(segment.name, 0, segment.end)
        large = [place.length > BLOCK_BYTES for place in directory.places]
        assert large.count(True) == 1
        assert large[1], "the opening state and the first commit are in a block before it"
        assert bodies_of(Watched(disk).found) == [*bodies, b"next"]

    run(story())


async def test_a_real_disk_is_sealed(tmp_path: Path):
    disk = FileDisk(tmp_path)
    watched = Watched(disk, segment_bytes=2000)
    watched.log.start()
    for number in range(40):
        await watched.write_group([commit_of(number)])
    await seal(disk, watched)
    await watched.log.close()
    disk.close()
    names = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert [name.partition(".")[2] for name in names] == ["sealed"] * (len(names) - 1) + ["seg"]
    disk = FileDisk(tmp_path)
    assert bodies_of(Watched(disk).found) == [commit_of(number) for number in range(40)]
    disk.close()


@pytest.mark.parametrize("sealed", [True, False])
async def test_a_segment_that_others_remove_is_missed_by_the_next_check(tmp_path: Path, sealed):
    """It was open, so a node that ran would have read it until its end (chaos, seed 61)."""
    disk = FileDisk(tmp_path)
    watched = Watched(disk, segment_bytes=2000)
    watched.log.start()
    for number in range(60):
        await watched.write_group([commit_of(number)])
    if sealed:
        await seal(disk, watched)
    log, victim = watched.log, watched.log.files.segments[1]
    assert victim.sealed is sealed and len(log.files.segments) > 2
    gap = Gap(victim.base, victim.end)
    assert gap not in list(log.check(victim.base))
    (tmp_path / victim.name).unlink()
    assert gap in list(log.check(victim.base)) and log.gaps == [gap]
    await log.close()
    disk.close()
