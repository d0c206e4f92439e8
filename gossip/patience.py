"""How long to wait for commits to come by themselves before they are pulled.

A peer says what it holds. What it held a while ago should have come by now: pushed by its own
node, or passed on by a mate. If it has not, it is pulled. That some of it came is not enough: over
a link that drips, something always comes, and the way around would never be taken. What comes at a
pace at which all of it will be here soon is left to come: it would cross twice. Only while a
mate is the one to fetch it, progress is a sign that the mate is at work, however long it takes:
progress in any log of the same origin, and for a while whatever else this mate fetches, since a
mate that has much to fetch takes one log after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..storage.limits import (
    BATCH_SECONDS,
    BUSY_MATE_SECONDS,
    RELAY_GRACE_SECONDS,
    SOON_SECONDS,
)
from .frontier import LogKey

_MARKS_MAX: Final = 8


@dataclass(slots=True)
class _Wait:
    own: int  # what was here at the last look
    mate: str | None  # who is to fetch it
    marks: list[tuple[int, float]]  # what the peer was seen to hold, and since when; more each time
    came: int = 0  # by itself
    came_since: float = 0.0
    came_at: float = 0.0  # the last of it

    def comes_soon(self, now: float) -> bool:
        """Whether it comes so fast that all of it will be here before long."""
        left = self.marks[-1][0] - self.own
        took = now - self.came_since - BATCH_SECONDS  # the first batches are small
        fast = took > 0 and left * took <= self.came * SOON_SECONDS
        return self.came > 0 and now - self.came_at <= RELAY_GRACE_SECONDS and fast

    def see(self, own: int, theirs: int, now: float) -> float:
        """Since when the peer is known to hold what comes next."""
        if theirs > self.marks[-1][0]:
            if len(self.marks) == _MARKS_MAX:
                del self.marks[-2]
            self.marks.append((theirs, now))
        while len(self.marks) > 1 and self.marks[0][0] <= own:
            del self.marks[0]
        if self.marks[0][0] <= own:
            self.marks[0] = (theirs, now)
        return self.marks[0][1]


class Patience:
    """With one peer, log by log."""

    def __init__(self) -> None:
        self._waits: dict[LogKey, _Wait] = {}
        self._passed_on: dict[int | str, float] = {}  # when, last: of an origin, or by a mate

    def look(
        self,
        log: LogKey,
        own: int,
        theirs: int,
        now: float,
        mate: str | None,
        *,
        pushed_since: float = 0.0,
    ) -> float:
        """For how long a log has been waited for that a peer holds more of.

        `mate` is the one who is to fetch it and pass it on, if there is one. `pushed_since`: when
        its own node began to push it on its present link: from then on it comes by itself.
        """
        wait = self._waits.get(log)
        if wait is None:
            wait = self._waits[log] = _Wait(own, mate, [(theirs, now)], came_since=now)
        since = max(wait.see(own, theirs, now), pushed_since)
        if now - wait.came_at > RELAY_GRACE_SECONDS or pushed_since > wait.came_since:
            wait.came, wait.came_since = 0, max(wait.came_since, since)
        wait.mate = mate
        if own > wait.own:
            self._progress(log, mate, now)
            wait.came += own - wait.own
            wait.came_at = now
        wait.own = own
        if mate is None:
            return 0.0 if wait.comes_soon(now) else now - since
        return now - self._since(since, log[1], mate)

    def _since(self, since: float, origin: int, mate: str) -> float:
        since = max(since, self._passed_on.get(origin, since))
        busy = self._passed_on.get(mate, since)
        return max(since, min(busy, since + BUSY_MATE_SECONDS))

    def _progress(self, log: LogKey, mate: str | None, now: float) -> None:
        if mate is not None:
            self._passed_on[log[1]] = self._passed_on[mate] = now

    def pulled(self, log: LogKey, own: int, theirs: int) -> None:
        """A pull brought a log so far: it did not come by itself, so there is no new wait."""
        wait = self._waits.get(log)
        if wait is not None:
            wait.own = own
            if own >= wait.marks[-1][0]:
                wait.marks = [(theirs, wait.marks[-1][1])]

    def forget_all_but(self, behind: dict[LogKey, tuple[int, int]], now: float) -> None:
        """Only these logs are still behind the peer."""
        for log in [log for log in self._waits if log not in behind]:
            self._progress(log, self._waits.pop(log).mate, now)
