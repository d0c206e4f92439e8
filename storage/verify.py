"""Looks at everything in a data directory without changing it, and says exactly what is wrong.

`verify` reads each record, block, directory and quarantined range; the index and the trees are not
its subject. `repair` does the two things that lose nothing: it cuts a torn tail, of which nobody
was told, and removes what an interrupted sealer has left.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Final, Literal, NamedTuple

from .block import Block, Directory
from .commit import read_payloads
from .disk import Disk
from .errors import BadFrame, DamagedLog, DiskError
from .limits import BLOCK_BYTES
from .record import COMMIT, HEADER_BYTES, STATE
from .scan import Scan
from .sealed import directory_of, load, sealed_end, searched_end, stored_directory
from .segment import (
    FOLDER,
    QUARANTINE,
    Found,
    Gap,
    Segment,
    collision,
    forms_on,
    leftovers,
    quarantine_name,
    sealed_name,
    segment_name,
    segments_of,
)
from .state import read_state

_POSITION_MAX: Final = (1 << 64) - 1
_QUARANTINED: Final = re.compile(r"([0-9a-f]{16})-(\d{1,20})\.bad")
Repair = Literal["", "cut", "remove"]


class Progress(NamedTuple):
    """What was read of a file, so far."""

    name: str
    read: int  # bytes of the file
    size: int
    records: int


class Finding(NamedTuple):
    """One place and what is wrong with it.

    `position` and `length` are those in the log, if it concerns the log. `known`: it was noticed
    and taken care of before. `repair` says what may be done about it.
    """

    name: str
    offset: int
    position: int
    length: int
    what: str
    known: bool = False
    repair: Repair = ""


def verify(disk: Disk) -> Iterator[Progress | Finding]:
    """Read everything. Yields how far it is, about a block at a time, and what is wrong."""
    for name in leftovers(disk):
        what = "left by a sealer that was interrupted; its source is still there"
        yield Finding(name, 0, 0, disk.size(name), what, repair="remove")
    try:
        segments, fits = segments_of(disk), True
    except DamagedLog:
        segments, fits = (yield from _one_by_one(disk)), False
    position, link = 0, 0 if segments else None
    for segment in segments:
        if segment.base > position:
            what = "missing: no segment holds this range"
            yield Finding(segment_name(position), 0, position, segment.base - position, what)
        if segment.base != position:
            link = None
        last = fits and segment is segments[-1]  # else nobody can say that it is: nothing is cut
        read = (
            _sealed(disk, segment, link)
            if segment.sealed
            else _plain(disk, segment, link, last=last)
        )
        link = yield from read
        position = segment.end
    yield from _quarantine(disk)


def repair(disk: Disk, finding: Finding) -> None:
    """Do what may be done about a finding. Raises DiskError if that is nothing."""
    if finding.repair == "cut":
        disk.truncate(finding.name, finding.offset)
    elif finding.repair == "remove":
        disk.remove(finding.name)
        disk.sync_names(FOLDER)
    else:
        raise DiskError(f"{finding.name}: {finding.what}. It is not repaired by leaving it out")


_Read = Iterator[Progress | Finding]


def _one_by_one(disk: Disk) -> Generator[Finding, None, list[Segment]]:
    """The segments where they don't make up one log; says which does not fit, and why."""
    segments = list[Segment]()
    for base, forms, until in forms_on(disk):
        segment = yield from _alone(disk, base, forms, until)
        if until is not None and segment.end > until:
            what = collision(segment, until)
            yield Finding(segment.name, 0, until, segment.end - until, what)
        segments.append(segment)
    return segments


def _alone(
    disk: Disk, base: int, forms: set[str], until: int | None
) -> Generator[Finding, None, Segment]:
    """One segment; where nothing tells its end, it reaches as far as its blocks do."""
    name = sealed_name(base)
    end = sealed_end(disk, name, base) if "sealed" in forms else None
    if end is None and "seg" in forms:
        return Segment(base, disk.size(segment_name(base)))
    end = until if end is None else end
    if end is None:
        try:
            places = directory_of(disk, name, base, _POSITION_MAX).places
        except DamagedLog:  # of a newer version: reading it says so
            return Segment(base, 0, sealed=True)
        try:
            end = searched_end(disk, name, base)
        except DamagedLog as error:
            end = places[-1].end if places else base
            yield Finding(name, 0, end, 0, str(error))
    return Segment(base, end - base, sealed=True)


def _plain(
    disk: Disk, segment: Segment, link: int | None, *, last: bool
) -> Generator[Progress | Finding, None, int | None]:
    """One plain segment; the link that the next record has to name."""
    scan = Scan(disk, segment, last=last, link=link, window_bytes=BLOCK_BYTES)
    records, told, place = 0, 0, segment.base
    try:
        for found in scan.records(segment.base):
            if isinstance(found, Gap):
                place = found.end
                yield _gap(segment.name, found.position - segment.base, found)
                continue
            records += 1
            yield from _body(segment.name, found.position - segment.base, found)
            place = found.position + HEADER_BYTES + len(found.body)
            if place - segment.base - told >= BLOCK_BYTES:
                told = place - segment.base
                yield Progress(segment.name, told, segment.size, records)
    except DamagedLog as error:  # of a newer version
        offset = place - segment.base
        yield Finding(segment.name, offset, place, segment.end - place, str(error))
    if scan.torn is not None:
        offset = scan.torn.position - segment.base
        what = "a torn tail: cut short by a crash before anyone was told of it"
        yield Finding(segment.name, offset, *scan.torn, what, repair="cut")
    yield Progress(segment.name, segment.size, segment.size, records)
    return scan.link


def _sealed(
    disk: Disk, segment: Segment, link: int | None
) -> Generator[Progress | Finding, None, int | None]:
    """One sealed segment; the link that the next record has to name."""
    name, size, records = segment.name, disk.size(segment.name), 0
    if segment_name(segment.base).removeprefix(f"{FOLDER}/") in disk.list(FOLDER):
        what = "its sealed form is there as well; the node compares them and removes this one"
        yield Finding(segment_name(segment.base), 0, segment.base, segment.size, what, known=True)
    directory = stored_directory(disk, name, segment.base)
    if directory is None:
        what = "directory or footer is not what was written; the blocks were found without it"
        yield Finding(name, max(0, size - HEADER_BYTES), segment.base, segment.size, what)
        try:
            directory = directory_of(disk, name, segment.base, segment.end)
        except DamagedLog as error:
            yield Finding(name, 0, segment.base, segment.size, str(error))
            return None
        for gap in map(Gap._make, directory.gaps):
            yield _gap(name, 0, gap)
    else:
        yield from _set_aside(disk, name, directory)
    position = segment.base
    for place in directory.places:
        link = link if place.position == position else None
        position = place.end
        try:
            block = load(disk, name, place)
        except DamagedLog as error:
            link = None
            yield Finding(name, place.offset, place.position, place.length, str(error))
            continue
        if link not in (None, block.before) and (block.before or place.position != segment.base):
            what = "the block does not follow the record before it: it is of another log"
            yield Finding(name, place.offset, place.position, place.length, what)
        link = block.after
        records += len(block.kinds)
        yield from _bodies(name, place.offset, block)
        yield Progress(name, place.offset + place.stored, size, records)
    yield Progress(name, size, size, records)
    return link if position == segment.end else None


def _bodies(name: str, offset: int, block: Block) -> _Read:
    for number, position in enumerate(block.positions):
        try:
            found = Found(block.kinds[number], position, block.body(number))
        except BadFrame as error:
            yield Finding(name, offset, position, HEADER_BYTES + block.sizes[number], str(error))
        else:
            yield from _body(name, offset, found)


def _body(name: str, offset: int, found: Found) -> _Read:
    """Whether the body of a good record is one that this version knows."""
    what = ""
    try:
        if found.kind == COMMIT:
            read_payloads(found.body)
        elif found.kind == STATE:
            read_state(found.body)
        else:
            what = f"a record of kind {found.kind}: a newer version wrote it"
    except (BadFrame, DamagedLog) as error:
        what = str(error)
    if what:
        yield Finding(name, offset, found.position, HEADER_BYTES + len(found.body), what)


def _gap(name: str, offset: int, gap: Gap) -> Finding:
    return Finding(name, offset, gap.position, gap.end - gap.position, "not what was written")


def _set_aside(disk: Disk, name: str, directory: Directory) -> _Read:
    """What was damaged when a segment was sealed, and whether its bytes are still kept."""
    there = disk.list(QUARANTINE)
    for gap in map(Gap._make, directory.gaps):
        length, kept = gap.end - gap.position, quarantine_name(gap)
        if kept.removeprefix(f"{QUARANTINE}/") not in there:
            yield Finding(name, 0, gap.position, length, f"was damaged, and {kept} is missing")
        else:
            what = f"was damaged when it was sealed; the bytes are in {kept}"
            yield Finding(name, 0, gap.position, length, what, known=True)


def _quarantine(disk: Disk) -> _Read:
    """Whether each file is as long as its name says, and can be read."""
    for name in disk.list(QUARANTINE):
        match, full = _QUARANTINED.fullmatch(name), f"{QUARANTINE}/{name}"
        if match is None:
            continue
        position, length, size = int(match[1], 16), int(match[2]), disk.size(full)
        if size != length:
            what = f"has {size} bytes instead of {length}"
            yield Finding(full, min(size, length), position, length, what)
        for offset in range(0, size, BLOCK_BYTES):
            try:
                disk.read(full, offset, BLOCK_BYTES)
            except DamagedLog as error:
                yield Finding(full, offset, position, length, str(error))
        yield Progress(full, size, size, 0)
