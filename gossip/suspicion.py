"""Who seems to be gone, and since when, as this node and the others see it.

Silence is counted from the last sign of life, direct or passed on: a member behind one broken link
is not gone. What the others miss counts only as long as they say so.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..storage.limits import SILENCE_SECONDS

_FORGOTTEN_AFTER_SECONDS = 2 * SILENCE_SECONDS


class Suspicion:
    """Silences of the members, by origin."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._heard: dict[int, float] = {}
        self._told: dict[int, tuple[float, dict[int, float]]] = {}  # by whom: when, and what

    def heard(self, origin: int, now: float) -> None:
        """A sign of life."""
        self._heard[origin] = now

    def told(self, by: int, missed: Iterable[tuple[int, int]], now: float) -> None:
        """What another member misses, in seconds."""
        self._told[by] = (now, {origin: float(seconds) for origin, seconds in missed})

    def silent_seconds(self, origin: int, now: float) -> float:
        """For how long this node has not heard of a member."""
        return now - self._heard.get(origin, self._began)

    def missed(self, origins: Iterable[int], at_least: float, now: float) -> list[tuple[int, int]]:
        """(origin, seconds) of those that were silent so long, as the others are told."""
        silent = ((origin, self.silent_seconds(origin, now)) for origin in origins)
        return [(origin, int(seconds)) for origin, seconds in silent if seconds >= at_least]

    def views(self, me: int, origins: Iterable[int], now: float) -> dict[int, dict[int, float]]:
        """Who misses whom, for how long: this node itself, and those heard a moment ago."""
        views = {
            by: missed
            for by, (at, missed) in self._told.items()
            if now - at <= _FORGOTTEN_AFTER_SECONDS
        }
        others = (origin for origin in origins if origin != me)
        views[me] = {origin: self.silent_seconds(origin, now) for origin in others}
        return views
