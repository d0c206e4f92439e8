"""The index: an ordered map from bytes to bytes that can always be rebuilt from the log.

`write` takes effect as a whole. After a crash the map is as after some earlier `write`, never in
between, and at least as after the last `flush`. Both implementations pass one contract suite.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import Protocol


class Index(Protocol):
    """An ordered map of bytes."""

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        ...

    def scan(
        self, start: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """All pairs with start <= key < stop, in order of the keys or against it."""
        ...

    def write(self, puts: Iterable[tuple[bytes, bytes]]) -> None:
        """Store all pairs, or after a crash none of them."""
        ...

    def flush(self) -> None:
        """Return when all that was written survives a crash."""
        ...

    def condemn(self) -> None:
        """It can't be trusted: be empty when it is opened again."""
        ...

    def close(self) -> None:
        """Flush and let go."""
        ...


class MemoryIndex:
    """The index in memory, for tests and simulations; `crash` forgets what was not flushed."""

    def __init__(self) -> None:
        self._map: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._unflushed: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        return self._map.get(key)

    def scan(
        self, start: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """All pairs with start <= key < stop."""
        keys = self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, stop)]
        for key in reversed(keys) if reverse else keys:
            yield key, self._map[key]

    def write(self, puts: Iterable[tuple[bytes, bytes]]) -> None:
        """Store all pairs."""
        for key, value in puts:
            before = self._map.get(key)
            self._unflushed.setdefault(key, before)
            if before is None:
                insort(self._keys, key)
            self._map[key] = value

    def flush(self) -> None:
        """Nothing written so far is forgotten by a crash."""
        self._unflushed.clear()

    def condemn(self) -> None:
        """Be empty."""
        self._map.clear()
        self._keys.clear()
        self._unflushed.clear()

    def close(self) -> None:
        """Flush."""
        self.flush()

    def crash(self) -> None:
        """Be as after the last flush."""
        for key, before in self._unflushed.items():
            if before is None:
                del self._map[key]
                self._keys.pop(bisect_left(self._keys, key))
            else:
                self._map[key] = before
        self._unflushed.clear()
