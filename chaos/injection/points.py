"""Points of a node's way to the disk, each with a name, at which the node can be killed.

Before a call: strace sends SIGKILL as the call is entered, and Linux does not begin a call of a
process that has to die. After a call: strace holds the thread where the call has returned, and we
kill from outside. So the files are left as they are at that point, no matter how busy the machine.

The names of coming segments are not known before. When the process has left behind all that we look
at, we attach again: a point can pass unseen between, but nobody is killed at another one.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from ...storage.errors import ConfigError
from ...storage.segment import FOLDER, TEMPORARY, segment_name
from .tracing import SYNCS, Tracing, attach, command, gone, log_files

_HELD_SECONDS: Final = 30  # far longer than we need to see that a thread is held
_LOOK_SECONDS: Final = 0.005
_KILLED: Final = "+++ killed by SIGKILL +++"


class Edge(Enum):
    """Where at its call a point lies."""

    BEFORE = "before"
    AFTER = "after"
    UNNAMED = "before, if a segment is there whose name was never synced"


class Point(NamedTuple):
    """One point: which calls on which files of a data directory, and what it says in words."""

    calls: Sequence[str]
    files: Callable[[Path], list[Path]]
    edge: Edge
    says: str


def _plain(data: Path) -> list[Path]:
    """All segments in their plain form."""
    return [path for path in log_files(data) if path.suffix == ".seg"] or [data / segment_name(0)]


def _active(data: Path) -> list[Path]:
    return _plain(data)[-1:]


def _half_sealed(data: Path) -> list[Path]:
    return [path.with_suffix(TEMPORARY) for path in _plain(data)]


def _folder(data: Path) -> list[Path]:
    return [data / FOLDER]


def _any(_: Path) -> list[Path]:
    """Whatever is written: after damage the log goes on in a segment that has no name yet."""
    return []


def _all(data: Path) -> list[Path]:
    there = {*log_files(data), *_plain(data), *_half_sealed(data)}
    return [*sorted(there), data / FOLDER, data / "reserve", data, data.parent]


_B, _A = Edge.BEFORE, Edge.AFTER
POINTS: Final[dict[str, Point]] = {
    "append-write": Point(["pwrite64"], _active, _B, "before a group is written"),
    "append-sync": Point(["fdatasync"], _active, _B, "a group is written, not synced"),
    "append-answer": Point(["fdatasync"], _active, _A, "a group is synced, nobody was told"),
    "segment-name": Point(
        ["fsync"], _folder, Edge.UNNAMED, "a new segment is synced, its name is not"
    ),
    "seal-write": Point(["pwrite64"], _half_sealed, _B, "before a block is written"),
    "seal-sync": Point(["fdatasync"], _half_sealed, _B, "a sealed form is written, not synced"),
    "seal-rename": Point(["rename"], _half_sealed, _B, "it is synced and compared, not renamed"),
    "seal-name": Point(["rename"], _half_sealed, _A, "it is renamed, its name is not synced"),
    "seal-remove": Point(["unlink"], _plain, _B, "its name is synced, the old file is there"),
    "heal-write": Point(["pwrite64"], _any, _B, "before what was damaged is written again"),
    "join-sync": Point(SYNCS, _all, _B, "before one of the syncs of a node that joins"),
    "start-write": Point(["pwrite64"], _all, _B, "before one of the writes of a start"),
    "start-sync": Point(SYNCS, _all, _B, "before one of the syncs of a start"),
}


async def kill_at(pid: int, data: Path, point: str, within: float, *, times: int = 1) -> bool:
    """Kill a process at a point, at the `times`-th call there of one thread.

    Whether it came there within so many seconds; if not, it goes on unharmed. `data` as the process
    was told it. For appends counting begins again with each segment. Raises ConfigError.
    """
    chosen = POINTS.get(point)
    if chosen is None:
        raise ConfigError(f"there is no point {point!r}; there are {', '.join(POINTS)}")
    deadline = asyncio.get_running_loop().time() + within
    hunt = _Hunt(pid, data, chosen, times, deadline)
    attached = False
    while hunt.left > 0:
        try:
            with TemporaryDirectory(prefix="anabranch-") as folder:
                if await hunt.attempt(Path(folder) / "trace"):
                    return True
        except ProcessLookupError:
            break
        attached = True
    # It may have been killed while we let go of it.
    return attached and chosen.edge is Edge.BEFORE and await gone(pid, 0)


def start_arguments(
    arguments: Sequence[str], point: str, n: int, data: Path, output: Path | None = None
) -> list[str]:
    """What starts a node that is killed at the n-th call at a point before a call.

    Each thread counts for itself: the loop's syncs are those of names. If there are less, the node
    runs as ever, under strace, until it ends or is killed.
    """
    chosen = POINTS[point]
    if chosen.edge is not Edge.BEFORE:
        raise ConfigError(f"{point} is not before a call: a start can't be killed there")
    inject = f"{','.join(chosen.calls)}:signal=SIGKILL:when={n}"
    return command(
        arguments, calls=chosen.calls, injects=[inject], paths=chosen.files(data), output=output
    )


class _Hunt:
    """One process, and the point where it is to die."""

    def __init__(self, pid: int, data: Path, point: Point, times: int, deadline: float) -> None:
        self._pid = pid
        self._data = data
        self._point = point
        self._times = times
        self._deadline = deadline

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self._deadline - asyncio.get_running_loop().time()

    async def attempt(self, output: Path) -> bool:
        """Attach and wait; whether it is dead. If not, the names have changed or time is over."""
        files = self._point.files(self._data)
        tracing = await attach(
            self._pid,
            calls=self._point.calls,
            injects=[self._inject()],
            paths=files,
            output=output,
        )
        named = set(_plain(self._data))
        try:
            while self.left > 0:
                if tracing.ended.is_set():
                    return self._point.edge is Edge.BEFORE and _KILLED in _said(output)
                if self._point.edge is not Edge.BEFORE and _holds(output):
                    if self._point.edge is Edge.AFTER or self._unnamed(named):
                        return await self._kill(tracing)
                    break  # a sync of other names: let it go on
                if not set(self._point.files(self._data)) & set(files):
                    break  # the process has left them behind
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            await tracing.detach()
        return False

    def _inject(self) -> str:
        calls = ",".join(self._point.calls)
        match self._point.edge:
            case Edge.BEFORE:
                return f"{calls}:signal=SIGKILL:when={self._times}"
            case Edge.AFTER:
                return f"{calls}:delay_exit={_HELD_SECONDS}s:when={self._times}"
            case Edge.UNNAMED:
                return f"{calls}:delay_enter={_HELD_SECONDS}s"

    def _unnamed(self, named: set[Path]) -> bool:
        """Whether a segment has begun whose name was never synced; counts down."""
        if not set(_plain(self._data)) - named:
            return False
        self._times -= 1
        return self._times == 0

    async def _kill(self, tracing: Tracing) -> bool:
        os.kill(self._pid, signal.SIGKILL)
        await tracing.release()
        return await gone(self._pid)


def _said(output: Path) -> str:
    return output.read_text() if output.exists() else ""


def _holds(output: Path) -> bool:
    """Whether a thread is held: at its exit, or at the entry of the sync of a folder."""
    text = _said(output)
    return " = 0 (DELAYED)" in text or re.search(r"\bfsync\(", text) is not None
