"""Nodes that are killed at any moment or at a named point, paused, stopped, or lose their disk."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from ...simulations.plans.plan import Fault
from ...simulations.troubles import Undo
from ...storage.errors import Unavailable
from ..injection import wounds
from ..injection.points import POINTS, kill_at, start_arguments
from ..injection.power import Power
from .blows import NOT_TRACED, Blows

AT_POINT_SECONDS = 6.0  # how long a node may take to come to the point at which it is to die
_POWER_SECONDS = (0.3, 1.2)  # of writes before power is lost
_STARTING_SECONDS = (0.05, 1.5)  # after which a node is killed that starts


class NodeFaults(Blows):
    """The kinds of faults that processes have."""

    async def _crash(self, _: int, fault: Fault) -> Undo | None:
        return self._starting(await self._killed(self._up(fault)))

    async def _crash_writing(self, number: int, fault: Fault) -> Undo | None:
        return await self._kill_at(number, fault)

    async def _kill_at(self, _: int, fault: Fault) -> Undo | None:
        times = max(1, round(self._amount(fault)))
        points = [one for one in POINTS if not one.startswith(("start", "join"))]
        point = fault.point or self._luck.choice(points if fault.kind == "kill-at" else points[:3])
        if point.startswith(("start", "join", "heal")):
            return await self._kill_starting(self._up(fault), point, times)
        names = self._traceable(fault)
        for name in names:
            self._cluster.hold(name)
        hit = await asyncio.gather(*(self._killed_at(name, point, times) for name in names))
        for name in names:
            self._let_go(name)
        return self._starting([name for name, done in zip(names, hit, strict=True) if done])

    async def _killed_at(self, name: str, point: str, times: int) -> bool:
        data, pid = self._cluster.data(name), self._pid(name)
        with suppress(*NOT_TRACED):
            await kill_at(pid, data, point, AT_POINT_SECONDS, times=times)
        # It may have come there in the moment in which nobody waited for it any more.
        if not await self._died(name, pid):
            return False
        self._note(f"{name} died at {point}: {POINTS[point].says}")
        return True

    async def _kill_starting(self, names: list[str], point: str, times: int) -> Undo | None:
        """Kill nodes while they start: as ever, with damage to heal, or as new members."""
        names = await self._killed(names)
        for name in names:
            data = self._cluster.data(name)
            if point.startswith("join"):
                await self._wipe(name)
            elif point.startswith("heal"):
                await self._hurt_while_down([name], wounds.flip_bits)
            command = start_arguments(self._cluster.command(name), point, times, data)
            self._cluster.hold(name)
            try:
                await self._cluster.start(name, command, traced=True)
                if not await self._cluster.processes[name].ended(AT_POINT_SECONDS):
                    continue
            except Unavailable:
                pass
            finally:
                self._cluster.release(name)
            await self._note_death(name)
            self._note(f"{name} died at {point}: {POINTS[point].says}")
        return self._starting(names)

    async def _power(self, _: int, fault: Fault) -> Undo | None:
        names = self._traceable(fault)
        for name in names:
            self._cluster.hold(name)
        lost = await asyncio.gather(*(self._lose_power(name) for name in names))
        for name in names:
            self._let_go(name)
        return self._starting([name for name, done in zip(names, lost, strict=True) if done])

    async def _lose_power(self, name: str) -> bool:
        pid = self._pid(name)
        try:
            watch = await Power.watch(pid, self._cluster.data(name))
        except NOT_TRACED:
            return False
        await asyncio.sleep(self._luck.uniform(*_POWER_SECONDS))
        process = self._cluster.processes[name]
        if not process.is_up or process.pid != pid:
            await watch.end()
            return False
        async with self._cluster.changing(name):  # nobody may start it before all is lost
            for what in await watch.cut(self._luck):
                self._note(f"{name} lost power: {what}")
        return await self._died(name, pid)

    async def _crash_loop(self, _: int, fault: Fault) -> Undo | None:
        names = await self._killed(self._up(fault))
        for _again in range(round(self._amount(fault))):
            for name in names:
                await self._die_starting(name)
        return self._starting(names)

    async def _die_starting(self, name: str) -> None:
        """Start a node and kill it a moment later, wherever it is then."""
        process = self._cluster.processes[name]
        if process.is_up:
            return
        process.start(self._cluster.command(name), self._cluster.environment(name))
        process.expected = True
        await asyncio.sleep(self._luck.uniform(*_STARTING_SECONDS))
        self.kills += await process.kill()

    async def _stop(self, _: int, fault: Fault) -> Undo | None:
        return self._starting([n for n in self._nodes(fault) if await self._cluster.stop(n)])

    async def _pause(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._up(fault) if self._cluster.pause(name)]

        async def undo() -> None:
            for name in names:
                self._cluster.resume(name)

        return undo if names else None

    async def _lose_index(self, _: int, fault: Fault) -> Undo | None:
        names = await self._killed(self._up(fault))
        for name in names:
            data = self._cluster.data(name)
            await self._while_down(name, partial(wounds.lose_index, data))
        return self._starting(names)

    async def _lose_disk(self, _: int, fault: Fault) -> Undo | None:
        names = await self._killed(self._up(fault))
        for name in names:
            await self._wipe(name)
        return self._starting(names)
