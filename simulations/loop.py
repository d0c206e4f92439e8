"""An asyncio event loop in virtual time.

Nothing ever waits: when no callback is ready, time jumps to the next timer. There is no socket,
no file and no thread behind it; work handed to an executor fails, so none can hide in here. The
order of callbacks depends on the program alone, so a run can be repeated event by event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class Stalled(Exception):
    """Nothing is ready and no timer is set: what is awaited will never come."""


class _NoSelector:
    """Stands where a loop asks the kernel for events: only time passes."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stalled("no callback is ready and no timer is set")
        if timeout > 0:
            self._loop.advance(timeout)
        return []

    def close(self) -> None:
        """There is nothing to close."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time is a number."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = _NoSelector(self)
        self.unhandled: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.unhandled.append(context))

    def time(self) -> float:
        """Seconds since the loop was made, in virtual time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> NoReturn:  # type: ignore[override]
        """Refuse: a thread would not be repeatable."""
        raise RuntimeError(f"{func!r} would run in a thread, which a simulation can't repeat")

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nothing sleeps that would have to be woken."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time; fails if a task died unnoticed."""
    loop = VirtualLoop()
    try:
        result = loop.run_until_complete(main)
        if loop.unhandled:
            context = loop.unhandled[0]
            raise RuntimeError(f"unhandled: {context.get('message')}") from context.get("exception")
        return result
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
