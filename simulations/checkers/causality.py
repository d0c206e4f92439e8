"""A commit is stamped above all that its node held when it was made (I9, I10, I13)."""

from __future__ import annotations

from ..history import Stamped
from .check import Check, folded


class Causality(Check):
    """Hold every stamp against the highest one that was there."""

    name = "causality_respected"
    takes = (Stamped,)

    def take(self, event: Stamped) -> str | None:
        """An effect comes after its causes."""
        if event.stamp <= event.above:
            return f"{event.node} stamped {event.stamp:x} when it held {event.above:x}"
        return None


causality_respected = folded(Causality)
