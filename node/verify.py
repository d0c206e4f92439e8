"""Whether an index says what the log says: every entry and every node of every tree, offline.

The log is the truth here; what disagrees with it can be deleted and rebuilt. One pass over all
settled commits, in the one order, reads each record and works out all that the index should hold:
places, sequences, ids, streams, conflicts, the inner nodes of the trees, and how far each shard is.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Final

from ..gossip.epochs import kept_epoch
from ..gossip.frontier import LogKey
from ..storage import keys
from ..storage.commit import Commit, read_header
from ..storage.errors import BadFrame, DamagedLog
from ..storage.files import LogFiles
from ..storage.index import Index
from ..storage.keys import Place
from ..storage.merkle import FANOUT, Tree
from ..storage.record import COMMIT
from ..storage.segment import Gap
from ..storage.state import read_state
from .fold import ACCEPTED, KEPT, REJECTED

REMEDY: Final = "delete the folder `index`: the node rebuilds it from the log"
_COUNTED: Final = (b"q", b"c", b"s", b"x", b"n")  # entries that come with commits
_NUMBERS: Final = (keys.SCRUBBED, keys.SYNCED, keys.REPLAY_FROM)
_NEEDED: Final = (keys.SYNCED, keys.REPLAY_FROM)  # once anything is settled
_Node = tuple[int, int, int, int]  # of a tree: shard, origin, level, index
_sha256 = hashlib.sha256


def synced_in(index: Index) -> int:
    """Up to where the log was on disk, as an index knows. A log that ends before lost its end."""
    return _number(index, keys.SYNCED)


def _number(index: Index, key: bytes) -> int:
    value = index.get(key)
    return 0 if value is None or len(value) != len(keys.number_value(0)) else keys.number(value)


class IndexCheck:
    """Checks one index against a log."""

    def __init__(self, index: Index, files: LogFiles) -> None:
        self._index = index
        self._files = files
        self._trees: dict[LogKey, Tree] = {}
        self._running: dict[int, bytes] = {}
        self._events: Counter[int] = Counter()
        self._due: Counter[bytes] = Counter()  # how many entries of each kind there should be
        self._names: dict[str, int] = {}
        self._newest: Counter[int] = Counter()  # the last settled stamp of each shard
        self.commits = 0  # looked at
        self.unreadable = 0  # commits whose records the log can't give
        self.places: dict[int, int] = {}  # how many settled commits of each shard

    def run(self) -> Iterator[str | None]:
        """What is wrong, in sentences; None now and then on the way."""
        for key, value in self._index.scan(b"e", b"f"):
            try:
                yield from self._check(key, keys.place(value))
            except struct.error:
                yield f"{_described(key)} is no place"
            self.commits += 1
            if self.commits % 1000 == 0:
                yield None
        if not self.unreadable:  # else nobody can say what is missing, and what is too much
            yield from self._check_names()
            yield from self._check_entries()

    def _check(self, order: bytes, place: Place) -> Iterator[str]:
        where = f"the settled commit at {place.position:#x}"
        self.places[place.shard] = self.places.get(place.shard, 0) + 1
        try:
            commit = read_header(self._files.read(place.position, place.length))
        except (DamagedLog, BadFrame):  # the log's own check names it
            self.unreadable += 1
            self._grow_unread((place.shard, place.origin))
            return
        key = (commit.hlc, place.priority, commit.origin)
        if order != keys.order_key(key) or (commit.shard, commit.count) != (
            place.shard,
            place.events,
        ):
            yield f"{where} is not the one that the index means"
            return
        self._newest[place.shard] = commit.hlc
        for expected, found, what in self._entries(order, place, commit):
            if expected != found:
                yield f"{where}: its {what} is {'missing' if found is None else 'wrong'}"
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
            found = self._index.get(keys.tree_key(*log, level, index))
            if found != node:
                yield (
                    f"node {index} of level {level} is {'missing' if found is None else 'wrong'} "
                    f"in the Merkle tree of shard {log[0]} and origin {log[1]:016x}"
                )

    def _grow_unread(self, log: LogKey) -> None:
        """What follows a commit that can't be read is no less right."""
        tree = self._trees.setdefault(log, Tree())
        value = self._index.get(keys.log_key(*log, tree.size + 1))
        if value is not None:
            tree.append(keys.leaf_in(value))

    # -- all entries, whether or not a commit leads to them ----------------------------------------

    def _check_names(self) -> Iterator[str]:
        self._due[b"n"] = len(self._names)
        for name, revision in self._names.items():
            if self._index.get(keys.name_key(name)) != keys.number_value(revision):
                yield f"the last revision of stream {name!r} is not {revision}"
        needed = [*_NEEDED, *map(keys.mark_key, sorted(self.places))] if self.commits else []
        if needed and _number(self._index, keys.REPLAY_FROM):  # else the replay meets the state
            needed.append(keys.STATE)
        for key in needed:
            if self._index.get(key) is None:
                yield f"{_described(key)} is missing"

    def _check_entries(self) -> Iterator[str]:
        counts: Counter[bytes] = Counter()
        ahead: dict[_Node, bytes] = {}
        for key, value in self._index.scan(b"", b"\xff"):
            counts[key[:1]] += 1
            if key[:1] == b"t":
                node = keys.node_of(key)
                if node is None or not node[2]:
                    yield _surplus(key)
                elif _leaves_under(node) > self._size(node[:2]):
                    ahead[node] = value
            elif key[:1] == b"w":
                yield from self._check_mark(key, value)
            elif key[:1] not in (*_COUNTED, b"e"):
                yield from self._check_single(key, value)
        yield from self._check_ahead(ahead)
        for kind in _COUNTED:
            if counts[kind] != self._due[kind]:  # as a rule each commit is read only once
                yield from self._check_explained(kind)

    def _check_mark(self, key: bytes, value: bytes) -> Iterator[str]:
        shard = keys.shard_in(key)
        if shard is None or shard not in self.places:
            yield _surplus(key)
            return
        try:
            mark = keys.mark(value)
        except struct.error:
            yield f"{_described(key)} is none"
            return
        if (mark.commits, mark.events) != (self.places[shard], self._events[shard]):
            yield (
                f"shard {shard} has {self.places[shard]} settled commits with "
                f"{self._events[shard]} events, its mark says {mark.commits} with {mark.events}"
            )
        elif mark.running != self._running.get(shard, bytes(32)):
            yield f"the running hash of shard {shard} is not that of its settled commits"
        elif mark.watermark < self._newest[shard]:
            yield f"the watermark of shard {shard} is below its last settled commit"

    def _check_single(self, key: bytes, value: bytes) -> Iterator[str]:
        """Of what there is one, whether it can be what it should be."""
        try:
            if key == keys.STATE:
                read_state(value)
            elif key == keys.MEMBERSHIP:
                kept_epoch(value)
            elif key not in _NUMBERS:
                yield _surplus(key)
            elif keys.number(value) > self._files.end and not self._lost_its_end():
                yield f"{_described(key)} is behind the end of the log"
        except (DamagedLog, BadFrame, struct.error):
            yield f"{_described(key)} can't be read"

    def _lost_its_end(self) -> bool:
        """Whether the log is good only up to before what the index knows: the index may be right.

        What a scan finds to be torn counts as lost once there was one.
        """
        torn = self._files.torn
        return (self._files.end if torn is None else torn.position) < synced_in(self._index)

    def _check_explained(self, kind: bytes) -> Iterator[str]:
        for key, value in self._index.scan(kind, keys.after(kind)):
            try:
                explained = self._is_explained(key, value)
            except (DamagedLog, BadFrame):
                explained = True  # the log's own check names it
            except struct.error:
                explained = False  # it leads to what is no place
            if not explained:
                yield _surplus(key)

    def _is_explained(self, key: bytes, value: bytes) -> bool:
        """Whether the commit that an entry leads to has such an entry."""
        kind = key[:1]
        if kind == b"n":
            return key[1:].decode(errors="replace") in self._names
        order = {b"q": keys.order_in(value), b"x": b"e" + key[1:]}.get(kind, value)
        found = self._index.get(order) if order[:1] == b"e" else None
        if found is None:
            return False
        place = keys.place(found)
        commit = read_header(self._files.read(place.position, place.length))
        shown, odd = place.outcome in (ACCEPTED, KEPT), place.outcome in (REJECTED, KEPT)
        return {
            b"q": key == keys.log_key(commit.shard, commit.origin, commit.seq),
            b"c": key == keys.commit_key(commit.id, commit.shard),
            b"s": shown and key == keys.stream_key(commit.stream, place.first_revision),
            b"x": odd,
        }[kind]

    # -- the trees of what is not settled ----------------------------------------------------------

    def _size(self, log: LogKey) -> int:
        return self._trees[log].size if log in self._trees else 0

    def _check_ahead(self, ahead: dict[_Node, bytes]) -> Iterator[str]:
        """Nodes over commits that are not settled: the log must have these commits."""
        leaves = self._leaves({node[:2] for node in ahead}) if ahead else None
        if leaves is None:
            return
        nodes: dict[_Node, bytes] = {}
        for log, of_log in leaves.items():
            tree = self._trees.setdefault(log, Tree())
            while len(hashes := of_log.get(tree.size + 1, set())) == 1:  # else: of two histories
                for level, index, made in tree.append(*hashes):
                    nodes[*log, level, index] = made
        for node, value in ahead.items():
            if nodes.get(node, value) != value:
                yield f"{_described(keys.tree_key(*node))} is wrong"
            elif node not in nodes and _leaves_under(node) not in leaves[node[:2]]:
                yield _surplus(keys.tree_key(*node))

    def _leaves(self, logs: set[LogKey]) -> dict[LogKey, dict[int, set[bytes]]] | None:
        """All hashes that the log has for what is not settled; None if some may be missing."""
        found: dict[LogKey, dict[int, set[bytes]]] = {log: {} for log in logs}
        try:
            for record in self._files.scan(0):
                if isinstance(record, Gap):
                    return None
                if record.kind == COMMIT:
                    commit = read_header(record.body)
                    log = (commit.shard, commit.origin)
                    if log in logs and commit.seq > self._size(log):
                        found[log].setdefault(commit.seq, set()).add(commit.hash)
        except (DamagedLog, BadFrame):  # of a newer version, or no commit
            return None
        return None if self._lost_its_end() else found


def _leaves_under(node: _Node) -> int:
    """The last sequence that a node of a tree covers."""
    _, _, level, index = node
    return int((index + 1) * FANOUT**level)


def _described(key: bytes) -> str:
    """An entry, in words and as it stands in the index."""
    kinds = {
        b"c": "the commit id",
        b"d": "the last state",
        b"e": "the place in the one order",
        b"m": "the kept epochs",
        b"n": "the name of a stream",
        b"q": "the place in a log",
        b"s": "the place in a stream",
        b"t": "the node of a Merkle tree",
        b"u": "the position of the scrub",
        b"w": "the mark of a shard",
        b"x": "the conflict",
        b"y": "the position up to where the log was on disk",
        b"z": "the position where a replay begins",
    }
    return f"{kinds.get(key[:1], 'the entry')} with key {key.hex()}"


def _surplus(key: bytes) -> str:
    return f"{_described(key)}: nothing in the log explains it"
