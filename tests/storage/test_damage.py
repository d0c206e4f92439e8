"""What is wrong on a disk is cut as a torn tail or told as damage, never read as something else."""

from __future__ import annotations

import re
from functools import cache

import pytest

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage.errors import DamagedLog
from anabranch.storage.limits import RECORD_BYTES_MAX, SCAN_WINDOW_BYTES, SEGMENT_BYTES
from anabranch.storage.log import Log
from anabranch.storage.record import COMMIT, HEADER_BYTES, frame, parse
from anabranch.storage.segment import Found, segment_name

from .logs import Watched, bodies_of, disk_with, files_of, files_with_groups

GROUPS = [
    [b"first" * 10, b"second" * 30],
    [b"third", b"fourth" * 40, b""],
    [b"fifth" * 50],
    [b"sixth" * 20, b"seventh" * 12, b"eighth"],
]
ALL = [body for group in GROUPS for body in group]
FIRST = segment_name(0)


@cache
def small_log(segment_bytes: int = SEGMENT_BYTES) -> tuple[dict[str, bytes], list[int]]:
    """The files of a log of four groups, and where the groups begin."""
    return run(files_with_groups(GROUPS, segment_bytes=segment_bytes))


def whole_log() -> tuple[bytes, list[int]]:
    files, begins = small_log()
    return files[FIRST], begins


@cache
def ends() -> list[int]:
    """Where the records of the whole log end."""
    return [one.header.end for one in Watched(disk_with(small_log()[0])).found]


def damage_of(disk: SimDisk) -> tuple[str, int]:
    """The file and the offset that the error names."""
    before = files_of(disk)
    with pytest.raises(DamagedLog) as caught:
        Watched(disk)
    assert files_of(disk) == before, "damage is reported, and nothing is changed"
    named = re.match(r"(\S+), offset (\d+):", str(caught.value))
    assert named is not None
    return named[1], int(named[2])


def record_at(offset: int) -> int:
    """Where the record of the whole log begins that holds a byte."""
    return max(begin for begin in [0, *ends()] if begin <= offset)


# -- torn tails ----------------------------------------------------------------------------------


def recovered_and_appended(disk: SimDisk, body: bytes) -> tuple[Watched, list[bytes]]:
    """Recover, append one more, recover again: (the first recovery, what the second found)."""

    async def story() -> Watched:
        watched = Watched(disk)
        watched.log.start()
        await watched.write_group([body])
        await watched.log.close()
        return watched

    watched = run(story())
    return watched, bodies_of(Watched(disk).found)


def test_a_tail_torn_at_any_byte_of_the_last_group_is_cut_and_all_before_it_kept():
    data, begins = whole_log()
    for length in range(begins[-1], len(data)):
        watched, after = recovered_and_appended(disk_with({FIRST: data[:length]}), b"more")
        whole = [end for end in ends() if end <= length]
        expected = ALL[: len(whole) - 1]  # the first record is the opening state
        assert bodies_of(watched.found) == expected
        assert after == [*expected, b"more"]
        if length in ends():
            assert watched.log.torn is None
        else:
            assert watched.log.torn == (whole[-1], length - whole[-1])


def test_a_tail_torn_within_any_group_is_cut_if_nothing_follows():
    data, _ = whole_log()
    for length in range(0, len(data), 7):
        watched, after = recovered_and_appended(disk_with({FIRST: data[:length]}), b"more")
        assert bodies_of(watched.found) == ALL[: len(bodies_of(watched.found))]
        assert after == [*bodies_of(watched.found), b"more"]


def test_a_last_group_of_zeros_is_cut():
    data, begins = whole_log()
    for begin in range(begins[-1], len(data)):
        torn = data[:begin] + bytes(len(data) - begin)
        watched = Watched(disk_with({FIRST: torn}))
        kept = bodies_of(watched.found)
        assert kept == ALL[: len(kept)]
        assert len(kept) >= sum(map(len, GROUPS[:-1]))
        assert watched.log.torn is not None or torn == data


def test_a_hole_in_the_last_group_cuts_it_there_though_good_records_follow():
    data, begins = whole_log()
    hole = begins[-1] + HEADER_BYTES + 5
    torn = data[:hole] + bytes(10) + data[hole + 10 :]
    watched = Watched(disk_with({FIRST: torn}))
    assert bodies_of(watched.found) == ALL[: sum(map(len, GROUPS[:-1]))]
    assert watched.log.torn == (begins[-1], len(data) - begins[-1])


def test_rubbish_behind_the_last_record_is_cut():
    data, _ = whole_log()
    for rubbish in (b"\xab", b"\xab\x01", b"\xab\x01" * 100, bytes(5000), b"\xff" * 40):
        watched, after = recovered_and_appended(disk_with({FIRST: data + rubbish}), b"more")
        assert watched.log.torn == (len(data), len(rubbish))
        assert after == [*ALL, b"more"]


def test_cutting_twice_is_cutting_once():
    data, _ = whole_log()
    disk = disk_with({FIRST: data[:-3]})
    first = Watched(disk)
    files = files_of(disk)
    second = Watched(disk)
    assert first.log.torn is not None
    assert second.log.torn is None
    assert files_of(disk) == files
    assert [one.body for one in second.found] == [one.body for one in first.found]
    assert second.log.end == first.log.end


def test_a_cut_that_wrote_a_new_segment_no_further_than_its_name():
    files, _ = small_log(segment_bytes=100)
    *names, last = files
    for left in (0, 1, HEADER_BYTES - 1, HEADER_BYTES + 3):
        disk = disk_with({name: files[name] for name in names} | {last: files[last][:left]})
        watched, after = recovered_and_appended(disk, b"more")
        kept = bodies_of(watched.found)
        assert kept == ALL[: -len(GROUPS[-1])]
        assert after == [*kept, b"more"]


# -- every bit -----------------------------------------------------------------------------------


def judged(files: dict[str, bytes], name: str, at: int) -> list[Found] | None:
    """What is read after one bit was flipped; None where damage was told, and rightly."""
    disk = disk_with(files)
    try:
        watched = Watched(disk)
    except DamagedLog as error:
        named = re.match(r"(\S+), offset (\d+):", str(error))
        assert named is not None
        assert named[1] == name
        offset = int(named[2])
        header = parse(small_log(SEGMENT_BYTES if len(files) == 1 else 100)[0][name], offset)
        assert header is not None
        assert offset <= at < offset + HEADER_BYTES + header.length
        assert files_of(disk) == files
        return None
    assert watched.log.torn is not None
    return watched.found


def test_every_flipped_bit_of_a_log_is_told_or_cuts_only_the_last_group():
    data, begins = whole_log()
    kept_at_least = sum(map(len, GROUPS[:-1]))
    told = cut = 0
    for bit in range(8 * len(data)):
        at = bit // 8
        flipped = bytearray(data)
        flipped[at] ^= 1 << bit % 8
        found = judged({FIRST: bytes(flipped)}, FIRST, at)
        if found is None:
            told += 1
            continue
        cut += 1
        assert at >= begins[-1], "only what nothing proves to have been synced may be cut"
        kept = bodies_of(found)
        assert kept == ALL[: len(kept)]
        assert len(kept) >= kept_at_least
        assert found[-1].header.end == record_at(at)
    assert told + cut == 8 * len(data)
    assert told >= 8 * begins[-1]


def test_every_flipped_bit_of_a_segment_before_the_last_is_told():
    files, _ = small_log(segment_bytes=100)
    *names, _ = files
    assert len(names) >= 3
    for name in names:
        for bit in range(0, 8 * len(files[name]), 3):
            flipped = bytearray(files[name])
            flipped[bit // 8] ^= 1 << bit % 8
            assert judged(files | {name: bytes(flipped)}, name, bit // 8) is None


# -- other damage --------------------------------------------------------------------------------


def test_a_hole_before_the_last_group_is_damage():
    data, begins = whole_log()
    for at in range(0, begins[-1], 5):
        holed = data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 8]) + data[at + 8 :]
        name, offset = damage_of(disk_with({FIRST: holed}))
        assert (name, offset) == (FIRST, record_at(at))


def test_a_length_that_swallows_the_rest_is_damage():
    data, begins = whole_log()
    for begin in [0, *ends()][:-1]:
        swallowed = data[: begin + 4] + b"\x00\xff\xff\xff" + data[begin + 8 :]
        disk = disk_with({FIRST: swallowed})
        if begin < begins[-1]:
            assert damage_of(disk) == (FIRST, begin)
        else:
            assert Watched(disk).log.torn == (begin, len(data) - begin)


@pytest.mark.parametrize(("more", "is_record"), [(0, True), (1, False)])
def test_a_record_over_the_limit_is_none(more, is_record):
    data, _ = whole_log()
    last = Watched(disk_with({FIRST: data})).found[-1].header.crc
    body = bytes(RECORD_BYTES_MAX + more)
    front, _ = frame(COMMIT, body, len(data), len(data), last)
    watched = Watched(disk_with({FIRST: data + front + body}))
    assert (watched.found[-1].body == body) is is_record
    assert (watched.log.torn is None) is is_record


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_missing_segment_is_damage(gone):
    files, _ = small_log(segment_bytes=100)
    names = list(files)
    left = {name: data for name, data in files.items() if name != names[gone]}
    with pytest.raises(DamagedLog, match=f"{names[gone + 1]}.*missing"):
        Watched(disk_with(left))


def test_a_segment_that_lost_its_end_is_damage():
    files, _ = small_log(segment_bytes=100)
    names = list(files)
    with pytest.raises(DamagedLog, match=f"{names[1]} should begin at"):
        Watched(disk_with(files | {names[0]: files[names[0]][:-1]}))


def test_a_record_at_another_place_is_damage():
    async def story() -> tuple[dict[str, bytes], list[int]]:
        return await files_with_groups([[b"one"], [b"two"], [b"six"], [b"ten"]])

    files, begins = run(story())
    data = files[FIRST]
    length = HEADER_BYTES + 3
    second = data[begins[1] : begins[1] + length]
    moved = data[: begins[2]] + second + data[begins[2] + length :]
    assert damage_of(disk_with({FIRST: moved})) == (FIRST, begins[2])


def test_a_segment_under_the_name_of_another_is_damage_wherever_reading_begins():
    async def story() -> tuple[dict[str, bytes], list[int]]:
        return await files_with_groups([[b"x" * 100]] * 4, segment_bytes=100)

    files, _ = run(story())
    first, second, *_ = files
    bases = [int(name[4:20], 16) for name in files]
    disk = disk_with(files | {second: files[first]})
    log = Log(disk, opening_state=bytes, on_durable=lambda _: None, on_failure=lambda _: None)
    with pytest.raises(DamagedLog, match=f"{second}, offset 0:"):
        next(log.replay(bases[1]))


def test_an_old_record_at_its_old_place_is_damage():
    """Two histories that part in their second group, and agree in every length."""

    async def story(second: bytes) -> tuple[dict[str, bytes], list[int]]:
        return await files_with_groups([[b"one"], [second], [b"six"], [b"ten"]])

    now, begins = run(story(b"new"))
    old, _ = run(story(b"old"))
    length = HEADER_BYTES + 3
    stale = bytearray(now[FIRST])
    stale[begins[2] : begins[2] + length] = old[FIRST][begins[2] : begins[2] + length]
    assert parse(bytes(stale), begins[2]) is not None, "it is a good record, but for its link"
    assert damage_of(disk_with({FIRST: bytes(stale)})) == (FIRST, begins[2])
    stale = bytearray(now[FIRST])
    stale[begins[3] :] = old[FIRST][begins[3] :]
    watched = Watched(disk_with({FIRST: bytes(stale)}))
    assert bodies_of(watched.found) == [b"one", b"new", b"six"]
    assert watched.log.torn is not None


def test_a_segment_of_another_log_is_damage():
    files, _ = small_log(segment_bytes=100)
    foreign, _ = run(
        files_with_groups([[body.upper() for body in group] for group in GROUPS], segment_bytes=100)
    )
    *_, last_but_one, last = files
    assert list(foreign) == list(files)
    name, offset = damage_of(disk_with(files | {last_but_one: foreign[last_but_one]}))
    assert (name, offset) == (last_but_one, 0)
    watched = Watched(disk_with(files | {last: foreign[last]}))
    assert bodies_of(watched.found) == ALL[: -len(GROUPS[-1])]


def test_a_frame_of_a_newer_version_is_refused_and_not_cut():
    data, begins = whole_log()
    for begin in (begins[-1], ends()[-2], 0, begins[1]):
        newer = data[: begin + 1] + b"\x02" + data[begin + 2 :]
        assert damage_of(disk_with({FIRST: newer})) == (FIRST, begin)
        with pytest.raises(DamagedLog, match="frame version 2"):
            Watched(disk_with({FIRST: newer}))
    with pytest.raises(DamagedLog, match="frame version 2"):
        Watched(disk_with({FIRST: data + b"\xab\x02 and something new"}))


def test_a_payload_that_looks_like_a_record_is_no_proof():
    async def story() -> tuple[dict[str, bytes], list[int]]:
        inner, _ = frame(COMMIT, b"", 1 << 20, 1 << 20, 0)
        return await files_with_groups([[b"one"], [inner * 4 + b"x"]])

    files, begins = run(story())
    data = files[FIRST]
    watched = Watched(disk_with({FIRST: data[:-1]}))
    assert watched.log.torn == (begins[1], len(data) - 1 - begins[1])


def test_a_torn_last_group_still_proves_that_those_before_it_had_been_synced():
    data, begins = whole_log()
    torn = bytearray(data[: begins[-1] + HEADER_BYTES + 1])
    torn[begins[-2] + HEADER_BYTES] ^= 1
    assert damage_of(disk_with({FIRST: bytes(torn)})) == (FIRST, begins[-2])
    del torn[begins[-1] + HEADER_BYTES - 1 :]
    assert Watched(disk_with({FIRST: bytes(torn)})).log.torn is not None


@pytest.mark.parametrize("overlap", [1, 16, HEADER_BYTES - 1, HEADER_BYTES])
def test_proof_is_found_where_two_reads_of_the_search_meet(overlap):
    async def story() -> tuple[dict[str, bytes], list[int]]:
        length = SCAN_WINDOW_BYTES + 1 - overlap - HEADER_BYTES
        return await files_with_groups([[b"small"], [b"x" * length], [b"end"]])

    files, begins = run(story())
    assert begins[2] == begins[1] + 1 + SCAN_WINDOW_BYTES - overlap
    data = bytearray(files[FIRST])
    data[begins[1] + 100] ^= 1
    assert damage_of(disk_with({FIRST: bytes(data)})) == (FIRST, begins[1])


def test_damage_in_a_large_segment_is_found_beyond_the_window():
    async def story() -> tuple[dict[str, bytes], list[int]]:
        return await files_with_groups([[b"small"], [bytes(5 << 20)], [bytes(5 << 20)], [b"end"]])

    files, begins = run(story())
    data = bytearray(files[FIRST])
    data[begins[1] + 100] ^= 1
    assert damage_of(disk_with({FIRST: bytes(data)})) == (FIRST, begins[1])
    del data[begins[2] :]
    assert Watched(disk_with({FIRST: bytes(data)})).log.torn == (begins[1], len(data) - begins[1])
