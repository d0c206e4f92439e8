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
from typing import Final, NamedTuple

from google_crc32c import value as crc32c

MAGIC: Final = b"\xab\x01"  # the second byte is the version of the frame
COMMIT: Final = 1  # the body is a commit
STATE: Final = 2  # the body is what the node itself must not forget

_FRONT: Final = struct.Struct(">2sBBIQIII")
_CRC: Final = struct.Struct(">I")
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
    front = bytes(data[offset : offset + _FRONT.size])
    magic, kind, zero, length, position, unsynced, link, body_crc = _FRONT.unpack(front)
    (crc,) = _CRC.unpack_from(data, offset + _FRONT.size)
    if magic != MAGIC or zero != 0 or crc32c(front) != crc:
        return None
    return Header(kind, length, position, unsynced, link, body_crc, crc)


def newer_version(data: bytes) -> int:
    """The frame version that a record begins with if it is above this one, else 0."""
    return data[1] if len(data) > 1 and data[0] == MAGIC[0] and data[1] > MAGIC[1] else 0


def intact(header: Header, body: bytes) -> bool:
    """Whether a body is the one that its header was made for."""
    return len(body) == header.length and crc32c(body) == header.body_crc
