"""Sealed segments say what the plain ones said, or that they are damaged."""

from __future__ import annotations

import asyncio
from functools import cache
from random import Random
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage import sealer as sealer_module
from anabranch.storage.block import Place
from anabranch.storage.commit import Draft, pack, read_header, read_payloads, slim, stamped, whole
from anabranch.storage.errors import BadFrame, DamagedLog
from anabranch.storage.limits import BLOCKS_CACHED_BYTES
from anabranch.storage.record import COMMIT, HEADER_BYTES, parse
from anabranch.storage.sealed import stored_directory
from anabranch.storage.sealer import Sealer
from anabranch.storage.segment import Found, Gap, merged, without

from .logs import Watched, bodies_of, files_of
from .sealing import commit_of, seal, sealed_disk, written

# -- slim commits --------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_anything_slimmed_is_whole_again(body):
    assert whole(slim(body)) == body


@given(st.integers(0, 300), st.integers(0, 400), st.integers(1, 40), st.data())
def test_commits_are_slimmer_by_their_hashes_and_whole_again(number, size, events, data):
    body = commit_of(number, size=size, events=events)
    hashes = read_header(body).hashes
    assert whole(slim(body)) == body
    assert len(slim(body)) <= len(body) - len(hashes) + 1, "a mark"
    at = data.draw(st.integers(0, len(body) - 1))
    spoiled = body[:at] + bytes([data.draw(st.integers(0, 255))]) + body[at + 1 :]
    assert whole(slim(spoiled)) == spoiled


def test_a_commit_whose_payload_was_erased_stays_as_it_is():
    body = commit_of(1, size=60)
    erased = body.replace(b"xxxxxxx", b"yyyyyyy")
    assert slim(erased)[1:] == erased
    assert len(slim(body)) < len(slim(erased))


def test_another_form_of_the_same_commit_stays_as_it_is():
    body = commit_of(2)
    payload = read_payloads(body)[1][0]
    longer = body[: -len(payload) - 2] + b"\xc5\x00" + bytes([len(payload)]) + payload
    assert read_payloads(longer)[1] == (payload,)
    assert whole(slim(longer)) == longer


def test_attributes_make_a_commit_no_less_slim():
    payloads = [b"{}" + pack({"tags": ["a"]}), b"1"]
    draft = Draft("s", ["t"], payloads, commit_id=bytes(16), cuts=[2, 1])
    body = stamped(draft, 1, 7, 1, 1)[1]
    assert whole(slim(body)) == body
    assert len(slim(body)) < len(body) - 50


@pytest.mark.parametrize(
    "slimmed", [b"", b"\x01", b"\x03abc", b"\x01\x92", b"\x02" + commit_of(3), b"\x01" + pack([1])]
)
def test_what_slim_never_makes_is_refused(slimmed):
    with pytest.raises(BadFrame):
        whole(slimmed)


# -- the same log ----------------------------------------------------------------------------------

bodies = st.one_of(st.binary(max_size=300), st.builds(commit_of, st.integers(0, 99)))
groups_of = st.lists(st.lists(bodies, min_size=1, max_size=5), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(groups_of, st.sampled_from([1, 300, 1500]), st.sampled_from([100, 700, 1 << 18]))
def test_a_sealed_log_is_read_as_the_plain_one(groups, segment_bytes, block_bytes):
    async def story() -> None:
        disk = SimDisk(Random(0), sync_seconds=0.0)
        positions = await written(disk, groups, segment_bytes)
        plain = Watched(disk.clone())
        with patch.object(sealer_module, "BLOCK_BYTES", block_bytes):
            watched = await seal(disk)
        names = disk.list("log")
        assert [name for name in names if name.endswith(".seg")] == names[-1:]
        assert len(names) == plain.log.segments == watched.log.segments
        again = Watched(disk)
        assert (again.found, again.gaps, again.log.end) == (plain.found, [], plain.log.end)
        for log in (watched.log, again.log):
            flat = [body for group in groups for body in group]
            for position, body in zip(positions, flat, strict=True):
                assert log.read(position, len(body)) == body
        for segment in again.log.files.segments:
            rest = list(again.log.replay(segment.base))
            assert rest == [one for one in plain.found if one.position >= segment.base]

    run(story())


def test_a_log_goes_on_behind_sealed_segments():
    async def story() -> None:
        disk, _ = await sealed_disk([[commit_of(n)] for n in range(20)], 600)
        watched = Watched(disk, segment_bytes=600)
        watched.log.start()
        for number in range(20, 40):
            await watched.write_group([commit_of(number)])
        await watched.log.close()
        await seal(disk, watched)
        again = Watched(disk)
        assert bodies_of(again.found) == [commit_of(number) for number in range(40)]
        assert again.log.sealed == again.log.segments - 1 > 5

    run(story())


def test_a_block_is_unpacked_once_for_all_that_is_in_it():
    async def story() -> None:
        groups = [[commit_of(n, size=200) for n in range(20)] for _ in range(10)]
        with patch.object(sealer_module, "BLOCK_BYTES", 2000):
            disk, positions = await sealed_disk(groups, 3000)
        watched = Watched(disk)
        reads: list[str] = []
        read = disk.read
        with patch.object(disk, "read", lambda *a: (reads.append(a[0]), read(*a))[1]):
            flat = [body for group in groups for body in group]
            for position, body in list(zip(positions, flat, strict=True))[:100]:
                watched.log.read(position, len(body))
        blocks = sum(
            len(watched.log.files._sealed.directory(one.name, one.base, one.end).places)
            for one in watched.log.files.segments
            if one.sealed
        )
        assert len(reads) <= blocks + 2 * watched.log.segments

    run(story())


def test_blocks_in_memory_are_bounded():
    async def story() -> None:
        groups = [[commit_of(n, size=200_000)] for n in range(40)]
        disk, positions = await sealed_disk(groups, 1 << 20)
        watched = Watched(disk)
        for position, (body,) in zip(positions, groups, strict=True):
            assert watched.log.read(position, len(body)) == body
        cached = watched.log.files._sealed._blocks
        assert sum(length for _, length in cached.values()) <= BLOCKS_CACHED_BYTES
        assert len(cached) > 5

    run(story())


# -- damage ----------------------------------------------------------------------------------------


@cache
def small() -> tuple[SimDisk, list[tuple[int, bytes]], str]:
    """A log with one sealed segment of four blocks; its records, and the sealed file's name."""

    async def story() -> tuple[SimDisk, list[tuple[int, bytes]], str]:
        groups = [[commit_of(n, size=60)] for n in range(6)]
        with patch.object(sealer_module, "BLOCK_BYTES", 500):
            disk, positions = await sealed_disk(groups, 1000)
        flat = [body for group in groups for body in group]
        (name,) = [name for name in disk.list("log") if name.endswith(".sealed")]
        return disk, list(zip(positions, flat, strict=True)), f"log/{name}"

    return run(story())


def served(watched: Watched, records: list[tuple[int, bytes]]) -> list[bool]:
    """Whether each record is read; what is read must be right."""
    good = []
    for position, body in records:
        try:
            assert watched.log.read(position, len(body)) == body
            good.append(True)
        except DamagedLog as error:
            gap = Gap(error.position, error.end)
            good.append(False)
        else:
            continue
        assert gap.position <= position < gap.end
        assert any(one.position <= gap.position and gap.end <= one.end for one in watched.log.gaps)
    return good


def test_every_flipped_bit_of_a_sealed_segment_takes_one_block_at_most():
    disk, records, name = small()
    opened = Watched(disk.clone())
    places = opened.log.files._sealed.directory(name, 0, opened.log.files.segments[0].end).places
    assert len(places) == 4
    for bit in range(8 * disk.size(name)):
        spoiled = disk.clone()
        spoiled.flip(name, bit // 8, 1 << bit % 8)
        watched = Watched(spoiled)
        lost = [one for one in places if one.offset <= bit // 8 < one.offset + one.stored]
        gaps = [(one.position, one.end) for one in lost]
        assert watched.gaps == gaps
        assert watched.found == [
            one for one in opened.found if not any(a <= one.position < b for a, b in gaps)
        ]
        if bit % 5 == 0:
            good = served(Watched(spoiled), records)
            assert good == [not any(a <= p < b for a, b in gaps) for p, _ in records]


def test_a_sealed_segment_cut_at_any_byte_keeps_the_blocks_before():
    disk, records, name = small()
    opened = Watched(disk.clone())
    for length in range(disk.size(name)):
        spoiled = disk.clone()
        spoiled.truncate(name, length)
        watched = Watched(spoiled)
        assert len(watched.gaps) <= 1
        kept = [
            one
            for one in opened.found
            if not any(gap.position <= one.position < gap.end for gap in watched.gaps)
        ]
        assert watched.found == kept
        assert served(Watched(spoiled), records) == [
            any(one.position == position for one in kept) for position, _ in records
        ]


def test_a_sealed_segment_that_is_missing_or_a_strangers_is_a_gap():
    async def story() -> None:
        mine, _ = await sealed_disk([[commit_of(n + 20)] for n in range(12)], 500)
        other, _ = await sealed_disk([[commit_of(n + 40)] for n in range(12)], 500)
        names = [name for name in mine.list("log") if name.endswith(".sealed")]
        assert names == [name for name in other.list("log") if name.endswith(".sealed")]
        whole_log = Watched(mine.clone())
        base, end = (int(name[:16], 16) for name in names[1:3])
        for stranger in (False, True):
            disk = mine.clone()
            disk.remove(f"log/{names[1]}")
            if stranger:
                disk.append(f"log/{names[1]}", files_of(other)[f"log/{names[1]}"])
            watched = Watched(disk)
            assert watched.gaps == [(base, end)]
            assert watched.found == [
                one for one in whole_log.found if not base <= one.position < end
            ]

    run(story())


def test_a_log_that_ends_with_a_sealed_segment_goes_on_in_a_new_one():
    async def story() -> None:
        disk, _ = await sealed_disk([[commit_of(n)] for n in range(6)], 500)
        disk.remove("log/" + disk.list("log")[-1])
        watched = Watched(disk)
        watched.log.start()
        (position,) = await watched.write_group([b"more"])
        await watched.log.close()
        again = Watched(disk)
        assert (again.found[-1].body, again.gaps) == (b"more", [])
        assert again.log.files.segments[-1].base == again.found[-2].position < position

    run(story())


class Mute(SimDisk):
    """A disk that can't read some of its files, or can't even open them."""

    unread: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()

    def size(self, name: str) -> int:
        if name in self.closed:
            raise DamagedLog(f"{name} can't be opened: input/output error")
        return super().size(name)

    def read(self, name: str, offset: int, length: int) -> bytes:
        if name in self.unread | self.closed:
            raise DamagedLog(f"{name} can't be read: input/output error")
        return super().read(name, offset, length)


def ends_sealed() -> tuple[Mute, str, tuple[Place, ...]]:
    """A log whose last segment is sealed: somebody has taken away what followed it."""
    before, _, name = small()
    disk = Mute(Random(0))
    disk.append(name, files_of(before)[name])
    directory = stored_directory(disk, name, 0)
    assert directory is not None and len(directory.places) == 4
    return disk, name, directory.places


def behind(places: tuple[Place, ...]) -> int:
    return places[-1].offset + places[-1].stored


async def goes_on(disk: SimDisk) -> int:
    """Append to a log; where."""
    watched = Watched(disk)
    watched.log.start()
    (position,) = await watched.write_group([b"more"])
    await watched.log.close()
    return position


@pytest.mark.parametrize("damage", ["closed", "unread", "cut", "cut to a block", "rotten"])
def test_a_log_does_not_go_on_within_a_last_segment_whose_end_nobody_can_tell(damage):
    disk, name, places = ends_sealed()
    whole, found = files_of(disk)[name], Watched(disk.clone()).found
    if damage in ("closed", "unread"):
        setattr(disk, damage, frozenset({name}))
    elif damage == "rotten":
        disk.flip(name, len(whole) - 1)
        disk.flip(name, behind(places))
    else:
        disk.truncate(name, len(whole) // 3 if damage == "cut" else places[0].stored)
    with pytest.raises(DamagedLog, match="nothing tells where it ends"):
        run(goes_on(disk))
    assert [f"log/{one}" for one in disk.list("log")] == [name], "nothing was written"
    disk.closed = disk.unread = frozenset()
    disk.truncate(name, 0)
    disk.append(name, whole)
    assert Watched(disk).found == found


@pytest.mark.parametrize("damage", ["directory", "footer", "last block and directory", "all but"])
def test_one_of_the_two_frames_at_its_end_tells_where_a_last_sealed_segment_ends(damage):
    disk, name, places = ends_sealed()
    end = places[-1].end
    lost = {"last block and directory": places[-1:], "all but": places}.get(damage, ())
    disk.flip(name, disk.size(name) - 1 if damage == "footer" else behind(places))
    for place in lost:
        disk.flip(name, place.offset)
    watched = Watched(disk)
    assert watched.gaps == ([(lost[0].position, end)] if lost else [])
    assert watched.log.end == end
    assert run(goes_on(disk)) > end
    assert Watched(disk).found[-1].body == b"more"


def test_a_sealed_segment_of_a_newer_version_is_refused():
    disk, _, name = small()
    newer = disk.clone()
    header = parse(disk.read(name, 0, HEADER_BYTES))
    assert header is not None
    newer.flip(name, 1, 3)
    newer.flip(name, 28, 0xFF)
    size = newer.size(name)
    newer.flip(name, size - 1)
    with pytest.raises(DamagedLog, match="frame version 2"):
        Watched(newer)


# -- reading again ---------------------------------------------------------------------------------


def test_a_check_reads_everything_and_tells_new_damage_once():
    async def story() -> None:
        groups = [[commit_of(n, size=2000) for n in range(100)] for _ in range(6)]
        disk, positions = await sealed_disk(groups, 500_000)
        watched = Watched(disk)
        log = watched.log
        assert log.sealed >= 1
        bases = [segment.base for segment in log.files.segments]
        for base in bases:
            pieces = list(log.check(base))
            assert not any(isinstance(one, Gap) for one in pieces)
            assert sum(one for one in pieces if isinstance(one, int)) > 0
            assert all(isinstance(one, (int, Found)) for one in pieces)
        sealed, plain = log.files.segments[0], log.files.segments[-1]
        disk.flip(sealed.name, 100)
        victim = max(position for position in positions)
        disk.flip(plain.name, victim - plain.base + 50)
        found = {base: [one for one in log.check(base) if isinstance(one, Gap)] for base in bases}
        assert found[plain.base] == [Gap(victim, log.end)]
        assert found[sealed.base][0].position == sealed.base
        assert len(log.gaps) == 2
        assert not any(isinstance(one, Gap) for base in bases for one in log.check(base))

    run(story())


def test_a_check_that_a_sealer_overtakes_finds_no_damage():
    async def story() -> None:
        disk = SimDisk(Random(0), sync_seconds=0.0)
        groups = [[commit_of(n, size=2000) for n in range(200)] for _ in range(3)]
        await written(disk, groups, 1_200_000)
        await written(disk, [[b"x"]], 1)
        watched = Watched(disk)
        check = watched.log.check(0)
        assert any(isinstance(one, int) for one in check)
        await seal(disk, watched)
        assert watched.log.sealed == watched.log.segments - 1
        assert [one for one in check if isinstance(one, Gap)] == []
        assert all(isinstance(one, Found) for one in watched.found)
        assert {one.kind for one in watched.found} >= {COMMIT}

    run(story())


@pytest.mark.parametrize("part", ["footer", "directory"])
def test_a_check_reads_the_directory_from_the_disk_and_the_sealer_makes_it_anew(part):
    before, records, name = small()

    async def story() -> None:
        disk = before.clone()
        whole, watched = files_of(disk)[name], Watched(disk)
        log, segment = watched.log, watched.log.files.segments[0]
        assert log.read(records[0][0], len(records[0][1])) == records[0][1]  # it is in memory
        sealer = asyncio.get_running_loop().create_task(Sealer(disk, log).run())
        await asyncio.sleep(1)
        at = len(whole) - 1 if part == "footer" else len(whole) - HEADER_BYTES - 3
        disk.flip(name, at)
        directory = Gap(segment.end, segment.end)  # no byte of the log stands there
        for found in ([directory], []):
            assert [one for one in log.check(segment.base) if isinstance(one, Gap)] == found
            assert log.gaps == [directory], "it is told once, and known until it is mended"
        assert all(served(watched, records)), "its blocks were found without it"
        await asyncio.sleep(1)
        assert files_of(disk)[name] == whole
        assert log.gaps == []
        assert not any(isinstance(one, Gap) for one in log.check(segment.base))
        sealer.cancel()

    run(story())


def test_a_check_of_what_is_whole_reads_the_directory_once_for_all_blocks():
    disk, _, name = small()
    watched = Watched(disk)
    places = watched.log.files._sealed.directory(name, 0, watched.log.files.segments[0].end).places
    reads: list[str] = []
    read = disk.read
    with patch.object(disk, "read", lambda *a: (reads.append(a[0]), read(*a))[1]):
        list(watched.log.check(0))
    assert reads == [name] * (2 + len(places)), "footer and directory, then the blocks"


@pytest.mark.parametrize("rotten", [False, True])
@pytest.mark.parametrize("by", ["a read", "a check"])
def test_a_directory_that_could_not_be_read_is_as_good_as_ever_when_the_disk_answers(by, rotten):
    before, records, name = small()
    disk = Mute(Random(0))
    for file, data in files_of(before).items():
        disk.append(file, data)
    if rotten:
        disk.flip(name, disk.size(name) - 1)
    watched = Watched(disk)
    segment = watched.log.files.segments[0]
    watched.log.files.exchange(segment)  # so nothing of it is in memory
    disk.unread = frozenset({name})
    assert served(watched, records) == [position >= segment.end for position, _ in records]
    assert watched.log.gaps
    disk.unread = frozenset()
    if by == "a check":
        gaps = [one for one in watched.log.check(segment.base) if isinstance(one, Gap)]
        assert gaps == [Gap(segment.end, segment.end)] * rotten
    if by == "a check" or not rotten:  # else the next check searches for its blocks again
        assert all(served(watched, records))
        assert watched.log.files.gaps == []


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9))), st.integers(0, 30), st.data())
def test_ranges_without_another_one(ranges, start, data):
    end = data.draw(st.integers(start + 1, 40))
    gaps = merged(Gap(position, position + length) for position, length in ranges)
    left = without(gaps, Gap(start, end))
    inside = {at for gap in gaps for at in range(*gap)}
    assert {at for gap in left for at in range(*gap)} == inside - {*range(start, end)}
    assert merged(left) == left
