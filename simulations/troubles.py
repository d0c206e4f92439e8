"""The faults of a run as they come and go, whatever the world is that they hit.

A fault that lasts takes back at its end what it did, and so does the heal.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from random import Random as Generator
from typing import Any, Protocol

from .plans.kinds import KINDS, describe, sides
from .plans.plan import Fault, Plan
from .world.weather import Weather

Undo = Callable[[], Awaitable[None]]
Tell = Callable[[str], None]


class Roads(Protocol):
    """The ways between nodes, over which weather comes."""

    def begin(self, token: str, pairs: Iterable[tuple[str, str]], weather: Weather) -> None:
        """Weather comes over ways from one node to another."""
        ...

    def end(self, token: str) -> None:
        """It goes."""
        ...


class Drifting(Protocol):
    """A clock that can run too fast, or too slow."""

    def set_drift(self, parts_per_million: float) -> None:
        """From now on it gains so much."""
        ...


@dataclass
class Course:
    """A fault as it went."""

    fault: Fault
    began: float
    ended: float | None = None  # None: it is on


class Troubles:
    """All faults of one run; what those of nodes, disks and clocks do, a subclass says.

    A kind `some-thing` is begun by the method `_some_thing`, which returns how to undo it, or None
    if there was nothing that it could do.
    """

    def __init__(
        self, roads: Roads, clocks: Mapping[str, Drifting], plan: Plan, *, tell: Tell, note: Tell
    ) -> None:
        self._roads = roads
        self._clocks = clocks
        self._plan = plan
        self._tell = tell  # what begins and ends
        self._note = note  # what else a report should name
        self._luck = Generator(f"faults {plan.seed}")
        self._on: dict[int, tuple[Course, Undo]] = {}  # the faults that are on, by their number
        self._changing: set[asyncio.Task[None]] = set()
        self.injected: Counter[str] = Counter()
        self.courses: list[Course] = []
        self.last_ended = 0.0  # when a fault last did
        self.damages: list[tuple[str, str]] = []  # node, and what was done to its disk

    async def run(self) -> None:
        """Let every fault begin and end at its time."""
        async with asyncio.TaskGroup() as group:
            for number, fault in enumerate(self._plan.faults):
                group.create_task(self._run(number, fault))

    async def _run(self, number: int, fault: Fault) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(fault.at - loop.time())
        await self._whole(self._begin(number, fault))
        if fault.lasts is not None:
            await asyncio.sleep(fault.lasts)
            await self._whole(self._end(number))

    async def _whole(self, change: Coroutine[Any, Any, None]) -> None:
        """Make a change to its end, also if the run of the faults ends meanwhile."""
        task = asyncio.get_running_loop().create_task(change)
        self._changing.add(task)
        task.add_done_callback(self._changing.discard)
        await asyncio.shield(task)

    async def _begin(self, number: int, fault: Fault) -> None:
        begin: Callable[[int, Fault], Awaitable[Undo | None]]
        own = KINDS[fault.kind].family != "network" or fault.kind == "drill"
        begin = getattr(self, "_" + fault.kind.replace("-", "_") if own else "_weather")
        undo = await begin(number, fault)
        if undo is not None:
            self.injected[fault.kind] += 1
            self._tell(f"{describe(fault)} begins")
            course = Course(fault, asyncio.get_running_loop().time())
            self.courses.append(course)
            self._on[number] = course, undo

    async def _end(self, number: int) -> None:
        if number in self._on:
            course, undo = self._on.pop(number)
            course.ended = self.last_ended = asyncio.get_running_loop().time()
            self._tell(f"{describe(course.fault)} ends")
            await undo()

    async def end_all(self) -> None:
        """End all that is still on."""
        await asyncio.gather(*self._changing)
        for number in sorted(self._on):
            await self._end(number)

    def _amount(self, fault: Fault) -> float:
        usual = KINDS[fault.kind].amount
        return fault.amount if fault.amount is not None else usual or 0.0

    def _nodes(self, fault: Fault) -> tuple[str, ...]:
        return self._plan.among(fault.where)

    # -- network ---------------------------------------------------------------------------------

    async def _weather(self, number: int, fault: Fault) -> Undo | None:
        here, there = sides(self._plan, fault)
        pairs, token = [pair for pair in product(here, there) if pair[0] != pair[1]], f"f{number}"
        if fault.kind not in {"one-way", "silent"}:
            pairs += [(there, here) for here, there in pairs]
        if not pairs:
            return None
        if fault.kind == "flap":
            return self._flap(token, pairs, fault)
        self._roads.begin(token, pairs, weather_of(fault.kind, self._amount(fault)))

        async def undo() -> None:
            self._roads.end(token)

        return undo

    def _flap(self, token: str, pairs: list[tuple[str, str]], fault: Fault) -> Undo:
        share, period = self._amount(fault), fault.every or 1.0

        async def flap() -> None:
            while True:
                self._roads.begin(token, pairs, Weather(cut=True))
                await asyncio.sleep(share * period)
                self._roads.end(token)
                await asyncio.sleep((1 - share) * period)

        task = asyncio.get_running_loop().create_task(flap())

        async def undo() -> None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._roads.end(token)

        return undo

    # -- clocks ----------------------------------------------------------------------------------

    async def _drift(self, _: int, fault: Fault) -> Undo | None:
        clocks = [self._clocks[name] for name in self._nodes(fault)]
        for clock in clocks:
            clock.set_drift(self._amount(fault))

        async def undo() -> None:
            for clock in clocks:
                clock.set_drift(0.0)

        return undo


async def nothing() -> None:
    """What ends by itself needs nothing."""


def weather_of(kind: str, amount: float) -> Weather:
    """What a fault of links means for each of them."""
    weathers = {
        "reset": Weather(cut=True, reset=True),
        "silent": Weather(silent=True),
        "slow": Weather(slow=amount),
        "drip": Weather(bandwidth=amount),
        "loss": Weather(loss=amount),
        "duplicate": Weather(duplicate=amount),
        "reorder": Weather(reorder=amount),
        "garble": Weather(garble=amount),
    }
    return weathers.get(kind, Weather(cut=True))
