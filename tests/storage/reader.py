"""A reader of logs, written from docs/format.md alone: nothing of the package is used here."""

from __future__ import annotations

import hashlib
import struct
from typing import Any, NamedTuple

import msgpack
import zstandard

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


def unsealed(data: bytes) -> bytes:
    """The bytes of the log that a whole and undamaged sealed segment stands for."""
    footer = data[-32:]
    magic, kind, zero, length, end, back, linked, _ = FRONT.unpack(footer[:28])
    assert (magic, kind, zero, length) == (b"\xab\x01", 5, 0, 0)
    directory_at = len(data) - 32 - back
    _, body, crc = _part(data, directory_at, 4)
    assert linked == crc
    assert struct.unpack(">I", footer[28:])[0] == crc32c(footer[:28])
    ends, blocks, gaps, last = msgpack.unpackb(body)
    assert (ends, gaps) == (end, [])
    raw, link, next_offset = [], 0, 0
    for position, length, offset, stored in blocks:
        assert offset == next_offset
        front, body, crc = _part(data, offset, 3)
        assert (front[4], front[5], front[6]) == (position, length, link)
        assert stored == 32 + len(body)
        frames, after = _frames(position, msgpack.unpackb(zstandard.decompress(body)))
        assert len(frames) == length
        raw.append(frames)
        link, next_offset = crc, offset + stored
    assert (next_offset, last) == (directory_at, after)
    return b"".join(raw)


def _part(data: bytes, offset: int, expected: int) -> tuple[Any, bytes, int]:
    front = FRONT.unpack(data[offset : offset + 28])
    magic, kind, zero, length, *_, body_crc = front
    body = data[offset + 32 : offset + 32 + length]
    (crc,) = struct.unpack(">I", data[offset + 28 : offset + 32])
    assert (magic, kind, zero) == (b"\xab\x01", expected, 0)
    assert (crc32c(data[offset : offset + 28]), crc32c(body)) == (crc, body_crc)
    return front, body, crc


def _frames(position: int, block: Any) -> tuple[bytes, int]:
    link, after, kinds, lengths, groups, bodies = block
    unsynced, frames = 0, []
    for kind, length, group, slim in zip(kinds, lengths, groups, bodies, strict=True):
        body = _whole(slim) if kind == 1 else slim
        assert len(body) == length
        if group:
            unsynced = 0 if group == 1 else group - 2
        front = FRONT.pack(b"\xab\x01", kind, 0, length, position, unsynced, link, crc32c(body))
        link = crc32c(front)
        frames += [front, struct.pack(">I", link), body]
        position, unsynced = position + 32 + length, unsynced + 32 + length
    assert link == after
    return b"".join(frames), after


def _whole(slim: bytes) -> bytes:
    if slim[0] == 0:
        return slim[1:]
    front, payloads, *cuts = msgpack.unpackb(slim[1:])
    assert len(cuts) == slim[0] - 1
    hashes = b"".join(hashlib.sha256(payload).digest() for payload in payloads)
    header = front + msgpack.packb(hashes) + (cuts[0] if cuts else msgpack.packb(None))
    return msgpack.packb([header, payloads])


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
    version, origin, boot, shards, cluster, node, ceiling, *lists = msgpack.unpackb(body)
    members, watermarks, frontier, aside, seen, left, epochs, cut, boots, disputes = lists
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
        "frontier": frontier,
        "aside": aside,
        "seen": seen,
        "left": left,
        "epochs": epochs and epochs_kept(epochs),
        "cut": cut,
        "boots": boots,
        "disputes": disputes,
    }


def epochs_kept(kept: bytes) -> dict[str, Any]:
    packed, ballot, accepted = msgpack.unpackb(kept)
    return {
        "epoch": epoch(packed),
        "ballot": ballot,
        "accepted": accepted and [accepted[0], epoch(accepted[1])],
    }


def epoch(packed: bytes) -> dict[str, Any]:
    number, members, removed, base, floor, forced, lineage = msgpack.unpackb(packed)
    assert len(lineage) == 8 * (number - 1)
    mark = int.from_bytes(hashlib.sha256(packed).digest()[:8], "big") or 1
    return {
        "number": number,
        "mark": mark,
        "members": members,
        "removed": removed,
        "base": base,
        "floor": floor,
        "forced": forced,
        "lineage": lineage,
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
