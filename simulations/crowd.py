"""The clients of a run: they send what their scripts say, and send again where no answer came."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from random import Random as Generator
from typing import Any, Protocol

from ..storage.commit import Draft
from .history import History
from .plans.clients import Script
from .plans.plan import Client, Plan

_TRIES = 3
# No answer, or an error that another node may not have.
_AGAIN = frozenset({None, "Unavailable", "DiskFull", "Overloaded"})


class Served(Protocol):
    """What clients see of a cluster, in a simulated world or of real processes."""

    history: History

    @property
    def names(self) -> Sequence[str]:
        """All nodes."""
        ...

    def is_up(self, name: str) -> bool:
        """Whether a node can be asked."""
        ...

    def append(self, name: str, draft: Draft, ack: str, timeout: float) -> asyncio.Task[None]:
        """Append at a node; what comes of it goes into the history."""
        ...

    def look(self, name: str) -> None:
        """Read at a node."""
        ...

    def revision(self, name: str, stream: str) -> int:
        """The revision of a stream that a client would read at a node."""
        ...


class Crowd:
    """All clients of one run."""

    def __init__(self, world: Served, plan: Plan) -> None:
        self._world = world
        self._plan = plan
        self._sending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Let all clients act until everything is healed, and wait for their answers."""
        async with asyncio.TaskGroup() as group:
            for client in self._plan.clients:
                group.create_task(self._act(client))

    async def answered(self) -> None:
        """Return when every append was answered or given up."""
        while self._sending:
            await asyncio.wait(self._sending)

    async def _act(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        luck = Generator(f"places {self._plan.seed} {client.name}")
        home = self._plan.among(client.at)
        script = Script(self._plan.seed, client, lambda stream: self._revision(stream, home, luck))
        ends = self._plan.healed_at if client.ends is None else client.ends
        done = 0
        await asyncio.sleep(client.starts - loop.time())
        while done < client.limit:
            await asyncio.sleep(script.pause())
            if loop.time() >= ends:
                return
            for _ in range(min(script.together(), client.limit - done)):
                done += 1
                self._operate(client, script, home, luck)

    def _operate(
        self, client: Client, script: Script, home: tuple[str, ...], luck: Generator
    ) -> None:
        up = [name for name in self._world.names if self._world.is_up(name)]
        near = [name for name in up if name in home]
        if not up:
            return
        if script.reads():
            self._world.look(luck.choice(near or up))
            return
        for write in script.write(up):
            ack = "settled" if script.waits() else "local"
            name = write.at if write.at in up else luck.choice(near or up)
            self._spawn(self._send(write.draft, name, ack, client.timeout, luck))

    def _spawn(self, sending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(sending)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(
        self, draft: Draft, name: str, ack: str, timeout: float, luck: Generator
    ) -> None:
        """Append, and do it again at another node if no answer came or the node could not."""
        for _ in range(_TRIES):
            if not self._world.is_up(name):
                return
            task = self._world.append(name, draft, ack, timeout)
            append = self._world.history.appends[-1]
            await asyncio.wait([task], timeout=2 * timeout)
            if append.receipt is not None or append.error not in _AGAIN:
                return
            others = [n for n in self._world.names if n != name and self._world.is_up(n)]
            if not others or luck.random() < 0.2:
                return
            name = luck.choice(others)

    def _revision(self, stream: str, home: tuple[str, ...], luck: Generator) -> int:
        """The revision of a stream as some node has it, one at home if any is up there."""
        up = [name for name in self._world.names if self._world.is_up(name)]
        near = [name for name in up if name in home]
        if not up:
            return -1
        return self._world.revision(luck.choice(near or up), stream)
