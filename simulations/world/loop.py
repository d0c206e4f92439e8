"""An asyncio event loop in virtual time.

Nothing ever waits: when no callback is ready, time jumps to the next timer. There is no socket,
no file and no thread behind it; work handed to an executor fails, so none can hide in here. The
order of callbacks depends on the program alone: those that are ready run in the order in which
they became so, timers of one moment in the order in which they were set. So a run can be repeated
event by event.

An owner can be paused, as a stopped process is: what runs in a context in which `OWNER` names it
is put aside, in order, and runs late, after the owner was resumed.

Who looks on does so between two moments at which something happens, and sets no timer. A timer of
its own would let others that are due within the resolution run with it, a little early, and what
is watched would be another run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any, NoReturn, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
OWNER: ContextVar[str] = ContextVar("owner")  # whose callbacks stop together
RESOLUTION_SECONDS = 1e-9  # timers that are no further apart are due together
TIMERS_UNSWEPT_MAX = 1000  # cancelled timers lie in the heap until it is twice as large as needed


class Stalled(Exception):
    """Nothing is ready and no timer is set: what is awaited will never come."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time is a number."""

    _closed: bool
    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_set = 0
        self._sweep_at = TIMERS_UNSWEPT_MAX
        self._parked: dict[str, list[asyncio.Handle]] = {}  # by owners that are paused
        self._look: Callable[[], float] = lambda: inf
        self._look_at = inf
        self.unhandled: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.unhandled.append(context))

    def time(self) -> float:
        """Seconds since the loop was made, in virtual time."""
        return self._now

    # -- what will run ---------------------------------------------------------------------------

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Run a callback in the next round."""
        if self._closed:
            raise RuntimeError("the loop is closed")
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run a callback after so many seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run a callback at a time."""
        if self._closed:
            raise RuntimeError("the loop is closed")
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers_set += 1
        heappush(self._timers, (when, self._timers_set, timer))
        return timer

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> NoReturn:  # type: ignore[override]
        """Refuse: a thread would not be repeatable."""
        raise RuntimeError(f"{func!r} would run in a thread, which a simulation can't repeat")

    # -- pausing ---------------------------------------------------------------------------------

    @property
    def paused(self) -> list[str]:
        """The owners that are paused."""
        return list(self._parked)

    def pause(self, owner: str) -> None:
        """Put aside all that an owner would run, until it is resumed."""
        self._parked.setdefault(owner, [])

    def resume(self, owner: str) -> None:
        """Let an owner go on: what was put aside meanwhile is ready now."""
        self._ready.extend(self._parked.pop(owner, ()))

    def _is_parked(self, handle: asyncio.Handle) -> bool:
        """Put a callback aside if its owner is paused."""
        context: Context = handle._context  # type: ignore[attr-defined] # noqa: SLF001
        parked = self._parked.get(context.get(OWNER, ""))
        if parked is None:
            return False
        parked.append(handle)
        return True

    # -- looking on ------------------------------------------------------------------------------

    def look_on(self, look: Callable[[], float]) -> None:
        """Call `look` once all of this moment is done, and then at each time that it returns.

        All that was due by then has run. It may change nothing, and set nothing.
        """
        self._look, self._look_at = look, self._now

    def _look_until(self, moment: float) -> None:
        """Let time pass for who looks on, up to a moment at which something happens."""
        timers_set = self._timers_set
        while self._look_at < moment:
            self._now, self._look_at = self._look_at, inf  # who fails looks no more
            self._look_at = self._look()
            assert self._look_at > self._now
        assert not self._ready, "who looks on has set a callback"
        assert self._timers_set == timers_set, "who looks on has set a timer"

    # -- running ---------------------------------------------------------------------------------

    def _run_once(self) -> None:
        """Run round after round until the loop is stopped.

        As in asyncio, which would call this for each round: what becomes ready in a round, timers
        included, runs in the next one.
        """
        ready, parked = self._ready, self._parked
        while True:
            if not ready and not self._stopping:
                moment = max(self._now, self._next_timer())
                if self._look_at < moment:
                    self._look_until(moment)
                self._now = moment
            self._collect_due()
            for _ in range(len(ready)):
                handle = ready.popleft()
                if handle._cancelled or (parked and self._is_parked(handle)):  # noqa: SLF001
                    continue
                handle._run()  # noqa: SLF001
            if self._stopping:
                return

    def _next_timer(self) -> float:
        """When something is due next."""
        timers = self._timers
        if len(timers) > self._sweep_at:
            timers[:] = [timer for timer in timers if not timer[2]._cancelled]  # noqa: SLF001
            heapify(timers)
            self._sweep_at = max(TIMERS_UNSWEPT_MAX, 2 * len(timers))
        while timers:
            when, _, timer = timers[0]
            if not timer._cancelled:  # noqa: SLF001
                return when
            heappop(timers)
        raise Stalled("no callback is ready and no timer is set")

    def _collect_due(self) -> None:
        timers, until = self._timers, self._now + RESOLUTION_SECONDS
        while timers and timers[0][0] < until:
            self._ready.append(heappop(timers)[2])


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
        _end(loop)


def _end(loop: VirtualLoop) -> None:
    """Cancel what still runs, and let it clean up."""
    for owner in loop.paused:
        loop.resume(owner)
    tasks = sorted(asyncio.all_tasks(loop), key=_age)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _age(task: asyncio.Task[Any]) -> tuple[int, str]:
    """Sorts tasks in the order in which they were made: the loop keeps a set of them."""
    return len(task.get_name()), task.get_name()
