"""The scrub: everything on the disk is read again and again, so that damage is found in time.

It reads the log segment by segment, the one that is being written included, so slowly that nobody
feels it, and goes on after a restart where it was. Each record is checked against what was written,
and each commit against the Merkle tree of its log. What is damaged is handed to `Repair`.
"""

from __future__ import annotations

import asyncio
import logging

from ..storage.commit import read_header
from ..storage.errors import DamagedLog
from ..storage.limits import SCRUB_BYTES_PER_SECOND_MIN
from ..storage.log import Log
from ..storage.record import COMMIT
from ..storage.segment import Found, Gap, Segment
from .history import History
from .repair import Repair

_PAUSE = 1000  # between two passes, as a part of the time that one may take
_log = logging.getLogger(__name__)


class Scrub:
    """The scrub of one node: all of its log is read once in so many seconds."""

    def __init__(self, log: Log, history: History, repair: Repair, seconds: float) -> None:
        self._log = log
        self._history = history
        self._repair = repair
        self._seconds = seconds
        self.position = history.scrubbed()
        self.passes = 0  # that came to the end, since the start
        self.bytes = 0  # read, since the start
        self.found = 0  # damaged ranges, since the start

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            segment = self._next()
            if segment is None:
                await self._end_of_pass()
                continue
            for found in self._log.check(segment.base):
                self._take(found)
                if isinstance(found, int):
                    await self._rest(found)
            if self._is_last(segment):
                await self._end_of_pass()  # it grows: from its end on it would be read again
                continue
            self.position = max(segment.end, segment.base + 1)
            self._history.note_scrubbed(self.position)

    async def read_all(self) -> None:
        """Read everything once, without pauses."""
        self.position = 0
        while (segment := self._next()) is not None:
            for found in self._log.check(segment.base):
                self._take(found)
            await asyncio.sleep(0)
            self.position = max(segment.end, segment.base + 1)
            if self._is_last(segment):
                break

    def _is_last(self, segment: Segment) -> bool:
        return segment.base == self._log.files.segments[-1].base

    def _next(self) -> Segment | None:
        """The segment to read next; if one before it is missing, that is damage."""
        segment = self._log.segment_from(self.position)
        if segment is not None and segment.base > self.position:
            self._take(Gap(self.position, segment.base))
        return segment

    async def _end_of_pass(self) -> None:
        if self.bytes:
            self.passes += 1
        self.position = 0
        self._history.note_scrubbed(0)
        await asyncio.sleep(self._seconds / _PAUSE)

    def _take(self, found: Found | Gap | int) -> None:
        if isinstance(found, int):
            self.bytes += found
        elif isinstance(found, Gap):
            self.found += 1
            self._repair.damaged(found.position, found.end)
        else:
            self._compare(found)

    async def _rest(self, size: int) -> None:
        """Wait as long as reading so many bytes may take."""
        rate = max(self._log.end / self._seconds, SCRUB_BYTES_PER_SECOND_MIN)
        await asyncio.sleep(size / rate)

    def _compare(self, found: Found) -> None:
        """Whether a commit that reads well is the one that this node holds there."""
        if found.kind != COMMIT:
            return
        commit = read_header(found.body)
        log = (commit.shard, commit.origin)
        leaf = self._history.leaf(log, commit.seq)
        if leaf == commit.hash:
            self._repair.readable(log, commit.seq, found.position)
        if leaf is None or leaf == commit.hash:
            return
        place = self._history.place_in_log(*log, commit.seq)
        try:
            written = None if place is None else self._history.header(*place).hash
        except DamagedLog as error:
            self._repair.notice(error)
            return
        if written is not None and written != leaf:
            _log.error(
                "the index names another hash than the log for sequence %d of shard %d and origin "
                "%016x; it was put right",
                commit.seq,
                *log,
            )
            self._history.mend_leaf(log, commit.seq, written)
