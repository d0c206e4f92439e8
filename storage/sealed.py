"""Sealed segments as they are read: their directories and blocks, and a cache of both.

A directory that is damaged is made again from the frames of the blocks. A block that is damaged
concerns the whole range of the log that it holds. Pure but for the reads of a Disk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from .block import Block, Directory, Place, read_directory
from .disk import Disk
from .errors import BadFrame, DamagedLog, DiskError
from .limits import (
    BLOCKS_CACHED_BYTES,
    DIRECTORIES_CACHED_MAX,
    SCAN_WINDOW_BYTES,
    STORED_BYTES_MAX,
)
from .patient import read_around
from .record import (
    BLOCK,
    DIRECTORY,
    FOOTER,
    HEADER_BYTES,
    MAGIC,
    Header,
    intact,
    newer_version,
    parse,
)


def sealed_end(disk: Disk, name: str, base: int) -> int | None:
    """Where in the log a sealed segment ends; None if its directory is damaged."""
    directory = stored_directory(disk, name, base)
    return None if directory is None else directory.end


def searched_end(disk: Disk, name: str, base: int) -> int:
    """The same where no segment follows: as the frame of the directory says, or the footer.

    Raises DamagedLog if neither can: its last blocks may be missing, and the log would go on where
    they stood, with sequences and positions that others have been told.
    """
    places = list(_blocks_in(disk, name, base, None))
    end, behind = (places[-1].end, places[-1].offset + places[-1].stored) if places else (base, 0)
    footer = max(0, _size(disk, name) - HEADER_BYTES)
    for kind, offset in ((DIRECTORY, behind), (FOOTER, footer)):
        header = parse(read_around(disk, name, offset, HEADER_BYTES))
        if header is not None and header.kind == kind and header.position >= end:
            return header.position
    raise DamagedLog(
        f"{name} is the last segment, and its end can't be read: nothing tells where it ends, so "
        "nothing can be written behind it. Nothing was changed. Look at the disk, or restore the "
        "file from a copy; or start this node with an empty directory beside healthy peers"
    )


def stored_directory(disk: Disk, name: str, base: int) -> Directory | None:
    """The directory of a sealed segment, unless it or the footer is damaged."""
    for _ in range(2):  # a read may go wrong
        directory = _stored_directory(disk, name)
        if directory is not None and _fits(directory, base):
            return directory
    return None


def _stored_directory(disk: Disk, name: str) -> Directory | None:
    size = _size(disk, name)
    footer = parse(read_around(disk, name, max(0, size - HEADER_BYTES), HEADER_BYTES))
    if footer is None or footer.kind != FOOTER:
        return None
    length, offset = footer.unsynced, size - HEADER_BYTES - footer.unsynced
    data = read_around(disk, name, offset, length) if offset >= 0 else b""
    header, body = parse(data), data[HEADER_BYTES:]
    if header is None or header.kind != DIRECTORY or not intact(header, body):
        return None
    if (header.crc, header.position) != (footer.link, footer.position):
        return None
    try:
        return read_directory(body)
    except BadFrame:
        return None


def _size(disk: Disk, name: str) -> int:
    """The length of a file; one that is gone, or can't be opened, has nothing to read."""
    try:
        return disk.size(name)
    except DiskError:
        return 0


def _fits(directory: Directory, base: int) -> bool:
    first = min((place.position for place in directory.places), default=directory.end)
    return (
        min(first, *(gap for gap, _ in directory.gaps)) == base
        if directory.gaps
        else (first == base)
    )


def directory_of(disk: Disk, name: str, base: int, end: int) -> Directory:
    """The directory of a sealed segment, or what its blocks tell where that is damaged."""
    return stored_directory(disk, name, base) or _searched_directory(disk, name, base, end)


def _searched_directory(disk: Disk, name: str, base: int, end: int) -> Directory:
    places = tuple(_blocks_in(disk, name, base, end))
    gaps, position = [], base
    for place in places:
        if place.position > position:
            gaps.append((position, place.position))
        position = place.end
    if position < end:
        gaps.append((position, end))
    return Directory(end, places, tuple(gaps), 0)


def _blocks_in(disk: Disk, name: str, base: int, end: int | None) -> Iterator[Place]:
    """All blocks whose frames are intact, wherever they stand in a file."""
    size, offset, position = _size(disk, name), 0, base
    refuse_newer(disk, name)
    while offset < size:
        window = read_around(disk, name, offset, SCAN_WINDOW_BYTES)
        header, at = parse(window), 0
        if header is None or not _is_block(header, position, end):
            at = window.find(MAGIC, 1)
            offset += at if at >= 0 else max(1, len(window) - 1)
            continue
        place = Place(header.position, header.unsynced, offset, HEADER_BYTES + header.length)
        yield place
        position, offset = place.end, offset + place.stored


def _is_block(header: Header, position: int, end: int | None) -> bool:
    return (
        header.kind == BLOCK
        and header.length <= STORED_BYTES_MAX
        and header.position >= position
        and (end is None or header.position + header.unsynced <= end)
    )


def refuse_newer(disk: Disk, name: str) -> None:
    """Raise DamagedLog if a newer version has written a sealed segment."""
    version = newer_version(read_around(disk, name, 0, HEADER_BYTES))
    if version:
        raise DamagedLog(
            f"{name} is of frame version {version}; this version does not know it: use the version "
            "that wrote it"
        )


def load(disk: Disk, name: str, place: Place) -> Block:
    """A block, read from the disk and checked. Raises DamagedLog."""
    problem = "is not what was written"
    for _ in range(2):  # a read may go wrong
        try:
            data = disk.read(name, place.offset, place.stored)
            header, stored = parse(data), data[HEADER_BYTES:]
            if header is None or not intact(header, stored) or not _is_at(header, place):
                continue
            return Block(stored, place)
        except (DamagedLog, BadFrame) as error:
            problem = str(error)
    raise DamagedLog(
        f"{name}, offset {place.offset}: the block of positions {place.position:#x} to "
        f"{place.end:#x} {problem}",
        place.position,
        place.end,
    )


def _is_at(header: Header, place: Place) -> bool:
    return header.kind == BLOCK and (header.position, header.unsynced) == place[:2]


class SealedFiles:
    """All sealed segments of a disk, with the directories and blocks that were used last.

    `on_better` is told when another directory takes the place of one that only blocks had told.
    """

    def __init__(self, disk: Disk, on_better: Callable[[Directory, Directory], None]) -> None:
        self._disk = disk
        self._on_better = on_better
        self._directories: OrderedDict[str, Directory] = OrderedDict()
        self._searched: dict[str, Directory] = {}  # directories that blocks told: not the last word
        self._blocks: OrderedDict[tuple[str, int], tuple[Block, int]] = OrderedDict()
        self._bytes = 0

    def directory(self, name: str, base: int, end: int) -> Directory:
        """What is where in a sealed segment. Raises DamagedLog if a newer version wrote it."""
        found = self._directories.get(name) or self.stored(name, base)
        if found is None:
            found = _searched_directory(self._disk, name, base, end)
            before, self._searched[name] = self._searched.get(name), found
            self._keep(name, found, before)
        self._directories.move_to_end(name)
        return found

    def is_searched(self, name: str) -> bool:
        """Whether only its blocks have told what is where."""
        return name in self._searched

    def stored(self, name: str, base: int) -> Directory | None:
        """The directory as the disk gives it now; None if it is damaged."""
        found = stored_directory(self._disk, name, base)
        if found is not None:
            self._keep(name, found, self._searched.pop(name, None))
        return found

    def _keep(self, name: str, directory: Directory, before: Directory | None) -> None:
        self._directories[name] = directory
        if before is not None:
            self._on_better(before, directory)
        if len(self._directories) > DIRECTORIES_CACHED_MAX:
            self._directories.popitem(last=False)

    def block(self, name: str, place: Place) -> Block:
        """A block, from the cache if it is there. Raises DamagedLog."""
        key = (name, place.offset)
        kept = self._blocks.get(key)
        if kept is not None:
            self._blocks.move_to_end(key)
            return kept[0]
        block = load(self._disk, name, place)
        self._blocks[key] = block, place.length
        self._bytes += place.length
        while self._bytes > BLOCKS_CACHED_BYTES and len(self._blocks) > 1:
            _, (_, length) = self._blocks.popitem(last=False)
            self._bytes -= length
        return block

    def forget(self, name: str) -> None:
        """A name means another file now."""
        self._directories.pop(name, None)
        for key in [key for key in self._blocks if key[0] == name]:
            self._bytes -= self._blocks.pop(key)[1]
