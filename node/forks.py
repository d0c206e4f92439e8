"""Forks: two commits for one place of a log, made by two processes on copies of one directory.

The hash of a commit is over its stamp and its id, so logs that have parted once differ at every
place from there on. So it is enough to compare the commit that a push goes on from: whoever holds
another one there takes nothing of it, looks at the other side's commit, and if that is really
another one stops settling its shard. That costs one hash for each log in a push; DESIGN has the
Merkle root there, which costs a look into the tree for the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..gossip.frontier import LogKey
from .repair import Repair
from .store import Store

Tip = tuple[int, int, int, bytes]  # shard, origin, sequence, hash


class Forks:
    """Looks for forks between one node and the others."""

    def __init__(self, store: Store, repair: Repair) -> None:
        self._store = store
        self._repair = repair

    def tips(self, logs: Mapping[LogKey, int]) -> list[Tip]:
        """The commits at these places, where there are any."""
        leaf = self._store.history.leaf
        found = [(log, seq, leaf(log, seq)) for log, seq in logs.items() if seq]
        return [(*log, seq, leaf) for log, seq, leaf in found if leaf is not None]

    def heard(self, member: int, tips: list[Tip]) -> None:
        """What a member goes on from."""
        for shard, origin, seq, leaf in tips:
            if seq <= self._store.frontier[shard, origin]:
                self.compare(member, (shard, origin), seq, leaf)

    def compare(self, member: int, log: LogKey, seq: int, leaf: bytes) -> None:
        """A member has a commit with this hash where this node has one: look if it differs."""
        mine = self._store.history.leaf(log, seq)
        if mine is None or mine == leaf or self._store.holes.is_lost(log, seq):
            return
        if not self._repair.own_is_wrong(log, seq):
            self._repair.doubt(member, log, seq)
