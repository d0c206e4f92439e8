"""The frame around every record of the log (docs/format.md has it byte by byte).

    magic 2 | kind 1 | zero 1 | length 4 | position 8 | unsynced 4 | link 4 | body crc 4 | crc 4

- `position` is the record's own place in the log, so a record that was written or read at the
  wrong place is noticed.
- `link` is the header checksum of the record before, so an old record in an old place is noticed.
- `unsynced` is how far back the last fsync reached when this record was written. Whatever lies
  further back was durable *before* this record existed. That is what tells damage from a torn
  tail: a bad record is damage if a header after it proves that the bad one had been synced.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from google_crc32c import value as crc32c

from .limits import RECORD_BYTES_MAX

MAGIC: Final = b"\xab\x01"  # the second byte is the version of the frame
COMMIT: Final = 1  # the body is a commit
STATE: Final = 2  # the body is what the node itself must not forget

# Kinds of frames that stand in sealed segments only (storage/block.py).
BLOCK: Final = 3
DIRECTORY: Final = 4
FOOTER: Final = 5

_FRONT: Final = struct.Struct(">2sBBIQIII")
_CRC: Final = struct.Struct(">I")
_WHOLE: Final = struct.Struct(">2sBBIQIIII")
HEADER_BYTES: Final = _FRONT.size + _CRC.size


class Header(NamedTuple):
    """The frame of one record."""

    kind: int
    length: int  # of the body, in bytes
    position: int
    unsynced: int
    link: int
    body_crc: int
    crc: int

    @property
    def end(self) -> int:
        """The position after this record."""
        return self.position + HEADER_BYTES + self.length


def frame(kind: int, body: bytes, position: int, synced: int, link: int) -> tuple[bytes, int]:
    """The header for a body at `position` while all before `synced` is durable; and its crc."""
    front = _FRONT.pack(MAGIC, kind, 0, len(body), position, position - synced, link, crc32c(body))
    crc = crc32c(front)
    return front + _CRC.pack(crc), crc


def parse(data: bytes | memoryview, offset: int = 0) -> Header | None:
    """The header at `offset`, or None if these bytes are no intact header."""
    if len(data) - offset < HEADER_BYTES:
        return None
    magic, kind, zero, *rest = _WHOLE.unpack_from(data, offset)
    header = Header._make((kind, *rest))
    if magic != MAGIC or zero != 0:
        return None
    return header if crc32c(bytes(data[offset : offset + _FRONT.size])) == header.crc else None


def run(data: bytes, offset: int, position: int, link: int) -> Iterator[tuple[Header, bytes]]:
    """All good records from an offset on, the first of which is at a position of the log.

    It ends where the data does, or before the first record that is not good; and is as fast as can
    be, because all that is read back after a start comes by here.
    """
    unpack, front_bytes = _WHOLE.unpack_from, _FRONT.size
    last = len(data) - HEADER_BYTES
    while offset <= last:
        magic, kind, zero, length, place, unsynced, linked, body_crc, crc = unpack(data, offset)
        start = offset + HEADER_BYTES
        body = data[start : start + length]
        if (
            (magic, zero, place, linked, len(body)) != (MAGIC, 0, position, link, length)
            or crc32c(body) != body_crc
            or crc32c(data[offset : offset + front_bytes]) != crc
            or length > RECORD_BYTES_MAX
        ):
            return
        yield Header(kind, length, place, unsynced, linked, body_crc, crc), body
        link, offset = crc, start + length
        position += HEADER_BYTES + length


def newer_version(data: bytes) -> int:
    """The frame version that a record begins with if it is above this one, else 0.

    Unless the frame is intact but for that byte: then only that is damaged.
    """
    if len(data) < 2 or data[0] != MAGIC[0] or data[1] <= MAGIC[1]:
        return 0
    return data[1] if parse(MAGIC + data[2:]) is None else 0


def intact(header: Header, body: bytes) -> bool:
    """Whether a body is the one that its header was made for."""
    return len(body) == header.length and crc32c(body) == header.body_crc
