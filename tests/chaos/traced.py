"""A process with a real log on a real disk, to be traced, starved and killed; no node."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path

import pytest

from anabranch.storage.disk import FileDisk
from anabranch.storage.log import Log

DEADLINE_SECONDS = 20.0
SEGMENT_BYTES = 16384

# Does what the lines of its input say, and says what it has confirmed.
SCRIPT = f"""
import asyncio, os, sys
from pathlib import Path
from anabranch.storage.commit import Draft, shard_of, stamped
from anabranch.storage.disk import FileDisk
from anabranch.storage.errors import DamagedLog, DiskFull
from anabranch.storage.log import Log
from anabranch.storage.record import COMMIT
from anabranch.storage.sealer import Sealer
from anabranch.storage.stamp import stamp_of

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

class NoSync(FileDisk):
    async def sync(self, name): pass

class NoNames(FileDisk):
    def sync_names(self, folder): pass

def body(number):
    draft = Draft("s", ["t"], [b'{{"x":"%d%s"}}' % (number, os.urandom(100).hex().encode())],
                  commit_id=number.to_bytes(16, "big"))
    return stamped(draft, shard_of("s", 4), 7, number + 1, stamp_of(number) + 1)[1]

async def append(log, number):
    data = body(number)
    position = log.append(COMMIT, data)
    try:
        await log.wait(position)
    except DiskFull:
        say("full")
    return position, len(data)

async def main(data, kind):
    disk = {{"no-sync": NoSync, "no-names": NoNames}}.get(kind, FileDisk)(Path(data))
    log = Log(disk, opening_state=lambda: b"a state", on_durable=lambda end: say("durable", end),
              on_failure=lambda error: os._exit(3), segment_bytes={SEGMENT_BYTES})
    for _ in log.replay(0):
        pass
    log.start()
    if kind != "no-seals":
        sealing = asyncio.create_task(Sealer(disk, log, bytes_per_second=1 << 40).run())
    say("ready")
    number = 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        count = int(line)
        while count != 0:
            number += 1
            position, length = await append(log, number)
            count -= 1
            await asyncio.sleep(0.001)
        try:
            log.read(position, length)
            say("read")
        except DamagedLog:
            say("unreadable")

asyncio.run(main(*sys.argv[1:]))
"""


@cache
def why_not() -> str:
    """Why nothing can be traced here; empty if it can."""
    if shutil.which("strace") is None:
        return "there is no strace here: apt-get install strace"
    done = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "-e", "trace=none", "true"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return "" if done.returncode == 0 else f"ptrace is not allowed here: {done.stderr.strip()}"


needs_strace = pytest.mark.skipif(bool(why_not()), reason=why_not())


def arguments(data: Path, kind: str = "right") -> list[str]:
    """What starts such a process."""
    return [sys.executable, "-c", SCRIPT, str(data), kind]


class Child:
    """One such process. What it says goes to a file, so nothing of it is lost when it is killed."""

    def __init__(self, data: Path, command: Sequence[str] = (), kind: str = "right") -> None:
        self.data = data
        self._heard = data.parent / f"{data.name}.said"
        with self._heard.open("wb") as out:
            self.process = subprocess.Popen(
                command or arguments(data, kind), stdin=subprocess.PIPE, stdout=out
            )
        self.pid = self.process.pid

    @property
    def said(self) -> list[str]:
        """Its lines until now."""
        return self._heard.read_text().splitlines()

    @property
    def durable(self) -> int:
        """The position up to which it has confirmed everything."""
        ends = [int(line.split()[1]) for line in self.said if line.startswith("durable")]
        return max(ends, default=0)

    def ask(self, appends: int) -> None:
        """Have it append so many commits, or without end if negative, then read the last one."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{appends}\n".encode())
        self.process.stdin.flush()

    async def hears(self, word: str, times: int = 1) -> None:
        """Return when it has said a word so many times."""
        await until(lambda: sum(one.startswith(word) for one in self.said) >= times, word)

    async def does(self, appends: int) -> str:
        """Have it append so many, and read; what came of it."""
        before = len(self.said)
        self.ask(appends)
        ends = ("read", "unreadable")
        await until(lambda: any(one in ends for one in self.said[before:]), "an answer")
        return " ".join(one for one in self.said[before:] if not one.startswith("durable"))

    async def goes_on(self) -> None:
        """Return when it has confirmed more than now."""
        now = self.durable
        await until(lambda: self.durable > now, "more is confirmed")

    async def ended(self) -> int:
        """Its exit status, once it has ended by itself."""
        return await asyncio.to_thread(self.process.wait, DEADLINE_SECONDS)

    def close(self) -> None:
        """End it, by its id."""
        with suppress(ProcessLookupError):
            if self.process.poll() is None:
                os.kill(self.pid, signal.SIGKILL)
        self.process.wait(DEADLINE_SECONDS)
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()


async def until(holds, what: str) -> None:
    """Look again and again until something holds. Fails after a while."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
    pause = asyncio.Event()
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"not within the time: {what}"
        with suppress(TimeoutError):
            await asyncio.wait_for(pause.wait(), 0.005)


def names(data: Path, ending: str) -> list[str]:
    """The files of a log with an ending, without it."""
    return sorted(path.stem for path in (data / "log").glob(f"*.{ending}"))


def readable_end(data: Path) -> int:
    """How far a log can be read back after all that befell it. Raises DamagedLog."""
    disk = FileDisk(data)
    try:
        log = Log(
            disk,
            opening_state=lambda: b"",
            on_durable=lambda _: None,
            on_failure=lambda _: None,
        )
        gaps = [one for one in log.replay(0) if hasattr(one, "end")]
        return min([one.position for one in gaps], default=log.end)
    finally:
        disk.close()


@asynccontextmanager
async def starting():
    """Starts such processes, and ends them afterwards."""
    started: list[Child] = []

    async def start(data: Path, command: Sequence[str] = (), kind: str = "right") -> Child:
        child = Child(data, command, kind)
        started.append(child)
        if not command:
            await child.hears("ready")
        return child

    try:
        yield start
    finally:
        for child in started:
            child.close()
