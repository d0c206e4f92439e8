"""Whether an index says what the log says: every entry and every node of every tree, offline.

The log is the truth here; what disagrees with it can be deleted and rebuilt. One pass over all
settled commits, in the one order, reads each record and works out all that the index should hold:
places, sequences, ids, streams, conflicts, the inner nodes of the trees, and how far each shard is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from ..gossip.frontier import LogKey
from ..storage import keys
from ..storage.commit import Commit, read_header
from ..storage.errors import BadFrame, DamagedLog
from ..storage.index import Index
from ..storage.keys import Place
from ..storage.merkle import Tree
from .fold import ACCEPTED, KEPT, REJECTED

REMEDY: Final = "delete the folder `index`: the node rebuilds it from the log"
_sha256 = hashlib.sha256


class IndexCheck:
    """Checks one index against the bodies of a log; `read` gives the body at a position."""

    def __init__(self, index: Index, read: Callable[[int, int], bytes]) -> None:
        self._index = index
        self._read = read
        self._trees: dict[LogKey, Tree] = {}
        self._running: dict[int, bytes] = {}
        self._events: Counter[int] = Counter()
        self._due: Counter[bytes] = Counter()  # how many entries of each kind there should be
        self._names: dict[str, int] = {}
        self.commits = 0  # looked at
        self.unreadable = 0  # commits whose records the log can't give
        self.places: dict[int, int] = {}  # how many settled commits of each shard

    def run(self) -> Iterator[str | None]:
        """What is wrong, in sentences; None now and then on the way."""
        for key, value in self._index.scan(b"e", b"f"):
            place = keys.place(value)
            yield from self._check(key, place)
            self.commits += 1
            if self.commits % 1000 == 0:
                yield None
        yield from self._check_marks()
        yield from self._check_counts()

    def _check(self, order: bytes, place: Place) -> Iterator[str]:
        where = f"the settled commit at {place.position:#x}"
        self.places[place.shard] = self.places.get(place.shard, 0) + 1
        try:
            commit = read_header(self._read(place.position, place.length))
        except (DamagedLog, BadFrame):
            self.unreadable += 1
            return  # the log's own check names it
        key = (commit.hlc, place.priority, commit.origin)
        if order != keys.order_key(key) or (commit.shard, commit.count) != (
            place.shard,
            place.events,
        ):
            yield f"{where} is not the one that the index means"
            return
        for expected, found, what in self._entries(order, place, commit):
            if expected != found:
                yield f"{where}: its {what} is wrong"
        yield from self._grow(commit, where)
        running = self._running.get(place.shard, bytes(32))
        text = b"%s%s%d:%d" % (running, commit.hash, place.outcome, place.first_revision)
        self._running[place.shard] = _sha256(text).digest()

    def _entries(
        self, order: bytes, place: Place, commit: Commit
    ) -> Iterator[tuple[bytes | None, bytes | None, str]]:
        """What the index should say of a commit, what it says, and where."""
        get, due = self._index.get, self._due
        due[b"q"] += 1
        yield (
            keys.log_value(order, commit.hash),
            get(keys.log_key(commit.shard, commit.origin, commit.seq)),
            "place or its hash in its log",
        )
        named = get(keys.commit_key(commit.id, commit.shard))
        if named == order:
            due[b"c"] += 1
        yield order, (order if named is not None and named <= order else named), "commit id"
        if place.outcome in (ACCEPTED, KEPT):
            due[b"s"] += 1
            self._events[place.shard] += commit.count
            last = place.first_revision + commit.count - 1
            self._names[commit.stream] = max(last, self._names.get(commit.stream, -1))
            at = keys.stream_key(commit.stream, place.first_revision)
            yield order, get(at), "place in its stream"
        if place.outcome in (REJECTED, KEPT):
            due[b"x"] += 1
            yield b"", get(keys.conflict_key(keys.order_of(order))), "entry as a conflict"

    def _grow(self, commit: Commit, where: str) -> Iterator[str]:
        log = (commit.shard, commit.origin)
        tree = self._trees.setdefault(log, Tree())
        if commit.seq != tree.size + 1:
            yield f"{where} has sequence {commit.seq}, but follows {tree.size}"
            return
        for level, index, node in tree.append(commit.hash):
            self._due[b"t"] += 1
            if self._index.get(keys.tree_key(*log, level, index)) != node:
                yield (
                    f"node {index} of level {level} is wrong in the Merkle tree of shard {log[0]} "
                    f"and origin {log[1]:016x}"
                )

    def _check_marks(self) -> Iterator[str]:
        if self.unreadable:
            return
        for key, value in self._index.scan(b"w", b"x"):
            mark, shard = keys.mark(value), int.from_bytes(key[1:], "big")
            mine = (self.places.get(shard, 0), self._events[shard])
            if (mark.commits, mark.events) != mine:
                yield f"shard {shard} has {mine[0]} settled commits, its mark says {mark.commits}"
            elif mark.running != self._running.get(shard, bytes(32)):
                yield f"the running hash of shard {shard} is not that of its settled commits"

    def _check_counts(self) -> Iterator[str]:
        """Whether there is anything in the index that no commit explains."""
        if self.unreadable:
            return
        self._due[b"n"] = len(self._names)
        for name, revision in self._names.items():
            if self._index.get(keys.name_key(name)) != keys.number_value(revision):
                yield f"the last revision of stream {name!r} is not {revision}"
        for kind in (b"q", b"c", b"s", b"x", b"n"):
            count = sum(1 for _ in self._index.scan(kind, keys.after(kind)))
            if count != self._due[kind]:
                what = kind.decode()
                yield f"there are {count} entries of kind {what}, {self._due[kind]} are explained"
