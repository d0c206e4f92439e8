"""Cuts the bytes of one direction of a WebSocket connection into what faults can strike.

First the HTTP head, request or answer, then frame after frame. Whatever is given out, in this
order, is what came in: nothing is lost, added or moved. Bytes that are no WebSocket, or that can't
be read, go through as they come.

Bytes may also be let go before their unit is whole. Its rest then comes as parts, so that the
beginning of the next frame stays known.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

HEAD_BYTES_MAX = 65_536  # of an HTTP head; servers take 8 to 64 KiB
WHOLE_BYTES_MAX = 1_048_576  # a longer frame comes in parts, so that it need not be kept
HEAD_END = b"\r\n\r\n"
HEAD_BEGINS = (b"GET ", b"HTTP/1.1 ")
RESERVED_BITS = 0x30  # RSV2 and RSV3; RSV1 stands for a compressed frame
OPCODES = frozenset((0, 1, 2, 8, 9, 10))
CONTROL_BIT = 0x08
CONTROL_PAYLOAD_BYTES_MAX = 125


class Kind(Enum):
    """What a unit is."""

    HEAD = auto()  # of HTTP, up to the empty line
    DATA = auto()  # a whole frame
    CONTROL = auto()  # a whole ping, pong or close
    PART = auto()  # some of a unit that is too long or was let go before it was whole
    OPAQUE = auto()  # bytes of something else


@dataclass(frozen=True, slots=True)
class Unit:
    """Some bytes as they came; those of a frame's payload begin at `payload_at`."""

    kind: Kind
    bytes: bytes
    payload_at: int = 0


class Shape(NamedTuple):
    """What the header of a frame says."""

    kind: Kind
    payload_at: int
    size: int  # bytes, with the header


class NotAFrameError(Exception):
    """These bytes are not the header of a frame."""


class Cutter:
    """Takes bytes as they come, gives units as they are complete."""

    def __init__(self) -> None:
        self._kept = bytearray()  # the beginning of the next unit
        self._passed = 0  # how many of those were let go already
        self._left = 0  # bytes until the end of a frame that goes in parts
        self._next = Kind.HEAD  # or DATA or OPAQUE
        self.frames = 0  # that are through

    @property
    def inside(self) -> bool:
        """Whether the last byte that was given out is not the end of a unit."""
        return bool(self._left or self._passed)

    @property
    def kept(self) -> int:
        """How many bytes wait for the rest of their unit."""
        return len(self._kept) - self._passed

    def feed(self, data: bytes) -> list[Unit]:
        """Take bytes; the units that are complete now."""
        units = []
        if self._left:
            part, data = data[: self._left], data[self._left :]
            units.append(self._part(part))
        self._kept += data
        at = 0
        while at < len(self._kept) and not self._left:
            unit, end = self._cut(at)
            if unit is None:
                break
            if unit.bytes:
                units.append(unit)
            at = end
            self._passed = 0
        del self._kept[:at]
        return units

    def release(self) -> bytes:
        """Let go what is kept, though its unit is not whole."""
        released = bytes(self._kept[self._passed :])
        self._passed = len(self._kept)
        shape = shape_of(self._kept, 0) if self._next is Kind.DATA else None
        if shape is not None:
            self._left = shape.size - len(self._kept)
            self._kept.clear()
            self._passed = 0
        return released

    def pass_on(self, data: bytes) -> bytes:
        """Take bytes, and let go all there is."""
        if self.kept:
            before = b"".join(unit.bytes for unit in self.feed(data))
            return before + self.release()
        self.feed(data[self._skip(data) :])
        self.release()
        return data

    def _skip(self, data: bytes) -> int:
        """Pass over the frames that are whole; where they end."""
        if self._next is not Kind.DATA or self._passed:
            return 0
        at, end = min(self._left, len(data)), len(data)
        if self._left:
            self._left -= at
            self.frames += not self._left
        with contextlib.suppress(NotAFrameError):
            while (shape := shape_of(data, at)) is not None and at + shape.size <= end:
                at += shape.size
                self.frames += 1
        return at

    def _part(self, part: bytes) -> Unit:
        self._left -= len(part)
        self.frames += not self._left
        return Unit(Kind.PART, part)

    def _cut(self, at: int) -> tuple[Unit | None, int]:
        if self._next is Kind.HEAD:
            return self._cut_head()
        if self._next is Kind.DATA:
            try:
                shape = shape_of(self._kept, at)
            except NotAFrameError:
                self._next = Kind.OPAQUE
            else:
                return (None, at) if shape is None else self._cut_frame(at, shape)
        return self._give(Kind.OPAQUE, at, len(self._kept))

    def _cut_frame(self, at: int, shape: Shape) -> tuple[Unit | None, int]:
        here = len(self._kept) - at
        if here >= shape.size:
            self.frames += 1
            return self._give(shape.kind, at, at + shape.size, shape.payload_at)
        if shape.size <= WHOLE_BYTES_MAX:
            return None, at
        self._left = shape.size - here
        return self._give(Kind.PART, at, len(self._kept))

    def _cut_head(self) -> tuple[Unit | None, int]:
        found = self._kept.find(HEAD_END)
        if found >= 0:
            end = found + len(HEAD_END)
            if opens_websocket(bytes(self._kept[:end])):
                self._next = Kind.DATA
                return self._give(Kind.HEAD, 0, end)
        elif may_be_a_head(self._kept):
            return None, 0
        self._next = Kind.OPAQUE
        return self._give(Kind.OPAQUE, 0, len(self._kept))

    def _give(self, kind: Kind, at: int, end: int, payload_at: int = 0) -> tuple[Unit, int]:
        if self._passed:  # only the first in the kept bytes can have been let go in part
            at, kind, payload_at = at + self._passed, Kind.PART, 0
        with memoryview(self._kept) as view:
            return Unit(kind, bytes(view[at:end]), payload_at), end


def shape_of(data: bytes | bytearray, at: int) -> Shape | None:
    """What the header at this place says, or None if it is not all there."""
    if len(data) < at + 2:
        return None
    first, second = data[at], data[at + 1]
    control, length = first & CONTROL_BIT, second & 0x7F
    if first & RESERVED_BITS or first & 0x0F not in OPCODES:
        raise NotAFrameError
    if control and length > CONTROL_PAYLOAD_BYTES_MAX:
        raise NotAFrameError
    payload_at = 2
    if length >= 126:
        payload_at = 4 if length == 126 else 10
        if len(data) < at + payload_at:
            return None
        length = int.from_bytes(data[at + 2 : at + payload_at], "big")
        if length >> 63:
            raise NotAFrameError
    if second & 0x80:
        payload_at += 4
        if len(data) < at + payload_at:
            return None
    return Shape(Kind.CONTROL if control else Kind.DATA, payload_at, payload_at + length)


def may_be_a_head(data: bytearray) -> bool:
    """Whether this can become the head of a WebSocket."""
    begins = any(begin.startswith(data[: len(begin)]) for begin in HEAD_BEGINS)
    return begins and len(data) <= HEAD_BYTES_MAX


def opens_websocket(head: bytes) -> bool:
    """Whether frames follow this head: it asks for an upgrade, or grants it."""
    first, *fields = head.lower().split(b"\r\n")
    if first.startswith(b"http/"):
        return first.startswith(b"http/1.1 101")
    names = (field.partition(b":") for field in fields)
    asks = any(name == b"upgrade" and value.strip() == b"websocket" for name, _, value in names)
    return first.startswith(b"get ") and asks
