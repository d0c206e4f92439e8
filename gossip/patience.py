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

from ..storage.limits import BUSY_MATE_SECONDS, RELAY_GRACE_SECONDS, SOON_SECONDS
from .frontier import LogKey


@dataclass(slots=True)
class _Wait:
    target: int  # what the peer held when the wait began
    own: int  # what was here at the last look
    since: float
    mate: str | None  # who is to fetch it
    came: int = 0  # by itself, since the wait began
    came_at: float = 0.0  # the last of it

    def comes_soon(self, now: float) -> bool:
        """Whether it comes so fast that all of it will be here before long."""
        left = self.target - self.own
        fast = left * (now - self.since) <= self.came * SOON_SECONDS
        return self.came > 0 and now - self.came_at <= RELAY_GRACE_SECONDS and fast


class Patience:
    """With one peer, log by log."""

    def __init__(self) -> None:
        self._waits: dict[LogKey, _Wait] = {}
        self._passed_on: dict[int | str, float] = {}  # when, last: of an origin, or by a mate

    def look(self, log: LogKey, own: int, theirs: int, now: float, mate: str | None) -> float:
        """For how long a log has been waited for that a peer holds more of.

        `mate` is the one who is to fetch it and pass it on, if there is one.
        """
        wait = self._waits.get(log)
        if wait is None:
            wait = self._waits[log] = _Wait(theirs, own, now, mate)
        elif own >= wait.target:
            wait.target, wait.since, wait.came = theirs, now, 0
        wait.mate = mate
        if own > wait.own:
            self._progress(log, mate, now)
            wait.came += own - wait.own
            wait.came_at = now
        wait.own = own
        if mate is None:
            return 0.0 if wait.comes_soon(now) else now - wait.since
        return now - self._since(wait.since, log[1], mate)

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
            if own >= wait.target:
                wait.target = theirs

    def forget_all_but(self, behind: dict[LogKey, tuple[int, int]], now: float) -> None:
        """Only these logs are still behind the peer."""
        for log in [log for log in self._waits if log not in behind]:
            self._progress(log, self._waits.pop(log).mate, now)
