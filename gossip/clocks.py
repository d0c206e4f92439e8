"""Who is ahead of whom: the offsets of the members' wall clocks, and what follows from them.

The reference is the *lower median* of all known clocks, this node's own included: with three
members no single clock can move it, and with two the slower one counts. A commit that is stamped
more than `max_offset_ms` after it is held back; a node whose own stamps would be that far ahead
refuses appends. So a fast clock hurts its own node only (YugabyteDB #31160 shows the alternative).

A wall clock that a message tells is as old as the message, so the other clock is at least that far
ahead. If the message answers one, it is not older than the round trip, so the other clock is ahead
by no more than that besides. All this holds at once: the tightest bounds of the last seconds count,
as in NTP's clock filter (RFC 5905, 10), and waiting at a disk or in a queue only makes bounds
that do not count. A slow network leaves them wide, and between them a clock is taken for right.

A clock may also be set while nobody answers. So this node's own is watched beside the monotonic
one: when it jumps against that, all others are from now on as much behind it. That is believed for
as long as a peer needs to answer; who is alone then goes by its own clock, as ever.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..storage.limits import MAX_CLOCK_OFFSET_MS, SILENCE_SECONDS
from ..storage.stamp import milliseconds

WINDOW_SECONDS = 2.0  # bounds of this window and of the one before it count
JUMP_MS = 50  # less is drift, which the bounds of the next seconds take in
DOUBT_SECONDS = SILENCE_SECONDS  # by then a peer that can be reached has answered
UNKNOWN = 1 << 62  # the upper bound as long as no answer came


@dataclass(slots=True)
class _Highest:
    """The highest number of the running window and of the one before."""

    window: int
    now: int
    before: int

    def add(self, number: int, window: int) -> None:
        if window > self.window:
            self.before = self.now if window == self.window + 1 else number
            self.window, self.now = window, number
        else:
            self.now = max(self.now, number)

    def shift(self, by: int) -> None:
        self.now += by
        self.before += by

    @property
    def best(self) -> int:
        return max(self.now, self.before)


class _Bounds:
    """Between which offsets a peer's clock is, in milliseconds."""

    def __init__(self, low: int, high: int, window: int) -> None:
        self._least = _Highest(window, low, low)
        self._most = _Highest(window, -high, -high)

    def add(self, low: int, high: int, window: int) -> bool:
        """Take what a message says; False if older ones say otherwise."""
        if low > -self._most.best or high < self._least.best:
            return False
        self._least.add(low, window)
        if high != UNKNOWN:
            self._most.add(-high, window)
        return True

    def shift(self, by: int) -> None:
        """The own clock was set back by so much."""
        self._least.shift(by)
        self._most.shift(-by)

    @property
    def offset(self) -> int:
        """The best guess: 0 where that may be, so that the network alone makes no clock wrong.

        A peer that is surely behind is behind by what is sure. One that is surely ahead is in the
        middle of its bounds, but not beyond twice what is sure: so a node that is not slow itself
        is never dragged along, and one that is slow does not refuse good commits.
        """
        low, high = self._least.best, -self._most.best
        if low <= 0:
            return min(high, 0)
        return low if high == UNKNOWN else min((low + high) // 2, 2 * low)


class Clocks:
    """Offsets of the peers' wall clocks from this node's, in milliseconds, by origin."""

    def __init__(self, max_offset_ms: int = MAX_CLOCK_OFFSET_MS) -> None:
        self._bounds: dict[int, _Bounds] = {}
        self._median = 0  # of all offsets, this node's own 0 included
        self._base: int | None = None  # of the own clock, against the monotonic one
        self._doubted_until: float | None = None  # it has jumped, and nobody has answered
        self.max_offset_ms = max_offset_ms

    def tell(self, my_wall_ms: int, at_seconds: float) -> None:
        """Say what this node's own clocks are, before anything is asked that goes by them."""
        base = my_wall_ms - round(at_seconds * 1000)
        jump = 0 if self._base is None else base - self._base
        if abs(jump) >= JUMP_MS:
            for bounds in self._bounds.values():
                bounds.shift(-jump)
            self._base, self._doubted_until = base, at_seconds + DOUBT_SECONDS
            self._look()
        elif self._doubted_until is not None and at_seconds > self._doubted_until:
            self._doubted_until = None
            self._bounds.clear()
            self._look()

    def learn(
        self,
        origin: int,
        wall_ms: int,
        my_wall_ms: int,
        round_trip_ms: int | None = None,
        at_seconds: float = 0.0,
    ) -> None:
        """Take the wall clock that a peer just told, at monotonic time `at_seconds`.

        `round_trip_ms` is how long ago it was asked; None if it told without being asked.
        """
        self.tell(my_wall_ms, at_seconds)
        self._base, self._doubted_until = my_wall_ms - round(at_seconds * 1000), None
        low, window = wall_ms - my_wall_ms, int(at_seconds / WINDOW_SECONDS)
        high = UNKNOWN if round_trip_ms is None else low + round_trip_ms
        known = self._bounds.get(origin)
        if known is None:
            self._bounds[origin] = _Bounds(low, high, window)
        elif not known.add(low, high, window):  # a clock has been set: the newest word counts
            self._bounds[origin] = _Bounds(low, low if high == UNKNOWN else high, window)
        self._look()

    def keep(self, origins: Collection[int]) -> None:
        """Forget the clocks of all but these."""
        self._bounds = {one: bounds for one, bounds in self._bounds.items() if one in origins}
        self._look()

    def _look(self) -> None:
        offsets = sorted([0, *(one.offset for one in self._bounds.values())])
        self._median = offsets[(len(offsets) - 1) // 2]

    def offset(self, origin: int) -> int | None:
        """How far a peer's clock is ahead of this node's; None if it never told."""
        bounds = self._bounds.get(origin)
        return None if bounds is None else bounds.offset

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
