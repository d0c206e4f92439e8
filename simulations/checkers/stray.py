"""Nothing becomes final at a node above a commit there that has no place yet (DESIGN 5).

That one is appended again later in the order, and a reader who saw it tentative would see what is
final move in before it.
"""

from __future__ import annotations

from ..history import Settled
from .check import Check, folded


class BelowStrays(Check):
    """Hold each settled commit against the first stray of its shard at that node."""

    name = "final_below_strays"
    takes = (Settled,)

    def take(self, event: Settled) -> str | None:
        """Compare the places."""
        if event.stray is not None and event.row.key > event.stray:
            return f"{event.node} settled {event.row} above a stray at {event.stray[0]:x}"
        return None


final_below_strays = folded(BelowStrays)
