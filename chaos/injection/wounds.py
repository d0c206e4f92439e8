"""Damage to the files of a node, and copies of its whole directory.

What is done is drawn from the luck that is handed in, and told in a sentence; None if there was
nothing to do it to. All but `lose_end` the log itself can prove: `verify` finds it. That a log has
lost its end only the index knows. A node that works in the directory meanwhile is not asked: it
meets the damage when it reads there. No store survives the loss of all copies, so a log is hurt
only where others hold what is there: that says `spared_in`.
"""

from __future__ import annotations

import re
import shutil
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Final, NamedTuple

from ...storage.commit import read_header
from ...storage.disk import Disk, FileDisk
from ...storage.errors import ConfigError, DirectoryInUse
from ...storage.files import LogFiles
from ...storage.record import COMMIT
from ...storage.scan import Scan
from ...storage.sealed import directory_of
from ...storage.segment import FOLDER, Found, Segment, sealed_name, segment_name, segments_of

INDEX: Final = "index"
_LOCKS: Final = {"lock", "LOCK"}  # a node's, and RocksDB's
_SEGMENT: Final = re.compile(r"([0-9a-f]{16})\.(?:seg|sealed)")
_SPOTS: Final = 16  # bytes of an index file that are made wrong
_TRIES: Final = 5  # a running node takes files away while they are copied

_CommitKey = tuple[int, int, int]  # shard, origin, sequence


class _Stretch(NamedTuple):
    """Of a file, and of the log."""

    offset: int
    length: int
    position: int
    end: int


class Spared(NamedTuple):
    """What may not be hurt in a log: commits that no other directory holds."""

    positions: list[int]  # in order
    end: int  # what came later was not looked at

    def touches(self, position: int, end: int) -> bool:
        """Whether something of that lies in a range of the log."""
        at = bisect_left(self.positions, position)
        return end > self.end or (at < len(self.positions) and self.positions[at] < end)


ANYTHING: Final = Spared([], 1 << 62)


def spared_in(data: Path, others: Iterable[Path]) -> Spared:
    """What only this directory holds; what the others hold and can't be read does not count."""
    mine, end = _commits(data)
    for other in others:
        for key in _commits(other)[0]:
            mine.pop(key, None)
    return Spared(sorted(at for positions in mine.values() for at in positions), end)


def _commits(data: Path) -> tuple[dict[_CommitKey, list[int]], int]:
    """Where the commits of a directory are, and where its log ends."""
    found: dict[_CommitKey, list[int]] = {}
    if not (data / FOLDER).is_dir():
        return found, 0
    with _viewed(data) as disk:
        files = LogFiles(disk)
        for record in files.scan(0):
            if isinstance(record, Found) and record.kind == COMMIT:
                commit = read_header(record.body)
                key = (commit.shard, commit.origin, commit.seq)
                found.setdefault(key, []).append(record.position)
        return found, files.end


def flip_bits(data: Path, luck: Random, spared: Spared = ANYTHING) -> str | None:
    """Flip one bit in a record, or a sealed block, that was on disk before a later one was."""
    with _seen(data) as disk:
        segments = segments_of(disk)
        for segment in luck.sample(segments, len(segments)):
            provable = _provable(disk, segment, last=segment is segments[-1])
            stretches = [one for one in provable if not spared.touches(one.position, one.end)]
            if stretches:
                hit = luck.choice(stretches)
                at, bit = hit.offset + luck.randrange(hit.length), luck.randrange(8)
                _change(data / segment.name, at, 1 << bit)
                return f"bit {bit} at offset {at} of {segment.name} was flipped"
    return None


def truncate_segment(data: Path, luck: Random, spared: Spared = ANYTHING) -> str | None:
    """Cut a segment short that is not the last."""
    with _seen(data) as disk:
        segments = [one for one in _but_last(disk, spared) if disk.size(one.name)]
        if not segments:
            return None
        name = luck.choice(segments).name
        size = disk.size(name)
        length = luck.randrange(size)
        disk.truncate(name, length)
        return f"{name} was cut from {size} to {length} bytes"


def lose_segment(data: Path, luck: Random, spared: Spared = ANYTHING) -> str | None:
    """Remove a segment that is not the last, in both its forms."""
    with _seen(data) as disk:
        segments = _but_last(disk, spared)
        if not segments:
            return None
        segment = luck.choice(segments)
        for name in (segment_name(segment.base), sealed_name(segment.base)):
            (data / name).unlink(missing_ok=True)
        return f"{segment.name} was removed"


def lose_end(data: Path, luck: Random, spared: Spared = ANYTHING) -> str | None:
    """Remove some whole records at the end of the last segment, but not its first."""
    with _seen(data) as disk:
        segments = segments_of(disk)
        if not segments or segments[-1].sealed:
            return None
        last = segments[-1]
        scan = Scan(disk, last, last=True)
        begins = [one.position for one in scan.records(last.base) if isinstance(one, Found)]
        may = [at for at in range(1, len(begins)) if not spared.touches(begins[at], last.end)]
        if not may:
            return None
        kept = luck.choice(may)
        length = begins[kept] - last.base
        disk.truncate(last.name, length)
        return f"{last.name} lost its last {len(begins) - kept} records, {last.size - length} bytes"


def tear_index(data: Path, luck: Random) -> str | None:
    """Make some bytes of one file of the index wrong."""
    with _stopped(data):
        tables = [one for one in sorted((data / INDEX).glob("*.sst")) if one.stat().st_size]
        if not tables:
            return None
        table = luck.choice(tables)
        size = table.stat().st_size
        spots = luck.sample(range(size), min(_SPOTS, size))
        for spot in spots:
            _change(table, spot, luck.randrange(1, 256))
        return f"{len(spots)} bytes of {INDEX}/{table.name} were made wrong"


def lose_index(data: Path) -> str | None:
    """Remove the index."""
    with _stopped(data):
        if not (data / INDEX).exists():
            return None
        shutil.rmtree(data / INDEX)
        return "the index was removed"


def copy(data: Path, to: Path) -> str | None:
    """Copy a directory, also while a node works in it; what is copied is as after some crash.

    The index comes first, because it remembers how far the log was on disk. If RocksDB takes too
    many of its files away meanwhile, it is left out, and will be rebuilt.
    """
    if not (data / FOLDER).is_dir():
        return None
    if to.exists() and any(to.iterdir()):
        raise ConfigError(f"{to} is not empty; give the copy a directory of its own")
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    index = any(_copy_index(data / INDEX, to / INDEX) for _ in range(_TRIES))
    segments = _copy_log(data / FOLDER, to / FOLDER)
    for path in sorted(data.iterdir()):
        if path.name not in {INDEX, FOLDER, *_LOCKS}:
            _copy_any(path, to / path.name)
    return f"{segments} segments were copied, with{'' if index else 'out'} the index"


def restore(copied: Path, data: Path) -> str | None:
    """Put a copy in place of what is in a directory."""
    if not (copied / FOLDER).is_dir():
        return None
    with _stopped(data):
        for path in sorted(data.iterdir()):
            if path.name in _LOCKS:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        for path in sorted(copied.iterdir()):
            if path.name not in _LOCKS:
                _copy_any(path, data / path.name)
    return f"{data.name} is as it was when it was copied"


@contextmanager
def _seen(data: Path) -> Iterator[FileDisk]:
    """The directory of a node; of one that runs, the same files by other names."""
    if not data.is_dir():
        raise ConfigError(f"there is no data directory {data}; start its node once")
    try:
        disk = FileDisk(data)
    except DirectoryInUse:
        with _viewed(data) as disk:
            yield disk
        return
    try:
        yield disk
    finally:
        disk.close()


@contextmanager
def _viewed(data: Path) -> Iterator[FileDisk]:
    """The same files of a log by other names, so that nobody finds the directory in use."""
    view = Path(mkdtemp(prefix="seen-", dir=data.parent))
    try:
        _link_log(data, view)
        disk = FileDisk(view)
        try:
            yield disk
        finally:
            disk.close()
    finally:
        shutil.rmtree(view)


@contextmanager
def _stopped(data: Path) -> Iterator[FileDisk]:
    """The directory of a node that is stopped, and stays so meanwhile."""
    if not data.is_dir():
        raise ConfigError(f"there is no data directory {data}; start its node once")
    disk = FileDisk(data)
    try:
        yield disk
    finally:
        disk.close()


def _link_log(data: Path, view: Path) -> None:
    (view / FOLDER).mkdir()
    for path in sorted((data / FOLDER).iterdir()):
        with suppress(FileNotFoundError):  # it was sealed meanwhile
            (view / FOLDER / path.name).hardlink_to(path)


def _but_last(disk: Disk, spared: Spared) -> list[Segment]:
    return [one for one in segments_of(disk)[:-1] if not spared.touches(one.base, one.end)]


def _provable(disk: Disk, segment: Segment, *, last: bool) -> list[_Stretch]:
    """What lies where in a file, as far as damage there can't be taken for a torn tail."""
    if segment.sealed:
        places = directory_of(disk, segment.name, segment.base, segment.end).places
        return [_Stretch(one.offset, one.stored, one.position, one.end) for one in places]
    scan = Scan(disk, segment, last=last)
    stretches: list[_Stretch] = []
    synced = 0
    for found in scan.records(segment.base):
        if isinstance(found, Found) and scan.header is not None:
            offset, length = found.position - segment.base, scan.header.end - found.position
            stretches.append(_Stretch(offset, length, found.position, scan.header.end))
            synced = max(synced, scan.header.position - scan.header.unsynced - segment.base)
    return [one for one in stretches if not last or one.offset + one.length <= synced]


def _change(path: Path, at: int, bits: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)[0]
        file.seek(at)
        file.write(bytes([old ^ bits]))


def _copy_index(index: Path, to: Path) -> bool:
    """Whether an index was there and none of its files vanished meanwhile."""
    shutil.rmtree(to, ignore_errors=True)
    if not index.is_dir():
        return False
    to.mkdir(mode=0o700)
    # What names the tables comes before them: new ones do no harm, and old ones go more seldom.
    names = sorted((path.name for path in index.iterdir()), key=lambda name: name.endswith(".sst"))
    wanted = [name for name in names if name not in _LOCKS]
    if all(_copy_file(index / name, to / name) for name in wanted):
        return True
    shutil.rmtree(to)
    return False


def _copy_log(log: Path, to: Path) -> int:
    """Copy the segments that are there now, in order; how many there were.

    A segment that is begun meanwhile is left out: the one before has grown since it was copied.
    """
    to.mkdir(mode=0o700)
    bases = sorted({match[1] for path in log.iterdir() if (match := _SEGMENT.fullmatch(path.name))})
    for base in bases:
        for _ in range(_TRIES):  # it may be sealed meanwhile, and then has another name
            forms = [f"{base}.seg", f"{base}.sealed"]
            if any([_copy_file(log / name, to / name) for name in forms]):  # noqa: C419 - both
                break
    return len(bases)


def _copy_file(path: Path, to: Path) -> bool:
    try:
        shutil.copyfile(path, to)
    except FileNotFoundError:
        return False
    return True


def _copy_any(path: Path, to: Path) -> None:
    if not path.is_dir():
        _copy_file(path, to)
        return
    to.mkdir(mode=0o700)
    for one in sorted(path.iterdir()):
        if one.name not in _LOCKS:
            _copy_any(one, to / one.name)
