"""How long to wait for commits to come by themselves before they are pulled.

A peer says what it holds. What it held a while ago should have come by now: pushed by its own
node, or passed on by a mate. If it has not, it is pulled. That some of it came is not enough: over
a link that drips, something always comes, and the way around would never be taken. Only while a
mate is the one to fetch it, any progress is a sign that the mate is at work, however long it takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from .frontier import LogKey


@dataclass(slots=True)
class _Wait:
    target: int  # what the peer held when the wait began
    own: int  # what was here at the last look
    since: float


class Patience:
    """With one peer, log by log."""

    def __init__(self) -> None:
        self._waits: dict[LogKey, _Wait] = {}

    def look(self, log: LogKey, own: int, theirs: int, now: float, *, by_mate: bool) -> float:
        """For how long a log has been waited for that a peer holds more of."""
        wait = self._waits.get(log)
        if wait is None:
            wait = self._waits[log] = _Wait(theirs, own, now)
        elif own >= wait.target:
            wait.target, wait.since = theirs, now
        elif by_mate and own > wait.own:
            wait.since = now
        wait.own = own
        return now - wait.since

    def pulled(self, log: LogKey, own: int, theirs: int) -> None:
        """A pull brought a log so far: it did not come by itself, so there is no new wait."""
        wait = self._waits.get(log)
        if wait is not None:
            wait.own = own
            if own >= wait.target:
                wait.target = theirs

    def forget_all_but(self, behind: dict[LogKey, tuple[int, int]]) -> None:
        """Only these logs are still behind the peer."""
        self._waits = {log: wait for log, wait in self._waits.items() if log in behind}
