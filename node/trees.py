"""The Merkle trees of a node's logs, and what it shows of them to a node that compares.

Leaves are the hashes of commits; the index has those of settled ones, memory the others. Inner
nodes go to the index as soon as they are complete, so only the right edge of each tree is kept
here. A tree is opened when its log is first needed; an index that was thrown away brings them back
with everything else.
"""

from __future__ import annotations

from collections.abc import Callable

from ..gossip.frontier import LogKey
from ..storage import keys
from ..storage.errors import DamagedIndex
from ..storage.index import Index
from ..storage.merkle import FANOUT, Tree, children, inner, shard_root
from ..storage.stamp import STAMP_MAX

_NOWHERE = (-1, 0)
LeafOf = Callable[[LogKey, int], bytes | None]


class Trees:
    """The trees of all logs.

    `leaf_of` gives the hash of a commit that is here; `settled` the last settled sequence of each
    log; `settled_until` the stamp up to which all shards are settled.
    """

    def __init__(
        self, index: Index, shards: int, leaf_of: LeafOf, settled: dict[LogKey, int]
    ) -> None:
        self._index = index
        self._shards = shards
        self._leaf_of = leaf_of
        self._settled = settled
        self._trees: dict[LogKey, Tree] = {}
        self._unwritten: dict[bytes, bytes] = {}  # complete nodes that are not in the index yet
        self._roots: dict[LogKey, tuple[int, bytes]] = {}  # the last ones that were asked for
        self._at_cut: tuple[tuple[int, int], list[list[tuple[int, int, bytes]]]] = (_NOWHERE, [])
        self.settled_until: Callable[[], int] = lambda: 0

    def append(self, log: LogKey, seq: int, leaf: bytes) -> None:
        """Add the next commit of a log."""
        tree = self._trees.get(log)
        if tree is None:
            tree = self._trees[log] = Tree.of(seq - 1, self._lookup(log))
        for level, index, node in tree.append(leaf):
            self._unwritten[keys.tree_key(*log, level, index)] = node

    def end(self, log: LogKey) -> None:
        """A log was cut: the complete nodes that are within what is left are still right."""
        self._trees.pop(log, None)
        self._roots.pop(log, None)

    def take_unwritten(self) -> list[tuple[bytes, bytes]]:
        """What the index has to be told, once."""
        puts = [*self._unwritten.items()]
        self._unwritten.clear()
        return puts

    def mend(self, log: LogKey, seq: int) -> bool:
        """Work out again what is above a leaf, and tell the index; whether anything was wrong.

        Also where commits that are not settled have completed a node.
        """
        lookup, level, place = self._lookup(log), 1, (seq - 1) // FANOUT
        wrong = False
        while self._leaf_of(log, (place + 1) * FANOUT**level) is not None:  # the node is complete
            below = range(place * FANOUT, (place + 1) * FANOUT)
            node = inner(b"".join(lookup(level - 1, child) for child in below))
            wrong |= self._inner(log, level, place) != node
            self._unwritten[keys.tree_key(*log, level, place)] = node
            level, place = level + 1, place // FANOUT
        self._index.write(self.take_unwritten())
        self._trees.pop(log, None)
        self._roots.pop(log, None)
        self._at_cut = (_NOWHERE, [])
        return wrong

    def bears_out(self, log: LogKey, seq: int, leaf: bytes) -> bool:
        """Whether the node above a commit, once it is complete, was made with this hash."""
        place = seq - 1
        node = self._inner(log, 1, place // FANOUT)
        if node is None:
            return False
        lookup, first = self._lookup(log), place - place % FANOUT
        leaves = [leaf if at == place else lookup(0, at) for at in range(first, first + FANOUT)]
        return inner(b"".join(leaves)) == node

    def root(self, log: LogKey, size: int) -> bytes:
        """The root of a log's first commits."""
        known = self._roots.get(log)
        if known is None or known[0] != size:
            tree = self._trees.get(log)
            if tree is None or tree.size != size:
                tree = Tree.of(size, self._lookup(log))
            known = self._roots[log] = (size, tree.root())
        return known[1]

    # -- what a comparison asks (gossip.session.View) ----------------------------------------------

    def roots(self, cut: int) -> list[bytes]:
        """The roots of all shards at a cut."""
        return [shard_root(rows) for rows in self._logs_at(cut)]

    def logs(self, shard: int, cut: int) -> list[tuple[int, int, bytes]]:
        """(origin, size, root) of a shard's logs at a cut."""
        return self._logs_at(cut)[shard]

    def children(self, shard: int, origin: int, size: int, level: int, index: int) -> bytes:
        """The hashes of the children of a node of a log's tree; empty if there is none."""
        log = (shard, origin)
        if size > self._settled.get(log, 0):
            return b""
        return children(size, level, index, self._lookup(log))

    def _logs_at(self, cut: int) -> list[list[tuple[int, int, bytes]]]:
        at = (cut, sum(self._settled.values()))
        if self._at_cut[0] != at:
            rows: list[list[tuple[int, int, bytes]]] = [[] for _ in range(self._shards)]
            for log in sorted(self._settled):
                size = self._size_at(log, cut)
                if size:
                    rows[log[0]].append((log[1], size, self.root(log, size)))
            self._at_cut = (at, rows)
        return self._at_cut[1]

    def _size_at(self, log: LogKey, cut: int) -> int:
        """How many commits of a log have a stamp up to a cut: they are in its order."""
        high = self._settled[log]
        low, step = high, 1
        while low and self._stamp(log, low) > cut:
            low, high, step = max(0, low - step), low - 1, 2 * step
        while low < high:
            middle = (low + high + 1) // 2
            if self._stamp(log, middle) > cut:
                high = middle - 1
            else:
                low = middle
        return low

    def _stamp(self, log: LogKey, seq: int) -> int:
        value = self._index.get(keys.log_key(*log, seq))
        return STAMP_MAX if value is None else keys.stamp_in(value)

    def _inner(self, log: LogKey, level: int, index: int) -> bytes | None:
        key = keys.tree_key(*log, level, index)
        return self._unwritten.get(key) or self._index.get(key)

    def _lookup(self, log: LogKey) -> Callable[[int, int], bytes]:
        def lookup(level: int, index: int) -> bytes:
            node = self._leaf_of(log, index + 1) if level == 0 else self._inner(log, level, index)
            if node is None:
                raise DamagedIndex(
                    f"the index lacks node {index} of level {level} in the tree of shard {log[0]} "
                    f"and origin {log[1]:016x}: it will be rebuilt from the log"
                )
            return node

        return lookup
