"""Clocks and luck of a simulated node: virtual time and a seed."""

from __future__ import annotations

import asyncio
from random import Random as Generator

EPOCH_MS = 1_700_000_000_000  # where simulated wall clocks begin


class SimClock:
    """A wall clock that is `offset_ms` off, over the loop's virtual time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, offset_ms: int = 0) -> None:
        self._loop = loop
        self.offset_ms = offset_ms

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as this node believes."""
        return EPOCH_MS + int(self._loop.time() * 1000) + self.offset_ms

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._loop.time()


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
