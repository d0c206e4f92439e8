"""Damage that a cluster can heal: it never takes the last copy of anything.

Only one node at a time has damage that is not healed, in its log or in its index, not in both; and
each commit in a range that is damaged is on the disk of another one. So whatever is missing in the
end was lost by the nodes themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from random import Random as Generator
from typing import NamedTuple

from ..gossip.frontier import Frontier
from ..node.node import Node
from ..storage import keys
from ..storage.commit import read_header
from ..storage.errors import DamagedLog
from ..storage.files import LogFiles
from ..storage.merkle import FANOUT, HASH_BYTES
from ..storage.record import COMMIT, HEADER_BYTES, STATE, parse
from ..storage.segment import Found, segments_of
from ..storage.state import read_state
from .watch.watched import WatchedWorld
from .world.disk import SimDisk

IN_PLACE = ("flip", "zero", "stale", "misplaced")
_TRIES = 12
_SEQ_BYTES = 8  # at the end of the key of an entry of a log
COMPARED_SECONDS = 0.5  # between comparisons of which a run waits for some
_NODES = 0.3  # share of wrong hashes that are those of nodes of trees, where comparisons find that
_ENDS = 0.7  # share of the wrong hashes in indexes that no node of a tree covers yet

CommitName = tuple[int, int, int]  # shard, origin, sequence


class _Bare(NamedTuple):
    """A wrong hash in the index of a node."""

    key: bytes
    wrong: bytes
    last: bytes  # the key of the last entry of its log then
    node: Node | None  # that ran then


class _Kept(NamedTuple):
    """What a disk gives back, up to what a start would refuse."""

    commits: dict[CommitName, int]  # and their lengths
    starts: set[int]  # of the node that are named
    refused: bool  # whether there is something like that


class Wounds:
    """Which nodes of a world have damage that may not be healed yet."""

    def __init__(self, world: WatchedWorld) -> None:
        self._world = world
        self._open: dict[str, list[Callable[[], bool]]] = {}  # by node: whether it is healed
        self._indexes: set[str] = set()  # nodes where it is the index
        self._bare: dict[str, _Bare] = {}  # the last wrong hash that no node of a tree covers

    def may_hurt(self, name: str) -> bool:
        """Whether no other node has damage that is not healed."""
        return all(self.healed(other) for other in list(self._open) if other != name)

    def healed(self, name: str) -> bool:
        """Whether a node has found and healed all that was done to it."""
        checks = self._open.get(name, [])
        node = self._world.nodes.get(name)
        if not checks:
            return True
        holes = None if node is None else node.store.holes
        if holes is None or holes.first is not None or holes.lost:
            return False
        if all(check() for check in checks):
            del self._open[name]
            if name in self._indexes:  # no crash makes that wrong again of which nobody knows now
                self._world.indexes[name].flush()
            return True
        return False

    def hurt(
        self, name: str, luck: Generator, kinds: tuple[str, ...], until: int | None = None
    ) -> str | None:
        """Damage a node's log in one of these ways; what was done, None if it is not safe.

        Nothing is touched from the position `until` on; left out: nothing that a start could take
        for what never was.
        """
        if not self.may_hurt(name) or (not self.healed(name) and name in self._indexes):
            return None
        self._indexes.discard(name)
        disk = self._world.disks[name]
        if disk.full_since is not None:  # what is taken away would make room
            return None
        others = self._world.holders.beside(name)
        before = _read(disk)
        for _ in range(_TRIES):
            kind, seed = luck.choice(kinds), luck.random()
            limit = provable(disk) if kind in IN_PLACE else _last_base(disk)
            limit = limit if until is None else until
            trial = disk.clone()
            if trial.damage(Generator(seed), kind, limit) is None:
                continue
            left = _read(trial)
            if left.refused:  # two wrong bits of a frame can look like a newer version
                continue
            if len(self._world.names) == 2 and before.starts - left.starts:
                continue  # it would join anew, as if it had gone back, and half is no majority
            lost = {one: size for one, size in before.commits.items() if one not in left.commits}
            if is_safe(lost, others):
                what = disk.damage(Generator(seed), kind, limit)
                self._note(name, partial(_are_on, disk, lost))
                self._world.note_damage(name, lost)
                return what
        return None

    def hurt_index(self, name: str, luck: Generator) -> str | None:
        """Make the hash of a settled commit in a node's index a wrong one."""
        index = self._world.indexes[name]
        entries = list(index.scan(b"q", b"r"))
        if not entries or not self.may_hurt(name):
            return None
        if not self.healed(name) and name not in self._indexes:
            return None
        self._indexes.add(name)
        last = {key[:-_SEQ_BYTES]: key for key, _ in entries}  # of each log
        ends = [entry for entry in entries if _is_bare(entry[0], last[entry[0][:-_SEQ_BYTES]])]
        key, value = luck.choice(ends if luck.random() < _ENDS and ends else entries)
        wrong = value[:-1] + bytes([value[-1] ^ 1 << luck.randrange(8)])
        node = self._node_above(name, key)
        if node is not None and Generator(f"node {name} {key.hex()}").random() < _NODES:
            return self._hurt_node(name, node)
        if name in self._bare and self._bare[name].key == key:
            return None  # it is wrong already, and the same bit once more would make it right
        index.write([(key, wrong)])
        self._note(name, lambda: self._world.indexes[name].get(key) != wrong)
        if (key, value) in ends:
            here = self._world.nodes.get(name)
            self._bare[name] = _Bare(key, wrong, last[key[:-_SEQ_BYTES]], here)
        self._world.note_index_damage(name, key)
        return f"the hash of a commit in the index of {name} is wrong"

    def _node_above(self, name: str, key: bytes) -> bytes | None:
        """The node of a tree above an entry of a log that none covers; where it would be found."""
        if self._world.config.tuning.compare_seconds > COMPARED_SECONDS:
            return None
        shard, origin, seq = keys.log_of(key)
        index, found, level, place = self._world.indexes[name], None, 1, (seq - 1) // FANOUT
        while index.get(node := keys.tree_key(shard, origin, level, place)) is not None:
            found, level, place = node, level + 1, place // FANOUT
        return found

    def _hurt_node(self, name: str, node: bytes) -> str:
        wrong = bytes(HASH_BYTES)
        self._world.indexes[name].write([(node, wrong)])
        self._note(name, lambda: self._world.indexes[name].get(node) != wrong)
        self._world.note_index_damage(name, node)
        return f"a node of a tree in the index of {name} is wrong"

    def wrong_indexes(self) -> list[str]:
        """The nodes whose index has a wrong hash where a comparison reads it.

        That is at a log's end, and by a node that has started since: what one remembers is right.
        Who is alone has nobody to compare with.
        """
        if len(self._world.names) == 1:
            return []
        found = []
        for name, one in sorted(self._bare.items()):
            log, index = one.key[:-_SEQ_BYTES], self._world.indexes[name]
            newest = next(index.scan(log, log + b"\xff" * (_SEQ_BYTES + 1), reverse=True), None)
            is_last = newest is not None and newest[0] == one.last
            started = self._world.nodes.get(name) is not one.node
            if index.get(one.key) == one.wrong and is_last and started:
                found.append(name)
        return found

    def _note(self, name: str, healed: Callable[[], bool]) -> None:
        self._open.setdefault(name, []).append(healed)


def _is_bare(key: bytes, last: bytes) -> bool:
    """Whether no node of a tree was made yet over an entry of a log: then comparisons read it."""
    seq, end = (int.from_bytes(one[-_SEQ_BYTES:]) for one in (key, last))
    return seq > end - end % FANOUT


def _are_on(disk: SimDisk, commits: Iterable[CommitName]) -> bool:
    return commits_on(disk).keys() >= set(commits)


def is_safe(lost: Iterable[CommitName], others: Iterable[Frontier]) -> bool:
    """Whether each of some commits is on another disk."""
    others = list(others)
    return all(
        any(frontier[shard, origin] >= seq for frontier in others) for shard, origin, seq in lost
    )


def commits_on(disk: SimDisk) -> dict[CommitName, int]:
    """The commits that can be read back from a disk, with their lengths."""
    return _read(disk).commits


def _read(disk: SimDisk) -> _Kept:
    copy = disk.clone()
    found: dict[CommitName, int] = {}
    starts: set[int] = set()
    copy.reads_right = True
    try:
        for record in LogFiles(copy).scan(0):
            if isinstance(record, Found) and record.kind == COMMIT:
                commit = read_header(record.body)
                found[commit.shard, commit.origin, commit.seq] = len(record.body)
            elif isinstance(record, Found) and record.kind == STATE:
                starts |= {*read_state(record.body).starts}
    except DamagedLog:
        return _Kept(found, starts, refused=True)
    return _Kept(found, starts, refused=False)


def provable(disk: SimDisk) -> int:
    """The position in a log up to which its last synced header proves that all had been synced.

    Damage behind it can't be told from a write that was cut short (docs/format.md), and a header
    that is not synced may be gone with the next crash.
    """
    segments = segments_of(disk)
    if not segments:
        return 0
    last, proven = segments[-1], 0
    copy = disk.clone()
    copy.reads_right = True
    data = disk.synced(last.name)
    for record in LogFiles(copy).scan(last.base):
        if not isinstance(record, Found):
            continue
        begin = record.position - last.base
        is_synced = begin + HEADER_BYTES + len(record.body) <= len(data)
        header = parse(data, begin) if is_synced else None
        if header is not None:
            proven = max(proven, header.position - header.unsynced)
    return proven


def _last_base(disk: SimDisk) -> int:
    """Where the last segment begins: a log without its end looks like an older one."""
    segments = segments_of(disk)
    return segments[-1].base if segments else 0
