"""No stamp is further ahead of true time than the clocks of accepted members allow (I9).

A node's own stamps are as far ahead as its own clock was at most. What it observes of others is
held against the members' lower median, which is never above the second fastest clock: so the
others can drive it forward by no more than that, and `max_clock_offset`.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..history import Stamped
from .check import Check, folded


def allowed_ms(mine: tuple[int, int], others: Iterable[tuple[int, int]], bound_ms: int) -> int:
    """How far ahead of true time a node's stamps may be.

    `mine` and `others` are (lowest, highest) offsets from true time that clocks have shown so far.
    An offset that was learned may be old: it may count from my lowest to another one's highest.
    """
    lowest, highest = mine
    fastest = sorted([highest, *(high for _, high in others)])
    median = fastest[-2] if len(fastest) > 1 else highest
    return max(highest, 0) + max(0, median - lowest) + bound_ms


class Skew(Check):
    """Hold every stamp against true time."""

    name = "stamps_near_time"
    takes = (Stamped,)

    def take(self, event: Stamped) -> str | None:
        """Compare with what the clocks allowed at that moment; and it fits 64 bits."""
        if event.ahead_ms > event.allowed_ms or event.stamp >> 64:
            return (
                f"{event.node} stamped {event.stamp:x}, {event.ahead_ms} ms ahead of true time, "
                f"where the clocks allowed {event.allowed_ms} ms"
            )
        return None


stamps_near_time = folded(Skew)
