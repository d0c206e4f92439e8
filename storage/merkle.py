"""Merkle trees: one short hash for each log, each shard and the whole node (DESIGN 6).

The tree of a log has the commit hashes as leaves, in the order of their sequences, and 16 children
a node. It only grows at its right end, so an append costs one hash for every 15 leaves.

    leaf          SHA-256(00 header), the commit hash
    inner node    SHA-256(01 children)               the hashes of its 1 to 16 children
    log root      SHA-256(02 size top)               size in 8 bytes; top is the leaf if size is 1
    shard root    SHA-256(03 (origin size root)...)  by origin, logs that are not empty
    node root     SHA-256(04 shard-root...)          by shard

The first byte keeps the kinds apart (RFC 9162), and the size fixes the shape: so equal roots mean
equal logs. Node (level, index) covers the leaves from index * 16^level on; one is *complete* if it
covers 16^level of them, and then it never changes. Complete nodes can be kept elsewhere: a `Lookup`
gives them back, leaves included, and with it the tree of any earlier size can be had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Final

FANOUT: Final = 16
HASH_BYTES: Final = 32
EMPTY_SHARD: Final = hashlib.sha256(b"\x03").digest()

_BITS: Final = 4  # 16 children
_FULL: Final = FANOUT * HASH_BYTES
_sha256 = hashlib.sha256

Lookup = Callable[[int, int], bytes]  # (level, index) of a complete node: its hash


def inner(children: bytes) -> bytes:
    """The hash of a node over the hashes of its children."""
    return _sha256(b"\x01" + children).digest()


def log_root(size: int, top: bytes) -> bytes:
    """The root of a log of so many commits."""
    return _sha256(b"\x02" + size.to_bytes(8, "big") + top).digest()


def shard_root(logs: Iterable[tuple[int, int, bytes]]) -> bytes:
    """The root over (origin, size, root) of a shard's logs."""
    rows = [
        origin.to_bytes(8, "big") + size.to_bytes(8, "big") + root
        for origin, size, root in sorted(logs)
    ]
    return _sha256(b"\x03" + b"".join(rows)).digest()


def node_root(shards: Iterable[bytes]) -> bytes:
    """The root over the roots of all shards."""
    return _sha256(b"\x04" + b"".join(shards)).digest()


def levels(size: int) -> int:
    """The level of the one node that covers so many leaves."""
    return (max(0, size - 1).bit_length() + _BITS - 1) // _BITS


class Tree:
    """The tree of one log: how many leaves it has, and its right edge.

    The edge holds, level by level, the hashes of the nodes that are complete while their parent
    is not.
    """

    __slots__ = ("_edge", "size")

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytearray] = [bytearray()]

    @classmethod
    def of(cls, size: int, lookup: Lookup) -> Tree:
        """The tree as it was with so many leaves."""
        tree = cls()
        tree.size = size
        tree._edge = [
            bytearray().join(lookup(level, index) for index in range(count - count % FANOUT, count))
            for level in range(levels(size) + 1)
            for count in (size >> _BITS * level,)
        ]
        return tree

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf; the inner nodes that it completes: (level, index, hash)."""
        self.size += 1
        edge = self._edge
        row = edge[0]
        row += leaf
        if len(row) < _FULL:
            return []
        complete = []
        level = 0
        while len(row) == _FULL:
            above = inner(bytes(row))
            row.clear()
            level += 1
            complete.append((level, (self.size >> _BITS * level) - 1, above))
            if level == len(edge):
                edge.append(bytearray())
            row = edge[level]
            row += above
        return complete

    def root(self) -> bytes:
        """The root of the log."""
        return log_root(self.size, self._top())

    def _top(self) -> bytes:
        level = levels(self.size)
        return b"".join(self._edge[level : level + 1]) or self.edge_below(level)

    def edge_below(self, level: int) -> bytes:
        """The hash of the node of a level that is not complete, if there is one."""
        below = b""
        for row in self._edge[:level]:
            children = bytes(row) + below
            below = inner(children) if children else b""
        return below


def children(size: int, level: int, index: int, lookup: Lookup) -> bytes:
    """The hashes of the children of an inner node of a tree with so many leaves.

    Empty if there is no such node.
    """
    below = level - 1
    first, complete = index << _BITS, size >> _BITS * below
    row = b"".join(lookup(below, child) for child in range(first, min(first + FANOUT, complete)))
    if first <= complete < first + FANOUT:
        row += Tree.of(size, lookup).edge_below(below)
    return row
