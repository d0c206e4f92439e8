"""Holes: commits that were on this disk and can't be read any more, until they are healed.

There are two kinds. A log that was *torn* when the node started lacks commits that the fold never
saw: what lies after the hole is stranded on the disk, and the log goes on only once the hole is
closed. A *lost* record was seen, indexed and perhaps settled; only its bytes are gone, and whoever
asks for them has to wait. Both are healed from peers, and appended to the log once more: what is
damaged is never written over.

While commits of this node itself are missing it makes no new ones in their shard and promises
nothing: their sequences were told, or may have been.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..gossip.frontier import LogKey
from .recovery import Recovered, Stranded


class Holes:
    """What a node lacks of what it had."""

    def __init__(self, recovered: Recovered, mine: int) -> None:
        self._mine = mine
        self._stranded: dict[LogKey, deque[Stranded]] = recovered.stranded
        self._known = dict(recovered.known)  # sequences that there were at least
        for log, waiting in self._stranded.items():
            self._known[log] = max(self._known.get(log, 0), waiting[-1].seq)
        self._hole = recovered.hole
        self.unsure = recovered.unsure  # of how many own commits there were
        self.lost: dict[LogKey, set[int]] = {}  # held, but their records can't be read
        self.healed = 0  # commits, since the start

    def identify(self, mine: int) -> None:
        """This node goes on under another origin: what it lacks of its old log stays."""
        self._mine = mine
        self.unsure = False

    @property
    def first(self) -> int | None:
        """Where in the log the first damage is that has torn something; None if nothing has."""
        return self._hole if self._known or self.unsure else None

    @property
    def mine(self) -> bool:
        """Whether commits of this node itself are missing, or may be."""
        return self.unsure or any(origin == self._mine for _, origin in self._known)

    def had(self, log: LogKey, arrived: int) -> int:
        """How many commits of a log there were at least."""
        return max(arrived, self._known.get(log, 0))

    def missing(self, arrived: Callable[[LogKey], int]) -> int:
        """How many commits are known to be missing or unreadable."""
        return sum(until - after for _, _, after, until in self.stretches(arrived))

    def hides(self, shard: int) -> bool:
        """Whether own commits of a shard are missing, or may be."""
        return self.unsure or (shard, self._mine) in self._known

    def __contains__(self, log: LogKey) -> bool:
        return log in self._known

    def torn_logs(self) -> list[LogKey]:
        """Logs that lack commits which were here."""
        return [*self._known]

    def torn_shards(self) -> set[int]:
        """Shards that lack commits which were here."""
        return {shard for shard, _ in self._known}

    # -- torn logs ---------------------------------------------------------------------------------

    def next(self, log: LogKey, arrived: int) -> Stranded | None:
        """The stranded commit that is the next of its log, if it is there."""
        waiting = self._stranded.get(log)
        while waiting and waiting[0].seq <= arrived:
            waiting.popleft()
        return waiting.popleft() if waiting and waiting[0].seq == arrived + 1 else None

    def closed(self, log: LogKey, held: int) -> bool:
        """A log is held up to a sequence; whether that is all that there was."""
        if held < self._known.get(log, 0):
            return False
        self._known.pop(log, None)
        self._stranded.pop(log, None)
        self.healed += 1
        return True

    def heard(self, log: LogKey, seq: int, held: int) -> None:
        """A member holds so many commits of a log: there may have been as many here."""
        if seq > max(held, self._known.get(log, 0)):
            self._known[log] = seq

    def frontier(self, arrived: dict[LogKey, int]) -> list[tuple[int, int, int]]:
        """How much there is of every log, also of what is missing; nothing while unsure."""
        if self.unsure:
            return []
        there = dict(arrived)
        for log, seq in self._known.items():
            there[log] = max(seq, there.get(log, 0))
        return [(*log, seq) for log, seq in sorted(there.items())]

    def cut(self, log: LogKey, limit: int, held: int) -> list[Stranded]:
        """A log ends at a sequence: nothing above is missing; what was stranded there."""
        if self._known.get(log, 0) <= limit:
            return []
        waiting = self._stranded.get(log, deque())
        above = [one for one in waiting if one.seq > limit]
        self._stranded[log] = deque(one for one in waiting if one.seq <= limit)
        self._known[log] = min(limit, self._known[log])
        self.closed(log, held)
        return above

    def stretches(self, arrived: Callable[[LogKey], int]) -> list[tuple[int, int, int, int]]:
        """What to ask peers for: (shard, origin, after, until)."""
        wanted = []
        for log, known in self._known.items():
            after = arrived(log)
            waiting = self._stranded.get(log)
            until = waiting[0].seq - 1 if waiting else known
            if until > after:
                wanted.append((*log, after, until))
        for log, seqs in self.lost.items():
            wanted += [(*log, first - 1, last) for first, last in _runs(sorted(seqs))]
        return wanted

    # -- lost records ------------------------------------------------------------------------------

    def lose(self, log: LogKey, seq: int) -> None:
        """The record of a commit can't be read."""
        self.lost.setdefault(log, set()).add(seq)

    def is_lost(self, log: LogKey, seq: int) -> bool:
        """Whether the record of a commit is known to be unreadable."""
        return seq in self.lost.get(log, ())

    def found(self, log: LogKey, seq: int) -> None:
        """A commit can be read again."""
        seqs = self.lost.get(log)
        if seqs is not None and seq in seqs:
            seqs.remove(seq)
            self.healed += 1
            if not seqs:
                del self.lost[log]


def _runs(seqs: list[int]) -> list[tuple[int, int]]:
    """Stretches (first, last) of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for seq in seqs:
        if runs and runs[-1][1] == seq - 1:
            runs[-1] = (runs[-1][0], seq)
        else:
            runs.append((seq, seq))
    return runs
