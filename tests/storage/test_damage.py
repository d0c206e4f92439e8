"""What is wrong on a disk is cut as a torn tail or told as a gap, never read as something else."""

from __future__ import annotations

from functools import cache
from random import Random
from struct import pack

import pytest
from google_crc32c import value as crc32c

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage.errors import DamagedLog
from anabranch.storage.limits import RECORD_BYTES_MAX, SCAN_WINDOW_BYTES, SEGMENT_BYTES
from anabranch.storage.log import Log
from anabranch.storage.record import COMMIT, HEADER_BYTES, frame, parse
from anabranch.storage.segment import Gap, segment_name

from .logs import OPENING, Watched, bodies_of, disk_with, files_of, files_with_groups

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
    return [
        one.position + HEADER_BYTES + len(one.body)
        for one in Watched(disk_with(small_log()[0])).found
    ]


def gaps_of(disk: SimDisk) -> list[tuple[int, int]]:
    """The ranges that are told to be damaged; all else is as it was, and nothing is changed."""
    before = files_of(disk)
    watched = Watched(disk)
    assert watched.log.torn is None
    assert files_of(disk) == before, "damage is told, and nothing is changed"
    assert watched.gaps == watched.log.gaps
    return [(gap.position, gap.end) for gap in watched.gaps]


def refusal_of(disk: SimDisk) -> str:
    """Why a log is not opened; nothing is changed then."""
    before = files_of(disk)
    with pytest.raises(DamagedLog) as caught:
        Watched(disk)
    assert files_of(disk) == before
    return str(caught.value)


def end_of(position: int) -> int:
    """Where the record of the whole log ends that begins at a position."""
    return min(end for end in ends() if end > position)


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


# -- other damage --------------------------------------------------------------------------------


def test_a_hole_before_the_last_group_is_a_gap():
    data, begins = whole_log()
    for at in range(0, begins[-1] - 8, 5):
        holed = data[:at] + bytes(8) + data[at + 8 :]
        changed = [place for place in range(at, at + 8) if data[place]]
        if changed:
            gap = (record_at(changed[0]), end_of(record_at(changed[-1])))
            assert gaps_of(disk_with({FIRST: holed})) == [gap]


def test_a_length_that_swallows_the_rest_takes_only_its_record():
    data, begins = whole_log()
    for begin in [0, *ends()][:-1]:
        swallowed = data[: begin + 4] + b"\x00\xff\xff\xff" + data[begin + 8 :]
        disk = disk_with({FIRST: swallowed})
        if begin < begins[-1]:
            assert gaps_of(disk) == [(begin, end_of(begin))]
        else:
            assert Watched(disk).log.torn == (begin, len(data) - begin)


@pytest.mark.parametrize(("more", "is_record"), [(0, True), (1, False)])
def test_a_record_over_the_limit_is_none(more, is_record):
    data, _ = whole_log()
    begin = ends()[-2]
    last = parse(data, begin)
    assert last is not None
    body = bytes(RECORD_BYTES_MAX + more)
    front, _ = frame(COMMIT, body, len(data), len(data), last.crc)
    watched = Watched(disk_with({FIRST: data + front + body}))
    assert (watched.found[-1].body == body) is is_record
    assert (watched.log.torn is None) is is_record


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_missing_segment_is_a_gap(gone):
    files, _ = small_log(segment_bytes=100)
    names = list(files)
    left = {name: data for name, data in files.items() if name != names[gone]}
    base = int(names[gone][4:20], 16)
    assert gaps_of(disk_with(left)) == [(base, base + len(files[names[gone]]))]


def test_several_missing_segments_are_one_gap():
    files, _ = small_log(segment_bytes=100)
    last = list(files)[-1]
    assert gaps_of(disk_with({last: files[last]})) == [(0, int(last[4:20], 16))]


def test_two_segments_that_hold_the_same_stretch_are_refused():
    files, _ = small_log(segment_bytes=100)
    names = list(files)
    longer = files | {names[0]: files[names[0]] + b"x"}
    assert f"{names[0]} ends at" in refusal_of(disk_with(longer))
    stranger = files | {segment_name(5): b"x"}
    assert "another segment begins" in refusal_of(disk_with(stranger))


def test_a_log_that_lost_its_end_is_refused():
    files, _ = small_log(segment_bytes=100)
    *_, last = files
    end = int(last[4:20], 16) + len(files[last])
    for left in (
        files | {last: files[last][:-1]},
        {**files, last: b""},
        dict([*files.items()][:-1]),
    ):
        log = Log(
            disk_with(left),
            opening_state=bytes,
            on_durable=lambda _: None,
            on_failure=lambda _: None,
        )
        with pytest.raises(DamagedLog, match="the log has lost its end"):
            list(log.replay(0, synced=end))


def test_a_record_at_another_place_is_a_gap():
    async def story() -> tuple[dict[str, bytes], list[int]]:
        return await files_with_groups([[b"one"], [b"two"], [b"six"], [b"ten"]])

    files, begins = run(story())
    data = files[FIRST]
    length = HEADER_BYTES + 3
    second = data[begins[1] : begins[1] + length]
    moved = data[: begins[2]] + second + data[begins[2] + length :]
    assert gaps_of(disk_with({FIRST: moved})) == [(begins[2], begins[3])]


def test_a_segment_under_the_name_of_another_is_a_gap_wherever_reading_begins():
    async def story() -> tuple[dict[str, bytes], list[int]]:
        return await files_with_groups([[b"x" * 100]] * 4, segment_bytes=100)

    files, _ = run(story())
    first, second, *_ = files
    bases = [int(name[4:20], 16) for name in files]
    disk = disk_with(files | {second: files[first]})
    log = Log(disk, opening_state=bytes, on_durable=lambda _: None, on_failure=lambda _: None)
    assert next(log.replay(bases[1])) == Gap(bases[1], bases[2])


def test_an_old_record_at_its_old_place_is_a_gap():
    """Two histories that part in their second group, and agree in every length."""

    async def story(second: bytes) -> tuple[dict[str, bytes], list[int]]:
        return await files_with_groups([[b"one"], [second], [b"six"], [b"ten"]])

    now, begins = run(story(b"new"))
    old, _ = run(story(b"old"))
    length = HEADER_BYTES + 3
    stale = bytearray(now[FIRST])
    stale[begins[2] : begins[2] + length] = old[FIRST][begins[2] : begins[2] + length]
    assert parse(bytes(stale), begins[2]) is not None, "it is a good record, but for its link"
    disk = disk_with({FIRST: bytes(stale)})
    assert gaps_of(disk) == [(begins[2], begins[3])]
    assert bodies_of(Watched(disk).found) == [b"one", b"new", b"ten"]
    stale = bytearray(now[FIRST])
    stale[begins[3] :] = old[FIRST][begins[3] :]
    watched = Watched(disk_with({FIRST: bytes(stale)}))
    assert bodies_of(watched.found) == [b"one", b"new", b"six"]
    assert watched.log.torn is not None


def test_a_segment_of_another_log_is_a_gap():
    files, _ = small_log(segment_bytes=100)
    foreign, _ = run(
        files_with_groups([[body.upper() for body in group] for group in GROUPS], segment_bytes=100)
    )
    *_, last_but_one, last = files
    assert list(foreign) == list(files)
    base, end = (int(name[4:20], 16) for name in (last_but_one, last))
    disk = disk_with(files | {last_but_one: foreign[last_but_one]})
    assert gaps_of(disk) == [(base, end)], "none of its records is served"
    watched = Watched(disk_with(files | {last: foreign[last]}))
    assert bodies_of(watched.found) == ALL[: -len(GROUPS[-1])]


def test_a_frame_of_a_newer_version_is_refused_and_not_cut():
    data, begins = whole_log()
    for begin in (begins[-1], ends()[-2], 0, begins[1]):
        front = data[begin : begin + 1] + b"\x02" + data[begin + 2 : begin + 28]
        newer = data[:begin] + front + pack(">I", crc32c(front)) + data[begin + 32 :]
        told = refusal_of(disk_with({FIRST: newer}))
        assert told.startswith(f"{FIRST}, offset {begin}: a record of frame version 2")
    assert "frame version 2" in refusal_of(disk_with({FIRST: data + b"\xab\x02 and something new"}))


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
    watched = Watched(disk_with({FIRST: bytes(torn)}))
    assert watched.gaps == [(begins[-2], begins[-1])]
    assert watched.log.torn == (begins[-1], len(torn) - begins[-1])
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
    assert gaps_of(disk_with({FIRST: bytes(data)})) == [(begins[1], begins[2])]


def test_damage_in_a_large_segment_is_found_beyond_the_window():
    async def story() -> tuple[dict[str, bytes], list[int]]:
        return await files_with_groups([[b"small"], [bytes(5 << 20)], [bytes(5 << 20)], [b"end"]])

    files, begins = run(story())
    data = bytearray(files[FIRST])
    data[begins[1] + 100] ^= 1
    assert gaps_of(disk_with({FIRST: bytes(data)})) == [(begins[1], begins[2])]
    del data[begins[2] :]
    assert Watched(disk_with({FIRST: bytes(data)})).log.torn == (begins[1], len(data) - begins[1])


# -- reading on ----------------------------------------------------------------------------------


def test_a_payload_that_looks_like_the_next_record_is_not_taken_for_it():
    """The frame around it is damaged; what comes after it does not link to what is in it."""

    async def story() -> tuple[dict[str, bytes], list[int]]:
        opening = HEADER_BYTES + len(OPENING)
        place = opening + HEADER_BYTES
        forged, _ = frame(COMMIT, b"forged", place, place, 0)
        return await files_with_groups([[forged + b"forged"], [b"next"], [b"end"]])

    files, begins = run(story())
    data = bytearray(files[FIRST])
    position = HEADER_BYTES + len(OPENING)
    assert parse(bytes(data), position + HEADER_BYTES) is not None
    data[position + 9] ^= 1
    watched = Watched(disk_with({FIRST: bytes(data)}))
    assert bodies_of(watched.found) == [b"next", b"end"]
    assert watched.gaps == [(position, begins[1])]


def test_old_records_behind_a_bad_frame_are_not_taken_for_what_is_there():
    """Two histories that agree in every length; of the older one two records came back."""

    async def story(groups: list[list[bytes]]) -> tuple[dict[str, bytes], list[int]]:
        return await files_with_groups(groups)

    now, begins = run(story([[b"one"], [b"new"], [b"now"], [b"six"], [b"ten"]]))
    old, _ = run(story([[b"one"], [b"old"], [b"ago"], [b"far"], [b"ten"]]))
    stale = bytearray(now[FIRST])
    stale[begins[1] + 20 : begins[3]] = old[FIRST][begins[1] + 20 : begins[3]]
    stale[begins[1] + 9] ^= 1
    watched = Watched(disk_with({FIRST: bytes(stale)}))
    assert bodies_of(watched.found) == [b"one", b"six", b"ten"]
    assert watched.gaps == [(begins[1], begins[3])]


class BadSectors(SimDisk):
    """A disk with sectors that can't be read."""

    bad: frozenset[int] = frozenset()
    failures_left = 1 << 60

    def read(self, name: str, offset: int, length: int) -> bytes:
        sectors = range(offset // 4096, (offset + max(length, 1) - 1) // 4096 + 1)
        if self.failures_left and any(sector in self.bad for sector in sectors):
            self.failures_left -= 1
            raise DamagedLog(f"{name} can't be read at offset {offset}")
        return super().read(name, offset, length)


def test_a_bad_sector_takes_no_more_than_the_records_in_it():
    async def story() -> tuple[dict[str, bytes], list[int]]:
        return await files_with_groups([[bytes([number]) * 1000] for number in range(40)])

    files, begins = run(story())
    disk = BadSectors(Random(0))
    disk.append(FIRST, files[FIRST])
    disk.bad = frozenset({3})
    watched = Watched(disk)
    (gap,) = watched.gaps
    inside = [begin for begin in begins if begin < 4 * 4096 and begin + 1032 > 3 * 4096]
    assert gap == (min(inside), max(inside) + 1032)
    assert len(bodies_of(watched.found)) == 40 - len(inside)


def test_a_read_that_fails_once_is_no_damage():
    async def story() -> tuple[dict[str, bytes], list[int]]:
        return await files_with_groups([[b"one"], [b"two"]])

    files, begins = run(story())
    disk = BadSectors(Random(0))
    disk.append(FIRST, files[FIRST])
    disk.bad, disk.failures_left = frozenset({0}), 1
    watched = Watched(disk)
    assert bodies_of(watched.found) == [b"one", b"two"]
    disk.failures_left = 1
    assert watched.log.read(begins[1], 3) == b"two"
    assert watched.log.gaps == []
    disk.failures_left = 2
    with pytest.raises(DamagedLog) as caught:
        watched.log.read(begins[1], 3)
    assert (caught.value.position, caught.value.end) == (begins[1], watched.log.end)
    assert watched.log.gaps == [(begins[1], watched.log.end)]
    assert watched.log.read(begins[1], 3) == b"two"
    assert watched.log.gaps == [], "it had been read wrong"
