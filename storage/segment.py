"""Segments: the files of the log, and how what is in them is read back.

The log is one sequence of bytes. A segment is a file that holds a stretch of it and is named by
the position of its first byte, in hexadecimal. This file is pure but for the reads of a Disk.

What a scan finds at the end of the last segment:

- nothing after the last good record: fine.
- bytes that are no good record, and nothing after them that proves they had been synced: a torn
  tail. Nobody was told of it; it is cut.
- the same, but a header further on was written when these bytes had long been synced: damage.
  It is reported with file and offset, never cut and never skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from .disk import Disk
from .errors import DamagedLog
from .limits import RECORD_BYTES_MAX, SCAN_WINDOW_BYTES
from .record import HEADER_BYTES, MAGIC, Header, intact, newer_version, parse

FOLDER: Final = "log"
_NAME: Final = re.compile(r"[0-9a-f]{16}\.seg")
_REMEDY: Final = (
    "Nothing was changed. Restore the file from a copy, or start this node with an empty directory "
    "beside healthy peers"
)


class Segment(NamedTuple):
    """One file of the log."""

    base: int
    size: int

    @property
    def name(self) -> str:
        """Its name on the disk."""
        return segment_name(self.base)

    @property
    def end(self) -> int:
        """The position after its last byte."""
        return self.base + self.size


class Found(NamedTuple):
    """One good record."""

    header: Header
    body: bytes


class Torn(NamedTuple):
    """Where a torn tail begins, and how many bytes it has."""

    position: int
    length: int


def segment_name(base: int) -> str:
    """The file that begins at a position of the log."""
    return f"{FOLDER}/{base:016x}.seg"


def segments_of(disk: Disk) -> list[Segment]:
    """All segments in order; other files are left alone. Raises DamagedLog if one is missing."""
    found: list[Segment] = []
    for name in disk.list(FOLDER):
        if not _NAME.fullmatch(name):
            continue
        base = int(name[:16], 16)
        if not found and base:
            raise DamagedLog(
                f"the log begins with {segment_name(base)}, not with {segment_name(0)}: a segment "
                f"is missing. {_REMEDY}"
            )
        if found and found[-1].end != base:
            raise DamagedLog(
                f"{segment_name(base)} should begin at {found[-1].end:#x}, where "
                f"{found[-1].name} ends: a segment is missing or has lost its end. {_REMEDY}"
            )
        found.append(Segment(base, disk.size(f"{FOLDER}/{name}")))
    return found


class Scan:
    """Reads a segment record by record; afterwards `torn` says what is left at its end."""

    def __init__(self, disk: Disk, segment: Segment, *, last: bool) -> None:
        self._segment = segment
        self._last = last
        self._window = _Window(disk, segment)
        self.link: int | None = None  # the checksum that the next record must name, once known
        self.torn: Torn | None = None

    def records(self, start: int | None = None) -> Iterator[Found]:
        """All good records from a position on. Raises DamagedLog."""
        position = self._segment.base if start is None else start
        while position < self._segment.end:
            found = self._read(position)
            if found is None:
                self._judge(position)
                return
            self.link = found.header.crc
            position = found.header.end
            yield found

    def _read(self, position: int) -> Found | None:
        header = parse(self._window.bytes(position, HEADER_BYTES))
        if header is None or header.position != position or header.length > RECORD_BYTES_MAX:
            return None
        if self.link is not None and header.link != self.link:
            return None
        body = self._window.bytes(position + HEADER_BYTES, header.length)
        return Found(header, body) if intact(header, body) else None

    def _judge(self, position: int) -> None:
        """Tail or damage? See the top of the file."""
        offset = position - self._segment.base
        version = newer_version(self._window.bytes(position, HEADER_BYTES))
        if version:
            raise DamagedLog(
                f"{self._segment.name}, offset {offset}: a record of frame version {version}; this "
                "version does not know it: use the version that wrote it"
            )
        witness = self._witness(position)
        if not self._last or witness is not None:
            why = (
                "" if witness is None else f", though a record at {witness.position:#x} follows it"
            )
            raise DamagedLog(
                f"{self._segment.name}, offset {offset}: this record is not what was written{why}. "
                f"{_REMEDY}"
            )
        self.torn = Torn(position, self._segment.end - position)

    def _witness(self, position: int) -> Header | None:
        """An intact header that was written when `position` had already been synced."""
        search = position + 1
        while search < self._segment.end:
            data = self._window.bytes(search, SCAN_WINDOW_BYTES)
            at = data.find(MAGIC)
            while at >= 0:
                header = parse(data[at : at + HEADER_BYTES])
                if header and header.position == search + at and _proves(header, position):
                    return header
                at = data.find(MAGIC, at + 1)
            search += max(1, len(data) - HEADER_BYTES + 1)
        return None


def _proves(header: Header, position: int) -> bool:
    return header.position - header.unsynced > position


class _Window:
    """Reads a file in large steps."""

    def __init__(self, disk: Disk, segment: Segment) -> None:
        self._read: Callable[[int, int], bytes] = lambda at, length: disk.read(
            segment.name, at, length
        )
        self._base = segment.base
        self._start = 0
        self._data = b""

    def bytes(self, position: int, length: int) -> bytes:
        at = position - self._base - self._start
        if at < 0 or at + length > len(self._data):
            self._start = position - self._base
            self._data = self._read(self._start, max(length, SCAN_WINDOW_BYTES))
            at = 0
        return self._data[at : at + length]
