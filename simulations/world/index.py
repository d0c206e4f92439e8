"""A simulated index: a crash keeps what was flushed, and any first part of the writes after it."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random as Generator

from ...storage.index import MemoryIndex


class SimIndex(MemoryIndex):
    """The index in memory, with the luck of a store that writes out when it likes."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self._generator = generator
        self._writes: list[list[tuple[bytes, bytes]]] = []  # whole ones, since the last flush

    def write(self, puts: Iterable[tuple[bytes, bytes]]) -> None:
        """Store all pairs."""
        pairs = list(puts)
        self._writes.append(pairs)
        super().write(pairs)

    def flush(self) -> None:
        """Nothing written so far is forgotten by a crash."""
        self._writes.clear()
        super().flush()

    def condemn(self) -> None:
        """Be empty."""
        self._writes.clear()
        super().condemn()

    def crash(self) -> None:
        """Be as after some write since the last flush; often the last one, or none."""
        writes, count = self._writes, len(self._writes)
        kept = self._generator.choice([0, count, self._generator.randint(0, count)])
        super().crash()
        for pairs in writes[:kept]:
            super().write(pairs)
        self.flush()
