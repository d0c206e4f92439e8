"""A simulated disk: what was synced survives a crash, of the rest any part may.

It can also be slow, stand still, fail, be full, lie, serve wrong blocks, and be damaged. As on the
real disk, a write that fails leaves nothing; but a part of it was written, and if a crash follows,
that part may be there after all.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from copy import copy, deepcopy
from dataclasses import dataclass, field
from random import Random as Generator
from typing import Final, NamedTuple

from ...storage.errors import DamagedLog, DiskError, DiskFull, SyncFailed
from ...storage.limits import DISK_RESERVE_BYTES

SECTOR_BYTES: Final = 512
DAMAGES: Final = {
    "flip": "a bit is flipped",
    "zero": "a block is zeros",
    "stale": "a block is as it was before it was last written",
    "misplaced": "a block is that of another place",
    "truncate": "the file ends here",
    "missing": "the file is gone",
}
_IN_PLACE: Final = ("flip", "zero", "stale", "misplaced")
_ENDS_KEPT: Final = 64  # ends of writes that a file remembers
_TRIES: Final = 8  # zeros over zeros are no damage


@dataclass
class _File:
    data: bytearray = field(default_factory=bytearray)
    synced: int = 0  # bytes that survive for certain
    named: bool = False  # whether the name survives for certain
    undone: bytes = b""  # what a write that failed had written after the data
    ends: deque[int] = field(default_factory=lambda: deque(maxlen=_ENDS_KEPT))  # of late writes


class _Undo(NamedTuple):
    """A change of a name that a crash may undo: the file is called `old` again."""

    name: str
    old: str
    file: _File
    before: _File | None  # what was called `name` before

    def follows(self, other: _Undo) -> bool:
        """Whether this can't have come to be without another."""
        return self.file is other.file or not {self.name, self.old}.isdisjoint(other[:2])


@dataclass
class _Wound:
    """A damage that can be mended."""

    name: str
    offset: int
    was: bytes
    length: int  # of what is there instead
    opened: bool = False  # whether the disk was opened in this state


class SimDisk:
    """One data directory in memory."""

    def __init__(
        self,
        generator: Generator,
        *,
        sync_seconds: float = 0.0005,
        capacity_bytes: int = 1 << 40,
    ) -> None:
        self._generator = generator
        self._files: dict[str, _File] = {}
        self._wounds: list[_Wound] = []
        self._undo: list[_Undo] = []  # since names were synced, the latest last
        self._stalled_until = 0.0
        self._awaiting: list[asyncio.Future[None]] = []
        self.sync_seconds = sync_seconds
        self.slow = 1.0  # how many times as long a sync takes
        self.capacity_bytes = capacity_bytes
        self.full_since: float | None = None  # when somebody left it no room, for who looks on
        self.failing_syncs = False
        self.failing_writes = False
        self.lying = False  # what it confirms is not durable
        self.misread = 0.0  # share of reads in which a block is wrong, or can't be read
        self.reads_right = False  # all the same
        self.crashed = 0  # how often; what was begun before a crash does nothing after it
        self.counts: Counter[str] = Counter()  # what crashes and wrong reads did

    # -- what the log asks of a disk -----------------------------------------------------------

    def list(self, folder: str) -> list[str]:
        """The names in a folder; whoever opens a log asks for them first."""
        for wound in self._wounds:
            wound.opened = True
        return sorted(name.rpartition("/")[2] for name in self._files if _is_in(name, folder))

    def size(self, name: str) -> int:
        """The length of a file."""
        return len(self._file(name).data)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes."""
        if name not in self._files:
            raise DamagedLog(f"there is no {name}")
        data = bytes(self._file(name).data[offset : offset + length])
        share = 0.0 if self.reads_right else self.misread
        if share and data and self._generator.random() < share:
            return self._misread(name, offset, data)
        return data

    def append(self, name: str, data: bytes) -> None:
        """Write at the end, all or nothing."""
        self._go_on()
        file, room = self._files.setdefault(name, _File()), max(0, self.free())
        if self.failing_writes:
            file.undone = data[: min(room, self._generator.randrange(len(data) + 1))]
            raise DiskError(f"can't write {name}: input/output error")
        if len(data) > room:
            file.undone = data[:room]
            raise DiskFull(f"no room for {len(data)} bytes; free some space")
        file.data += data
        file.undone = b""
        file.ends.append(len(file.data))
        if self.full_since is not None and room >= DISK_RESERVE_BYTES > room - len(data):
            self.full_since = asyncio.get_running_loop().time()  # sealing had made some room

    async def sync(self, name: str) -> None:
        """Make durable what had been appended when this was called."""
        file, end, life = self._file(name), len(self._file(name).data), self.crashed
        self._sync_begins()
        await asyncio.sleep(self._generator.uniform(0.5, 1.5) * self.sync_seconds * self.slow)
        loop = asyncio.get_running_loop()
        while (left := self._stalled_until - loop.time()) > 0:  # noqa: ASYNC110 - it may grow
            await asyncio.sleep(left)
        if self.failing_syncs:
            raise SyncFailed(f"the disk did not confirm {name}")
        if life == self.crashed and not self.lying:
            file.synced = max(file.synced, min(end, len(file.data)))
            file.undone = b""

    def sync_names(self, folder: str) -> None:
        """Make the names of a folder durable."""
        if self.lying:
            return
        for name, file in self._files.items():
            if _is_in(name, folder):
                file.named = True
        self._undo = [undo for undo in self._undo if not _is_in(undo.name, folder)]

    def truncate(self, name: str, length: int) -> None:
        """Cut a file, durably."""
        file = self._file(name)
        del file.data[length:]
        file.synced = min(file.synced, length)
        file.undone = b""
        file.ends = deque((end for end in file.ends if end <= length), _ENDS_KEPT)
        self._wounds = [
            wound for wound in self._wounds if wound.name != name or _cut(wound, length)
        ]

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; a crash may undo it until the names are synced."""
        file = self._file(old)
        if self.failing_writes:
            raise DiskError(f"can't rename {old}: input/output error")
        self._undo.append(_Undo(new, old, file, self._files.get(new)))
        del self._files[old]
        self._files[new] = file
        self._forget_wounds(old, new)

    def remove(self, name: str) -> None:
        """Take a file away; a crash may bring it back until the names are synced."""
        file = self._file(name)
        if self.failing_writes:
            raise DiskError(f"can't remove {name}: input/output error")
        if file.named:
            self._undo.append(_Undo(name, name, file, None))
        del self._files[name]
        self._forget_wounds(name)

    def reopen(self, name: str) -> None:
        """Nothing: a name is looked up each time."""

    def free(self) -> int:
        """Bytes that can still be written."""
        return self.capacity_bytes - sum(len(file.data) for file in self._files.values())

    def close(self) -> None:
        """There is nothing to let go of."""

    # -- what a test or a plan does to it --------------------------------------------------------

    def crash(self) -> None:
        """Lose what was not synced, in part or whole, in any order."""
        self.crashed += 1
        self._lose_names()
        for name, file in [*self._files.items()]:
            if not file.named and self._generator.random() < 0.5:
                self.counts["name lost"] += 1
                del self._files[name]
                continue
            file.data += file.undone
            if len(file.data) > file.synced:
                self._tear(file)
            file.synced, file.named, file.undone = len(file.data), True, b""

    def _lose_names(self) -> None:
        """Undo some of what was done to names since they were synced, in no order but of a file."""
        lost: list[_Undo] = []
        for change in self._undo:
            if any(change.follows(other) for other in lost) or self._generator.random() < 0.5:
                lost.append(change)
            else:
                change.file.named = True
        for change in reversed(lost):
            self.counts["change of a name undone"] += 1
            self._files.pop(change.name, None)
            if change.before is not None:
                self._files[change.name] = change.before
            self._files[change.old] = change.file
        self._undo.clear()

    def stall(self, seconds: float) -> None:
        """Syncs that are under way or begin do not end before so long from now."""
        until = asyncio.get_running_loop().time() + seconds
        self._stalled_until = max(self._stalled_until, until)

    def next_sync(self) -> asyncio.Future[None]:
        """Done when the next sync begins."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaiting.append(future)
        return future

    def synced(self, name: str) -> bytes:
        """What of a file is certain to survive a crash; nothing if its name is not."""
        file = self._files.get(name)
        return bytes(file.data[: file.synced]) if file is not None and file.named else b""

    def clone(self) -> SimDisk:
        """An equal disk with the same luck ahead; what is under way is not."""
        other = copy(self)
        vars(other).update(deepcopy({**vars(self), "_awaiting": []}))
        return other

    def flip(self, name: str, offset: int, mask: int = 1) -> None:
        """Damage a byte for good."""
        self._file(name).data[offset] ^= mask

    def wipe(self) -> None:
        """Lose everything."""
        self._files.clear()
        self._wounds.clear()
        self._undo.clear()

    def damage(self, generator: Generator, kind: str, until: int = 1 << 62) -> str | None:
        """Damage synced bytes of the log in one of the ways of DAMAGES; what was done, if any.

        `until` is the position in the log from which on nothing is touched.
        """
        files = {
            name: _touchable(name, len(self.synced(name)), until)
            for name in sorted(self._files)
            if name.startswith("log/") and not name.endswith(".tmp")
        }
        if not any(files.values()):
            return None
        (name,) = generator.choices(list(files), list(files.values()))
        file = self._files[name]
        for _ in range(_TRIES):
            offset, stop = self._range(generator, file, kind, files[name])
            now = self._spoiled(generator, kind, name, offset, stop) if kind in _IN_PLACE else b""
            was = bytes(file.data[offset:stop])
            if was != now:
                self._wounds.append(_Wound(name, offset, was, len(now)))
                self._replace(name, offset, len(was), now)
                if kind == "missing":
                    del self._files[name]
                return f"{name}, offset {offset}: {DAMAGES[kind]}"
        return None

    def mend(self) -> None:
        """Put back what was damaged; what was appended since stays."""
        while self._wounds:
            wound = self._wounds.pop()
            self._files.setdefault(wound.name, _File()).named = True
            self._replace(wound.name, wound.offset, wound.length, wound.was)

    # -- inside ------------------------------------------------------------------------------------

    def _file(self, name: str) -> _File:
        try:
            return self._files[name]
        except KeyError:
            raise DiskError(f"there is no {name}") from None

    def _sync_begins(self) -> None:
        for future in self._awaiting:
            if not future.done():
                future.set_result(None)
        self._awaiting.clear()

    def _forget_wounds(self, *names: str) -> None:
        self._wounds = [wound for wound in self._wounds if wound.name not in names]

    def _go_on(self) -> None:
        """Whoever writes on after opening a shorter log has taken it as it is."""
        if self._wounds:
            self._wounds = [
                wound
                for wound in self._wounds
                if not wound.opened or wound.length == len(wound.was)
            ]

    def _tear(self, file: _File) -> None:
        """Lose what was not synced of a file, in one of the ways that were seen on real disks."""
        start, end = file.synced, len(file.data)
        how = self._generator.choice(("kept", "lost", "torn", "sectors", "zero tail"))
        if how == "lost":
            del file.data[start:]
            self.counts["unsynced bytes lost"] += end - start
        elif how == "torn":
            del file.data[self._generator.randrange(start, end) :]
            self.counts["torn"] += 1
        elif how == "sectors":
            self._lose_sectors(file)
        elif how == "zero tail":  # the length came before the data
            file.data[start:] = bytes(end - start)
            self.counts["zero tail"] += 1

    def _lose_sectors(self, file: _File) -> None:
        start, end, kept = file.synced, len(file.data), file.synced
        while start < end:
            stop = min(start - start % SECTOR_BYTES + SECTOR_BYTES, end)
            if self._generator.random() < 0.5:
                kept = stop
            else:
                file.data[start:stop] = bytes(stop - start)
                self.counts["sectors lost"] += 1
            start = stop
        del file.data[kept:]

    def _range(self, generator: Generator, file: _File, kind: str, end: int) -> tuple[int, int]:
        """Which bytes of a file a damage concerns."""
        if kind == "missing":
            return 0, len(file.data)
        at = generator.randrange(end)
        if kind == "flip":
            return at, at + 1
        if kind == "truncate":
            return self._end_of_a_write(generator, file, 0, end, at), len(file.data)
        start = at - at % SECTOR_BYTES
        return start, min(start + SECTOR_BYTES, end)

    @staticmethod
    def _end_of_a_write(
        generator: Generator, file: _File, start: int, stop: int, other: int
    ) -> int:
        """Where a write ended, half the time: what is there then looks whole."""
        ends = [end for end in file.ends if start <= end < stop]
        return generator.choice(ends) if ends and generator.random() < 0.5 else other

    def _spoiled(self, generator: Generator, kind: str, name: str, start: int, stop: int) -> bytes:
        """Wrong bytes in place of those of a file."""
        file = self._files[name]
        was = bytes(file.data[start:stop])
        if kind == "flip":
            at = generator.randrange(len(was))
            return was[:at] + bytes([was[at] ^ 1 << generator.randrange(8)]) + was[at + 1 :]
        if kind == "zero":
            return bytes(len(was))
        if kind == "stale":  # a log only grows: the older block is the shorter one
            at = generator.randrange(start, stop)
            kept = was[: self._end_of_a_write(generator, file, start, stop, at) - start]
            return kept + bytes(len(was) - len(kept))
        names = sorted(self._files)
        (other,) = generator.choices(names, [len(self._files[one].data) + 1 for one in names])
        source = self._files[other].data
        at = generator.randrange(len(source) // SECTOR_BYTES + 1) * SECTOR_BYTES
        found = bytes(source[at : at + len(was)])
        return found + was[len(found) :]

    def _replace(self, name: str, offset: int, length: int, now: bytes) -> None:
        file = self._files[name]
        file.data[offset : offset + length] = now
        file.synced = max(min(file.synced, offset), file.synced + len(now) - length)

    def _misread(self, name: str, offset: int, data: bytes) -> bytes:
        """What was read, with one block as it is not on the disk. Raises DamagedLog instead."""
        at = self._generator.randrange(offset, offset + len(data))
        start = max(offset, at - at % SECTOR_BYTES)
        stop = min(at - at % SECTOR_BYTES + SECTOR_BYTES, offset + len(data))
        kind = self._generator.choice(("flip", "stale", "misplaced", "error"))
        if kind == "error":
            self.counts["failed read"] += 1
            raise DamagedLog(f"{name} can't be read at offset {start}: input/output error")
        wrong = self._spoiled(self._generator, kind, name, start, stop)
        self.counts["misread"] += wrong != data[start - offset : stop - offset]
        return data[: start - offset] + wrong + data[stop - offset :]


def _is_in(name: str, folder: str) -> bool:
    return name.rpartition("/")[0] == folder


def _touchable(name: str, length: int, until: int) -> int:
    """How much of a file may be damaged if nothing behind a position in the log may be.

    A sealed segment is compressed, and long before the end of the log: all or nothing of it.
    """
    left = max(0, until - _base(name))
    if name.endswith(".sealed"):
        return length if left else 0
    return min(length, left)


def _base(name: str) -> int:
    """The position in the log at which a segment begins; 0 for any other file."""
    try:
        return int(name.removeprefix("log/").partition(".")[0], 16)
    except ValueError:
        return 0


def _cut(wound: _Wound, length: int) -> bool:
    """Forget what of a wound lies beyond a cut; whether anything is left of it."""
    if wound.offset >= length:
        return False
    if wound.length == len(wound.was):
        wound.was = wound.was[: length - wound.offset]
        wound.length = len(wound.was)
    return True
