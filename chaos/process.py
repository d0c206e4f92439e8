"""One node as a process: started, killed, paused and looked after by its process id.

Each is started in a session of its own, so that Ctrl-C reaches the run alone, and is ended by who
started it, whatever happens.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LOG_LINES = 15
_POLL_SECONDS = 0.02
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Size:
    """What a process takes up."""

    memory_bytes: int
    files: int
    threads: int


class Process:
    """A node's process, over all its lives."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.lives = 0
        self.paused = False
        self.traced = False  # for the whole of this life
        self.expected = True  # whether it may be gone: nobody has started it, or it was ended
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.kill_now)

    @property
    def pid(self) -> int:
        """The id of the process that runs. It has to be up."""
        assert self._process is not None, "who asks has looked whether it is up"
        return self._process.pid

    @property
    def is_up(self) -> bool:
        """Whether the process is there, or stands still."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status of the last life, if it is over."""
        return None if self._process is None else self._process.poll()

    @property
    def has_failed(self) -> bool:
        """Whether it ended by itself."""
        return not self.expected and not self.is_up

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], *, traced: bool = False
    ) -> None:
        """Start it; does not wait. `traced`: the command has it traced, so nobody else can."""
        assert not self.is_up, "one at a time"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        self.lives += 1
        self.paused, self.expected, self.traced = False, False, traced

    async def kill(self) -> bool:
        """End it without warning. False if it was not up."""
        if not self.is_up:
            return False
        self.expected = True
        self.kill_now()
        return True

    async def stop(self, within: float) -> int | None:
        """Ask it to end; its exit status, or None if it had to be killed."""
        if not self.is_up:
            return self.status
        self.expected = True
        self.resume()
        self._send(signal.SIGTERM)
        if await self.ended(within):
            return self.status
        self.kill_now()
        return None

    async def ended(self, within: float) -> bool:
        """Whether it ends by itself in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while self.is_up:
            if loop.time() > deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    def pause(self) -> bool:
        """Let it stand still. False if it does, or is not up."""
        if not self.is_up or self.paused:
            return False
        self._send(signal.SIGSTOP)
        self.paused = True
        return True

    def resume(self) -> None:
        """Let it go on."""
        if self.paused:
            self._send(signal.SIGCONT)
            self.paused = False

    def kill_now(self) -> None:
        """End it at once, if it is up."""
        if self.is_up:
            self._send(signal.SIGKILL)
            self.wait()

    def wait(self) -> None:
        """Take notice of its end."""
        if self._process is not None:
            self._process.wait()
        self.paused = False

    def close(self) -> None:
        """End it for good."""
        self.kill_now()
        atexit.unregister(self.kill_now)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None, "who sends has looked whether it is up"
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def size(self) -> Size | None:
        """What it takes up now, where the system tells (Linux)."""
        if not self.is_up:
            return None
        here = Path("/proc") / str(self.pid)
        try:
            resident = int((here / "statm").read_text().split()[1])
            files, threads = (
                len(list((here / "fd").iterdir())),
                len(list((here / "task").iterdir())),
            )
        except (OSError, ValueError, IndexError):
            return None
        return Size(resident * _PAGE_BYTES, files, threads)

    def log_tail(self) -> str:
        """The last lines that it logged."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            return f"(no log: {error})"
        return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:]) or "  (nothing was logged)"
