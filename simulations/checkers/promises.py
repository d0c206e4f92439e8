"""No commit is made at or below a promise that its origin has sent (I8)."""

from __future__ import annotations

from ..history import Promised, Stamped
from .check import Check, folded


class Promises(Check):
    """Hold every stamp against the highest promise that had been sent before it."""

    name = "promises_kept"
    takes = (Promised, Stamped)

    def __init__(self, members: tuple[str, ...]) -> None:
        super().__init__(members)
        self._promised: dict[int, int] = {}

    def take(self, event: Promised | Stamped) -> str | None:
        """A promise binds its origin for ever, whatever becomes of the process."""
        before = self._promised.get(event.origin, 0)
        if isinstance(event, Promised):
            self._promised[event.origin] = max(event.time, before)
        elif event.stamp <= before:
            return (
                f"{event.node} stamped {event.stamp:x} (shard {event.shard}, sequence "
                f"{event.seq}) after it had promised {before:x}"
            )
        return None


promises_kept = folded(Promises)
