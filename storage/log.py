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
from operator import itemgetter

from .disk import Disk
from .errors import AnabranchError, DamagedLog
from .limits import GROUP_BYTES_MAX, RECORD_BYTES_MAX, SEGMENT_BYTES
from .record import HEADER_BYTES, STATE, Header, frame, intact, parse
from .segment import FOLDER, Found, Scan, Segment, Torn, segment_name, segments_of


class Log:
    """The log of one data directory.

    `opening_state` gives the body of the state record that every segment begins with;
    `on_durable` is called with the position up to which everything is on disk;
    `on_failure` is called once if the disk fails.
    """

    def __init__(
        self,
        disk: Disk,
        *,
        opening_state: Callable[[], bytes],
        on_durable: Callable[[int], None],
        on_failure: Callable[[AnabranchError], None],
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._disk = disk
        self._opening_state = opening_state
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._segment_bytes = segment_bytes
        self._segments = segments_of(disk)
        self._group: list[bytes] = []
        self._group_base = 0  # the segment that the gathering group goes to
        self._synced = 0  # all before it is durable when the gathering group is written
        self._link = 0
        self._wake = asyncio.Event()
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
        return len(self._segments)

    # -- opening ---------------------------------------------------------------------------

    def last_segments(self, count: int) -> int:
        """The position where the last `count` segments begin."""
        return self._segments[-count:][0].base if self._segments else 0

    def segment_base(self, position: int) -> int:
        """Where the segment begins that holds a position; 0 for an empty log."""
        bases = [segment.base for segment in self._segments if segment.base <= position]
        return bases[-1] if bases else 0

    def replay(self, start: int, synced: int = 0) -> Iterator[Found]:
        """Every record from a position on, checked; then the torn tail, if any, is cut.

        Must run to its end before anything is appended. All before `synced` is known to have been
        on disk: a log that ends before it has lost something. Raises DamagedLog.
        """
        link: int | None = None
        for segment in list(self._segments):
            if segment.end <= start and segment is not self._segments[-1]:
                continue
            scan = Scan(self._disk, segment, last=segment is self._segments[-1])
            scan.link = link
            yield from scan.records(max(start, segment.base))
            link = scan.link
            self.torn = scan.torn
        self._check_end(synced)
        self._finish_opening(link)

    def _check_end(self, synced: int) -> None:
        end = self._segments[-1].end if self._segments else 0
        good = end if self.torn is None else self.torn.position
        if good < synced:
            raise DamagedLog(
                f"the log is good up to {good:#x}, but the index knows that it was on disk up to "
                f"{synced:#x}: the log has lost its end. Restore the `{FOLDER}` folder from a "
                "copy; or, to start as a new node without what is here, empty the whole directory"
            )

    def _finish_opening(self, link: int | None) -> None:
        if self.torn is not None:
            last = self._segments[-1]
            self._disk.truncate(last.name, self.torn.position - last.base)
            self._segments[-1] = Segment(last.base, self.torn.position - last.base)
        self.end = self.durable = self._synced = self._segments[-1].end if self._segments else 0
        self._group_base = self._segments[-1].base if self._segments else 0
        self._link = link or 0

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

    async def _write(self) -> None:
        try:
            if self._segments:
                await self._disk.sync(self._segments[-1].name)
                self._disk.sync_names(FOLDER)
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._group:
                    await self._write_group()
        except Exception as problem:  # noqa: BLE001 - whatever it is, nothing may be confirmed
            error = (
                problem
                if isinstance(problem, AnabranchError)
                else AnabranchError(f"a bug in the path of the log: {problem!r}")
            )
            error.__cause__ = problem.__cause__ if error is problem else problem
            self._failure = error
            for _, future in self._waiting:
                if not future.done():
                    future.set_exception(error)
            self._waiting.clear()
            self._on_failure(error)

    async def _write_group(self) -> None:
        data, base, end = b"".join(self._group), self._group_base, self.end
        self._group = []
        self._synced = end  # true by the time that the next group is written
        if end - base >= self._segment_bytes:
            self._group_base = end
        self._disk.append(segment_name(base), data)
        await self._disk.sync(segment_name(base))
        if self._segments and self._segments[-1].base == base:
            self._segments[-1] = Segment(base, end - base)
        else:
            self._disk.sync_names(FOLDER)
            self._segments.append(Segment(base, end - base))
        self.durable = end
        self._on_durable(end)
        while self._waiting and self._waiting[0][0] < end:
            _, future = self._waiting.popleft()
            if not future.done():  # its caller may have gone
                future.set_result(None)

    # -- reading ---------------------------------------------------------------------------

    def read(self, position: int, length: int) -> bytes:
        """The body of `length` bytes of the record at a position. Raises DamagedLog."""
        segment = self._segment_at(position)
        offset = position - segment.base
        data = self._disk.read(segment.name, offset, HEADER_BYTES + length)
        header = parse(data)
        body = data[HEADER_BYTES:]
        if not self._is(header, position) or header is None or not intact(header, body):
            raise DamagedLog(
                f"{segment.name}, offset {offset}: this record is not what was written"
            )
        return body

    @staticmethod
    def _is(header: Header | None, position: int) -> bool:
        return header is not None and header.position == position

    def _segment_at(self, position: int) -> Segment:
        for segment in reversed(self._segments):
            if segment.base <= position:
                return segment
        raise DamagedLog(f"the log has nothing at {position:#x}")
