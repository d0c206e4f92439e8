"""What is final: reports in, settled commits out; and the cross-check with the other nodes.

Each report also claims a (number of settled commits, running hash over them and over what became
of them) for one shard in turn. Two nodes that name different hashes for one number have found a
bug or a forged disk. Then this node stops settling that shard, keeps all data, and says so.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ..gossip.frontier import Frontier
from ..gossip.members import Members
from ..gossip.reports import Claim, Report, Standings
from ..gossip.settlement import Settlement
from ..storage.limits import SETTLE_BATCH_COMMITS
from .fold import Held
from .store import Store

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Round:
    """What one round of settling brought."""

    settled: list[Held]
    more: bool  # there is more that could be settled at once


class Settler:
    """Settlement of one node."""

    def __init__(self, store: Store, members: Members) -> None:
        self._store = store
        self._members = members
        self._mine = store.origin
        self.standings = Standings()
        self.standings.of(self._mine).frontier = store.frontier
        self._counted: set[int] = set()  # members whose reports are used
        self._claims: dict[int, dict[int, Claim]] = {}  # by shard and origin: not compared yet
        self._next_claim = 0
        self.disputes: dict[int, str] = {}
        self.settlement: Settlement | None = None
        self.begin()

    def begin(self) -> None:
        """Start to settle, once all members are known."""
        if self.settlement is not None or not self._members.complete:
            return
        settlement = Settlement(self._mine, self._members.origins, self._store.frontier)
        for shard in range(self._members.shards):
            settlement.restore(shard, self._store.history.mark(shard).watermark)
        self.settlement = settlement
        for origin in self._members.origins:
            self._count(origin, moved=None)

    # -- reports ---------------------------------------------------------------------------------

    def own_report(self, promise: int) -> None:
        """Renew what this node says of itself."""
        mine = self.standings.of(self._mine)
        mine.epoch, mine.mark, mine.boot = (
            self._members.epoch,
            self._members.mark if self.settlement is not None else 0,
            self._store.boot,
        )
        mine.counter = self._store.log.durable
        if promise > mine.promise or mine.frontier.version > mine.told_version:
            moved = mine.frontier.since(mine.told_version)
            mine.told_version = mine.frontier.version
            mine.promise = promise
            mine.version += 1
            self._count(self._mine, moved=moved)

    def heard(self) -> list[Frontier] | None:
        """What the other members hold, once all of them were heard since the start."""
        standings = [self.standings.of(one) for one in self._members.origins if one != self._mine]
        if not self._members.complete or not all(standing.boot for standing in standings):
            return None
        return [standing.frontier for standing in standings]

    def next_claim(self) -> None:
        """Let the next report claim the next shard in turn."""
        for _ in range(self._members.shards):
            shard = self._next_claim
            self._next_claim = (shard + 1) % self._members.shards
            mark = self._store.history.mark(shard)
            if mark.commits:
                self.standings.of(self._mine).claim = (shard, mark.commits, mark.running)
                return

    def learn(self, report: Report) -> None:
        """Take a report of another member.

        While origins are still being learned, one that nobody here has yet may be a member's. A
        link tells everything once, so what it told before has to be remembered.
        """
        known = self._members.name(report.origin) is not None
        if report.origin == self._mine or (self._members.complete and not known):
            return
        moved = self.standings.learn(report)
        if moved is not None:  # most come by several ways
            self._count(report.origin, moved=[(*log, 0) for log in moved])
        if report.claim is not None and report.mark == self._members.mark:
            self._compare(report.origin, report.claim)

    def _count(self, origin: int, *, moved: list[tuple[int, int, int]] | None) -> None:
        """Use a member's standing for settlement, if it has the same members in mind."""
        standing = self.standings.of(origin)
        if self.settlement is None or not standing.mark or standing.mark != self._members.mark:
            return
        first = origin not in self._counted
        frontier = standing.frontier
        if first or moved is None:
            self._counted.add(origin)
            self.settlement.report(origin, frontier)
            logs = [log for log, _ in frontier.items()]
        else:
            logs = [(shard, of) for shard, of, _ in moved]
        named = [(shard, frontier[shard, of]) for shard, of in logs if of == origin]
        self.settlement.promise(origin, standing.promise, named)

    # -- settling --------------------------------------------------------------------------------

    def round(self) -> Round:
        """Make final all that can be, shard by shard."""
        settled: list[Held] = []
        more = False
        if self.settlement is None:
            return Round(settled, more)
        history = self._store.history
        for shard in history.pending_shards:
            if shard in self.disputes:
                continue
            watermark = self.settlement.advance(shard)
            batch = history.settle(shard, watermark, SETTLE_BATCH_COMMITS)
            if not batch:
                continue
            settled += batch
            more = more or len(batch) >= SETTLE_BATCH_COMMITS
            self._store.note_settled(shard, history.mark(shard).watermark)
            for origin, claim in list(self._claims.get(shard, {}).items()):
                self._compare(origin, claim)
        history.write_settled()
        return Round(settled, more)

    def final_until(self) -> int:
        """The stamp up to which the order of all shards is final here."""
        if self.settlement is None:
            return 0
        history = self._store.history
        lowest = None
        for shard in range(self._members.shards):
            watermark = self.settlement.watermark(shard)
            if shard not in self.disputes:
                watermark = self.settlement.advance(shard)
            pending = history.first_pending(shard)
            if pending is not None:
                watermark = min(watermark, pending.key[0] - 1)
            lowest = watermark if lowest is None else min(lowest, watermark)
        return lowest or 0

    # -- the cross-check -------------------------------------------------------------------------

    def _compare(self, origin: int, claim: Claim) -> None:
        shard, commits, running = claim
        if shard >= self._members.shards or shard in self.disputes:
            return
        history = self._store.history
        if commits > history.mark(shard).commits:
            self._claims.setdefault(shard, {})[origin] = claim
            return
        self._claims.get(shard, {}).pop(origin, None)
        mine = history.root_at(shard, commits)
        if mine is not None and mine != running:
            self.dispute(
                shard,
                f"{self._members.name(origin)} and this node have settled shard {shard} "
                f"differently: they differ within its first {commits} commits",
            )

    def dispute(self, shard: int, why: str) -> None:
        """Stop settling a shard, and raise the alarm."""
        if shard not in self.disputes:
            self.disputes[shard] = why
            _log.critical("%s. It settles no further here; all data is kept", why)
