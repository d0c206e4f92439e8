"""Frames: one byte that says how a message is packed, a checksum, then the message.

Small messages go as they are; larger ones go through zstandard. A frame never unpacks to more
than the limit, whatever it claims. Commits carry hashes of their own, reports do not: one flipped
bit of a promise would settle what is not final, and TCP's sum does not catch all damage (Stone
and Partridge, SIGCOMM 2000). So every frame has a CRC-32C, which goes on from that of the frame
before: a frame that was damaged, doubled, left out or overtaken ends its link.
"""

from __future__ import annotations

from typing import Final

import zstandard
from google_crc32c import extend

from ..storage.errors import BadFrame
from ..storage.limits import COMPRESS_ABOVE_BYTES, FRAME_BYTES_MAX
from .messages import Message, decode, encode

_PLAIN: Final = b"\x00"
_ZSTD: Final = b"\x01"
_LEVEL: Final = 1
_CRC_BYTES: Final = 4
_compressor = zstandard.ZstdCompressor(level=_LEVEL)
_decompressor = zstandard.ZstdDecompressor()


def to_frame(message: Message, before: int = 0) -> bytes:
    """The frame of a message; `before` is the sum of the last frame on this way, 0 at first."""
    data = encode(message)
    if len(data) <= COMPRESS_ABOVE_BYTES:
        return sealed(_PLAIN, data, before)
    return sealed(_ZSTD, _compressor.compress(data), before)


def sealed(kind: bytes, data: bytes, before: int = 0) -> bytes:
    """A frame of a kind around its bytes."""
    return kind + _sum(kind, data, before).to_bytes(_CRC_BYTES, "big") + data


def sum_of(frame: bytes) -> int:
    """The sum that a frame carries."""
    return int.from_bytes(frame[1 : 1 + _CRC_BYTES], "big")


def _sum(kind: bytes, data: bytes, before: int) -> int:
    crc: int = extend(extend(before, kind), data)
    return crc


def from_frame(frame: bytes, bytes_max: int = FRAME_BYTES_MAX, before: int = 0) -> Message:
    """The message in a frame, if it has no more bytes than this. Raises BadFrame."""
    kind, data = frame[:1], frame[1 + _CRC_BYTES :]
    if kind not in (_PLAIN, _ZSTD):
        raise BadFrame(f"a frame of unknown kind {kind!r}")
    try:
        size = len(data) if kind == _PLAIN else zstandard.frame_content_size(data)
        if not 0 <= size <= bytes_max:
            raise BadFrame(f"a frame that unpacks to {size} bytes; the limit is {bytes_max}")
        if sum_of(frame) != _sum(kind, data, before):
            raise BadFrame("a frame that was damaged, doubled, lost or overtaken on its way")
        if kind == _ZSTD:
            data = _decompressor.decompress(data)
    except zstandard.ZstdError as error:
        raise BadFrame(f"a frame that does not unpack: {error}") from None
    return decode(data)
