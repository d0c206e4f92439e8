"""The seams for time and luck, and the real ones."""

from __future__ import annotations

import random
import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that tells the time and may jump, one that only goes forward."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as far as this machine knows."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        ...


class Random(Protocol):
    """Where luck comes from."""

    def word(self) -> int:
        """A random number from 1 to 2^64 - 1, fit to name something for ever."""
        ...

    def token(self) -> bytes:
        """16 random bytes, fit to name something for ever."""
        ...

    def uniform(self, high: float) -> float:
        """A random number from 0 to `high`."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()


class SystemRandom:
    """The machine's entropy for names; an ordinary generator for waiting times."""

    def __init__(self) -> None:
        self._names = b""
        self._used = 0
        self._uniform = random.Random(secrets.token_bytes(32))

    def word(self) -> int:
        """A random number from 1 to 2^64 - 1."""
        return secrets.randbits(64) or 1

    def token(self) -> bytes:
        """16 random bytes; the system is asked once for many of them."""
        if self._used >= len(self._names):
            self._names, self._used = secrets.token_bytes(4096), 0
        self._used += 16
        return self._names[self._used - 16 : self._used]

    def uniform(self, high: float) -> float:
        """A random number from 0 to `high`."""
        return self._uniform.uniform(0.0, high)
