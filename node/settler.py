"""What is final: reports in, settled commits out; and the cross-check with the other nodes.

Each report also claims a (number of settled commits, running hash over them and over what became
of them) for one shard in turn. Two nodes that name different hashes for one number have found a
bug or a forged disk. Then this node stops settling that shard, keeps all data, and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..gossip.counting import EpochSettlement
from ..gossip.epoch import Epoch
from ..gossip.frontier import Frontier, LogKey
from ..gossip.members import Members
from ..gossip.reports import Claim, Report, Standings
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
    """Settlement of one node. `counts` says whether its own reports count now."""

    def __init__(self, store: Store, members: Members) -> None:
        self._store = store
        self._members = members
        self.standings = Standings()
        self._mine = store.origin
        self.standings.of(store.origin).frontier = store.frontier
        self._counted: set[int] = set()  # members whose reports are used, in this epoch
        self._claims: dict[int, dict[int, Claim]] = {}  # by shard and origin: not compared yet
        self._next_claim = 0
        self.counts: Callable[[], bool] = lambda: False
        self.settlement: EpochSettlement | None = None

    def identify(self) -> None:
        """This node may have another origin: what others say of the one before is of another."""
        if self._store.origin != self._mine:
            self.standings.forget(self._mine)  # it may still be passed on, or of a copy
            self._mine = self._store.origin
        self.standings.of(self._mine).frontier = self._store.frontier

    def enter(self, epoch: Epoch) -> None:
        """Settle by the members of this epoch from now on."""
        self.identify()
        mine, frontier = self._mine, self._store.frontier
        if self.settlement is None:
            self.settlement = EpochSettlement(mine, epoch, frontier)
            for shard in range(self._members.shards):
                self.settlement.restore(shard, self._store.history.mark(shard).watermark)
        else:
            self.settlement.enter(epoch, mine, frontier)
        self._counted.clear()
        finals = epoch.finals
        self._store.disputes.end(finals)
        for claims in self._claims.values():  # nor is there a dispute with who is gone later
            for gone in claims.keys() & finals.keys():
                del claims[gone]
        for origin in epoch.origins:
            if origin != mine:
                self._count(origin, moved=None)

    # -- reports ---------------------------------------------------------------------------------

    def own_report(self, promise: int) -> None:
        """Renew what this node says of itself; it counts nowhere while its mark is 0."""
        mine = self.standings.of(self._store.origin)
        counts = self.settlement is not None and self.counts()
        if self.settlement is not None:
            self.settlement.counts_me = counts
        mark = self._members.mark if counts else 0
        changed = (mine.epoch, mine.mark) != (self._members.number, mark)
        mine.epoch, mine.mark, mine.boot = self._members.number, mark, self._store.boot
        mine.counter = self._store.log.durable
        if changed or promise > mine.promise or mine.frontier.version > mine.told_version:
            moved = mine.frontier.since(0 if changed else mine.told_version)
            mine.told_version = mine.frontier.version
            mine.promise = max(promise, mine.promise)
            mine.version += 1
            self._count(self._store.origin, moved=moved)

    def heard(self) -> list[Frontier] | None:
        """What the other members hold, once all of them were heard since the start."""
        mine = self._store.origin
        standings = [self.standings.of(one) for one in self._members.origins if one != mine]
        if not self._members.complete or not all(standing.boot for standing in standings):
            return None
        return [standing.frontier for standing in standings]

    def copied(self) -> tuple[int, int] | None:
        """(commits here, commits in all) as far as the members said; None if none has.

        But for the one in whose place this node comes: what only that one held nobody can give.
        """
        mine, members = self._store.frontier, self._members
        there: dict[LogKey, int] = {}
        for origin in members.origins:
            if origin in self.standings and members.name(origin) != members.me:
                for log, seq in self.standings.of(origin).frontier.items():
                    there[log] = max(members.end(log, seq), there.get(log, 0))
        if not there:
            return None
        return sum(min(mine[log], seq) for log, seq in there.items()), sum(there.values())

    def is_handed_over(self, held: dict[LogKey, int]) -> bool:
        """Whether a majority of the others holds all this, and what this node made; none is astray.

        `held`: how far logs were here a while ago. What came since has been given by a member.
        """
        store, epoch = self._store, self._members.epoch
        if epoch is None or store.strays or store.log.backlog_bytes:
            return False
        mine = store.origin
        own = {log: seq for log, seq in store.frontier.items() if log[1] == mine}
        others = [self.standings.of(other).frontier for other in epoch.origins if other != mine]
        return all(
            2 * sum(frontier[log] >= self._members.end(log, seq) for frontier in others)
            > len(others)
            for log, seq in (held | own).items()
        )

    def next_claim(self) -> None:
        """Let the next report claim the next shard in turn."""
        for _ in range(self._members.shards):
            shard = self._next_claim
            self._next_claim = (shard + 1) % self._members.shards
            mark = self._store.history.mark(shard)
            if mark.commits:
                self.standings.of(self._store.origin).claim = (shard, mark.commits, mark.running)
                return

    def learn(self, report: Report) -> bool:
        """Take a report of another member; whether it was new.

        One whose maker nobody here knows may be a member's of an epoch to come. A link tells
        everything once, so what it told before has to be remembered.
        """
        if report.origin == self._store.origin:
            return False
        moved = self.standings.learn(report)
        if moved is not None:  # most come by several ways
            self._count(report.origin, moved=[(*log, 0) for log in moved])
        counts = report.mark and report.mark == self._members.mark
        if report.claim is not None and counts and report.origin in self._members.joined:
            self._compare(report.origin, report.claim)
        return moved is not None

    def _count(self, origin: int, *, moved: list[tuple[int, int, int]] | None) -> None:
        """Use a member's standing for settlement, if it counts in this epoch."""
        standing = self.standings.of(origin)
        if self.settlement is None or not standing.mark or standing.mark != self._members.mark:
            self._counted.discard(origin)  # once it counts, all that it holds does
            return
        frontier = standing.frontier
        if origin not in self._counted or moved is None:
            self._counted.add(origin)
            rows = [(*log, seq) for log, seq in frontier.items()]
        else:
            rows = [(shard, of, frontier[shard, of]) for shard, of, _ in moved]
        self.settlement.heard(origin, standing.epoch, standing.promise, rows)

    # -- settling --------------------------------------------------------------------------------

    def round(self) -> Round:
        """Make final all that can be, shard by shard."""
        settled: list[Held] = []
        more = False
        if self.settlement is None:
            return Round(settled, more)
        history, strays = self._store.history, self._store.strays
        for shard in history.pending_shards:
            if shard in self.disputes:
                continue
            watermark = strays.limit(shard, self.settlement.advance(shard))
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

    def final_until(self, *, move: bool = True) -> int:
        """The stamp up to which the order of all shards is final here.

        `move`: what was found is used from now on; False is for who looks on and changes nothing.
        """
        if self.settlement is None:
            return 0
        furthest = self.settlement.advance if move else self.settlement.reach
        history = self._store.history
        lowest = None
        for shard in range(self._members.shards):
            watermark = self.settlement.watermark(shard)
            if shard not in self.disputes:
                watermark = furthest(shard)
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
                (shard, origin),
                f"{self._members.name(origin)} and this node have settled shard {shard} "
                f"differently: they differ within its first {commits} commits",
            )

    @property
    def disputes(self) -> dict[int, str]:
        """The shards that are settled no further here, and why."""
        return self._store.disputes.shards

    def dispute(self, about: LogKey, why: str, *, parted: bool = False) -> None:
        """Stop settling a shard, and raise the alarm.

        `about`: the shard, and with whom it is disputed; or a log that has parted, of which no more
        is taken.
        """
        if self._store.disputes.begin(about, why, parted=parted):
            _log.critical(
                "%s. It settles no further here; all data is kept. `anabranch compare` shows where "
                "they part",
                why,
            )
            self._store.store_state(0)
