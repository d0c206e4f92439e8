"""The outbox: a node's own recent commits, kept in memory for the peers that are close behind.

Each commit has a number, in the order in which they became durable. A peer that holds everything
before a number is served by pushes from there on. A peer that is further behind than the outbox
reaches back has to pull; once it has caught up far enough, pushes take over again.
"""

from __future__ import annotations

from collections import deque

from ..storage.limits import PUSH_BYTES_MAX, PUSH_WINDOW_BYTES
from .frontier import Frontier


class Outbox:
    """Own commits in order; the oldest are dropped beyond `bytes_max`."""

    def __init__(self, origin: int, bytes_max: int = PUSH_WINDOW_BYTES) -> None:
        self._origin = origin
        self._bytes_max = bytes_max
        self._commits: deque[tuple[int, int, bytes]] = deque()  # shard, sequence, bytes
        self._bytes = 0
        self._first = 0  # number of the oldest that is kept
        self._dropped: dict[int, int] = {}  # by shard: the last sequence that is not kept

    @property
    def end(self) -> int:
        """The number that the next commit gets."""
        return self._first + len(self._commits)

    def skip(self, shard: int, seq: int) -> None:
        """Note that a log has commits up to `seq` that were never in here."""
        self._dropped[shard] = max(seq, self._dropped.get(shard, 0))

    def add(self, shard: int, seq: int, commit: bytes) -> None:
        """Add a commit that has become durable."""
        self._commits.append((shard, seq, commit))
        self._bytes += len(commit)
        while self._bytes > self._bytes_max and len(self._commits) > 1:
            shard, seq, commit = self._commits.popleft()
            self._bytes -= len(commit)
            self._first += 1
            self._dropped[shard] = seq

    def start_for(self, frontier: Frontier) -> int | None:
        """The number from which to push to a peer with this frontier; None if it must pull."""
        origin = self._origin
        if any(frontier[shard, origin] < seq for shard, seq in self._dropped.items()):
            return None
        for number, (shard, seq, _) in enumerate(self._commits, self._first):
            if frontier[shard, origin] < seq:
                return number
        return self.end

    def batch(
        self, number: int, bytes_max: int = PUSH_BYTES_MAX
    ) -> tuple[list[bytes], dict[int, int], int] | None:
        """Commits from a number on; their last sequences by shard; the number after them.

        None if the number is no longer kept.
        """
        if number < self._first:
            return None
        commits: list[bytes] = []
        last: dict[int, int] = {}
        size = 0
        index = number - self._first
        while index < len(self._commits) and (not commits or size < bytes_max):
            shard, seq, commit = self._commits[index]
            commits.append(commit)
            size += len(commit)
            last[shard] = seq
            index += 1
        return commits, last, self._first + index
