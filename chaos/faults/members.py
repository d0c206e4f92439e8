"""Members that come and go, and directories that go back in time or run twice."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path

from ...simulations.plans.plan import Fault
from ...simulations.troubles import Undo, nothing
from ..injection import wounds
from .blows import Blows

_ORDER_SECONDS = 1.0  # that a node waits for a change it was told of; it goes on wanting it


class MemberFaults(Blows):
    """The kinds of faults that have to do with who is a member."""

    async def _roll_back(self, _: int, fault: Fault) -> Undo | None:
        names = self._up(fault)[:1]
        began = asyncio.get_running_loop().time()
        copies = {name: self._copy(name) for name in names}

        async def undo() -> None:
            for name, copy in copies.items():
                await self._killed([name])
                await self._while_down(name, partial(self._put_back, name, copy, began))
                await self._start(name)

        return undo if names else None

    def _put_back(self, name: str, copy: Path, began: float) -> None:
        self._empty(name)
        wounds.restore(copy, self._cluster.data(name))
        shutil.rmtree(copy)
        self._history.rolled_back.append((name, began, asyncio.get_running_loop().time()))
        self.after_harm(name)
        self._note(f"{name} gets back the directory that it had at {began:.1f} s")

    async def _twin(self, _: int, fault: Fault) -> Undo | None:
        """A copy of the directory runs too: the younger of the two counts, the other is stopped."""
        names = self._up(fault)[:1]
        twins = []
        for name in names:
            self._cluster.hold(name)
            twins.append(self._cluster.launch_twin(name, self._copy(name)))

        async def undo() -> None:
            for name, twin in zip(names, twins, strict=True):
                twin.close()
                await self._cluster.stop(name)
                await self._start(name)
                self._cluster.release(name)

        return undo if names else None

    async def _evict(self, _: int, fault: Fault) -> Undo | None:
        name = self._nodes(fault)[0]
        by = [one for one in self._cluster.names if one != name and self._cluster.is_up(one)]
        if not by:
            return None
        order = {"action": "evict", "name": name, "timeout": _ORDER_SECONDS}
        answer = await self._asker.post(self._luck.choice(by), "/v1/members", order, 5.0)
        return nothing if answer is not None and answer[0] < 300 else None

    async def _leave(self, _: int, fault: Fault) -> Undo | None:
        name = self._nodes(fault)[0]
        if not self._cluster.is_up(name):
            return None
        self._cluster.hold(name)
        order = {"action": "leave", "name": name, "timeout": _ORDER_SECONDS}
        await self._asker.post(name, "/v1/members", order, 5.0)

        async def undo() -> None:
            await self._come_back(name)
            self._cluster.release(name)

        return undo
