"""Strays: commits that are here, durable and shown, but that have no place in the order.

There are three kinds: what this node stamped while it was not sure of its directory, or was no
member yet, and what the finals of a removed origin have cut off. All of them are appended again,
with the same commit id, by whoever holds them; until then they stay tentative. A stray gives way
once a commit with its id that has a place is on the disk, whoever made that one.

Nothing of a shard becomes final here from its first stray on: what takes the place of the stray
comes later in the order, and readers must not see a settled commit move.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator

from ..gossip.frontier import LogKey
from ..storage.errors import DamagedLog
from ..storage.keys import Place
from .fold import Held, OrderKey
from .history import History

OnMoved = Callable[[Held], None]
_Id = tuple[bytes, int]  # commit id and shard


def _id(held: Held) -> _Id:
    return held.id, held.shard


def _bytes_of(commit: Held | Place) -> tuple[int, int]:
    return commit.position, commit.length


class Strays:
    """The strays of one node.

    `on_moved` is told when one has given way to a commit with the same id.
    """

    def __init__(self, history: History, on_moved: OnMoved = lambda _: None) -> None:
        self._history = history
        self._by_id: dict[_Id, list[Held]] = {}
        self._keys: dict[int, list[OrderKey]] = {}  # by shard, in order
        self._oldest: int | None = None  # position in the log, worked out when it is asked for
        self.on_moved = on_moved
        self._again: dict[OrderKey, OrderKey] = {}  # on their way again: by copy, the stray

    def __len__(self) -> int:
        return sum(map(len, self._keys.values()))

    def __iter__(self) -> Iterator[Held]:
        """All of them."""
        return (held for same in self._by_id.values() for held in same)

    def waiting(self) -> list[Held]:
        """Those that have to be appended again, in the order of their stamps."""
        under_way = {*self._again.values()}
        return sorted(one for one in self if one.durable and one.key not in under_way)

    def give_way(self, held: Held) -> bool:
        """Whether the append of a stray has come to have a place meanwhile."""
        if not self._has_place(held):
            return False
        self.lost(held)
        self.on_moved(held)
        return True

    def add(self, held: Held) -> None:
        """Take in a commit that has no place; not if one with its id has one already."""
        if not self._has_place(held):
            self._history.fold_in(held)
            self.keep(held)

    def _has_place(self, held: Held) -> bool:
        """Whether the append that made this commit, which has none, has a place."""
        first = self._history.find(held.id, held.shard)
        if isinstance(first, Place) and self._is_same(held, first):
            return True
        same = self._history.tentative_with(held.id, held.shard)
        return any(
            one is not held and one.durable and not self.is_stray(one) and self._is_same(held, one)
            for one in same
        )

    def _is_same(self, one: Held, other: Held | Place) -> bool:
        """Whether two commits with one id are one append: else one of them is shadowed for good."""
        header = self._history.header
        try:
            mine, other_header = header(one.position, one.length), header(*_bytes_of(other))
        except DamagedLog:
            return False
        return mine.entry == other_header.entry

    def keep(self, held: Held) -> None:
        """Count a commit that is in the fold as a stray."""
        self._by_id.setdefault(_id(held), []).append(held)
        insort(self._keys.setdefault(held.shard, []), held.key)
        self._oldest = None

    def cut(self, log: LogKey, limit: int) -> None:
        """What a log has above a sequence has lost its place."""
        for held in self._history.cut(log, limit):
            if held.durable and self._has_place(held):
                self._history.fold_out(held)
                self.on_moved(held)
            else:
                self.keep(held)

    def is_stray(self, held: Held) -> bool:
        """Whether a tentative commit is one."""
        return any(one is held for one in self._by_id.get(_id(held), ()))

    def placed(self, copy: Held) -> None:
        """A commit that has a place is on the disk: those of the same append give way."""
        self._again.pop(copy.key, None)
        for held in list(self._by_id.get(_id(copy), ())):
            if held.durable and self._is_same(held, copy):
                self.lost(held)
                self.on_moved(held)

    def regained(self, held: Held) -> None:
        """A commit has its place back in the very log that it was cut from: it is no stray."""
        for one in [one for one in self._by_id.get(_id(held), ()) if one.key == held.key]:
            self.lost(one)
            self.on_moved(one)

    def begun(self, stray: Held, copy: Held) -> None:
        """One is on its way to the disk again."""
        self._again[copy.key] = stray.key

    def undone(self, copy: Held) -> None:
        """What was appended again did not get to the disk."""
        self._again.pop(copy.key, None)

    def lost(self, held: Held) -> None:
        """One is shown no more: it did not get to the disk, or has given way."""
        same = self._by_id[_id(held)]
        same.remove(held)
        if not same:
            del self._by_id[_id(held)]
        self._forget(held)

    def _forget(self, held: Held) -> None:
        self._history.fold_out(held)
        keys = self._keys[held.shard]
        del keys[bisect_left(keys, held.key)]
        if not keys:
            del self._keys[held.shard]
        self._oldest = None

    def first(self, shard: int) -> OrderKey | None:
        """The place that the first stray of a shard has lost."""
        keys = self._keys.get(shard)
        return keys[0] if keys else None

    def limit(self, shard: int, watermark: int) -> int:
        """How far a shard may be settled here, if the rest allows so much."""
        first = self.first(shard)
        return watermark if first is None else min(watermark, first[0] - 1)

    @property
    def oldest(self) -> int | None:
        """Where in the log the first of them is."""
        if self._oldest is None and self._keys:
            self._oldest = min(one.position for same in self._by_id.values() for one in same)
        return self._oldest
