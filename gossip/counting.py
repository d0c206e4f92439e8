"""Settlement while the membership changes: what counts in an epoch (DESIGN 5).

The rule of gossip.settlement, with four things more:

1. A report is used only once its epoch is known here. Its promise counts in every later epoch of
   which its maker is a member; its frontier only in the epoch in which it was made. A joiner is
   taken to have promised the floor of its epoch, with nothing below it.
2. To settle anything in a shard, this node and the majority also hold what the epoch owes there:
   the base and the finals of all removed origins. So a member that has not caught up to the base
   doesn't count.
3. This node counts itself only while it may report: what a frozen one takes after it answered is
   not in the next base, and one that may have gone back in time can have frozen before.
   One that is no member settles nothing: nobody asks it what it saw of one that did go back.
4. Frontiers are copied from reports that count. One that goes on growing by reports that do not
   (of a frozen member, to steer the pushes) must not count itself further.

The watermark never moves back: what an epoch settles is below the floor of the next, and that
epoch's majority holds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from .epoch import Epoch
from .frontier import Frontier, LogKey
from .settlement import Holder, Settlement

Row = tuple[int, int, int]  # (shard, origin, last sequence)


class EpochSettlement(Settlement):
    """Settlement of one node, from epoch to epoch."""

    def __init__(self, me: int, epoch: Epoch, mine: Frontier) -> None:
        super().__init__(me, epoch.origins, mine)
        self.counts_me = False  # Epochs.may_report, renewed with every outcome
        self.epoch = epoch
        for member in epoch.members:
            self._promised[member.origin] = member.floor
        self._promised_by_all = min(self._promised.values())

    def enter(self, epoch: Epoch, me: int, mine: Frontier) -> None:
        """Go on in a newer epoch, with what this node holds after the cut.

        Reports that were made in it count from the next `heard` on, with their whole frontiers.
        """
        self.epoch = epoch
        self._me, self._mine = me, mine
        self._members = epoch.origins
        self._reported = {me: mine}
        self._logs = {}
        self._promised = {
            member.origin: self._promised.get(member.origin, member.floor)
            for member in epoch.members
        }
        self._promised_by_all = min(self._promised.values())
        for log in [log for log in chain(self._named, self._queue) if log[1] not in epoch.joined]:
            self._named.pop(log, None)
            self._queue.pop(log, None)

    def heard(self, origin: int, epoch: int, promised: int, rows: Iterable[Row]) -> bool:
        """Take a report as far as it counts; whether it may be forgotten.

        `rows` is the frontier, whole for the first report of a maker in an epoch, else what moved.
        """
        if epoch > self.epoch.number:
            return False
        if origin not in self.epoch.joined:
            return True
        rows = list(rows)
        self.promise(origin, promised, [(shard, seq) for shard, of, seq in rows if of == origin])
        if epoch == self.epoch.number and origin != self._me:
            counted = self._reported.setdefault(origin, Frontier())
            for shard, of, seq in rows:
                counted.advance((shard, of), seq)
        return True

    def holders(self, shards: Iterable[int], stamp: int) -> list[Holder]:
        """Which origins keep the watermark of some shard below a stamp, and why."""
        shards = list(shards)
        found = {holder.origin: holder for holder in super().holders(shards, stamp)}
        for log, lacking in sorted(self.epoch.lacks(self._mine).items()):
            if log[0] in shards and self.watermark(log[0]) < stamp:
                why = f"{lacking} of its commits, which the epoch names, are not here yet"
                found.setdefault(log[1], Holder(log[1], why))
        return list(found.values())

    def _candidate(self, shard: int) -> int:
        return super()._candidate(shard) if self._me in self.epoch.joined else 0

    def _needs(self, shard: int, time: int) -> list[tuple[LogKey, int]]:
        owed = self.epoch.owed.get(shard)
        needs = super()._needs(shard, time)
        if not owed:
            return needs
        return [(log, max(seq, owed.get(log, 0))) for log, seq in needs] + [
            (log, seq) for log, seq in owed.items() if log[1] not in self.epoch.joined
        ]

    def _held_by_majority(self, shard: int, time: int) -> bool:
        needs = self._needs(shard, time)
        if not self._covers(self._me, needs):
            return False
        holding, enough = int(self.counts_me), self.epoch.majority
        for origin in self._members:
            if holding >= enough:
                break
            holding += origin != self._me and self._covers(origin, needs)
        return holding >= enough
