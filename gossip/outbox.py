"""The outbox: recent commits, kept in memory for the peers that are close behind.

In it are a node's own commits, and those of other sites that it passes on to its mates. Each has a
number, in the order in which they became durable here. A peer that holds all own commits that are
no longer kept is served by pushes. One that is further behind has to pull; once it has caught up
far enough, pushes take over again. What is passed on is pushed where it follows on what the peer
holds, and left out elsewhere: a peer that lacks what comes before pulls both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from ..storage.limits import PUSH_BYTES_MAX, PUSH_WINDOW_BYTES
from .frontier import Frontier, LogKey


class Batch(NamedTuple):
    """What to push next."""

    commits: list[bytes]
    last: dict[LogKey, int]  # the last sequence of each log in it
    before: dict[LogKey, int]  # the sequence that it goes on from in each log
    number: int  # of what comes after it


class Outbox:
    """Commits in order; the oldest are dropped beyond `bytes_max`."""

    def __init__(self, origin: int, bytes_max: int = PUSH_WINDOW_BYTES) -> None:
        self.origin = origin
        self.bytes_max = bytes_max
        self._commits: deque[tuple[LogKey, int, bytes]] = deque()
        self._bytes = 0
        self._first = 0  # number of the oldest that is kept
        self._dropped: dict[LogKey, int] = {}  # of own logs: the last sequence that is not kept

    @property
    def end(self) -> int:
        """The number that the next commit gets."""
        return self._first + len(self._commits)

    def skip(self, shard: int, seq: int) -> None:
        """Note that an own log has commits up to `seq` that were never in here.

        All numbers move on, so that a place is looked for anew for each peer.
        """
        log = (shard, self.origin)
        self._dropped[log] = max(seq, self._dropped.get(log, 0))
        self._first = self.end + 1

    def add(self, log: LogKey, seq: int, commit: bytes) -> None:
        """Add a commit that has become durable."""
        self._commits.append((log, seq, commit))
        self._bytes += len(commit)
        while self._bytes > self.bytes_max and len(self._commits) > 1:
            log, seq, commit = self._commits.popleft()
            self._bytes -= len(commit)
            self._first += 1
            if log[1] == self.origin:
                self._dropped[log] = seq

    def start_for(self, frontier: Frontier) -> int | None:
        """The number from which to push to a peer with this frontier; None if it must pull."""
        if any(frontier[log] < seq for log, seq in self._dropped.items()):
            return None
        return self._first

    def batch(
        self,
        number: int,
        frontier: Frontier,
        bytes_max: int = PUSH_BYTES_MAX,
        *,
        on_its_way: Mapping[LogKey, int],
        own_only: bool = False,
    ) -> Batch | None:
        """What a peer lacks from a number on. None if it lacks own commits before that.

        `on_its_way` is what it is about to have besides what its frontier says.
        """
        if number < self._first:
            start = self.start_for(frontier)
            if start is None:
                return None
            number = start
        commits: list[bytes] = []
        last: dict[LogKey, int] = {}
        before: dict[LogKey, int] = {}
        size = 0
        kept, index, get = self._commits, number - self._first, frontier.get
        while index < len(kept) and (size < bytes_max or not commits):
            log, seq, commit = kept[index]  # cheap near both ends of a deque
            own = log[1] == self.origin
            if own or not own_only:
                held = last.get(log)
                if held is None:
                    held = get(log, 0)
                    if on_its_way:
                        held = max(held, on_its_way.get(log, 0))
                if seq == held + 1:
                    commits.append(commit)
                    size += len(commit)
                    last[log] = seq
                    before.setdefault(log, held)
                elif own and seq > held:
                    return None
            index += 1
        return Batch(commits, last, before, self._first + index)
