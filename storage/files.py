"""The files of a log as they are read: one sequence of bytes, whatever form its segments have.

What can't be read is remembered in `gaps`. A read that fails is tried once more before it counts:
a controller may have read it wrong.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter

from .block import Directory, Place
from .disk import Disk
from .errors import BadFrame, DamagedLog
from .limits import BLOCK_BYTES
from .record import HEADER_BYTES, intact, parse
from .scan import Scan, SealedScan, records_of
from .sealed import SealedFiles, load
from .segment import Found, Gap, Segment, Torn, merged, segments_of, without


class LogFiles:
    """All segments of a disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._sealed = SealedFiles(disk, self._look_again)
        self.segments = segments_of(disk)
        self.gaps: list[Gap] = []  # known damage, in order
        # Where sealed segments begin whose directory is damaged: whether it can't be made anew.
        self.unlisted: dict[int, bool] = {}
        self.torn: Torn | None = None  # what the last scan found at the end
        self.link: int | None = None  # the checksum that the next record must name, once known

    @property
    def end(self) -> int:
        """The position after the last segment."""
        return self.segments[-1].end if self.segments else 0

    def holding(self, position: int) -> Segment | None:
        """The segment that holds a position, or would if it were longer."""
        number = bisect_right(self.segments, position, key=attrgetter("base")) - 1
        return self.segments[number] if number >= 0 else None

    def exchange(self, segment: Segment) -> None:
        """Put a segment in place of the one that begins where it does, or at the end."""
        self._sealed.forget(segment.name)
        self.unlisted.pop(segment.base, None)
        if not self.segments or self.segments[-1].base < segment.base:
            self.segments.append(segment)
            return
        number = bisect_right(self.segments, segment.base, key=attrgetter("base")) - 1
        assert self.segments[number].base == segment.base, "segments don't overlap"
        self.segments[number] = segment

    # -- from end to end ---------------------------------------------------------------------------

    def scan(self, start: int) -> Iterator[Found | Gap]:
        """All good records from a position on, and what is damaged between them."""
        gap: Gap | None = None  # may go on in the next segment
        for found in self._pieces(start):
            if isinstance(found, Gap):
                gap = found if gap is None or gap.end < found.position else Gap(gap[0], found.end)
                continue
            if gap is not None:
                self.note(gap)
                yield gap
                gap = None
            yield found
        if gap is not None:
            self.note(gap)
            yield gap

    def _pieces(self, start: int) -> Iterator[Found | Gap]:
        position = start
        for segment in list(self.segments):
            last = segment is self.segments[-1]
            if segment.end <= start and not last:
                continue
            if segment.base > position:  # a file is missing, or its end
                self.link = None
                yield Gap(position, segment.base)
            scan = self.scan_of(segment, last=last, link=self.link)
            yield from scan.records(max(start, segment.base))
            self.link, self.torn = scan.link, scan.torn
            position = segment.end

    def scan_of(
        self, segment: Segment, *, last: bool = False, link: int | None = None
    ) -> Scan | SealedScan:
        """What reads a segment."""
        if segment.sealed:
            return SealedScan(self._sealed, segment, link=link)
        return Scan(self._disk, segment, last=last, link=link)

    # -- one record --------------------------------------------------------------------------------

    def read(self, position: int, length: int) -> bytes:
        """The body of `length` bytes of the record at a position. Raises DamagedLog."""
        segment = self.holding(position)
        if segment is None or position >= segment.end:
            hole = Gap(position, position + HEADER_BYTES + length)
            raise self._damaged(hole, f"no segment holds position {position:#x}: it is missing")
        if segment.sealed:
            try:
                return self._read_sealed(segment, position, length)
            except DamagedLog as error:
                if error.end:
                    raise
                raise self._damaged(Gap(segment.base, segment.end), str(error)) from None
        body = self._try(segment, position, length)
        if body is None:
            body = self._try(segment, position, length)
        gap = Gap(position, min(position + HEADER_BYTES + length, segment.end))
        if body is None:
            place = f"{segment.name}, offset {position - segment.base}"
            raise self._damaged(gap, f"{place}: this record is not what was written")
        self._reads_well(*gap)
        return body

    def _try(self, segment: Segment, position: int, length: int) -> bytes | None:
        try:
            data = self._disk.read(segment.name, position - segment.base, HEADER_BYTES + length)
        except DamagedLog:
            return None
        header, body = parse(data), data[HEADER_BYTES:]
        good = header is not None and header.position == position and intact(header, body)
        return body if good else None

    def _read_sealed(self, segment: Segment, position: int, length: int) -> bytes:
        place = self._place(segment, position)
        if place is None:
            gap = Gap(position, min(position + HEADER_BYTES + length, segment.end))
            raise self._damaged(
                gap, f"{segment.name}: position {position:#x} was damaged when it was sealed"
            )
        try:
            block = self._sealed.block(segment.name, place)
            record = block.at(position)
            if record is not None and block.sizes[record] == length:
                self._reads_well(place.position, place.end)
                return block.body(record)
        except DamagedLog as error:
            self.note(Gap(error.position, error.end))
            raise
        except BadFrame as error:
            raise self._damaged(
                Gap(place.position, place.end), f"{segment.name}: {error}"
            ) from None
        raise DamagedLog(
            f"{segment.name}, offset {place.offset}: no record of {length} bytes stands at "
            f"{position:#x}",
            position,
            place.end,
        )

    def _place(self, segment: Segment, position: int) -> Place | None:
        """The block that holds a position. What was not found by reading may be there by now."""
        directory = self._sealed.directory(segment.name, segment.base, segment.end)
        place = directory.holding(position)
        if place is None and self._sealed.is_searched(segment.name):
            directory = self._sealed.stored(segment.name, segment.base) or directory
            place = directory.holding(position)
        return place

    def _look_again(self, before: Directory, now: Directory) -> None:
        """Forget damage that only a search told of, where it is not told any more: reads failed.

        What is still told, and was not known yet, whoever checks the segment is to find as new.
        """
        over = [Gap(*gap) for gap in before.gaps]
        for still in now.gaps:
            over = without(over, Gap(*still))
        for gap in over:
            self.gaps = without(self.gaps, gap)

    def _damaged(self, gap: Gap, message: str) -> DamagedLog:
        self.note(gap)
        return DamagedLog(message, *gap)

    def _reads_well(self, position: int, end: int) -> None:
        """Forget damage where there is none: it had been read wrong. Else what comes is not new."""
        if self.gaps:
            self.gaps = without(self.gaps, Gap(position, end))

    def note(self, gap: Gap) -> bool:
        """Remember damage; whether it is new."""
        if any(one.position <= gap.position and gap.end <= one.end for one in self.gaps):
            return False
        self.gaps = merged([*self.gaps, gap])
        return True

    # -- reading again -----------------------------------------------------------------------------

    def check(self, base: int, durable: int) -> Iterator[Found | Gap | int]:
        """Read the segment that begins at `base` again, up to what is durable.

        Yields what is good, what is newly found to be damaged, and about each block the bytes that
        were read. Ends early if the segment is sealed meanwhile: that reads it as well.
        """
        segment = self.holding(base)
        if segment is None:
            return
        if segment != self.segments[-1]:  # that one is being written
            self._disk.reopen(segment.name)  # a file that is open is there even if it was removed
        if segment.sealed:
            try:
                yield from self._check_sealed(segment)
            except DamagedLog:  # the whole file can't be read
                if self.note(Gap(segment.base, segment.end)):
                    yield Gap(segment.base, segment.end)
            return
        size = min(segment.end, durable) - segment.base
        scan = Scan(
            self._disk,
            Segment(segment.base, size),
            last=False,
            refuses=False,
            window_bytes=BLOCK_BYTES,
        )
        counted = position = segment.base
        for found in scan.records(segment.base):
            if isinstance(found, Gap):
                position = found.end
                if self.note(found):
                    yield found
            else:
                position = found.position + HEADER_BYTES + len(found.body)
                self._reads_well(found.position, position)
                yield found
            if position - counted >= BLOCK_BYTES:
                yield position - counted
                counted = position
                if (now := self.holding(base)) is None or now.sealed:
                    return
        if position > counted:
            yield position - counted

    def _check_sealed(self, segment: Segment) -> Iterator[Found | Gap | int]:
        directory = self._sealed.stored(segment.name, segment.base)
        if directory is not None:
            self.unlisted.pop(segment.base, None)
        else:
            self._sealed.forget(segment.name)
            directory = self._sealed.directory(segment.name, segment.base, segment.end)
            if directory.places and segment.base not in self.unlisted:  # else all is a gap
                self.unlisted[segment.base] = False
                yield Gap(segment.end, segment.end)  # where it says that it stands: no records do
        for gap in directory.gaps:
            if self.note(Gap(*gap)):
                yield Gap(*gap)
        for place in directory.places:
            try:
                yield from records_of(load(self._disk, segment.name, place))
                self._reads_well(place.position, place.end)
            except (DamagedLog, BadFrame):
                self._sealed.forget(segment.name)  # what is good in memory only
                gap = Gap(place.position, place.end)
                if self.note(gap):
                    yield gap
            yield place.stored
