"""Strace on a running node: it sees every call of the process, and can fail it, delay it or kill.

Attaching stops the process for a moment; while it lasts, every call of the process costs two stops,
whether it is looked at or not. A process that was started by `command` pays only for the calls that
are looked at, unless a signal is injected; but then strace must stay: without it those calls fail.

Strace counts `when=` for each thread by itself, and counts only calls on the given paths. A path
need not exist. It is compared with what the process opened, so a new file's name has to be known
before; and with what a call like rename names, as the process spelled it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...storage.errors import ConfigError
from ...storage.segment import FOLDER, segment_name

ATTACH_SECONDS: Final = 15.0  # of a process with a hundred threads, on a machine with much to do
DETACH_SECONDS: Final = 5.0
GONE_SECONDS: Final = 10.0
SYNCS: Final = ("fdatasync", "fsync")


class Tracing:
    """One strace on one process. `ended` is set when the traced process has died."""

    def __init__(self, pid: int, strace: asyncio.subprocess.Process) -> None:
        self.pid = pid
        self.ended = asyncio.Event()
        self._strace = strace
        self._said: deque[str] = deque(maxlen=20)
        self._letting_go = False
        self._listening: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Return when strace has all threads. Raises ConfigError, ProcessLookupError."""
        try:
            async with asyncio.timeout(ATTACH_SECONDS):
                await self._until_attached()
        except BaseException:
            await self._end_strace((signal.SIGTERM, signal.SIGKILL))
            raise
        self._listening = asyncio.create_task(self._listen())

    async def _until_attached(self) -> None:
        while line := await self._line():
            if "attached" in line:
                return
        said = " ".join(self._said)
        if _dead(self.pid):
            raise ProcessLookupError(f"there is no process {self.pid} to attach to")
        raise ConfigError(
            f"strace can't attach to process {self.pid}: {said}. Run as root, or with "
            "CAP_SYS_PTRACE; in a container, with --cap-add=SYS_PTRACE"
        )

    async def _line(self) -> str:
        assert self._strace.stderr is not None, "it was started with a pipe"
        line = (await self._strace.stderr.readline()).decode(errors="replace")
        self._said.append(line.strip())
        return line

    async def _listen(self) -> None:
        """Keep the pipe empty until strace ends; that it does by itself only with the process."""
        while await self._line():
            pass
        await self._strace.wait()
        if not self._letting_go:
            self.ended.set()

    async def wait(self, within: float) -> bool:
        """Whether the process has died within so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), within)
        return self.ended.is_set()

    async def detach(self) -> None:
        """End strace; the process goes on unharmed, without what was injected."""
        if self._strace.returncode is None:
            self._letting_go = True
        await self._end_strace((signal.SIGTERM, signal.SIGINT, signal.SIGKILL))

    async def release(self) -> None:
        """End strace at once, also when it delays a call of a process that has to die."""
        if self._strace.returncode is None:
            self._letting_go = True
        await self._end_strace((signal.SIGKILL,))

    async def _end_strace(self, signals: Iterable[signal.Signals]) -> None:
        for one in signals:
            if self._strace.returncode is not None:
                break
            with suppress(ProcessLookupError):
                os.kill(self._strace.pid, one)  # its own way may take the exit status from asyncio
            with suppress(TimeoutError):
                await asyncio.wait_for(self._strace.wait(), DETACH_SECONDS)
        if self._listening is not None:
            await self._listening


async def attach(
    pid: int,
    *,
    calls: Sequence[str],
    injects: Sequence[str] = (),
    paths: Sequence[Path] = (),
    output: Path | None = None,
) -> Tracing:
    """Trace some calls of a process, on some paths if any are given, and inject faults into them.

    Returns when all its threads are traced. `output` gets the trace. Raises ConfigError without
    strace or the right to trace, ProcessLookupError without the process, TimeoutError.
    """
    arguments = [_strace(), "-f", "-p", str(pid)]
    arguments += _arguments(calls, injects, _spellings(paths, pid), output)
    strace = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C ends the traced process first, if at all
    )
    tracing = Tracing(pid, strace)
    await tracing.begin()
    return tracing


def command(
    arguments: Sequence[str],
    *,
    calls: Sequence[str],
    injects: Sequence[str] = (),
    paths: Sequence[Path] = (),
    output: Path | None = None,
) -> list[str]:
    """What starts a process under strace from its first call on; the pid is the process itself."""
    traced = [_strace(), "-DDD", "-f"]
    if not any("signal=" in inject for inject in injects):  # strace 6.1 forgets them with this
        traced.append("--seccomp-bpf")
    traced += _arguments(calls, injects, _spellings(paths, os.getpid()), output)
    return [*traced, "--", *arguments]


def _strace() -> str:
    found = shutil.which("strace")
    if found is None:
        raise ConfigError(
            "there is no `strace` here, which injects the faults of the disk. It is in the Debian "
            "package `strace`: apt-get install strace"
        )
    return found


def _arguments(
    calls: Sequence[str], injects: Sequence[str], paths: Iterable[str], output: Path | None
) -> list[str]:
    arguments = ["-y", "-s", "0", "-ttt", "-o", str(output or os.devnull)]
    arguments += ["-e", "signal=none", "-e", "trace=" + ",".join(f"?{call}" for call in calls)]
    for inject in injects:
        arguments += ["-e", f"inject={inject}"]
    for path in paths:
        arguments += ["-P", path]
    return arguments


def _spellings(paths: Iterable[Path], pid: int) -> list[str]:
    """Each path as an open file shows it, and as a process may spell it."""
    folder = folder_of(pid)
    found: dict[str, None] = {}
    for path in paths:
        whole = path.resolve()
        for one in (str(whole), str(path), os.path.relpath(whole, folder)):
            found[one] = None
    return list(found)


def folder_of(pid: int) -> str:
    """Where a process works: short paths that it was told begin there."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115 - shorter than its twin
    except OSError:  # it has died
        return "/"


async def gone(pid: int, within: float = GONE_SECONDS) -> bool:
    """Whether a process that was killed has no thread left within so many seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while not _dead(pid):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.005)
    return True


def _dead(pid: int) -> bool:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - shorter than its twin
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return len(threads) == 1 and state in "ZX"  # nobody has asked for its exit status yet


# -- faults of the disk ----------------------------------------------------------------------------


def log_files(data: Path) -> list[Path]:
    """What the log has now, and its first segment even if that is still to come."""
    there = data / FOLDER
    names = sorted(there.iterdir()) if there.is_dir() else []
    return names or [data / segment_name(0)]


async def failing_syncs(
    pid: int, data: Path, error: str = "EIO", when: str = "1+", output: Path | None = None
) -> Tracing:
    """The disk confirms nothing: syncs of the log and of names fail, and do nothing.

    A segment that begins later is not hit, but the sync of its name is. The index is spared.
    """
    inject = f"{','.join(SYNCS)}:error={error}:when={when}"
    paths = [*log_files(data), data / FOLDER, data / "reserve", data]
    return await attach(pid, calls=SYNCS, injects=[inject], paths=paths, output=output)


async def slow_syncs(pid: int, seconds: float, output: Path | None = None) -> Tracing:
    """Every sync takes so much longer, that of the index too: it is on the same disk."""
    inject = f"{','.join(SYNCS)}:delay_enter={int(seconds * 1e6)}"
    return await attach(pid, calls=SYNCS, injects=[inject], output=output)


async def failing_writes(
    pid: int, error: str = "ENOSPC", when: str = "1+", output: Path | None = None
) -> Tracing:
    """Nothing can be written to the log, or to files beside it.

    All files of the log are hit, those to come too: RocksDB and the network use other calls.
    """
    inject = f"pwrite64:error={error}:when={when}"
    return await attach(pid, calls=["pwrite64"], injects=[inject], output=output)


async def failing_reads(
    pid: int, data: Path, error: str = "EIO", when: str = "1+", output: Path | None = None
) -> Tracing:
    """What the log has now can't be read. The index can."""
    inject = f"pread64:error={error}:when={when}"
    paths = log_files(data)
    return await attach(pid, calls=["pread64"], injects=[inject], paths=paths, output=output)
