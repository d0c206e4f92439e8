"""Reports: what every member last said of itself, from whoever passed it on.

A report is a member's promise and frontier (DESIGN 5); its wall clock
travels in the head of every message. On a link only what changed
since the last report on that link is sent: frontiers only grow, a link is ordered, so the
receiver can add up. It may add up reports that reached it by different links: sequences merge by
maximum, and a promise also holds for any larger set of sequences than it named.

What a report is worth depends on the membership that its maker had in mind. So each carries its
epoch and `mark`, a digest of the member table; one with another mark says nothing about
settlement here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .frontier import Frontier, LogKey

Claim = tuple[int, int, bytes]  # (shard, settled commits, running hash over them)


@dataclass(slots=True)
class Report:
    """What one member says: as it travels, with only the logs that moved."""

    origin: int
    epoch: int
    mark: int
    boot: int
    counter: int  # grows with each durable change of its maker's state
    promise: int
    claim: Claim | None
    moved: list[tuple[int, int, int]] = field(default_factory=list)


class Standing:
    """The newest that is known of one member."""

    __slots__ = (
        "boot",
        "claim",
        "counter",
        "epoch",
        "frontier",
        "mark",
        "promise",
        "told_version",
        "version",
    )

    def __init__(self) -> None:
        self.epoch = 0
        self.mark = 0
        self.boot = 0
        self.counter = 0
        self.promise = 0
        self.claim: Claim | None = None
        self.frontier = Frontier()
        self.version = 0  # grows whenever something here changes
        self.told_version = 0  # of the frontier, at the last own report


class Standings:
    """The newest that is known of every member; `learn` takes reports, `tell` makes them."""

    def __init__(self) -> None:
        self._of: dict[int, Standing] = {}

    def __contains__(self, origin: int) -> bool:
        return origin in self._of

    def of(self, origin: int) -> Standing:
        """What is known of an origin; nothing, to begin with."""
        standing = self._of.get(origin)
        if standing is None:
            standing = self._of[origin] = Standing()
        return standing

    def forget(self, origin: int) -> None:
        """Nothing is known of an origin any more."""
        self._of.pop(origin, None)

    def learn(self, report: Report) -> list[LogKey] | None:
        """Take in a report; the logs that moved in what its maker holds, None if it is not new."""
        standing = self.of(report.origin)
        moved = [
            (shard, origin)
            for shard, origin, seq in report.moved
            if standing.frontier.advance((shard, origin), seq)
        ]
        newer = report.promise > standing.promise or report.counter > standing.counter
        if newer or moved:
            standing.version += 1
        if newer:
            standing.epoch, standing.mark = report.epoch, report.mark
            same = standing.boot == report.boot  # a late report of the start before has its own
            standing.counter = max(standing.counter if same else 0, report.counter)
            standing.boot = report.boot
            if report.mark:  # else it may be of a copy, which never comes to count
                standing.promise = max(standing.promise, report.promise)
        if report.claim is not None:
            standing.claim = report.claim
        return moved if newer or moved else None


class Told:
    """What has been told on one link: version of the standing and of the frontier by origin."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: dict[int, tuple[int, int]] = {}

    def tell(self, origin: int, standing: Standing) -> Report | None:
        """A report of what the other side has not been told yet; None if it knows it all."""
        version, frontier_version = self._told.get(origin, (0, 0))
        if version == standing.version:
            return None
        moved = standing.frontier.since(frontier_version)
        self._told[origin] = (standing.version, standing.frontier.version)
        return Report(
            origin,
            standing.epoch,
            standing.mark,
            standing.boot,
            standing.counter,
            standing.promise,
            standing.claim,
            moved,
        )
