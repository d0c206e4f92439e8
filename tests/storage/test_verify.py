"""What `verify` finds in a data directory, and what `repair` may do about it."""

from __future__ import annotations

from random import Random

import pytest

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage.errors import DiskError
from anabranch.storage.record import HEADER_BYTES, MAGIC
from anabranch.storage.sealed import directory_of
from anabranch.storage.segment import segment_name
from anabranch.storage.state import State, state_body
from anabranch.storage.verify import Finding, Progress, repair, verify

from .logs import Watched
from .sealing import commit_of, seal

STATE = state_body(State(7, 8, 4, "c", "n"))


async def directory(*, sealed: bool) -> tuple[SimDisk, list[int]]:
    """A data directory of several segments, and where its commits are."""
    disk = SimDisk(Random(0), sync_seconds=0.0)
    watched = Watched(disk, segment_bytes=700, opening=lambda: STATE)
    watched.log.start()
    positions = []
    for number in range(12):
        positions += await watched.write_group([commit_of(number)])
    await watched.log.close()
    if sealed:
        await seal(disk, watched)
    return disk, positions


def findings(disk: SimDisk) -> list[Finding]:
    before = {name: bytes(file.data) for name, file in disk._files.items()}
    found = [one for one in verify(disk) if isinstance(one, Finding)]
    assert {name: bytes(file.data) for name, file in disk._files.items()} == before
    return found


def spoil(disk: SimDisk, positions: list[int], number: int) -> tuple[str, int]:
    """Flip a bit of a commit in a plain segment; the segment, and where the record is in it."""
    segments = Watched(disk.clone()).log.files.segments
    (segment,) = [one for one in segments if one.base <= positions[number] < one.end]
    offset = positions[number] - segment.base
    disk.flip(segment.name, offset + HEADER_BYTES + 3)
    return segment.name, offset


@pytest.mark.parametrize("sealed", [False, True])
def test_a_good_directory_is_read_whole_and_nothing_is_found(sealed):
    async def story() -> None:
        disk, positions = await directory(sealed=sealed)
        pieces = list(verify(disk))
        assert all(isinstance(one, Progress) for one in pieces)
        last = {one.name: one for one in pieces}
        assert sorted(last) == [f"log/{name}" for name in disk.list("log")]
        assert all(one.read == one.size == disk.size(one.name) for one in last.values())
        assert sum(one.records for one in last.values()) == len(positions) + len(last)

    run(story())


def test_an_empty_directory_is_fine():
    assert list(verify(SimDisk(Random(0)))) == []


def test_a_damaged_record_is_named_exactly():
    async def story() -> None:
        disk, positions = await directory(sealed=False)
        name, offset = spoil(disk, positions, 1)
        (found,) = findings(disk)
        length = HEADER_BYTES + len(commit_of(1))
        assert found == (name, offset, positions[1], length, "not what was written", False, "")
        with pytest.raises(DiskError, match="not repaired"):
            repair(disk, found)

    run(story())


def test_every_flipped_bit_of_every_file_is_found():
    async def story() -> None:
        disk, _ = await directory(sealed=True)
        for name in disk.list("log"):
            for bit in range(0, 8 * disk.size(f"log/{name}"), 37):
                spoiled = disk.clone()
                spoiled.flip(f"log/{name}", bit // 8, 1 << bit % 8)
                found = findings(spoiled)
                assert len(found) == 1
                assert found[0].name == f"log/{name}"
                assert not found[0].known

    run(story())


def test_a_torn_tail_can_be_cut_and_a_leftover_removed():
    async def story() -> None:
        disk, _ = await directory(sealed=True)
        name = "log/" + disk.list("log")[-1]
        size = disk.size(name)
        disk.append(name, b"\xab\x01 torn")
        disk.append("log/0000000000000000.tmp", b"left over")
        found = findings(disk)
        assert [(one.name, one.repair) for one in found] == [
            ("log/0000000000000000.tmp", "remove"),
            (name, "cut"),
        ]
        assert found[1].offset == size
        for one in found:
            repair(disk, one)
        assert findings(disk) == []
        assert disk.size(name) == size

    run(story())


def test_a_missing_segment_is_named():
    async def story() -> None:
        disk, _ = await directory(sealed=False)
        gone = Watched(disk.clone()).log.files.segments[1]
        disk.remove(gone.name)
        (found,) = findings(disk)
        assert found[:4] == (segment_name(gone.base), 0, gone.base, gone.size)
        assert "missing" in found.what

    run(story())


def test_a_last_segment_that_tells_no_end_is_read_as_far_as_it_goes():
    async def story() -> None:
        disk, _ = await directory(sealed=True)
        disk.remove("log/" + disk.list("log")[-1])
        *others, last = [f"log/{name}" for name in disk.list("log")]
        places = directory_of(disk, last, int(last[4:20], 16), 1 << 62).places
        disk.truncate(last, places[-1].offset + places[-1].stored)
        disk.flip(others[0], HEADER_BYTES + 3)
        found = findings(disk)
        assert [one.name for one in found] == [last, others[0], last]
        assert "nothing tells where it ends" in found[0].what
        assert found[0].position == places[-1].end
        assert "the blocks were found without it" in found[2].what
        read = {one.name: one.records for one in verify(disk) if isinstance(one, Progress)}
        assert sorted(read) == [*others, last]
        assert read[last] > 0
        disk.truncate(last, 0)
        assert findings(disk)[0].name == last

    run(story())


def test_a_last_segment_of_a_newer_version_is_named_once_and_all_others_are_read():
    async def story() -> None:
        disk, _ = await directory(sealed=True)
        disk.remove("log/" + disk.list("log")[-1])
        last = "log/" + disk.list("log")[-1]
        disk.truncate(last, 0)
        disk.append(last, bytes([MAGIC[0], 2]) + bytes(100))
        (found,) = [one for one in findings(disk) if "directory or footer" not in one.what]
        assert (found.name, "frame version 2" in found.what) == (last, True)
        assert {one.name for one in verify(disk)} == {f"log/{name}" for name in disk.list("log")}

    run(story())


def test_two_segments_of_one_stretch_are_named_and_nothing_is_cut():
    async def story() -> None:
        disk, _ = await directory(sealed=False)
        first, second, *_, last = [f"log/{name}" for name in disk.list("log")]
        length = int(second[4:20], 16)
        disk.append(first, b"what is not of this log")
        disk.append(last, b"\xab\x01 torn")
        found = findings(disk)
        assert found[0][:4] == (first, 0, length, 23)
        assert "where another segment begins" in found[0].what
        assert [(one.name, one.what, one.repair) for one in found[1:]] == [
            (first, "not what was written", ""),
            (last, "not what was written", ""),
        ]

    run(story())


def test_quarantined_ranges_are_known_as_long_as_their_bytes_are_there():
    async def story() -> None:
        disk, positions = await directory(sealed=False)
        spoil(disk, positions, 1)
        await seal(disk)
        (kept,) = disk.list("quarantine")
        (found,) = findings(disk)
        assert found.known
        assert found[2:4] == (positions[1], HEADER_BYTES + len(commit_of(1)))
        disk.truncate(f"quarantine/{kept}", 5)
        assert [one.known for one in findings(disk)] == [True, False]
        disk.remove(f"quarantine/{kept}")
        (found,) = findings(disk)
        assert not found.known
        assert "is missing" in found.what

    run(story())


def test_a_plain_segment_beside_its_sealed_form_is_known():
    async def story() -> None:
        disk, _ = await directory(sealed=False)
        before = disk.clone()
        await seal(disk)
        disk.append(segment_name(0), before.read(segment_name(0), 0, 1 << 20))
        (found,) = findings(disk)
        assert (found.name, found.known) == (segment_name(0), True)
        await seal(disk)
        assert findings(disk) == []
        assert disk.list("log")[0].endswith(".sealed")

    run(story())


def test_a_record_that_no_version_writes_is_found():
    async def story() -> None:
        disk = SimDisk(Random(0), sync_seconds=0.0)
        watched = Watched(disk, opening=lambda: STATE)
        watched.log.start()
        position, other = await watched.write_group([b"no commit"]), watched.log.append(9, b"?")
        await watched.log.close()
        assert [one.position for one in findings(disk)] == [*position, other]

    run(story())
