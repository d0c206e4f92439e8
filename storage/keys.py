"""The keys and values of the index. It is a cache: none of this is normative, all can be rebuilt.

c id shard                 -> place      a settled commit by its id
d                          -> state      the last state record before a replay begins
e order-key                -> place      settled commits of all shards in the one order
m                          -> epochs     what the epochs had kept before a replay begins
n name                     -> revision   a stream and its last settled revision
q shard origin seq         -> place hash a log, for peers that pull it
s len name first-revision  -> place      a stream's settled commits that are shown
t shard origin level index -> hash       inner nodes of the tree of a log
u                          -> position   where in the log the scrub goes on
w shard                    -> mark       how far a shard is settled
x order-key                -> place      settled commits that did not fit
y                          -> position   up to where the log was on disk, at least
z                          -> position   where in the log a replay has to begin

A *place* as a value of others than `e` is the order key that leads there.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_ORDER: Final = struct.Struct(">QHQ")
_LOG_ENTRY: Final = struct.Struct(">HQQ")
_TREE_NODE: Final = struct.Struct(">HQBQ")
_STAMP: Final = struct.Struct(">Q")
_REVISION: Final = struct.Struct(">Q")
_SHARD: Final = struct.Struct(">H")
_LENGTH: Final = struct.Struct(">H")
_PLACE: Final = struct.Struct(">QIIqBQHQH")
_MARK: Final = struct.Struct(">QQQ")

STATE: Final = b"d"
MEMBERSHIP: Final = b"m"
SCRUBBED: Final = b"u"
SYNCED: Final = b"y"
REPLAY_FROM: Final = b"z"


class Place(NamedTuple):
    """Where a settled commit is, and what became of it."""

    position: int  # in the log
    length: int  # of its record's body
    events: int
    first_revision: int  # of its own events, or that they would have had
    outcome: int
    stamp: int
    priority: int
    origin: int
    shard: int


class Mark(NamedTuple):
    """How far a shard is settled."""

    watermark: int
    commits: int
    events: int
    running: bytes  # hash over all settled commits and what became of them


def place(value: bytes) -> Place:
    """Read a Place."""
    return Place._make(_PLACE.unpack(value))


place_value = _PLACE.pack  # the fields of a Place, in their order


def mark(value: bytes) -> Mark:
    """Read a Mark."""
    watermark, commits, events = _MARK.unpack_from(value)
    return Mark(watermark, commits, events, value[_MARK.size :])


def mark_value(value: Mark) -> bytes:
    """Write a Mark."""
    return _MARK.pack(value.watermark, value.commits, value.events) + value.running


def number(value: bytes) -> int:
    """Read a revision or a position."""
    (revision,) = _REVISION.unpack(value)
    return int(revision)


def number_value(value: int) -> bytes:
    """Write a revision or a position."""
    return _REVISION.pack(value)


def commit_key(commit_id: bytes, shard: int) -> bytes:
    """Key of a commit by its id; the same id in two shards is two commits."""
    return b"c" + commit_id + _SHARD.pack(shard)


def order_key(order: tuple[int, int, int]) -> bytes:
    """Key of a commit in the one order."""
    return b"e" + _ORDER.pack(*order)


def conflict_key(order: tuple[int, int, int]) -> bytes:
    """Key of a commit that did not fit."""
    return b"x" + _ORDER.pack(*order)


def order_of(key: bytes) -> tuple[int, int, int]:
    """The order key in an `order_key` or a `conflict_key`."""
    return _ORDER.unpack_from(key, 1)


def name_key(stream: str) -> bytes:
    """Key of a stream's last settled revision."""
    return b"n" + stream.encode()


def log_key(shard: int, origin: int, seq: int) -> bytes:
    """Key of a commit in its log."""
    return b"q" + _LOG_ENTRY.pack(shard, origin, seq)


def log_value(order: bytes, leaf: bytes) -> bytes:
    """Value of a `log_key`: where the commit is, and its hash."""
    return order + leaf


def order_in(value: bytes) -> bytes:
    """The `order_key` in a `log_value`."""
    return value[: 1 + _ORDER.size]


def leaf_in(value: bytes) -> bytes:
    """The commit hash in a `log_value`."""
    return value[1 + _ORDER.size :]


def stamp_in(value: bytes) -> int:
    """The stamp in a `log_value`."""
    (stamp,) = _STAMP.unpack_from(value, 1)
    return int(stamp)


def tree_key(shard: int, origin: int, level: int, index: int) -> bytes:
    """Key of an inner node of the tree of a log."""
    return b"t" + _TREE_NODE.pack(shard, origin, level, index)


def node_of(key: bytes) -> tuple[int, int, int, int] | None:
    """(shard, origin, level, index) of a `tree_key`; None if it is none."""
    return _TREE_NODE.unpack_from(key, 1) if len(key) == 1 + _TREE_NODE.size else None


def log_of(key: bytes) -> tuple[int, int, int]:
    """(shard, origin, sequence) of a `log_key`."""
    return _LOG_ENTRY.unpack_from(key, 1)


def stream_key(stream: str, revision: int) -> bytes:
    """Key of the commit that begins at a revision of a stream."""
    name = stream.encode()
    return b"".join((b"s", _LENGTH.pack(len(name)), name, _REVISION.pack(revision)))


def mark_key(shard: int) -> bytes:
    """Key of a shard's mark."""
    return b"w" + _SHARD.pack(shard)


def shard_in(key: bytes) -> int | None:
    """The shard of a `mark_key`; None if it is none."""
    return int.from_bytes(key[1:], "big") if len(key) == 1 + _SHARD.size else None


def after(prefix: bytes) -> bytes:
    """The first key that does not begin with a prefix (which must not end in 0xff)."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def end_of_prefix(prefix: bytes) -> bytes:
    """The first key after all that begin with a prefix, whatever its last bytes are."""
    while prefix and prefix[-1] == 0xFF:
        prefix = prefix[:-1]
    return after(prefix)
