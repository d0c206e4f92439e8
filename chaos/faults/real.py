"""How each kind of fault begins and ends where nodes are real processes."""

from __future__ import annotations

import asyncio

from ...simulations.plans.plan import Fault, Plan
from ...simulations.troubles import Undo, nothing
from .disks import DiskFaults
from .members import MemberFaults
from .nodes import NodeFaults

DRILL_SECONDS_MIN = 0.1  # of one that would begin with the heal


class RealTroubles(DiskFaults, NodeFaults, MemberFaults):
    """All faults of one run of real processes."""

    async def heal(self) -> None:
        """End all that is still on, and start every node that is down."""
        await self.end_all()
        self._cluster.ways.heal()
        for clock in self._cluster.clocks.values():
            clock.steady()
        for room in self._cluster.rooms.values():
            room.free_again()
        for name in self._cluster.names:
            self._cluster.resume(name)
        await asyncio.gather(*(self._start(name) for name in self._cluster.names))
        await asyncio.gather(*(self._come_back(name) for name in self._cluster.names))

    async def _drill(self, _: int, fault: Fault) -> Undo | None:
        done = False
        for name in self._up(fault):
            order = drill_order(self._plan, fault, name, asyncio.get_running_loop().time())
            done |= await self._asker.post(name, "/v1/drills", order, 5.0) is not None
        return nothing if done else None

    async def _clock(self, _: int, fault: Fault) -> Undo | None:
        by = self._amount(fault)
        clocks = [self._cluster.clocks[name] for name in self._nodes(fault)]
        for clock in clocks:
            clock.jump(by)

        async def undo() -> None:
            for clock in clocks:
                clock.jump(-by)

        return undo

    async def _strobe(self, _: int, fault: Fault) -> Undo | None:
        clocks = [self._cluster.clocks[name] for name in self._nodes(fault)]
        for clock in clocks:
            clock.strobe(self._amount(fault), fault.every or 0.2)

        async def undo() -> None:
            for clock in clocks:
                clock.strobe(0, 1.0)

        return undo

    async def _reboot(self, _: int, fault: Fault) -> Undo | None:
        names = await self._killed(self._up(fault))
        for name in names:
            self._cluster.clocks[name].jump(-self._amount(fault))
            await self._start(name)

        async def undo() -> None:
            for name in names:
                self._cluster.clocks[name].jump(self._amount(fault))

        return undo if names else None


def drill_order(plan: Plan, fault: Fault, name: str, now: float) -> dict[str, object]:
    """What a node is asked for. It ends a drill by itself, so the time may not go past the heal."""
    others = plan.among(fault.towards) if fault.towards else plan.nodes
    left = max(DRILL_SECONDS_MIN, plan.healed_at - now)
    cut = [one for one in others if one != name]
    return {"cut": cut, "for": min(fault.lasts or 1.0, left)}
