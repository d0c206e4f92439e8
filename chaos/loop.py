"""An event loop whose time begins with the run, as that of a simulated world does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class RunLoop(asyncio.SelectorEventLoop):
    """Tells the seconds since it was made."""

    def __init__(self) -> None:
        self._made = time.monotonic()
        super().__init__()

    def time(self) -> float:
        """Seconds since the beginning of the run."""
        return time.monotonic() - self._made


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run something to its end; Ctrl-C cancels it."""
    with asyncio.Runner(loop_factory=RunLoop) as runner:
        return runner.run(main)
