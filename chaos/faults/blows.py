"""What all faults of real processes have in common: whom they hit, and how nodes come back."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random as Generator
from typing import TypeVar

from ...simulations.history import History
from ...simulations.plans.kinds import describe
from ...simulations.plans.plan import Fault, Plan
from ...simulations.troubles import Tell, Troubles, Undo
from ...storage.errors import AnabranchError, ConfigError, DiskError, Unavailable
from ..asking import Asker
from ..cluster import Cluster
from ..injection import wounds

# What attaching to a process raises that dies in that moment, or stands still.
NOT_TRACED = (ProcessLookupError, TimeoutError, ConfigError)

T = TypeVar("T")
Hurt = Callable[[Path, Generator, wounds.Spared], str | None]


async def _nobody_looks(_: str) -> None:
    """Nobody wants to know what a node left."""


class Blows(Troubles):
    """What hits nodes, and helps them up again; subclasses have the kinds."""

    def __init__(
        self,
        cluster: Cluster,
        asker: Asker,
        history: History,
        plan: Plan,
        *,
        tell: Tell,
        note: Tell,
    ) -> None:
        super().__init__(cluster.ways, cluster.clocks, plan, tell=tell, note=note)
        self._cluster = cluster
        self._asker = asker
        self._history = history
        self.kills = 0
        self._under_trace: set[str] = set()  # nodes: a process has one tracer at most
        self.after_harm: Callable[[str], None] = lambda _: None
        self.after_death: Callable[[str], Awaitable[None]] = _nobody_looks

    @property
    def now(self) -> list[str]:
        """What is on, in words."""
        return [describe(course.fault) for course, _ in self._on.values()]

    async def _start(self, name: str) -> None:
        """Start a node; one whose directory is refused for its damage gets an empty one."""
        try:
            await self._cluster.start(name)
        except AnabranchError as error:
            self._note(f"{name} does not start: {error}")
            if not any(node == name for node, _ in self._history.damages):
                return
            if not await self._starts(name):  # it has thrown away a damaged index by now
                await self._wipe(name)
                await self._starts(name)

    async def _starts(self, name: str) -> bool:
        with suppress(Unavailable):
            await self._cluster.start(name)
        return self._cluster.is_up(name)

    async def _come_back(self, name: str) -> None:
        """A node that has left joins again."""
        found = await self._asker.get(name, "/v1/status")
        if found is None or found[1]["state"] not in {"left", "leaving"}:
            return
        await self._cluster.stop(name)
        with suppress(Unavailable):
            await self._cluster.start(name, [*self._cluster.command(name), "--join"])

    def _up(self, fault: Fault) -> list[str]:
        return [name for name in self._nodes(fault) if self._cluster.is_up(name)]

    def _traceable(self, fault: Fault) -> list[str]:
        """The nodes of a fault that no other one traces; from now on this one does."""
        names = [
            name
            for name in self._up(fault)
            if name not in self._under_trace and not self._cluster.processes[name].traced
        ]
        self._under_trace.update(names)
        return names

    def _let_go(self, name: str) -> None:
        self._under_trace.discard(name)
        self._cluster.release(name)

    def _starting(self, names: list[str]) -> Undo | None:
        async def undo() -> None:
            await asyncio.gather(*(self._start(name) for name in names))

        return undo if names else None

    async def _killed(self, names: list[str]) -> list[str]:
        """Kill nodes at once; those that were up."""
        found = await asyncio.gather(*(self._cluster.kill(name) for name in names))
        hit = [name for name, done in zip(names, found, strict=True) if done]
        self.kills += len(hit)
        for name in hit:
            await self.after_death(name)
        return hit

    async def _died(self, name: str, pid: int) -> bool:
        """Whether a node was killed as was wanted, and by nobody else."""
        process = self._cluster.processes[name]
        if process.is_up or process.pid != pid or process.expected:
            return False
        await self._note_death(name)
        return True

    async def _note_death(self, name: str) -> None:
        self._cluster.died(name)
        self.kills += 1
        await self.after_death(name)

    def _pid(self, name: str) -> int:
        return self._cluster.processes[name].pid

    async def _while_down(self, name: str, change: Callable[[], T]) -> T | None:
        """Change the directory of a node that is down, and stays so meanwhile; None if it is up."""
        async with self._cluster.changing(name):
            return None if self._cluster.processes[name].is_up else change()

    async def _wipe(self, name: str) -> None:
        await self._while_down(name, partial(self._wiped, name))

    def _wiped(self, name: str) -> None:
        self._empty(name)
        self._history.lost_disks[name] = asyncio.get_running_loop().time()
        self.after_harm(name)
        self._note(f"{name} loses its disk")

    def _empty(self, name: str) -> None:
        data = self._cluster.data(name)
        for path in data.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _copy(self, name: str) -> Path:
        to = self._cluster.directory / name / "copy"
        shutil.rmtree(to, ignore_errors=True)
        wounds.copy(self._cluster.data(name), to)
        return to

    # -- damage ----------------------------------------------------------------------------------

    async def _hurt_while_down(self, names: list[str], hurt: Hurt) -> None:
        """Damage the logs of nodes that are down."""
        for name in names:
            async with self._cluster.changing(name):
                if not self._cluster.processes[name].is_up:
                    await self._hurt([name], hurt)

    async def _hurt(self, names: list[str], hurt: Hurt) -> int:
        """Damage the logs of nodes where others hold what is there; how many it hit."""
        hit = 0
        for name in names:
            what, data = None, self._cluster.data(name)
            others = [self._cluster.data(one) for one in self._cluster.names if one != name]
            # A segment may be sealed just then, and a full disk has no room to look at it.
            with suppress(OSError, DiskError):
                spared = await asyncio.to_thread(wounds.spared_in, data, others)
                what = hurt(data, self._luck, spared)
            hit += self._harmed(name, what)
        return hit

    def _harmed(self, name: str, what: str | None) -> bool:
        """Remember what was done to a directory; False if that was nothing."""
        if what is None:
            return False
        self._history.damages.append((name, what))
        self.after_harm(name)
        self._note(f"{name} has damage: {what}")
        return True
