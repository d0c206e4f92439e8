"""Stamps of an origin strictly grow over all shards, over restarts too (I9).

A commit that was lost in a crash before anybody was told does not count: its stamp may come again.
"""

from __future__ import annotations

from collections import deque

from ..history import Promised, Recovered, Stamped
from .check import Check, folded


class Stamps(Check):
    """Hold every stamp against the highest of its origin that was not lost."""

    name = "stamps_grow"
    takes = (Stamped, Promised, Recovered)

    def __init__(self, members: tuple[str, ...]) -> None:
        super().__init__(members)
        self._kept: dict[int, int] = {}  # the highest stamp that will not be lost
        self._open: dict[int, deque[Stamped]] = {}  # those above it, of the same life

    def take(self, event: Stamped | Promised | Recovered) -> str | None:
        """What was promised is on disk; what was not confirmed and is not read back is lost."""
        stamped = self._open.setdefault(event.origin, deque())
        if isinstance(event, Promised):
            while stamped and stamped[0].stamp <= event.time:
                self._keep(stamped.popleft())
        elif isinstance(event, Recovered):
            for one in stamped:
                log = (one.shard, one.origin)
                before = 0 if event.before is None else event.before.frontier.get(log, 0)
                if one.seq <= max(before, event.after.frontier.get(log, 0)):
                    self._keep(one)
            stamped.clear()
        else:
            return self._compare(event, stamped)
        return None

    def _keep(self, stamped: Stamped) -> None:
        self._kept[stamped.origin] = max(stamped.stamp, self._kept.get(stamped.origin, 0))

    def _compare(self, event: Stamped, stamped: deque[Stamped]) -> str | None:
        highest = self._kept.get(event.origin, 0)
        if stamped:
            highest = max(highest, stamped[-1].stamp)
        stamped.append(event)
        if event.stamp <= highest:
            return f"{event.node} stamped {event.stamp:x} after {highest:x}"
        return None


stamps_grow = folded(Stamps)
