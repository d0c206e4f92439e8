"""Disks that are full, slow, stalled or at their end, and damage to what is on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from ...simulations.plans.plan import Fault
from ...simulations.troubles import Undo, nothing
from ...storage.limits import DISK_RESERVE_BYTES
from ..injection import tracing, wounds
from ..injection.tracing import Tracing
from .blows import NOT_TRACED, Blows

SYNC_SECONDS = 0.005  # that a disk takes, to be multiplied by `disk-slow`
STALL_SECONDS = 3.0  # of one sync on a disk that stalls
ENDED_FOR_DOUBT = 3  # the exit status of a node that can't trust its disk any more
_LAST_BYTES = 4096  # that a disk without room still has
_ENDS_SECONDS = 15.0  # for a node whose disk fails
_MISREAD_EVERY = 7  # of the reads; fewer would never be met


class DiskFaults(Blows):
    """The kinds of faults that disks have."""

    async def _disk_full(self, _: int, fault: Fault) -> Undo | None:
        return self._filled(fault, DISK_RESERVE_BYTES - 1)

    async def _no_room(self, _: int, fault: Fault) -> Undo | None:
        return self._filled(fault, _LAST_BYTES)

    def _filled(self, fault: Fault, leave: int) -> Undo:
        names = self._nodes(fault)
        for name in names:
            self._cluster.rooms[name].fill(leave)

        async def undo() -> None:
            for name in names:
                self._cluster.rooms[name].free_again()
                await self._start(name)

        return undo

    async def _traced(
        self, fault: Fault, attach: Callable[[str], Awaitable[Tracing]]
    ) -> Undo | None:
        """Have something happen to calls of nodes for a while."""
        on: list[tuple[str, Tracing]] = []
        for name in self._traceable(fault):
            self._cluster.hold(name)
            try:
                on.append((name, await attach(name)))
            except NOT_TRACED:
                self._let_go(name)

        async def undo() -> None:
            for name, trace in on:
                await trace.detach()
                self._let_go(name)

        return undo if on else None

    async def _disk_slow(self, _: int, fault: Fault) -> Undo | None:
        seconds = SYNC_SECONDS * self._amount(fault)
        return await self._traced(fault, lambda name: tracing.slow_syncs(self._pid(name), seconds))

    async def _disk_stall(self, _: int, fault: Fault) -> Undo | None:
        return await self._traced(
            fault, lambda name: tracing.slow_syncs(self._pid(name), STALL_SECONDS)
        )

    async def _misread(self, _: int, fault: Fault) -> Undo | None:
        self._history.damages += [(name, "reads went wrong") for name in self._up(fault)]
        when = f"1+{_MISREAD_EVERY}"
        return await self._traced(
            fault,
            lambda name: tracing.failing_reads(
                self._pid(name), self._cluster.data(name), when=when
            ),
        )

    async def _write_full(self, _: int, fault: Fault) -> Undo | None:
        return await self._traced(fault, lambda name: tracing.failing_writes(self._pid(name)))

    async def _write_fails(self, number: int, fault: Fault) -> Undo | None:
        return await self._disk_fails(number, fault)

    async def _disk_fails(self, _: int, fault: Fault) -> Undo | None:
        """The node has to end by itself, and says so by its status."""
        names = self._traceable(fault)
        for name in names:
            self._cluster.hold(name)
        await asyncio.gather(*(self._fail_disk(name, fault.kind) for name in names))

        async def undo() -> None:
            for name in names:
                await self._start(name)
                self._let_go(name)

        return undo if names else None

    async def _fail_disk(self, name: str, kind: str) -> None:
        process = self._cluster.processes[name]
        try:
            if kind == "write-fails":
                trace = await tracing.failing_writes(self._pid(name), "EIO")
            else:
                trace = await tracing.failing_syncs(self._pid(name), self._cluster.data(name))
        except NOT_TRACED:
            return
        ended = await process.ended(_ENDS_SECONDS)
        await trace.detach()
        status = process.status
        if ended:
            self._cluster.died(name)
            await self.after_death(name)
        if not ended or status != ENDED_FOR_DOUBT:
            what = f"ended with status {status}" if ended else "went on"
            self._history.alarms.append(f"{name} {what} when its disk failed")

    async def _bit_rot(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if await self._cluster.stop(name)]
        await self._hurt_while_down(names, wounds.flip_bits)
        return self._starting(names)

    async def _live_rot(self, _: int, fault: Fault) -> Undo | None:
        return nothing if await self._hurt(self._up(fault), wounds.flip_bits) else None

    async def _lose_segment(self, _: int, fault: Fault) -> Undo | None:
        gone = self._luck.random() < self._amount(fault)
        hurt = wounds.lose_segment if gone else wounds.truncate_segment
        return nothing if await self._hurt(self._up(fault), hurt) else None

    async def _lose_end(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if await self._cluster.stop(name)]
        await self._hurt_while_down(names, wounds.lose_end)
        return self._starting(names)

    async def _index_rot(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if await self._cluster.stop(name)]
        for name in names:
            await self._while_down(name, partial(self._tear_index, name))
        self._cluster.may_end.update(names)
        return self._starting(names)

    def _tear_index(self, name: str) -> None:
        self._harmed(name, wounds.tear_index(self._cluster.data(name), self._luck))
