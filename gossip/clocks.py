"""Who is ahead of whom: the offsets of the members' wall clocks, and what follows from them.

The reference is the *lower median* of all known clocks, this node's own included: with three
members no single clock can move it, and with two the slower one counts. A commit that is stamped
more than `max_offset_ms` after it is held back; a node whose own stamps would be that far ahead
refuses appends. So a fast clock hurts its own node only (YugabyteDB #31160 shows the alternative).

A wall clock that a message tells is as old as the message: a slow link or a busy node makes the
other clock look behind, never ahead. So the largest offset of the last seconds is the best one.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..storage.limits import MAX_CLOCK_OFFSET_MS
from ..storage.stamp import milliseconds

WINDOW_SECONDS = 2.0  # offsets of this window and of the one before it count


@dataclass(slots=True)
class _Offsets:
    """The largest offset of the running window, and of the one before."""

    window: int
    now: int
    before: int


class Clocks:
    """Offsets of the peers' wall clocks from this node's, in milliseconds, by origin."""

    def __init__(self, max_offset_ms: int = MAX_CLOCK_OFFSET_MS) -> None:
        self._offsets: dict[int, _Offsets] = {}
        self._median = 0  # of all offsets, this node's own 0 included
        self.max_offset_ms = max_offset_ms

    def learn(self, origin: int, wall_ms: int, my_wall_ms: int, at_seconds: float = 0.0) -> None:
        """Take the wall clock that a peer just told; `at_seconds` is monotonic time."""
        offset, window = wall_ms - my_wall_ms, int(at_seconds / WINDOW_SECONDS)
        known = self._offsets.get(origin)
        if known is None or window > known.window + 1:
            self._offsets[origin] = _Offsets(window, offset, offset)
        elif window > known.window:
            self._offsets[origin] = _Offsets(window, offset, known.now)
        else:
            known.now = max(known.now, offset)
        offsets = sorted([0, *(max(one.now, one.before) for one in self._offsets.values())])
        self._median = offsets[(len(offsets) - 1) // 2]

    def offset(self, origin: int) -> int | None:
        """How far a peer's clock is ahead of this node's; None if it never told."""
        known = self._offsets.get(origin)
        return None if known is None else max(known.now, known.before)

    def median_ms(self, my_wall_ms: int) -> int:
        """The lower median of all clocks, now."""
        return my_wall_ms + self._median

    @property
    def is_ahead(self) -> bool:
        """Whether this node's own clock is beyond what its stamps may be."""
        return -self._median > self.max_offset_ms

    def limit_ms(self, my_wall_ms: int) -> int:
        """The latest time that a stamp may have now."""
        return self.median_ms(my_wall_ms) + self.max_offset_ms

    def ahead_ms(self, stamp: int, my_wall_ms: int) -> int:
        """How far a stamp is beyond what may be; 0 or less if it is fine."""
        return milliseconds(stamp) - self.limit_ms(my_wall_ms)
