"""Blocks: what a sealed segment is made of (docs/format.md has it byte by byte).

A sealed segment holds the records of a stretch of the log, compressed, in frames of its own:

    block, block, ... , directory, footer

Each is framed like a record. In the frame of a block, position and `unsynced` are where its
records stand in the log and how many bytes they have there; `link` is the checksum of the frame
before. So blocks are found again also where the directory, which says where each is, is lost.

What a block leaves out is worked out when it is read: the frames of the records, and the hashes
of payloads (commit.slim). Nothing is lost by it: `Block.frames` gives the same bytes again.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec
import zstandard

from .commit import pack, slim, whole
from .errors import BadFrame
from .record import (
    BLOCK,
    COMMIT,
    DIRECTORY,
    FOOTER,
    HEADER_BYTES,
    Header,
    frame,
)

_LEVEL: Final = 3  # four times as fast as 9, which saves another twentieth
_SAME_GROUP: Final = 0  # a record of the group of the one before
_NEW_GROUP: Final = 1  # the first of a group; a greater number is `unsynced` + 2

_compress = zstandard.ZstdCompressor(level=_LEVEL).compress
_decompress = zstandard.ZstdDecompressor().decompress
_decode_block = msgspec.msgpack.Decoder(
    tuple[int, int, bytes, tuple[int, ...], tuple[int, ...], tuple[bytes, ...]]
).decode


class Place(NamedTuple):
    """Where a block is: in the log, and in its file."""

    position: int
    length: int
    offset: int
    stored: int  # bytes in the file, with its frame

    @property
    def end(self) -> int:
        """The position in the log after it."""
        return self.position + self.length


class Directory(NamedTuple):
    """What stands at the end of a sealed segment.

    `gaps` are the ranges that were damaged when it was sealed; `link` is the header checksum of
    the last record, which the next segment names; 0 if it is not known.
    """

    end: int
    places: tuple[Place, ...]
    gaps: tuple[tuple[int, int], ...]
    link: int

    def holding(self, position: int) -> Place | None:
        """The block that holds a position of the log."""
        number = bisect_right(self.places, position, key=attrgetter("position")) - 1
        place = self.places[number] if number >= 0 else None
        return place if place is not None and position < place.end else None


_decode_directory = msgspec.msgpack.Decoder(Directory).decode


class Block:
    """The records of one block; a commit is made whole when it is asked for."""

    __slots__ = ("_bodies", "_groups", "after", "before", "kinds", "positions", "sizes")

    def __init__(self, stored: bytes, place: Place) -> None:
        try:
            parts = _decode_block(_decompress(stored))
        except (zstandard.ZstdError, ValueError, RecursionError, MemoryError) as error:
            raise BadFrame(f"a block that can't be unpacked: {error}") from None
        # `before`: what its first record links to; `after`: what the next record has to link to.
        self.before, self.after, self.kinds, self.sizes, self._groups, self._bodies = parts
        count = len(self.kinds)
        lengths = [HEADER_BYTES + size for size in self.sizes]
        self.positions = list(accumulate(lengths[:-1], initial=place.position))
        columns = (self.sizes, self._groups, self._bodies)
        if not count or any(len(column) != count for column in columns):
            raise BadFrame("a block whose columns are not equally long")
        if sum(lengths) != place.length:
            raise BadFrame("a block that is not as long as its frame says")

    def at(self, position: int) -> int | None:
        """Which record stands at a position of the log."""
        number = bisect_right(self.positions, position) - 1
        return number if number >= 0 and self.positions[number] == position else None

    def body(self, number: int) -> bytes:
        """The body of a record as it was appended. Raises BadFrame."""
        body = self._bodies[number]
        return whole(body) if self.kinds[number] == COMMIT else body

    def frames(self) -> bytes:
        """The bytes of the log that this block stands for."""
        link, unsynced = self.before, 0
        parts: list[bytes] = []
        for number, position in enumerate(self.positions):
            body, group = self.body(number), self._groups[number]
            if group > _SAME_GROUP:
                unsynced = max(0, group - 2)
            header, link = frame(self.kinds[number], body, position, position - unsynced, link)
            parts += (header, body)
            unsynced += len(header) + len(body)
        return b"".join(parts)


def block(records: list[tuple[Header, bytes]]) -> bytes:
    """Pack records that follow each other into what is stored for them."""
    groups, expected = [], 0
    for header, _ in records:
        group = _SAME_GROUP if header.unsynced == expected else header.unsynced + 2
        groups.append(_NEW_GROUP if group == 2 else group)
        expected = header.unsynced + HEADER_BYTES + header.length
    heads = [header for header, _ in records]
    parts = (
        heads[0].link,
        heads[-1].crc,
        bytes([header.kind for header in heads]),
        [header.length for header in heads],
        groups,
        [slim(body) if header.kind == COMMIT else body for header, body in records],
    )
    return _compress(pack(parts))


def block_frame(stored: bytes, position: int, length: int, link: int) -> tuple[bytes, int]:
    """The frame for a block of `length` bytes of the log, and its checksum."""
    return frame(BLOCK, stored, position, position - length, link)


def ending(directory: Directory, link: int) -> bytes:
    """Directory and footer, with their frames."""
    body = pack(directory)
    header, crc = frame(DIRECTORY, body, directory.end, directory.end, link)
    length = len(header) + len(body)
    footer, _ = frame(FOOTER, b"", directory.end, directory.end - length, crc)
    return header + body + footer


def read_directory(body: bytes) -> Directory:
    """Read the body of a directory. Raises BadFrame."""
    try:
        return _decode_directory(body)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"a directory of blocks that is none: {error}") from None
