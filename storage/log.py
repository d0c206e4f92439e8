"""The append-only log: everything that a node must not forget, in the order in which it came.

The law, in this order and nowhere else: frame, write, sync, and only then tell anyone.

- `append` is synchronous: it frames a record and puts it into the group that gathers. So a caller
  can stamp, number and append without anything coming between.
- One writer task takes the group, writes it in one go, syncs once, and calls `on_durable`.
  What arrives meanwhile is the next group.
- Positions are given at `append`; they never change, also when a group opens a new segment.
- If the disk fails, the writer ends with the error, and nothing that waits is ever confirmed.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from operator import itemgetter

from .disk import Disk
from .errors import AnabranchError, DamagedLog, DiskError, DiskFull
from .files import LogFiles
from .limits import (
    DISK_RESERVE_BYTES,
    GROUP_BYTES_MAX,
    RECORD_BYTES_MAX,
    RESERVE_BYTES,
    SEGMENT_BYTES,
)
from .record import HEADER_BYTES, STATE, frame
from .segment import FOLDER, Found, Gap, Segment, Torn, leftovers, segment_name

RESERVE = "reserve"  # a file that only takes up room


class Log:
    """The log of one data directory.

    `opening_state` gives the body of the state record that every segment begins with;
    `on_durable` is called with the position up to which everything is on disk;
    `on_dropped` is called if there was no room: all from that position on was not written;
    `on_failure` is called once if the disk fails.
    """

    def __init__(
        self,
        disk: Disk,
        *,
        opening_state: Callable[[], bytes],
        on_durable: Callable[[int], None],
        on_failure: Callable[[AnabranchError], None],
        on_dropped: Callable[[int], None] = lambda _: None,
        segment_bytes: int = SEGMENT_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        self._disk = disk
        self._opening_state = opening_state
        self._on_durable = on_durable
        self._on_dropped = on_dropped
        self._on_failure = on_failure
        self._segment_bytes = segment_bytes
        self._reserve_bytes = reserve_bytes
        self._reserve_wanted = False
        self.files = LogFiles(disk)
        self._group: list[bytes] = []
        self._group_base = 0  # the segment that the gathering group goes to
        self._synced = 0  # all before it is durable when the gathering group is written
        self._link = 0
        self._durable_base = self._durable_link = 0  # both as they were at the durable end
        self._wake = asyncio.Event()
        self._begun = asyncio.Event()  # a segment, so the one before can be sealed
        self._writer: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._failure: AnabranchError | None = None
        self.end = 0  # where the next record goes
        self.durable = 0  # all before it is on disk
        self.torn: Torn | None = None  # what was cut when the log was opened

    @property
    def backlog_bytes(self) -> int:
        """What has been appended and is not on disk yet."""
        return self.end - self.durable

    @property
    def full(self) -> bool:
        """Whether appends should wait for the disk."""
        return self.backlog_bytes > GROUP_BYTES_MAX

    @property
    def segments(self) -> int:
        """How many files the log has."""
        return len(self.files.segments)

    @property
    def sealed(self) -> int:
        """How many of them are sealed."""
        return sum(segment.sealed for segment in self.files.segments)

    @property
    def gaps(self) -> list[Gap]:
        """What is known to be damaged, in order; a directory of blocks is an empty range."""
        unlisted = [one.end for one in self.files.segments if one.base in self.files.unlisted]
        return sorted([*self.files.gaps, *(Gap(end, end) for end in unlisted)])

    # -- opening ---------------------------------------------------------------------------

    def segment_base(self, position: int) -> int:
        """Where the segment begins that holds a position; 0 for an empty log."""
        segment = self.files.holding(position)
        return segment.base if segment is not None else 0

    def segment_from(self, position: int) -> Segment | None:
        """The first segment that ends after a position."""
        return next((one for one in self.files.segments if one.end > position), None)

    def replay(self, start: int, synced: int = 0) -> Iterator[Found | Gap]:
        """Every good record from a position on, and the gaps between; then cuts the torn tail.

        Must run to its end before anything is appended. All before `synced` is known to have been
        on disk: a log that ends before it has lost something. Raises DamagedLog.
        """
        self.files.link = None
        yield from self.files.scan(start)
        self.torn = self.files.torn
        self._check_end(synced)
        self._finish_opening()

    def _check_end(self, synced: int) -> None:
        good = self.files.end if self.torn is None else self.torn.position
        if good < synced:
            raise DamagedLog(
                f"the log is good up to {good:#x}, but the index knows that it was on disk up to "
                f"{synced:#x}: the log has lost its end. Restore the `{FOLDER}` folder from a "
                "copy; or, to start as a new node without what is here, empty the whole directory"
            )

    def _finish_opening(self) -> None:
        with suppress(DiskError):  # they are in nobody's way, and the sealer tries again
            for name in leftovers(self._disk):
                self._disk.remove(name)
        if self.torn is not None:
            last = self.files.segments[-1]
            self._disk.truncate(last.name, self.torn.position - last.base)
            self.files.exchange(Segment(last.base, self.torn.position - last.base))
        if self.files.link is None:
            self._find_link()
        self._link = self._durable_link = self.files.link or 0
        self.end = self.durable = self._synced = self.files.end
        self._group_base = self._durable_base = self._open_segment()

    def _find_link(self) -> None:
        """Nothing was read back: what the next record has to name stands before the start."""
        if self.files.segments:
            last = self.files.segments[-1]
            scan = self.files.scan_of(last)
            for _ in scan.records(last.base):
                pass
            self.files.link = scan.link

    def _open_segment(self) -> int:
        """Where the segment begins that the log goes on in; one that is damaged can be sealed."""
        if not self.files.segments:
            return 0
        last = self.files.segments[-1]
        damaged = any(gap.end > last.base for gap in self.files.gaps)
        return self.end if last.sealed or damaged else last.base

    def start(self) -> None:
        """Begin to write. What was read back is synced before anything new is confirmed."""
        self._writer = asyncio.get_running_loop().create_task(self._write())

    async def close(self) -> None:
        """Write what waits, then stop."""
        if self._writer is None:
            return
        if self.backlog_bytes and self._failure is None:
            await asyncio.gather(self.wait(self.end - 1), return_exceptions=True)
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)

    async def abandon(self) -> None:
        """Stop writing at once; what is not on disk is lost, as in a crash."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)

    # -- appending -------------------------------------------------------------------------

    def append(self, kind: int, body: bytes) -> int:
        """Put a record into the gathering group; its position.

        It is on disk once `durable` is past that.
        """
        assert len(body) <= RECORD_BYTES_MAX, "a scan would take it for damage"
        if self.end == self._group_base:
            self._put(STATE, self._opening_state())
        position = self._put(kind, body)
        self._wake.set()
        return position

    def wait(self, position: int) -> asyncio.Future[None]:
        """Done when the record at a position is on disk; the disk's error if it never will be."""
        future = asyncio.get_running_loop().create_future()
        if self._failure is not None:
            future.set_exception(self._failure)
        elif position < self.durable:
            future.set_result(None)
        elif position >= self.end:
            future.set_exception(_no_room())
        else:
            self._queue(position, future)
        return future

    def _queue(self, position: int, future: asyncio.Future[None]) -> None:
        waiting = self._waiting
        if waiting and waiting[-1][0] > position:
            insort(waiting, (position, future), key=itemgetter(0))
        else:
            waiting.append((position, future))

    async def wait_all(self) -> None:
        """Return when all that has been appended until now is on disk."""
        if self.backlog_bytes:
            await self.wait(self.end - 1)

    def _put(self, kind: int, body: bytes) -> int:
        position = self.end
        header, self._link = frame(kind, body, position, self._synced, self._link)
        self._group.append(header)
        self._group.append(body)
        self.end = position + HEADER_BYTES + len(body)
        return position

    # -- writing ---------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            if self.files.segments:
                last = self.files.segments[-1]
                await self._disk.sync(last.name)
                self._disk.sync_names(FOLDER)
            while self._failure is None:
                await self._wake.wait()
                self._wake.clear()
                if self._group:
                    await self._write_group()
                if self._reserve_wanted:
                    await self._write_reserve()
        except Exception as problem:  # noqa: BLE001 - whatever it is, nothing may be confirmed
            if isinstance(problem, DiskFull):  # which would say that nothing was written
                error: AnabranchError = DiskError(str(problem))
            elif isinstance(problem, AnabranchError):
                error = problem
            else:
                error = AnabranchError(f"a bug in the path of the log: {problem!r}")
            error.__cause__ = problem.__cause__ if error is problem else problem
            self.fail(error)

    def fail(self, error: AnabranchError) -> None:
        """Confirm nothing any more: what the disk said can't be relied on."""
        if self._failure is not None:
            return
        self._failure = error
        self._release(1 << 64, error)
        self._on_failure(error)

    async def _write_group(self) -> None:
        data, base, end, link = b"".join(self._group), self._group_base, self.end, self._link
        self._group = []
        self._synced = end  # true by the time that the next group is written
        if end - base >= self._segment_bytes:
            self._group_base = end
        next_base = self._group_base
        try:
            self._disk.append(segment_name(base), data)
        except DiskFull:
            self._drop(base)
            return
        await self._disk.sync(segment_name(base))
        if self._failure is not None:
            return
        if not self.files.segments or self.files.segments[-1].base != base:
            self._disk.sync_names(FOLDER)
            self._begun.set()
        self.files.exchange(Segment(base, end - base))
        self.durable, self._durable_base, self._durable_link = end, next_base, link
        self._on_durable(end)
        self._release(end, None)

    def _release(self, until: int, error: AnabranchError | None) -> None:
        """Wake whoever waits for what lies before a position."""
        while self._waiting and self._waiting[0][0] < until:
            _, future = self._waiting.popleft()
            if future.done():  # its caller may have gone
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    # -- a disk without room -----------------------------------------------------------------------

    def _drop(self, base: int) -> None:
        """There was no room for a group: forget it, and what has gathered meanwhile.

        Callers are told that nothing was written, so no part of it may come back after a crash.
        """
        self._give_reserve()
        if self.files.segments and self.files.segments[-1].base == base:
            self._disk.truncate(segment_name(base), self.durable - base)
        else:
            self._remove_new(segment_name(base))
        self._group = []
        self.end = self._synced = self.durable
        self._link, self._group_base = self._durable_link, self._durable_base
        self._release(1 << 64, _no_room())
        self._on_dropped(self.durable)

    def _remove_new(self, name: str) -> None:
        if name.removeprefix(f"{FOLDER}/") in self._disk.list(FOLDER):
            self._disk.remove(name)
            self._disk.sync_names(FOLDER)

    def keep_reserve(self) -> None:
        """See to it that there is a file to give up when others have filled the disk."""
        with suppress(DiskError):  # while nobody can tell, there is no room to spare
            if not self._reserve_wanted and self._disk.free() > DISK_RESERVE_BYTES:
                self._reserve_wanted = True
                self._wake.set()

    async def _write_reserve(self) -> None:
        self._reserve_wanted = False
        missing = self._reserve_bytes
        if RESERVE in self._disk.list(""):
            missing -= self._disk.size(RESERVE)
        if missing <= 0:
            return
        try:
            self._disk.append(RESERVE, bytes(missing))
        except DiskError:
            self._give_reserve()
            return
        await self._disk.sync(RESERVE)
        self._disk.sync_names("")

    def _give_reserve(self) -> None:
        with suppress(DiskError):
            if RESERVE in self._disk.list(""):
                self._disk.remove(RESERVE)

    async def next_segment(self) -> None:
        """Return when a segment was begun, or a directory found damaged, since the last call."""
        await self._begun.wait()
        self._begun.clear()

    # -- reading -------------------------------------------------------------------------

    def read(self, position: int, length: int) -> bytes:
        """The body of `length` bytes of the record at a position.

        Raises DamagedLog, which names the range that can't be read.
        """
        if self._writer is not None and position + HEADER_BYTES + length > self.durable:
            raise DamagedLog(f"no record of {length} bytes on the disk stands at {position:#x}")
        return self.files.read(position, length)

    def check(self, base: int) -> Iterator[Found | Gap | int]:
        """Read the segment that begins at `base` again, as far as it is durable.

        Yields good records, newly found damage, and about each block the bytes that were read.
        """
        known = base in self.files.unlisted
        for found in self.files.check(base, self.durable):
            if not known and base in self.files.unlisted:
                known = True
                self._begun.set()  # the sealer makes the directory anew
            yield found


def _no_room() -> DiskFull:
    return DiskFull("the disk has no room: nothing was written. Free some space, then try again")
