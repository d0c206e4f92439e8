"""Loss of power, as far as a process can show it: SIGKILL, and then the disk forgets.

After a SIGKILL the kernel still has every page, so it says nothing about syncs. Here the trace of
a process says what was surely on disk when it died, and the rest is damaged as a loss of power may:

- Bytes are durable if a sync of their file began after their write had returned, and returned 0.
- A name is durable if a sync of its folder began after it was given, and returned 0. Without that a
  new file may be gone, and a file that was renamed may have its old name.
- What was there at the beginning is durable. What was removed stays removed, which is the worst for
  a store that removes too early.

Strace notes one stop of a thread after the other and lets it go on afterwards, so the order of the
lines is an order in which things happened. Appends alone are judged: a durable byte that is written
again counts as durable.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from ...storage.errors import DiskError
from .tracing import GONE_SECONDS, SYNCS, Tracing, attach, command, folder_of, gone

INDEX: Final = "index"  # a cache: what becomes of it does not count
WRITES: Final = ("pwrite64", "write", "ftruncate")
NAMES: Final = ("openat", "rename", "renameat", "renameat2", "unlink", "unlinkat")
CALLS: Final = (*SYNCS, *WRITES, *NAMES)
_LINE: Final = re.compile(r"(\d+) +[\d.]+ (.*)")
_CALL: Final = re.compile(r"(\w+)\((.*)")
_RESUMED: Final = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_ENDED: Final = re.compile(r"(.*)\) += (-?\d+)(?:<(.*?)>)?(?:\s|$)")
_FILE: Final = re.compile(r"\d+<([^>]*)>(?!\(deleted\))")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Kept(NamedTuple):
    """What a loss of power leaves for sure of a file that is there now.

    `name` is the path under which it is durable, None if under none. `alone` says that it took no
    other file's name, so that the old one can be given back.
    """

    length: int
    name: str | None
    alone: bool = True


class Step(NamedTuple):
    """One call begins, or ends with a result; `opened` is the path of the file it returned."""

    thread: int
    call: str
    arguments: str
    result: int | None
    opened: str = ""


def steps(trace: str) -> Iterator[Step]:
    """The calls of a trace, as they began and ended, in order. A last line may be cut off."""
    begun: dict[int, tuple[str, str]] = {}
    for line in trace.splitlines():
        if not (match := _LINE.fullmatch(line)):
            continue
        thread, said = int(match[1]), match[2]
        if resumed := _RESUMED.fullmatch(said):
            call, before = begun.pop(thread, (resumed[1], ""))
            rest = before + resumed[2]
        elif started := _CALL.fullmatch(said):
            call, rest = started[1], started[2]
            yield Step(thread, call, rest, None)
        else:
            continue
        if ended := _ENDED.match(rest):
            yield Step(thread, call, ended[1], int(ended[2]), ended[3] or "")
        else:
            begun[thread] = call, rest.removesuffix("<unfinished ...>").rstrip()


def durable(trace: str, sizes: Mapping[str, int], folder: str = "/") -> dict[str, Kept]:
    """Path -> what surely survives, for every file that is there at the end of a trace.

    `sizes` is what was there at its beginning, `folder` where the process's short paths begin.
    """
    ledger = _Ledger(sizes, folder)
    for step in steps(trace):
        ledger.take(step)
    return {path: Kept(file.durable, file.name, file.alone) for path, file in ledger.files.items()}


@dataclass(eq=False)
class _File:
    """One file, whatever it is called at the moment."""

    written: int = 0
    durable: int = 0
    name: str | None = None
    alone: bool = True


@dataclass
class _Sync:
    """A sync that has begun: what will be durable when it returns 0."""

    file: _File | None
    length: int
    names: dict[str, _File]


class _Ledger:
    def __init__(self, sizes: Mapping[str, int], folder: str) -> None:
        self.files = {path: _File(size, size, path) for path, size in sizes.items()}
        self._folder = folder
        self._syncs: dict[int, _Sync] = {}

    def take(self, step: Step) -> None:
        """One more step of the trace."""
        if step.call in SYNCS:
            if step.result is None:
                self._sync_begins(step)
            else:
                self._sync_ends(step)
        elif step.result is None or step.result < 0:
            return
        elif step.call in WRITES:
            self._written(step)
        elif step.call == "openat":
            self._opened(step)
        elif step.call in NAMES:
            paths = [self._path(text) for text in _QUOTED.findall(step.arguments)]
            if step.call.startswith("unlink"):
                self.files.pop(paths[0], None)
            else:
                self._renamed(*paths)

    def _path(self, text: str) -> str:
        return os.path.normpath(os.path.join(self._folder, text))  # noqa: PTH118 - pure

    def _sync_begins(self, step: Step) -> None:
        if match := _FILE.match(step.arguments):
            file = self.files.get(match[1])
            inside = {
                path: one
                for path, one in self.files.items()
                if os.path.dirname(path) == match[1]  # noqa: PTH120 - pure
            }
            self._syncs[step.thread] = _Sync(file, file.written if file else 0, inside)

    def _sync_ends(self, step: Step) -> None:
        sync = self._syncs.pop(step.thread, None)
        if sync is None or step.result != 0:
            return
        if sync.file is not None:
            sync.file.durable = max(sync.file.durable, sync.length)
        for path, file in sync.names.items():
            file.name, file.alone = path, True

    def _written(self, step: Step) -> None:
        match = _FILE.match(step.arguments)
        file = self.files.get(match[1]) if match else None
        if file is None or step.result is None:
            return
        if step.call == "ftruncate":
            self._cut(file, int(step.arguments.rpartition(",")[2]))
        elif step.call == "pwrite64":
            offset = int(step.arguments.rpartition(",")[2])
            file.written = max(file.written, offset + step.result)
        else:
            file.written += step.result

    def _cut(self, file: _File, length: int) -> None:
        file.written, file.durable = length, min(file.durable, length)
        for sync in self._syncs.values():
            if sync.file is file:
                sync.length = min(sync.length, length)

    def _opened(self, step: Step) -> None:
        if "O_CREAT" in step.arguments:
            file = self.files.setdefault(step.opened, _File())
            if "O_TRUNC" in step.arguments:
                self._cut(file, 0)

    def _renamed(self, old: str, new: str) -> None:
        file = self.files.pop(old, None)
        if file is not None:
            file.alone = file.alone and new not in self.files
            self.files[new] = file


# -- the disk --------------------------------------------------------------------------------------


def damage(data: Path, kept: Mapping[str, Kept], luck: Random) -> list[str]:
    """Take from a directory what a loss of power may take; sentences of what was lost."""
    lost: list[str] = []
    for path in sorted(kept):
        if Path(path).exists():
            lost += _forget_bytes(data, Path(path), kept[path].length, luck)
            lost += _forget_name(data, Path(path), kept[path], luck)
    return lost


def _forget_bytes(data: Path, path: Path, length: int, luck: Random) -> Iterator[str]:
    size = path.stat().st_size
    if size <= length:
        return
    name, fate = path.relative_to(data), luck.random()
    end = length if fate < 0.6 else luck.randint(length, size - 1)
    os.truncate(path, end)
    if fate < 0.8:
        yield f"{name} has lost {size - end} bytes from {end} on; {length} were synced"
    else:
        os.truncate(path, size)
        yield f"{name} has {size - end} zeros from {end} on; {length} bytes were synced"


def _forget_name(data: Path, path: Path, kept: Kept, luck: Random) -> Iterator[str]:
    if kept.name == str(path) or luck.random() < 0.5:
        return
    name = path.relative_to(data)
    if kept.name is None:
        path.unlink()
        yield f"{name} is gone: its name was not synced"
    elif kept.alone and not Path(kept.name).exists():
        path.rename(kept.name)
        yield f"{name} is {Path(kept.name).name} again: its new name was not synced"


class Power:
    """The power of one process. While it is watched, strace can't inject anything else into it.

    `watch` attaches to one that runs. Or make one for a directory, start a process by `command`,
    and set `pid`: that costs it much less, and covers its start.
    """

    def __init__(self, data: Path, folder: str = "") -> None:
        self.pid = 0
        self._data = data.resolve()
        self._folder = folder or folder_of(os.getpid())
        self._keeping = TemporaryDirectory(prefix="anabranch-")
        self._output = Path(self._keeping.name) / "trace"
        self._tracing: Tracing | None = None
        self._sizes = _sizes_of(self._data)

    @classmethod
    async def watch(cls, pid: int, data: Path) -> Power:
        """Note from now on what a process writes. Raises ConfigError, ProcessLookupError."""
        power = cls(data, folder_of(pid))
        try:
            power._tracing = await attach(pid, calls=CALLS, output=power._output)
        except BaseException:
            power._keeping.cleanup()
            raise
        power.pid = pid
        power._sizes = _sizes_of(power._data)  # again: what was synced meanwhile was not noted
        return power

    def command(self, arguments: Sequence[str]) -> list[str]:
        """What starts a process that is noted from its first call on."""
        return command(arguments, calls=CALLS, output=self._output)

    async def cut(self, luck: Random) -> list[str]:
        """Kill the process, and take from its directory what was not synced; what was lost."""
        assert self.pid, "a process was started, and nobody said which"
        if self._tracing is None or not self._tracing.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        try:
            if not await self._is_over() or not await gone(self.pid):
                raise DiskError(f"process {self.pid} was killed, and has not ended")
            trace = _read(self._output)
        finally:
            await self.end()
        kept = durable(trace, self._sizes, self._folder)
        kept = {path: one for path, one in kept.items() if _counts(self._data, Path(path))}
        return damage(self._data, kept, luck)

    async def end(self) -> None:
        """Watch no more; the process goes on."""
        if self._tracing is not None:
            await self._tracing.detach()
        self._keeping.cleanup()

    async def _is_over(self) -> bool:
        """Whether the trace has come to its end."""
        if self._tracing is not None:
            return await self._tracing.wait(GONE_SECONDS)
        for _ in range(int(GONE_SECONDS / 0.02)):
            if not _is_open(self._output):  # strace is no child of ours, and says no last word
                return True
            await asyncio.sleep(0.02)
        return False


def _is_open(path: Path) -> bool:
    return any(str(path) in _open_files(process) for process in Path("/proc").glob("[0-9]*"))


def _open_files(process: Path) -> list[str]:
    found = []
    with suppress(OSError):  # it has ended, or is another user's
        for link in (process / "fd").iterdir():
            with suppress(OSError):  # closed by now
                found.append(str(link.readlink()))
    return found


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _sizes_of(data: Path) -> dict[str, int]:
    sizes = {}
    for path in data.rglob("*"):
        with suppress(FileNotFoundError):  # of a process that works meanwhile
            if _counts(data, path) and path.is_file():
                sizes[str(path)] = path.stat().st_size
    return sizes


def _counts(data: Path, path: Path) -> bool:
    return path.is_relative_to(data) and path.relative_to(data).parts[:1] != (INDEX,)
