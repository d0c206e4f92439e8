"""Settlement: up to which stamp the order of a shard is final (DESIGN 5).

For a fixed membership M, the watermark of a shard at node n is the largest t such that

1. every member o made a promise with time >= t, and n holds all the sequences that it names;
2. a majority of M reported, in the same epoch with the same members in mind, that it holds all
   the sequences that these promises name. The same majority for all of them.

Why it is safe: by 1 nothing can still arrive at or below t, by 2 a majority has it on disk.
It only grows, because promises and frontiers only grow.

A promise names, for each shard, its maker's last sequence there. Promises that name the same
sequence differ only in time, and the latest is the best. So for each (shard, origin) there is a
queue of (time, sequence) with rising sequences. With the newest alone, settlement would starve
under constant load: it names a sequence that is still on its way. A queue that grows too long is
thinned, which makes settlement coarser, never wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..storage.limits import PROMISES_KEPT_MAX
from .frontier import Frontier, LogKey

Promise = tuple[int, int]  # (time, last sequence)


class Holder(NamedTuple):
    """A member that holds the watermark back, and why."""

    origin: int
    why: str


class Settlement:
    """Promises and reported frontiers of all members, and the watermarks that follow.

    `mine` is this node's own durable frontier; it is read, never changed.
    """

    def __init__(self, me: int, members: Iterable[int], mine: Frontier) -> None:
        self._me = me
        self._members = tuple(members)
        self._mine = mine
        self._promised: dict[int, int] = dict.fromkeys(self._members, 0)
        self._promised_by_all = 0
        self._named: dict[LogKey, int] = {}  # sequence in the newest promise
        self._queue: dict[LogKey, list[Promise]] = {}  # older promises that may still be needed
        self._reported: dict[int, Frontier] = {me: mine}
        self._watermark: dict[int, int] = {}
        self._logs: dict[int, tuple[LogKey, ...]] = {}  # of a shard, one for each member

    def promise(self, origin: int, time: int, named: Iterable[tuple[int, int]]) -> None:
        """Take a promise: (shard, last sequence) for the shards in which its maker moved on."""
        if origin not in self._promised:
            return
        before = self._promised[origin]
        for shard, seq in named:
            log = (shard, origin)
            last = self._named.get(log, 0)
            if seq <= last:
                continue
            if before > self._watermark.get(shard, 0):
                self._keep(log, (before, last))
            self._named[log] = seq
        if time > before:
            self._promised[origin] = time
            self._promised_by_all = min(self._promised.values())

    def seen_ahead(self, log: LogKey, seq: int, stamp: int) -> None:
        """Note a commit that is held back: the next of its log, stamped ahead of time.

        Stamps grow within a log. So up to just below this stamp the commits before it are all that
        there will ever be, whatever its maker's promises name: it need not be waited for.
        """
        if log[1] in self._promised and stamp - 1 > self._watermark.get(log[0], 0):
            self._keep(log, (stamp - 1, seq - 1))

    def report(self, origin: int, frontier: Frontier) -> None:
        """Count a member's frontier, which it reported in this epoch, from now on."""
        if origin in self._promised and origin != self._me:
            self._reported[origin] = frontier

    def promised(self, origin: int) -> int:
        """The time of a member's newest promise; 0 of who is none."""
        return self._promised.get(origin, 0)

    def watermark(self, shard: int) -> int:
        """The watermark as it was last advanced."""
        return self._watermark.get(shard, 0)

    def restore(self, shard: int, watermark: int) -> None:
        """Set a watermark that was reached before a restart."""
        self._watermark[shard] = max(watermark, self._watermark.get(shard, 0))

    def advance(self, shard: int) -> int:
        """Move a shard's watermark as far as it goes now; where it is."""
        before, reach = self._watermark.get(shard, 0), self.reach(shard)
        if reach > before:
            self._watermark[shard] = reach
            self._forget(shard, reach)
        return reach

    def reach(self, shard: int) -> int:
        """How far a shard's watermark goes now; nothing is moved."""
        before = self._watermark.get(shard, 0)
        candidate = self._candidate(shard)
        while candidate > before and not self._held_by_majority(shard, candidate):
            candidate = self._next_lower(shard, candidate)
        return max(before, candidate)

    def _candidate(self, shard: int) -> int:
        """The time up to which every member has made a promise that this node can use."""
        named, held = self._named, self._mine.get
        for log in self._logs_of(shard):
            if named.get(log, 0) > held(log, 0):
                return min(self._usable(log) for log in self._logs_of(shard))
        return self._promised_by_all

    def holders(self, shards: Iterable[int], stamp: int) -> list[Holder]:
        """Which members keep the watermark of some shard below a stamp, and why."""
        late = [origin for origin in self._members if self._promised[origin] < stamp]
        if late:
            return [Holder(origin, "no report of it covers this time yet") for origin in late]
        found: dict[int, str] = {}
        for shard in shards:
            if self._watermark.get(shard, 0) >= stamp:
                continue
            for origin in self._members:
                log = (shard, origin)
                lacking = self._least(log, stamp) - self._mine[log]
                if lacking > 0:
                    found.setdefault(origin, f"{lacking} of its commits are not here yet")
            if not found and not self._held_by_majority(shard, stamp):
                for origin in self._members:
                    if not self._covers(origin, self._needs(shard, stamp)):
                        found.setdefault(origin, "it has not reported that it holds them")
        return [Holder(origin, why) for origin, why in found.items()]

    # -- the rule ----------------------------------------------------------------------------

    def _logs_of(self, shard: int) -> tuple[LogKey, ...]:
        logs = self._logs.get(shard)
        if logs is None:
            logs = self._logs[shard] = tuple((shard, origin) for origin in self._members)
        return logs

    def _usable(self, log: LogKey) -> int:
        """The time of the newest promise whose sequences this node holds."""
        held = self._mine.get(log, 0)
        if self._named.get(log, 0) <= held:
            return self._promised[log[1]]
        return max((time for time, seq in self._queue.get(log, ()) if seq <= held), default=0)

    def _least(self, log: LogKey, time: int) -> int:
        """The sequence that the earliest promise for this time names."""
        queue = self._queue.get(log)
        if queue:
            for promised, seq in queue:
                if promised >= time:
                    return seq
        return self._named.get(log, 0)

    def _needs(self, shard: int, time: int) -> list[tuple[LogKey, int]]:
        return [(log, self._least(log, time)) for log in self._logs_of(shard)]

    def _covers(self, member: int, needs: list[tuple[LogKey, int]]) -> bool:
        frontier = self._reported.get(member)
        if frontier is None:
            return False
        held = frontier.get
        for log, seq in needs:  # noqa: SIM110 - half the cost of all(), for every shard and report
            if held(log, 0) < seq:
                return False
        return True

    def _held_by_majority(self, shard: int, time: int) -> bool:
        """Whether this node and a majority hold all that the promises for a time name."""
        needs = self._needs(shard, time)
        if not self._covers(self._me, needs):
            return False
        holding, members = 1, self._members
        for member in members:
            if 2 * holding > len(members):
                return True
            holding += member != self._me and self._covers(member, needs)
        return 2 * holding > len(members)

    def _next_lower(self, shard: int, time: int) -> int:
        """The largest promised time below this one: nothing in between can make a difference."""
        return max(
            (
                promised
                for origin in self._members
                for promised, _ in self._queue.get((shard, origin), ())
                if promised < time
            ),
            default=0,
        )

    # -- bounds ------------------------------------------------------------------------------

    def _keep(self, log: LogKey, promise: Promise) -> None:
        """Put a promise into its queue, by its sequence; of two for one sequence the later."""
        queue = self._queue.setdefault(log, [])
        time, seq = promise
        at = len(queue)
        while at and queue[at - 1][1] > seq:
            at -= 1
        if at and queue[at - 1][1] == seq:
            queue[at - 1] = (max(time, queue[at - 1][0]), seq)
        else:
            queue.insert(at, promise)
        if len(queue) > PROMISES_KEPT_MAX:
            del queue[1::2]

    def _forget(self, shard: int, watermark: int) -> None:
        for log in self._logs_of(shard):
            queue = self._queue.get(log)
            if queue and queue[0][0] <= watermark:
                self._queue[log] = [promise for promise in queue if promise[0] > watermark]
