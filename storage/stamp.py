"""The hybrid logical clock.

A stamp is 64 bits: 48 of milliseconds since 1970, 16 of a counter. Comparing two stamps as
integers compares time first, then counter. Before and after every call:

- `last` is at least every stamp that was issued, promised or observed;
- a stamp that is issued is greater than `last` was, so stamps strictly grow at a node;
- the counter carries into the milliseconds, so it never wraps and never waits.

Stamps grow over restarts because the node starts from what its log says it may have issued.
Source: Kulkarni et al., "Logical Physical Clocks", OPODIS 2014.
"""

from __future__ import annotations

from typing import Final

COUNTER_BITS: Final = 16
STAMP_MAX: Final = (1 << 64) - 1


def stamp_of(wall_ms: int) -> int:
    """The first stamp of a millisecond."""
    return wall_ms << COUNTER_BITS


def milliseconds(stamp: int) -> int:
    """The time part of a stamp, in milliseconds since 1970."""
    return stamp >> COUNTER_BITS


class HybridClock:
    """Issues stamps that strictly grow and stay near the wall clock."""

    __slots__ = ("last",)

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def now(self, wall_ms: int) -> int:
        """Issue a stamp above all that were issued, promised or observed before."""
        wall = wall_ms << COUNTER_BITS
        last = self.last + 1
        self.last = wall if wall > last else last
        return self.last

    def observe(self, stamp: int) -> None:
        """Move forward, so that the next stamp is above this one from elsewhere."""
        if stamp > self.last:
            self.last = stamp

    def promise(self, wall_ms: int, ceiling: int) -> int:
        """The latest stamp, up to `ceiling`, that no later `now()` will issue."""
        stamp = min(max(self.last, wall_ms << COUNTER_BITS), ceiling)
        if stamp > self.last:
            self.last = stamp
        return stamp
