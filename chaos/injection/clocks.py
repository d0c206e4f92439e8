"""Faked clocks: a node process is started with libfaketime, which reads its offset from a file.

Only the time of day is faked. Waiting, timers and the monotonic clock stay as they are, as on a
machine whose clock is set wrong. Two things to know:

- The file is read again at each call, so that a jump is seen at once: it costs 5 us instead of
  0.05.
- Python's `time.sleep` fails with EINVAL beneath libfaketime (0.9.10), because it waits until a
  moment of the monotonic clock. asyncio, uvloop, locks and RocksDB wait in other ways.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...storage.errors import ConfigError

_PLACES: Final = (
    "/usr/lib/*/faketime/",
    "/usr/lib/faketime/",
    "/usr/lib64/faketime/",
    "/usr/lib64/",
    "/usr/local/lib/faketime/",
    "/usr/lib/",
)
_FILES: Final = ("libfaketimeMT.so.1", "libfaketime.so.1")  # the first is made for threads
_SHARED: Final = Path("/dev/shm")  # noqa: S108 - where the library keeps what its children share
_LEFT: Final = re.compile(r"(?:sem\.faketime_sem|faketime_shm)_(\d+)")
_MILLION: Final = 1_000_000


def find_library(places: Iterable[str] = _PLACES) -> Path | None:
    """Where libfaketime lies on this machine; None if it is not installed."""
    root = Path("/")
    for place in places:
        for name in _FILES:
            found = sorted(root.glob(place.lstrip("/") + name))
            if found:
                return found[0]
    return None


def sweep(shared: Path = _SHARED) -> None:
    """Remove the shared memory that processes with a faked clock left when they were killed."""
    with suppress(OSError):
        for path in shared.iterdir():
            match = _LEFT.fullmatch(path.name)
            if match and not Path("/proc", match[1]).exists():
                with suppress(OSError):
                    path.unlink()


class FakedClock:
    """The clock of one node: true until it is told otherwise.

    It survives the node: one that is started again, with a new `environment()`, goes on with the
    same offset and drift. One node at a time may live by it. Raises ConfigError without
    libfaketime.
    """

    def __init__(self, directory: Path, *, now: Callable[[], float] = time.time) -> None:
        library = find_library()
        if library is None:
            raise ConfigError(
                "there is no libfaketime here, which faked clocks are made with; "
                "`apt-get install libfaketime`, or leave out the faults of clocks"
            )
        self._library = library
        self._now = now
        self._file = directory / "clock"
        self._started = now()  # of the process: the library counts the drift from there
        self._offset = 0.0
        self._rate = 1.0
        self._swing = 0.0
        self._strobe: asyncio.Task[None] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._write()

    def environment(self) -> dict[str, str]:
        """What to put into the environment of a node that is started now."""
        sweep()
        self._offset, self._started = self._drifted(), self._now()
        self._write()
        others = os.environ.get("LD_PRELOAD", "")
        return {
            "LD_PRELOAD": f"{self._library} {others}".strip(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file.absolute()),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Else a timed wait by the monotonic clock returns at once, and whoever wants the
            # interpreter's lock spins: appends took 200 times as long.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
        }

    def off_seconds(self) -> float:
        """By how much the clock is ahead of the true one now; below 0, how far behind."""
        return self._drifted() + self._swing

    def jump(self, seconds: float) -> None:
        """Put the clock forward, or back, by so much."""
        self._offset += seconds
        self._write()

    def set_drift(self, parts_per_million: float) -> None:
        """Have the clock go too fast from now on, or below 0 too slow; 0 keeps what is off."""
        if parts_per_million <= -_MILLION:
            raise ConfigError(
                f"a clock can't drift by {parts_per_million} ppm: it would stand still or go "
                f"backwards; use more than -{_MILLION}"
            )
        drifted = self._drifted()
        self._rate = 1.0 + parts_per_million / _MILLION
        self._offset += drifted - self._drifted()
        self._write()

    def strobe(self, seconds: float, every: float) -> None:
        """Jump by so much and back again, each time after `every` seconds; 0 seconds ends it.

        Needs a running event loop, unless it ends it.
        """
        if self._strobe is not None:
            self._strobe.cancel()
            self._strobe = None
        self._swing = 0.0
        self._write()
        if seconds:
            self._strobe = asyncio.get_running_loop().create_task(self._swinging(seconds, every))

    def steady(self) -> None:
        """Make it true again: no offset, no drift, no strobe."""
        self._offset, self._rate = 0.0, 1.0
        self.strobe(0.0, 0.0)

    async def _swinging(self, seconds: float, every: float) -> None:
        while True:
            self._swing = 0.0 if self._swing else seconds
            self._write()
            await asyncio.sleep(every)

    def _drifted(self) -> float:
        return self._offset + (self._rate - 1.0) * (self._now() - self._started)

    def _write(self) -> None:
        new = self._file.with_name(self._file.name + ".new")
        new.write_text(f"{self._offset + self._swing:+.6f} x{self._rate:.9f}\n", encoding="ascii")
        new.replace(self._file)  # whoever reads finds the old one or the new one
