"""Which commits of others this node takes, and which it holds back.

A commit is taken if it is the next of its log, if that log has a place in the order so far, and if
its stamp is in time. One that is ahead of the members' clocks waits where it came from. One with a
stamp that its maker had promised not to use again is never taken: its shard is in dispute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..gossip.clocks import Clocks
from ..gossip.frontier import LogKey
from ..storage.commit import Commit
from ..storage.stamp import milliseconds
from .clock import Clock
from .room import Room
from .settler import Settler
from .store import Store

_log = logging.getLogger(__name__)


class Welcome:
    """The door of one node. `on_learned` is called when there may be more to settle."""

    def __init__(
        self,
        store: Store,
        settler: Settler,
        room: Room,
        clock: Clock,
        clocks: Clocks,
        on_learned: Callable[[], None],
    ) -> None:
        self._store = store
        self._members = store.members
        self._settler = settler
        self._room = room
        self._clock = clock
        self._clocks = clocks
        self._on_learned = on_learned
        self.held_back: dict[LogKey, int] = {}  # the stamp that is ahead of time

    def still_held_back(self) -> dict[LogKey, int]:
        """Logs whose next commit is ahead of time even now."""
        if self.held_back:
            wall = self._clock.wall_ms()
            for log, stamp in list(self.held_back.items()):
                if self._clocks.ahead_ms(stamp, wall) <= 0:
                    del self.held_back[log]
        return self.held_back

    def takes(self, commit: Commit) -> bool:
        """Whether a commit that another node sent is to be stored."""
        log = (commit.shard, commit.origin)
        if not self._members.has_place(log, commit.seq) or not self._room.can_settle:
            return False
        if commit.origin == self._store.origin and log not in self._store.holes:
            return False
        if commit.seq != self._store.arrived(*log) + 1 or log in self._store.disputes.parted:
            return False
        wall = self._clock.wall_ms()
        if self._clocks.ahead_ms(commit.hlc, wall) > 0:
            self._hold_back(commit, wall)
            return False
        broken = self._broken_promise(commit)
        if broken is not None:
            self._settler.dispute(
                log,
                f"{self._members.name(commit.origin)} sent commit {commit.id.hex()} of shard "
                f"{commit.shard}, stamped {broken}",
                parted=True,
            )
            return False
        return True

    def _broken_promise(self, commit: Commit) -> str | None:
        """What is wrong with the stamp of a commit that is the next of its log."""
        settlement = self._settler.settlement
        if settlement is not None and commit.hlc <= settlement.watermark(commit.shard):
            return "at a time that is settled: it broke its promise"
        if commit.hlc <= self._store.newest(commit.shard, commit.origin):
            return "not after the commit before it: its clock or its log is at fault"
        return None

    def _hold_back(self, commit: Commit, wall: int) -> None:
        log = (commit.shard, commit.origin)
        if not any(origin == commit.origin for _, origin in self.held_back):
            _log.error(
                "commits of %s are stamped %d ms ahead of the members' clocks and are held back "
                "until then: correct the clock of that node",
                self._members.name(commit.origin),
                milliseconds(commit.hlc) - self._clocks.median_ms(wall),
            )
        self.held_back[log] = commit.hlc
        if self._settler.settlement is not None:
            self._settler.settlement.seen_ahead(log, commit.seq, commit.hlc)
            self._on_learned()
