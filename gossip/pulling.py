"""What is pulled from one peer, and when.

- Holes first: what this node's disk has lost is pulled at once, from a mate if one holds it.
- A peer's own log where the peer says that it does not push it, after a moment in which its own
  link may come up: else what is written meanwhile would come by both.
- Any log that the peer holds more of once it should have come by itself (`patience`); its own only
  a good while later, since a link that is slow for pushes is slow for pulls too.
- Over the way between two sites by one node of a site, the first in rank for the log's origin; its
  mates wait longer, for it to pass on what it got. So each commit crosses once, also after a cut
  that was longer than outboxes reach back.

One pull is in flight on a link, a log is pulled from one peer at a time, and all pulls of a node
keep to its budget. Pushes go first, but not for ever: under load there is always one in flight.
"""

from __future__ import annotations

from math import inf

from ..storage.errors import BadFrame
from ..storage.limits import (
    FAIR_CHANCE_SECONDS,
    PASS_ON_SECONDS,
    PULL_BYTES_MAX,
    PULL_LOGS_MAX,
    RELAY_GRACE_SECONDS,
)
from .host import Host
from .messages import Pull
from .pace import Pace
from .patience import Patience
from .pushing import RETRY_SECONDS

PULL_TURN_SECONDS = 0.05  # a pull lets pushes go first for so long

Row = tuple[int, int, int, int]  # of a pull: shard, origin, after, until


class Pulls:
    """What is pulled from one peer, on one link after the other."""

    def __init__(self, host: Host, pace: Pace, *, near: bool) -> None:
        self._host = host
        self._pace = pace
        self.near = near
        self._wanted: list[Row] = []  # by the pull in flight
        self.due = inf  # when something may have to be pulled that has not come by then
        self.begin(0, 0.0)

    def begin(self, origin: int, now: float) -> None:
        """A link is up."""
        self._origin = origin
        self._patience = Patience()
        self._again = 0.0
        self._looked = 0.0
        self._holes_since: float | None = None
        self._not_live_since: float | None = now

    def told(self, now: float, *, live: bool) -> None:
        """The peer has said whether it pushes its own commits, here or to a mate."""
        if live:
            self._not_live_since = None
        elif self._not_live_since is None:
            self._not_live_since = now

    @property
    def in_flight(self) -> bool:
        """Whether a pull has not been answered yet."""
        return bool(self._wanted)

    def next(self, now: float, *, pushing: bool) -> Pull | None:
        """What to pull now; `due` says when to look again if there is nothing."""
        self.due = inf
        if self.in_flight:
            return None
        turn = self._looked + PULL_TURN_SECONDS if pushing else 0.0
        begin = max(self._again, turn, now + self._host.budget.wait(now))
        if begin > now:
            self.due = begin
            return None
        self._looked = now
        bytes_max = min(self._pace.bytes, PULL_BYTES_MAX, self._host.budget.most)
        self._wanted = (self._holes(now) + self._behind(now))[:PULL_LOGS_MAX]
        if not self._wanted:
            return None
        self._host.pulling.update((shard, origin) for shard, origin, *_ in self._wanted)
        return Pull(self._wanted, bytes_max)

    def come(self, commits: list[bytes], now: float) -> None:
        """Commits have come that answer a pull."""
        if not self.in_flight:
            raise BadFrame("commits that nobody asked for")
        size = sum(map(len, commits))
        self._pace.arrived(size, now - self._looked)
        self._host.budget.spend(size, now)

    def given(self, now: float) -> None:
        """What has come is on the disk, as far as it was taken."""
        behind, holes = self._host.behind(self._origin), self._host.lacking(self._origin)
        more_came = False
        for row in self._wanted:
            shard, origin, after, until = row
            own, theirs = behind.get((shard, origin), (-1, 0))
            more_came = more_came or (row not in holes if until else own != after)
            if not until:
                self._patience.pulled((shard, origin), own, theirs)
        if not more_came:
            self._again = now + RETRY_SECONDS
        self.release()

    def release(self) -> None:
        """The pull in flight is over."""
        for shard, origin, *_ in self._wanted:
            self._host.pulling.discard((shard, origin))
        self._wanted = []

    def _holes(self, now: float) -> list[Row]:
        holes = self._host.lacking(self._origin)
        if not holes:
            self._holes_since = None
            return []
        if self._holes_since is None:
            self._holes_since = now
        wait = not self.near and now - self._holes_since < RELAY_GRACE_SECONDS
        return [
            row
            for row in holes
            if row[:2] not in self._host.pulling
            and not (wait and self._host.mate_ahead(row[:2], row[3] - 1))
        ]

    def _behind(self, now: float) -> list[Row]:
        """The logs that a peer holds more of, and that should have come by now; its own first."""
        rows: list[Row] = []
        behind = self._host.behind(self._origin)
        before: dict[int, list[str]] = {}
        since = self._not_live_since
        not_live = since is not None and now - since >= FAIR_CHANCE_SECONDS
        for log, (own, theirs) in behind.items():
            mates = before.get(log[1])
            if mates is None:
                mates = before[log[1]] = [] if self.near else self._host.before(log[1])
            if not mates and not self.near and (fetching := self._host.mate_ahead(log, own)):
                mates = [fetching]  # it may have been reached when this node could not be
            waited = self._patience.look(
                log,
                own,
                theirs,
                now,
                mates[0] if mates else None,
                pushed_since=self._host.coming.since(log[1]),
            )
            if log in self._host.pulling:
                continue  # from another peer
            grace = self._grace(len(mates), own=log[1] == self._origin, not_live=not_live)
            if waited >= grace:
                rows.append((*log, own, 0))
            else:
                self.due = min(self.due, now + grace - waited)
        self._patience.forget_all_but(behind, now)
        return sorted(rows, key=lambda row: row[1] != self._origin)

    def _grace(self, turn: int, *, own: bool, not_live: bool) -> float:
        """How long to wait for a log; for the peer's own longer, it may be pushing what it can."""
        if own:
            return 0.0 if not_live and not turn else PASS_ON_SECONDS * max(turn, 1)
        return PASS_ON_SECONDS * turn or RELAY_GRACE_SECONDS
