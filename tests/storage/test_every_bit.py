"""Every bit of a log flipped in turn, and every length that it can be cut to: told, never served.

What comes after is in tests/node/test_healing_every_bit.py: what is told is healed from peers.
"""

from __future__ import annotations

from functools import cache

import pytest

from anabranch.simulations.world.loop import run
from anabranch.storage.limits import SEGMENT_BYTES
from anabranch.storage.record import HEADER_BYTES

from .logs import Watched, bodies_of, disk_with, files_with_groups
from .test_damage import FIRST, recovered_and_appended, small_log

LOG_BYTES = 4096
SIZES = [[180, 0, 40], [500], [250, 33], [700, 400], [90, 800, 703]]  # of commits, by group


@cache
def log_of_4_kib() -> tuple[bytes, list[int], list[bytes]]:
    """One segment of just so many bytes, where its groups begin, and the bodies of its commits."""
    groups = [[b"%d" % (size % 7) * size for size in row] for row in SIZES]
    files, begins = run(files_with_groups(groups))
    assert len(files[FIRST]) == LOG_BYTES
    return files[FIRST], begins, [body for group in groups for body in group]


def left_of(commits: list[tuple[int, bytes]], begin: int, end: int) -> list[bytes]:
    """All bodies but those of the records that begin in a range."""
    return [body for position, body in commits if not begin <= position < end]


def test_every_flipped_bit_of_a_log_is_a_gap_of_one_record_or_cuts_only_the_last_group():
    data, begins, bodies = log_of_4_kib()
    found = Watched(disk_with({FIRST: data})).found
    starts = [one.position for one in found]
    commits = [*zip(starts[1:], bodies, strict=True)]  # the first record is the opening state
    told = cut = 0
    for number, (begin, end) in enumerate(zip(starts, [*starts[1:], LOG_BYTES], strict=True)):
        left = left_of(commits, begin, end)
        for bit in range(8 * begin, 8 * end):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            disk = disk_with({FIRST: bytes(flipped)})
            watched = Watched(disk)
            if watched.log.torn is None:
                told += 1
                assert watched.gaps == [(begin, end)], "this record, and no other"
                assert bodies_of(watched.found) == left
                assert disk.read(FIRST, 0, LOG_BYTES + 1) == flipped
                continue
            cut += 1
            assert begin >= begins[-1], "only what nothing proves to have been synced may be cut"
            assert watched.gaps == []
            assert watched.found == found[:number]
    assert told + cut == 8 * LOG_BYTES == 32_768
    assert told >= 8 * begins[-1]


def test_a_log_cut_to_any_length_is_all_that_came_before():
    data, _, bodies = log_of_4_kib()
    found = Watched(disk_with({FIRST: data})).found
    ends = [one.position + HEADER_BYTES + len(one.body) for one in found]
    for length in range(LOG_BYTES):
        disk = disk_with({FIRST: data[:length]})
        goes_on = length % 8 == 0 or length in ends
        watched, after = recovered_and_appended(disk, b"more") if goes_on else (Watched(disk), [])
        whole = [end for end in ends if end <= length]
        good = max(whole, default=0)
        assert watched.found == found[: len(whole)]
        assert watched.gaps == []
        assert watched.log.torn == (None if good == length else (good, length - good))
        assert not goes_on or after == [*bodies[: max(0, len(whole) - 1)], b"more"]


def test_every_flipped_bit_of_a_segment_before_the_last_is_a_gap_of_one_record():
    files, _ = small_log(segment_bytes=100)
    *names, _ = files
    assert len(names) >= 3
    whole = Watched(disk_with(files)).found
    for name in names:
        for bit in range(0, 8 * len(files[name]), 3):
            flipped = bytearray(files[name])
            flipped[bit // 8] ^= 1 << bit % 8
            disk = disk_with(files | {name: bytes(flipped)})
            place = int(name[4:20], 16) + bit // 8
            watched = Watched(disk)
            (gap,) = watched.gaps
            assert gap.position <= place < gap.end
            assert watched.found == [
                one for one in whole if not gap.position <= one.position < gap.end
            ]
            assert len(watched.found) == len(whole) - 1


@pytest.mark.parametrize("segment_bytes", [SEGMENT_BYTES, 100])
def test_a_log_with_any_bit_flipped_goes_on_and_tells_the_gap_again(segment_bytes):
    files, _ = small_log(segment_bytes=segment_bytes)
    for name in files:
        for bit in range(5, 8 * len(files[name]), 797):
            flipped = bytearray(files[name])
            flipped[bit // 8] ^= 1 << bit % 8
            disk = disk_with(files | {name: bytes(flipped)})
            before = Watched(disk.clone())
            _, after = recovered_and_appended(disk, b"more")
            again = Watched(disk)
            assert after == [*bodies_of(before.found), b"more"]
            assert again.gaps == before.gaps
            if before.gaps and before.gaps[-1].end > int(max(files)[4:20], 16):
                assert again.log.segments == before.log.segments + 1, (
                    "the damaged one can be sealed"
                )


def test_a_log_cut_at_any_byte_keeps_all_records_before_it_and_those_after_that_file():
    files, _ = small_log(segment_bytes=100)
    whole = Watched(disk_with(files)).found
    for name in list(files)[:-1]:
        base = int(name[4:20], 16)
        for length in range(len(files[name])):
            watched = Watched(disk_with(files | {name: files[name][:length]}))
            (gap,) = watched.gaps
            assert gap.end == base + len(files[name])
            assert gap.position <= base + length
            assert watched.found == [
                one for one in whole if not gap.position <= one.position < gap.end
            ]
