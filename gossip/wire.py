"""Frames: one byte that says how a message is packed, a checksum, then the message.

Small messages go as they are; larger ones go through zstandard. A frame never unpacks to more
than the limit, whatever it claims. Commits carry hashes of their own, reports do not: one flipped
bit of a promise would settle what is not final, and TCP's sum lets one damaged segment in some
ten million pass (Stone and Partridge, SIGCOMM 2000). So every frame has a CRC-32C.
"""

from __future__ import annotations

from typing import Final

import zstandard
from google_crc32c import extend, value

from ..storage.errors import BadFrame
from ..storage.limits import COMPRESS_ABOVE_BYTES, FRAME_BYTES_MAX
from .messages import Message, decode, encode

_PLAIN: Final = b"\x00"
_ZSTD: Final = b"\x01"
_LEVEL: Final = 1
_CRC_BYTES: Final = 4
_compressor = zstandard.ZstdCompressor(level=_LEVEL)
_decompressor = zstandard.ZstdDecompressor()


def to_frame(message: Message) -> bytes:
    """The frame of a message."""
    data = encode(message)
    if len(data) <= COMPRESS_ABOVE_BYTES:
        return sealed(_PLAIN, data)
    return sealed(_ZSTD, _compressor.compress(data))


def sealed(kind: bytes, data: bytes) -> bytes:
    """A frame of a kind around its bytes."""
    return kind + _sum(kind, data) + data


def _sum(kind: bytes, data: bytes) -> bytes:
    crc: int = extend(value(kind), data)
    return crc.to_bytes(_CRC_BYTES, "big")


def from_frame(frame: bytes, bytes_max: int = FRAME_BYTES_MAX) -> Message:
    """The message in a frame, if it has no more bytes than this. Raises BadFrame."""
    kind, crc, data = frame[:1], frame[1 : 1 + _CRC_BYTES], frame[1 + _CRC_BYTES :]
    if kind not in (_PLAIN, _ZSTD):
        raise BadFrame(f"a frame of unknown kind {kind!r}")
    try:
        size = len(data) if kind == _PLAIN else zstandard.frame_content_size(data)
        if not 0 <= size <= bytes_max:
            raise BadFrame(f"a frame that unpacks to {size} bytes; the limit is {bytes_max}")
        if crc != _sum(kind, data):
            raise BadFrame("a frame that was damaged on its way: its checksum differs")
        if kind == _ZSTD:
            data = _decompressor.decompress(data)
    except zstandard.ZstdError as error:
        raise BadFrame(f"a frame that does not unpack: {error}") from None
    return decode(data)
