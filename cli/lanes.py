"""Many requests at once, but those of one stream one after another.

A lane is what one node gets: it has so many places, and a job takes one from `put` to its end. Jobs
are put in the order of the record; a job begins when the one before it of the same stream has
ended, at whatever node that was. It can't lock up: a job waits only for jobs put before it, and
those have their place already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Job = Callable[[], Awaitable[None]]


class Lanes:
    """Runs jobs; use it as `async with Lanes(...)`, which waits for all that were put."""

    def __init__(self, names: list[str], places: int) -> None:
        self._free = {name: asyncio.Semaphore(places) for name in names}
        self._last: dict[str, asyncio.Task[None]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    async def put(self, lane: str, stream: str, job: Job) -> None:
        """Take a place in a lane, wait for one if need be, and start the job when its turn is.

        Raises what an earlier job failed with.
        """
        await self._free[lane].acquire()
        if self._failure is not None:
            raise self._failure
        task = asyncio.create_task(self._run(lane, self._last.get(stream), job))
        self._running.add(task)
        self._last[stream] = task
        task.add_done_callback(lambda done: self._ended(stream, done))

    async def _run(self, lane: str, before: asyncio.Task[None] | None, job: Job) -> None:
        try:
            if before is not None and not before.done():
                await asyncio.wait([before])
            if self._failure is None:
                await job()
        except Exception as error:  # noqa: BLE001  whatever it was, `put` and `finish` raise it
            self._failure = self._failure or error
        finally:
            self._free[lane].release()

    def _ended(self, stream: str, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._last.get(stream) is task:
            del self._last[stream]

    async def finish(self) -> None:
        """Wait for all jobs; raises what the first failed one failed with."""
        while self._running:
            await asyncio.wait(self._running)
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.finish()
            return
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
