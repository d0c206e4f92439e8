"""A reader of logs, written from docs/format.md alone: nothing of the package is used here."""

from __future__ import annotations

import hashlib
import struct
from typing import Any, NamedTuple

import msgpack

FRONT = struct.Struct(">2sBBIQIII")


class Record(NamedTuple):
    kind: int
    body: bytes
    position: int
    group: int  # where the group begins that the record was written in


class Event(NamedTuple):
    type: str
    id: bytes | None
    data: bytes
    attributes: dict[str, Any]


class Commit(NamedTuple):
    hash: bytes
    shard: int
    origin: int
    sequence: int
    stamp: int
    id: bytes
    stream: str
    expected: int
    policy: int
    events: list[Event]


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def records(segments: dict[int, bytes]) -> list[Record]:
    """All records of a whole and undamaged log, given as its segments by their positions."""
    found: list[Record] = []
    position, link = 0, 0
    for base, data in sorted(segments.items()):
        assert base == position, "each segment begins where the one before ends"
        while position < base + len(data):
            at = position - base
            front = data[at : at + 28]
            magic, kind, zero, length, place, unsynced, linked, body_crc = FRONT.unpack(front)
            (header_crc,) = struct.unpack(">I", data[at + 28 : at + 32])
            body = data[at + 32 : at + 32 + length]
            assert (magic, zero, place, linked) == (b"\xab\x01", 0, position, link)
            assert (header_crc, body_crc) == (crc32c(front), crc32c(body))
            found.append(Record(kind, body, position, position - unsynced))
            position, link = position + 32 + length, header_crc
    return found


def commit(body: bytes) -> Commit:
    header, payloads = msgpack.unpackb(body)
    version, shard, origin, sequence, stamp, commit_id, ((*entry,),) = msgpack.unpackb(header)
    stream, expected, policy, types, ids, hashes, cuts = entry
    assert version == 1
    events = []
    for number, payload in enumerate(payloads):
        assert hashlib.sha256(payload).digest() == hashes[32 * number : 32 * number + 32]
        own_id = ids[16 * number : 16 * number + 16]
        cut = len(payload) if cuts is None else cuts[number]
        events.append(
            Event(
                types[number if len(types) > 1 else 0],
                own_id if any(own_id) else None,
                payload[:cut],
                msgpack.unpackb(payload[cut:]) if payload[cut:] else {},
            )
        )
    digest = hashlib.sha256(b"\0" + header).digest()
    return Commit(
        digest, shard, origin, sequence, stamp, commit_id, stream, expected, policy, events
    )


def state(body: bytes) -> dict[str, Any]:
    version, origin, boot, shards, cluster, node, ceiling, members, watermarks = msgpack.unpackb(
        body
    )
    assert version == 1
    return {
        "origin": origin,
        "boot": boot,
        "shards": shards,
        "cluster": cluster,
        "node": node,
        "ceiling": ceiling,
        "members": members,
        "watermarks": watermarks,
    }


def shard(stream: str, shards: int) -> int:
    part = stream
    if "{" in stream and "}" in stream.split("{", 1)[1]:
        part = stream.split("{", 1)[1].split("}", 1)[0] or stream
    return int.from_bytes(hashlib.sha256(part.encode()).digest()[:8], "big") % shards


def commit_id(stream: str, kind: bytes, rest: bytes) -> bytes:
    name = stream.encode()
    digits = str(len(name)).encode()
    return hashlib.sha256(kind + b"\0" + digits + b"\0" + name + rest).digest()[:16]
