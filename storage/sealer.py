"""The sealer: rewrites each segment that the log has left behind, compressed, in the background.

The law, for each segment, and a crash may come between any two of these steps:

1. The sealed form is written under a temporary name, and synced.
2. It is read back from the disk and compared with its source, byte by byte.
3. What is damaged in the source is copied to `quarantine/`, and synced with its name.
4. The new file gets its name, and the name is synced.
5. Only then the old file is removed.

So at every moment one good copy of everything has a name that is on disk. A file that a crash left
beside its sealed form goes through the same steps again. So does a sealed segment whose directory
is damaged and whose blocks are all good: it is copied, and gets its directory anew. A segment with
a place that can't be read stays as it is: it may be there when the disk answers again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from .block import Directory, Place, block, block_frame, ending
from .disk import Disk
from .errors import BadFrame, DamagedLog, DiskError, DiskFull, SyncFailed
from .limits import (
    BLOCK_BYTES,
    DISK_RESERVE_BYTES,
    SEAL_AGAIN_SECONDS,
    SEAL_BYTES_PER_SECOND,
    SEAL_RESTS,
    SEAL_STEP_SECONDS,
    SEAL_SYNC_BYTES,
)
from .log import Log
from .patient import read_twice
from .record import HEADER_BYTES, Header, parse
from .scan import Scan
from .sealed import directory_of, load, stored_directory
from .segment import (
    FOLDER,
    QUARANTINE,
    Gap,
    Segment,
    quarantine_name,
    sealed_name,
    segment_name,
    temporary_name,
)

_log = logging.getLogger(__name__)


class Sealer:
    """Seals the segments of one log.

    `bytes_per_second` is how much of the log it works through at most; it stops for a moment after
    each block, so that nobody has to wait for it.
    """

    def __init__(
        self, disk: Disk, log: Log, *, bytes_per_second: float = SEAL_BYTES_PER_SECOND
    ) -> None:
        self._disk = disk
        self._log = log
        self._bytes_per_second = bytes_per_second
        self._resumed = 0.0  # when the last rest ended
        self._unreadable: set[int] = set()  # where segments begin that the next start tries again

    async def run(self) -> None:
        """Seal what can be sealed, until cancelled. A disk that confirms nothing ends the log."""
        looked = False  # once: what is damaged later the scrub finds
        while True:
            try:
                if not looked:
                    await self._look_at_all()
                    looked = True
                await self._mend_known()
                await self.seal_all()
                await self._log.next_segment()
            except SyncFailed as error:
                self._log.fail(error)
                return
            except DiskError as error:  # the segments stay as they are
                _log.warning("can't seal a segment now: %s", error)
                await asyncio.sleep(SEAL_AGAIN_SECONDS)

    async def seal_all(self) -> None:
        """Seal all segments but the last. Raises DiskError, and leaves what it could not do."""
        for segment in self.waiting():
            try:
                await self.seal(segment)
            except DamagedLog as error:
                _log.warning("%s is not sealed: %s", segment.name, error)
                self._unreadable.add(segment.base)

    def waiting(self) -> list[Segment]:
        """What can be sealed, in its plain form."""
        plain = [name for name in self._disk.list(FOLDER) if name.endswith(".seg")]
        left = [
            Segment(segment.base, segment.size)
            for segment in self._log.files.segments[:-1]
            if segment_name(segment.base).removeprefix(f"{FOLDER}/") in plain
        ]
        return [one for one in left if one.size and one.base not in self._unreadable]

    async def seal(self, segment: Segment) -> None:
        """Put the sealed form of a segment in its place. Raises DiskError; nothing is lost then."""
        name = temporary_name(segment.base)
        before = self._there(sealed_name(segment.base))
        if not (before and self._is_good(segment)):
            self._remove(name)
            if self._disk.free() < segment.size + DISK_RESERVE_BYTES:
                raise DiskFull(f"no room to seal {segment.name}; free some space")
            try:
                directory = await self._write(segment, name)
                await self._compare(segment, name, directory)
                if before and directory.gaps:
                    raise DiskError(f"both forms of {segment.name} are damaged: both are kept")
                await self._set_aside(segment, directory)
            except (DamagedLog, DiskFull):
                self._remove(name)
                raise
            self._disk.rename(name, sealed_name(segment.base))
        self._log.files.exchange(segment._replace(sealed=True))
        self._disk.sync_names(FOLDER)
        self._disk.remove(segment.name)

    def _there(self, name: str) -> bool:
        return name.removeprefix(f"{FOLDER}/") in self._disk.list(FOLDER)

    def _remove(self, name: str) -> None:
        if self._there(name):
            self._disk.remove(name)

    def _is_good(self, segment: Segment) -> bool:
        """Whether the sealed form of a segment, which a crash left beside it, is whole."""
        name = sealed_name(segment.base)
        directory = stored_directory(self._disk, name, segment.base)
        if directory is None or directory.end != segment.end:
            return False
        try:
            for place in directory.places:
                load(self._disk, name, place)
        except DamagedLog:
            return False
        return True

    # -- directories -------------------------------------------------------------------------------

    async def mend_all(self) -> None:
        """Make damaged directories anew where no block is missing. Raises DiskError."""
        await self._look_at_all()
        await self._mend_known()

    async def _look_at_all(self) -> None:
        for segment in list(self._log.files.segments):
            if segment.sealed and not stored_directory(self._disk, segment.name, segment.base):
                self._log.files.unlisted[segment.base] = False
            await asyncio.sleep(0)

    async def _mend_known(self) -> None:
        unlisted = self._log.files.unlisted
        for segment in self._log.files.segments[:-1]:  # where the last one ends it alone can tell
            if unlisted.get(segment.base) is False:
                await self._mend(segment)

    async def _mend(self, segment: Segment) -> None:
        name = temporary_name(segment.base)
        self._remove(name)
        old = directory_of(self._disk, segment.name, segment.base, segment.end)
        if old.gaps or not old.places:  # nobody can tell which of them had been set aside
            self._log.files.unlisted[segment.base] = True
            return
        if self._disk.free() < self._disk.size(segment.name) + DISK_RESERVE_BYTES:
            raise DiskFull(f"no room to mend {segment.name}; free some space")
        try:
            new = await self._copy(segment, name, old.places)
        except DamagedLog as error:
            _log.warning("the directory of %s is damaged, and stays so: %s", segment.name, error)
            self._remove(name)
            self._log.files.unlisted[segment.base] = True
            return
        except DiskFull:
            self._remove(name)
            raise
        if stored_directory(self._disk, name, segment.base) != new:
            raise DiskError(f"{name} was not read back as it was written. Look at the disk")
        self._disk.rename(name, segment.name)
        self._log.files.exchange(segment)
        self._disk.sync_names(FOLDER)
        _log.warning("the directory of %s was damaged; it was made anew", segment.name)

    async def _copy(self, segment: Segment, name: str, blocks: tuple[Place, ...]) -> Directory:
        """Write good blocks and a directory for them, sync and compare. Raises DamagedLog."""
        places: list[Place] = []
        offset = link = after = 0
        for place in blocks:
            after = load(self._disk, segment.name, place).after
            data = self._disk.read(segment.name, place.offset, place.stored)
            header = parse(data)
            link = 0 if header is None else header.crc
            self._disk.append(name, data)
            places.append(place._replace(offset=offset))
            offset += place.stored
            await self._rest(place.length)
        directory = Directory(segment.end, tuple(places), (), after)
        self._disk.append(name, ending(directory, link))
        await self._disk.sync(name)
        for place in places:
            load(self._disk, name, place)
            await self._rest(place.length)
        return directory

    # -- step by step ------------------------------------------------------------------------------

    async def _write(self, segment: Segment, name: str) -> Directory:
        """Write the sealed form of a segment, and sync it."""
        places: list[Place] = []
        gaps: list[Gap] = []
        offset = link = last = synced = 0
        for records in _blocks(self._disk, segment):
            if isinstance(records, Gap):
                gaps.append(records)
                last = 0
                continue
            position, end = records[0][0].position, records[-1][0].end
            stored, last = block(records), records[-1][0].crc
            header, link = block_frame(stored, position, end - position, link)
            self._disk.append(name, header + stored)
            place = Place(position, end - position, offset, len(header) + len(stored))
            places.append(place)
            offset += place.stored
            if offset - synced >= SEAL_SYNC_BYTES:
                await self._disk.sync(name)
                synced = offset
            await self._rest(place.length)
        ranges = tuple((gap.position, gap.end) for gap in gaps)
        directory = Directory(segment.end, tuple(places), ranges, last)
        self._disk.append(name, ending(directory, link))
        await self._disk.sync(name)
        return directory

    async def _compare(self, segment: Segment, name: str, written: Directory) -> None:
        """Read the sealed form back: it has to say what its source says."""
        problem = None
        if stored_directory(self._disk, name, segment.base) != written:
            problem = "its directory"
        for place in written.places:
            offset = place.position - segment.base
            raw = self._disk.read(segment.name, offset, place.length)
            try:
                same = load(self._disk, name, place).frames() == raw
            except (BadFrame, DamagedLog):
                same = False
            if not same:
                problem = f"the block at offset {place.offset}"
                break
            await self._rest(place.length)
        if written.gaps and [
            one for one in _blocks(self._disk, segment) if isinstance(one, Gap)
        ] != [*map(Gap._make, written.gaps)]:
            problem = "it has damage that comes and goes"
        if problem is not None:
            self._remove(name)
            raise DiskError(
                f"{name} was not read back as it was written: {problem}. Look at the disk"
            )

    async def _set_aside(self, segment: Segment, directory: Directory) -> None:
        """Keep the damaged bytes of a segment: somebody may make sense of them one day.

        Raises DamagedLog if they can't be read.
        """
        there = self._disk.list(QUARANTINE)
        for gap in map(Gap._make, directory.gaps):
            name, length = quarantine_name(gap), gap.end - gap.position
            data = read_twice(self._disk, segment.name, gap.position - segment.base, length)
            if name.removeprefix(f"{QUARANTINE}/") in there:
                if self._disk.read(name, 0, length + 1) == data:
                    await self._disk.sync(name)
                    continue
                self._disk.remove(name)  # of a copy that was interrupted
            self._disk.append(name, data)
            await self._disk.sync(name)
        if directory.gaps:
            self._disk.sync_names(QUARANTINE)

    async def _rest(self, length: int) -> None:
        """Leave the loop to others for as long as the pace says, and as the work has kept it."""
        loop = asyncio.get_running_loop()
        kept = min(loop.time() - self._resumed, SEAL_STEP_SECONDS)
        pace = length / 2 / self._bytes_per_second  # it is read twice
        await asyncio.sleep(max(pace, SEAL_RESTS * kept))
        self._resumed = loop.time()


_Records = list[tuple[Header, bytes]]


def _blocks(disk: Disk, segment: Segment) -> Iterator[_Records | Gap]:
    """The records of a segment, as many at a time as go into a block, and its gaps."""
    records: _Records = []
    size = 0
    scan = Scan(disk, segment, last=False, window_bytes=BLOCK_BYTES)
    for found in scan.records(segment.base):
        if isinstance(found, Gap):
            if records:
                yield records
                records, size = [], 0
            yield found
            continue
        length = HEADER_BYTES + len(found.body)
        if records and size + length > BLOCK_BYTES:
            yield records
            records, size = [], 0
        assert scan.header is not None, "something was found"
        records.append((scan.header, found.body))
        size += length
    if records:
        yield records
