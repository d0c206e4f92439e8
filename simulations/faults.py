"""How each kind of fault begins and ends in a simulated world."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..gossip.epoch import Change
from ..storage import keys
from ..storage.errors import AnabranchError, DamagedLog
from ..storage.limits import DISK_RESERVE_BYTES
from .plans.plan import Fault, Plan
from .troubles import Tell, Troubles, Undo, nothing
from .watch.watched import WatchedWorld
from .world.world import ROOM_BYTES
from .wounds import IN_PLACE, Wounds

_LAST_BYTES = 400  # that a disk without room still has at most: less than a write or two
_LEAVES_WITHIN_SECONDS = 60.0  # longer than any run has trouble
WRITE_AWAITED_SECONDS = 1.0  # how long a crash waits for a write that it can spoil


class SimTroubles(Troubles):
    """All faults of one run in a simulated world."""

    def __init__(self, world: WatchedWorld, plan: Plan, *, tell: Tell, note: Tell) -> None:
        super().__init__(world.network, world.clocks, plan, tell=tell, note=note)
        self._world = world
        self._leaving: set[asyncio.Task[bool]] = set()
        self._wounds = Wounds(world)
        self._gone_back: set[str] = set()  # nodes whose disks were rolled back
        self._endless: set[str] = set()  # nodes of which only the index knows what they lack

    async def heal(self) -> None:
        """End all that is still on, and start every node that is down."""
        await self.end_all()
        self._world.network.heal()
        for node in self._world.nodes.values():
            node.membership.wanted.clear()  # as an operator does who has what was wanted
        for name in self._world.names:
            self._world.resume(name)
            self._world.clocks[name].steady()
            self._world.disks[name].capacity_bytes = ROOM_BYTES
            self._world.disks[name].full_since = None
        await self._world.failed_have_ended()
        for name in self._world.names:
            if isinstance(await self._start(name), DamagedLog):
                self._note(f"{name} gets back what was damaged, from a copy of its disk")
                self._world.disks[name].mend()
                await self._start(name)
            if name in self._world.nodes and self._world.nodes[name].store.left:
                self._world.nodes[name].membership.come_back()  # it was down when it should

    def wrong_indexes(self) -> list[str]:
        """The nodes whose index has a wrong hash where a comparison reads it."""
        return self._wounds.wrong_indexes()

    def _nodes(self, fault: Fault) -> tuple[str, ...]:
        """The nodes that a fault is about, without those that have not joined yet."""
        return tuple(name for name in super()._nodes(fault) if name in self._world.names)

    async def _start(self, name: str) -> AnabranchError | None:
        """Start a node, if it can start; why it can't."""
        try:
            await self._world.start(name)
        except AnabranchError as error:
            self._note(f"{name} does not start: {error}")
            return error
        return None

    # -- links -------------------------------------------------------------------------------------

    async def _drill(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if self._world.is_up(name)]
        for name in names:
            others = self._plan.among(fault.towards) if fault.towards else self._plan.nodes
            cut = [other for other in others if other != name]
            self._world.nodes[name].replication.cut(cut, fault.lasts or 1.0)
        return nothing if names else None

    # -- clocks ----------------------------------------------------------------------------------

    async def _clock(self, _: int, fault: Fault) -> Undo | None:
        by = round(self._amount(fault) * 1000)
        clocks = [self._world.clocks[name] for name in self._nodes(fault)]
        for clock in clocks:
            clock.jump(by)

        async def undo() -> None:
            for clock in clocks:
                clock.jump(-by)

        return undo

    async def _strobe(self, _: int, fault: Fault) -> Undo | None:
        clocks = [self._world.clocks[name] for name in self._nodes(fault)]
        for clock in clocks:
            clock.strobe(round(self._amount(fault) * 1000), fault.every or 0.2)

        async def undo() -> None:
            for clock in clocks:
                clock.strobe(0, 1.0)

        return undo

    # -- disks -----------------------------------------------------------------------------------

    async def _disk_full(self, _: int, fault: Fault) -> Undo | None:
        disks = [self._world.disks[name] for name in self._nodes(fault)]
        for disk in disks:
            disk.capacity_bytes = ROOM_BYTES
            disk.capacity_bytes -= disk.free() - DISK_RESERVE_BYTES + 1
            disk.full_since = asyncio.get_running_loop().time()

        async def undo() -> None:
            for disk in disks:
                disk.capacity_bytes, disk.full_since = ROOM_BYTES, None

        return undo

    async def _no_room(self, _: int, fault: Fault) -> Undo | None:
        disks = [self._world.disks[name] for name in self._nodes(fault)]
        for disk in disks:
            disk.capacity_bytes = ROOM_BYTES
            disk.capacity_bytes -= disk.free() - self._luck.randrange(_LAST_BYTES)
            disk.full_since = asyncio.get_running_loop().time()

        async def undo() -> None:
            for disk in disks:
                disk.capacity_bytes, disk.full_since = ROOM_BYTES, None
            for name in self._nodes(fault):
                self._world.note_room(name)
                if not self._world.history.starts[name]:  # it had no room for its first state
                    await self._start(name)

        return undo

    async def _disk_slow(self, _: int, fault: Fault) -> Undo | None:
        disks = [self._world.disks[name] for name in self._nodes(fault)]
        for disk in disks:
            disk.slow = self._amount(fault)

        async def undo() -> None:
            for disk in disks:
                disk.slow = 1.0

        return undo

    async def _disk_stall(self, _: int, fault: Fault) -> Undo | None:
        disks = [self._world.disks[name] for name in self._nodes(fault)]
        seconds = fault.lasts if fault.lasts is not None else self._plan.healed_at - fault.at
        for disk in disks:
            disk.stall(seconds)
        return nothing

    async def _write_fails(self, number: int, fault: Fault) -> Undo | None:
        return await self._disk_fails(number, fault)

    async def _disk_fails(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if self._world.is_up(name)]
        for name in names:
            disk = self._world.disks[name]
            disk.failing_syncs = fault.kind == "disk-fails"
            disk.failing_writes = fault.kind == "write-fails"

        async def undo() -> None:
            for name in names:
                await self._world.crash(name)
                disk = self._world.disks[name]
                disk.failing_syncs = disk.failing_writes = False
                await self._start(name)

        return undo if names else None

    async def _misread(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if self._world.is_up(name)]
        for name in names:
            self._world.disks[name].misread = self._amount(fault)
            self.damages.append((name, "reads went wrong"))

        async def undo() -> None:
            for name in names:
                self._world.disks[name].misread = 0.0
                await self._start(name)

        return undo if names else None

    async def _bit_rot(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if await self._world.stop_one(name)]
        self._hurt(names, IN_PLACE)
        return self._starting(names)

    async def _live_rot(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if self._world.is_up(name)]
        return nothing if self._hurt(names, IN_PLACE) else None

    async def _lose_segment(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if self._world.is_up(name)]
        kind = "missing" if self._luck.random() < self._amount(fault) else "truncate"
        return nothing if self._hurt(names, (kind,)) else None

    async def _lose_end(self, _: int, fault: Fault) -> Undo | None:
        """Only as far as an index tells: without that it looks like an older log."""
        names = [name for name in self._nodes(fault) if await self._world.stop_one(name)]
        for name in names:
            synced = self._world.indexes[name].get(keys.SYNCED)
            if synced is not None and self._hurt([name], ("truncate",), keys.number(synced)):
                self._endless.add(name)
        return self._starting(names)

    def _hurt(self, names: list[str], kinds: tuple[str, ...], until: int | None = None) -> int:
        """Damage what is on the disks of nodes, where others can heal it; how many it hit."""
        hit = 0
        for name in names:
            what = self._wounds.hurt(name, self._luck, kinds, until)
            if what is not None:
                hit += 1
                self.damages.append((name, what))
                self._note(f"{name} has damage: {what}")
        return hit

    async def _index_rot(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if self._world.is_up(name)]
        found = [self._wounds.hurt_index(name, self._luck) for name in names]
        for what in filter(None, found):
            self._note(what)
        return nothing if any(found) else None

    # -- nodes -----------------------------------------------------------------------------------

    async def _crash(self, _: int, fault: Fault) -> Undo | None:
        return self._starting([n for n in self._nodes(fault) if await self._world.crash(n)])

    async def _crash_writing(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if self._world.is_up(name)]
        crashed = await asyncio.gather(*(self._crash_amid_write(name) for name in names))
        return self._starting([n for n, done in zip(names, crashed, strict=True) if done])

    async def _crash_amid_write(self, name: str) -> bool:
        disk = self._world.disks[name]
        with suppress(TimeoutError):
            async with asyncio.timeout(WRITE_AWAITED_SECONDS):
                await disk.next_sync()
        await asyncio.sleep(self._luck.uniform(0, 1.6) * disk.sync_seconds * disk.slow)
        return await self._world.crash(name)

    async def _reboot(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if self._world.is_up(name)]
        for name in names:
            await self._crash_amid_write(name)
            self._world.clocks[name].jump(-round(self._amount(fault) * 1000))
            await self._start(name)

        async def undo() -> None:
            for name in names:
                self._world.clocks[name].jump(round(self._amount(fault) * 1000))

        return undo if names else None

    async def _stop(self, _: int, fault: Fault) -> Undo | None:
        return self._starting([n for n in self._nodes(fault) if await self._world.stop_one(n)])

    async def _pause(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault) if self._world.is_up(name)]
        for name in names:
            self._world.pause(name)

        async def undo() -> None:
            for name in names:
                self._world.resume(name)

        return undo if names else None

    async def _lose_index(self, number: int, fault: Fault) -> Undo | None:
        undo = await self._crash(number, fault)
        if undo is not None:
            for name in self._nodes(fault):
                if name not in self._endless:
                    self._world.lose_index(name)
        return undo

    async def _lose_disk(self, number: int, fault: Fault) -> Undo | None:
        if not self._world.has_formed():  # nobody could be let in anew, and so it may never form
            self._note("no disk is lost before all founders have met")
            return None
        if not self._world.has_settled_beside(self._nodes(fault)):  # what an operator gives up
            self._note("no disk is lost that is the last with something settled")
            return None
        undo = await self._crash(number, fault)
        if undo is not None:
            for name in self._nodes(fault):
                self._world.lose_disk(name)
        return undo

    # -- members ---------------------------------------------------------------------------------

    async def _roll_back(self, _: int, fault: Fault) -> Undo | None:
        names = [name for name in self._nodes(fault)[:1] if self._is_remembered(name)]
        began = asyncio.get_running_loop().time()
        taken = {name: self._world.snapshot(name) for name in names}

        async def undo() -> None:
            for name, snapshot in taken.items():
                if not self._is_remembered(name):
                    continue
                if not self._world.has_settled_beside([name]):  # a majority went back
                    self._note("no disk goes back that is the last with something settled")
                    continue
                await self._world.crash(name)
                self._world.roll_back(name, snapshot, began)
                self._gone_back.add(name)
                await self._start(name)

        return undo if names else None

    def _is_remembered(self, name: str) -> bool:
        """Whether a node is up, and some other member never went back, or is one again."""
        nodes = self._world.nodes
        again = {one for one in self._gone_back & {*nodes} if nodes[one].membership.has_a_vote}
        forgetful = {name} | (self._gone_back - again)
        return name in nodes and any(one.name not in forgetful for one in nodes[name].members.table)

    async def _twin(self, number: int, fault: Fault) -> Undo | None:
        """A copy of the directory runs too: the younger of the two counts, the other is stopped."""
        twins = {f"{n}-{number}": n for n in self._nodes(fault)[:1] if self._world.is_up(n)}
        for twin, name in twins.items():
            self._world.copy(name, twin)
            await self._start(twin)

        async def undo() -> None:
            for twin, name in twins.items():
                await self._world.crash(twin)
                await self._world.stop_one(name)
                await self._start(name)

        return undo if twins else None

    async def _evict(self, _: int, fault: Fault) -> Undo | None:
        name = next(iter(self._nodes(fault)), "")
        others = [one for one in self._world.nodes if one != name]
        by = self._world.nodes[self._luck.choice(others)] if others else None
        origin = None if by is None else by.members.origin(name)
        if by is None or origin is None:
            return None
        by.membership.want(Change(remove=(origin,)))
        return nothing

    async def _leave(self, _: int, fault: Fault) -> Undo | None:
        name = next(iter(self._nodes(fault)), "")
        if not self._world.is_up(name):
            return None
        context = self._world.contexts[name].copy()
        leaving = self._world.nodes[name].membership.leave(_LEAVES_WITHIN_SECONDS)
        task = asyncio.get_running_loop().create_task(leaving, context=context)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

        async def undo() -> None:
            task.cancel()  # it may stand still, and end only once it goes on
            if self._world.is_up(name):
                self._world.nodes[name].membership.come_back()

        return undo

    async def _join(self, _: int, fault: Fault) -> Undo | None:
        """It knows one of the nodes that are there, and is let in as soon as it has a copy."""
        late = [name for name in self._plan.among(fault.where) if name not in self._world.names]
        for name in late:
            knows = self._luck.choice(self._world.names)
            self._world.add(name, self._plan.site_of(name), [knows], asks=True)
            self._world.disks[name].sync_seconds = self._plan.sync
            await self._start(name)
        return nothing if late else None

    def _starting(self, names: list[str]) -> Undo | None:
        async def undo() -> None:
            for name in names:
                await self._start(name)

        return undo if names else None
