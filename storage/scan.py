"""How the log is read back: good records, and the gaps between them.

What is found instead of a good record, in the last segment:

- nothing after it proves that it had been synced: a torn tail. Nobody was told of it; it is cut.
- a header further on was written when it had long been synced: a gap.
- it can't be read, or something behind it: a gap. The proof may stand there, and what was
  acknowledged; a disk that answers again gives it back.

In any other segment it is a gap. Reading goes on behind a gap where records can be trusted again:

- A record whose frame is intact, but not its body, ends where the frame says.
- A record that is intact but links to another one than that before it comes from another history:
  an old block, or a file of another node. So do all that follow and link to it.
- Else the next intact frame that stands at its own place counts, if what follows links to it: a
  payload may look like a record, but what comes after the payload doesn't know it.
"""

from __future__ import annotations

from collections.abc import Iterator

from .block import Block, Directory, Place
from .disk import Disk
from .errors import BadFrame, DamagedLog
from .limits import RECORD_BYTES_MAX, SCAN_WINDOW_BYTES
from .patient import read_around
from .record import HEADER_BYTES, MAGIC, Header, intact, newer_version, parse, run
from .sealed import SealedFiles
from .segment import Found, Gap, Segment, Torn


class Scan:
    """Reads a plain segment from a position on, record by record.

    `link` is the checksum that the next record must name, None while it is not known; `header` is
    the frame of the record that was found last. Afterwards `torn` says what is left at the end of
    the last segment. It `refuses` what looks as if a newer version had written it; in a log that
    this version writes that is damage like any other.
    """

    def __init__(
        self,
        disk: Disk,
        segment: Segment,
        *,
        last: bool,
        link: int | None = None,
        refuses: bool = True,
        window_bytes: int = SCAN_WINDOW_BYTES,
    ) -> None:
        self._segment = segment
        self._last = last
        self._refuses = refuses
        self._window = _Window(disk, segment, window_bytes)
        self.link = link
        self.header: Header | None = None
        self.torn: Torn | None = None

    def records(self, start: int) -> Iterator[Found | Gap]:
        """All good records and all gaps. Raises DamagedLog if it refuses one."""
        position, bad = start, -1  # `bad`: where the gap begins that `position` is in
        while position < self._segment.end and self.torn is None:
            header, body = self._read(position)
            if header is not None and intact(header, body):
                if bad >= 0:
                    yield Gap(bad, position)
                    bad = -1
                self.header, self.link = header, header.crc
                yield Found(header.kind, position, body)
                position = header.end
                for after, body in run(*self._window.rest(position), position, header.crc):
                    self.header, self.link = after, after.crc
                    yield Found(after.kind, position, body)
                    position = after.end
            else:
                bad = position if bad < 0 else bad
                position = self._skip(position, header)
        if bad >= 0 and (self.torn is None or self.torn.position > bad):
            yield Gap(bad, position)

    def _read(self, position: int) -> tuple[Header | None, bytes]:
        """Frame and body of the record at a position; no frame if there is no trust in it."""
        header, body = self._try(position)
        if header is None or not intact(header, body):  # the disk may have read it wrong
            self._window.forget()
            header, body = self._try(position)
        return header, body

    def _try(self, position: int) -> tuple[Header | None, bytes]:
        header = self._header(position)
        if header is None or not self._follows(header):
            return None, b""
        return header, self._window.read(position + HEADER_BYTES, header.length)

    def _header(self, position: int) -> Header | None:
        header = parse(self._window.read(position, HEADER_BYTES))
        return header if header is not None and _stands_at(header, position) else None

    def _follows(self, header: Header) -> bool:
        """Whether a record links to the one before it, as far as that is known on both sides."""
        if self.link is None or header.link == self.link:
            return True
        return header.link == 0 and header.position == self._segment.base

    def _skip(self, position: int, header: Header | None) -> int:
        """Where to go on behind what is no good record; sets `torn` if it is the torn tail."""
        version = newer_version(self._window.read(position, HEADER_BYTES))
        if version and self._refuses:
            raise DamagedLog(
                f"{self._segment.name}, offset {position - self._segment.base}: a record of frame "
                f"version {version}; this version does not know it: use the version that wrote it"
            )
        behind = position + 1 if header is None else min(header.end, self._segment.end)
        if self._last and not self._proven(position, behind) and self._window.whole(position):
            self.torn = Torn(position, self._segment.end - position)
            return position
        if header is not None:
            self.link = header.crc
            return behind
        self.link = None
        return self._resumed(position)

    def _proven(self, position: int, behind: int) -> bool:
        """Whether an intact frame was written when a position had already been synced."""
        frames = self._intact_frames(behind)
        return any(header.position - header.unsynced > position for header in frames)

    def _resumed(self, position: int) -> int:
        """Where the next records stand that can be trusted."""
        stranger = self._header(position)
        search = position + 1 if stranger is None else self._chain_end(stranger)[0]
        for header in self._intact_frames(search):
            if header.position < search:
                continue
            search, torn_off = self._chain_end(header)
            if not torn_off:
                return header.position
        return self._segment.end

    def _chain_end(self, header: Header) -> tuple[int, bool]:
        """Where records end that link to each other; whether one follows that links elsewhere."""
        while header.end < self._segment.end:
            follower = self._header(header.end)
            if follower is None or follower.link != header.crc:
                return header.end, follower is not None
            header = follower
        return self._segment.end, False

    def _intact_frames(self, search: int) -> Iterator[Header]:
        """All intact frames from a position on that stand at their own place."""
        while search + HEADER_BYTES <= self._segment.end:
            data = self._window.ahead(search)
            at = data.find(MAGIC)
            while at >= 0:
                header = parse(data[at : at + HEADER_BYTES])
                if header is not None and _stands_at(header, search + at):
                    yield header
                at = data.find(MAGIC, at + 1)
            search += max(1, len(data) - HEADER_BYTES + 1)


def _stands_at(header: Header, position: int) -> bool:
    return header.position == position and header.length <= RECORD_BYTES_MAX


class _Window:
    """Reads the stretch of a segment in large steps; zeros stand for what can't be read."""

    def __init__(self, disk: Disk, segment: Segment, window_bytes: int) -> None:
        self._disk = disk
        self._segment = segment
        self._window_bytes = window_bytes
        self._start = 0
        self._data = b""
        self._unreadable = 0  # all that could not be read lies before this offset

    def read(self, position: int, length: int) -> bytes:
        at = position - self._segment.base - self._start
        if at < 0 or at + length > len(self._data):
            self._start += at
            self._data = self._read(position, max(length, self._window_bytes))
            at = 0
        return self._data[at : at + length]

    def rest(self, position: int) -> tuple[bytes, int]:
        """What has been read, and where in it a position is."""
        return self._data, position - self._segment.base - self._start

    def ahead(self, position: int) -> bytes:
        """As much as is read at once, without moving the window."""
        return self._read(position, SCAN_WINDOW_BYTES)

    def forget(self) -> None:
        """Read again what is asked for next."""
        self._data = b""
        self._unreadable = 0

    def whole(self, position: int) -> bool:
        """Whether all from a position on that was asked for could be read."""
        return self._unreadable <= position - self._segment.base

    def _read(self, position: int, length: int) -> bytes:
        length = min(length, self._segment.end - position)
        offset = position - self._segment.base
        if length <= 0:
            return b""
        return read_around(self._disk, self._segment.name, offset, length, self._failed)

    def _failed(self, end: int) -> None:
        self._unreadable = max(self._unreadable, end)


class SealedScan:
    """Reads a sealed segment from a position on; `link` is as in Scan."""

    torn: Torn | None = None

    def __init__(self, files: SealedFiles, segment: Segment, *, link: int | None = None) -> None:
        self._files = files
        self._segment = segment
        self.link = link
        self._strange: int | None = None  # what follows links to it if it is of another history

    def records(self, start: int) -> Iterator[Found | Gap]:
        """All good records and all gaps. Raises DamagedLog if a newer version wrote the file."""
        segment, bad, position = self._segment, -1, start
        directory = self._files.directory(segment.name, segment.base, segment.end)
        for place in _from(directory, start):
            if place.position > position:  # a gap that the directory knows
                bad, self.link = position if bad < 0 else bad, None
            block = self._block(place)
            if block is not None:
                if bad >= 0:
                    yield Gap(bad, place.position)
                    bad = -1
                yield from records_of(block, start)
            elif bad < 0:
                bad = place.position
            position = place.end
        if position < segment.end or bad >= 0:
            self.link = None
            yield Gap(position if bad < 0 else bad, segment.end)

    def _block(self, place: Place) -> Block | None:
        """A block that follows what was read before; None if it is damaged."""
        try:
            block = self._files.block(self._segment.name, place)
        except DamagedLog:
            self.link = None
            return None
        first = place.position == self._segment.base
        foreign = self.link not in (None, block.before) and not (first and block.before == 0)
        if foreign or block.before == self._strange:
            self.link, self._strange = None, block.after
            return None
        self.link, self._strange = block.after, None
        return block


def _from(directory: Directory, start: int) -> Iterator[Place]:
    return (place for place in directory.places if place.end > start)


def records_of(block: Block, start: int = 0) -> Iterator[Found]:
    """The records of a block from a position on. Raises DamagedLog."""
    for number, position in enumerate(block.positions):
        if position >= start:
            try:
                yield Found(block.kinds[number], position, block.body(number))
            except BadFrame as error:
                raise DamagedLog(f"the record at {position:#x}: {error}", position) from None
