"""Clocks and luck of a simulated node: virtual time and a seed."""

from __future__ import annotations

import asyncio
from random import Random as Generator

EPOCH_MS = 1_700_000_000_000  # where simulated wall clocks begin


class SimClock:
    """A wall clock that may be wrong, over the loop's virtual time.

    It is `offset_ms` off, and what drift and strobe add to that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, offset_ms: int = 0) -> None:
        self._loop = loop
        self.offset_ms = offset_ms
        self._drift = 0.0  # parts per million
        self._drifted_ms = 0.0  # until it was set
        self._drift_since = 0.0
        self._strobe_ms = 0
        self._strobe_seconds = 1.0

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as this node believes."""
        return EPOCH_MS + int(self._loop.time() * 1000) + self.off_ms()

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._loop.time()

    def off_ms(self) -> int:
        """How far the clock is ahead of true time now."""
        off = self.offset_ms
        if self._drift or self._drifted_ms:
            off += round(self._drift_ms())
        if self._strobe_ms and self._loop.time() % self._strobe_seconds >= self._strobe_seconds / 2:
            off += self._strobe_ms
        return off

    def jump(self, by_ms: int) -> None:
        """Set the clock forth, or back."""
        self.offset_ms += by_ms

    def set_drift(self, parts_per_million: float) -> None:
        """Run too fast, or too slow, from now on; what it is off by now stays."""
        self._drifted_ms, self._drift_since = self._drift_ms(), self._loop.time()
        self._drift = parts_per_million

    def strobe(self, amplitude_ms: int, period_seconds: float) -> None:
        """Jump forth by the amplitude in each second half of a period, and back; 0 ends it."""
        self._strobe_ms, self._strobe_seconds = amplitude_ms, period_seconds

    def steady(self) -> None:
        """Tell the true time again."""
        self.offset_ms = self._strobe_ms = 0
        self._drift = self._drifted_ms = 0.0

    def _drift_ms(self) -> float:
        return self._drifted_ms + (self._loop.time() - self._drift_since) * self._drift / 1000


class SimRandom:
    """Luck from a seeded generator."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def word(self) -> int:
        """A number from 1 to 2^64 - 1."""
        return self._generator.randrange(1, 1 << 64)

    def token(self) -> bytes:
        """16 bytes."""
        return self._generator.randbytes(16)

    def uniform(self, high: float) -> float:
        """A number from 0 to `high`."""
        return self._generator.uniform(0.0, high)
