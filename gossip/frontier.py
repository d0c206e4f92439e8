"""The frontier: for every log (shard, origin), up to which sequence a node holds everything.

Sequences only grow. Each growth has a number (`version`), so that what changed since a version
can be told without telling all: a node with 64 shards and nine peers has 576 logs, and a report
after one append names one.
"""

from __future__ import annotations

from collections.abc import Iterator

LogKey = tuple[int, int]  # (shard, origin)


class Frontier:
    """Last sequences by log, and in which order they changed."""

    __slots__ = ("_changed", "_last", "get", "version")

    def __init__(self) -> None:
        self._last: dict[LogKey, int] = {}
        self.get = self._last.get  # for loops that look up thousands of logs
        self._changed: dict[LogKey, int] = {}  # version by log, in the order of the versions
        self.version = 0

    def __getitem__(self, log: LogKey) -> int:
        return self._last.get(log, 0)

    def __len__(self) -> int:
        return len(self._last)

    def items(self) -> Iterator[tuple[LogKey, int]]:
        """Every log with its last sequence."""
        return iter(self._last.items())

    def advance(self, log: LogKey, seq: int) -> bool:
        """Move a log forward; whether it did move."""
        if seq <= self._last.get(log, 0):
            return False
        self._last[log] = seq
        self.version += 1
        self._changed.pop(log, None)
        self._changed[log] = self.version
        return True

    def lower(self, log: LogKey, seq: int) -> None:
        """End a log at a sequence: what was above has lost its place."""
        if 0 < seq < self._last.get(log, 0):
            self._last[log] = seq
        elif not seq:
            self._last.pop(log, None)
            self._changed.pop(log, None)

    def since(self, version: int) -> list[tuple[int, int, int]]:
        """(shard, origin, last sequence) of all logs that moved after a version."""
        moved = []
        for log in reversed(self._changed):
            if self._changed[log] <= version:
                break
            moved.append((*log, self._last[log]))
        return moved

    def behind(self, other: Frontier) -> dict[LogKey, tuple[int, int]]:
        """The logs in which `other` holds more: (own last, other's last)."""
        return {
            log: (self._last.get(log, 0), last)
            for log, last in other._last.items()
            if last > self._last.get(log, 0)
        }
