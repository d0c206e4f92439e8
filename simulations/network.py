"""A simulated network: links between nodes that deliver in order, late, or break.

A cut drops frames in one direction without a word, as a black hole does; a link that has lost a
frame never delivers another one, since a stream has no holes. Both sides notice by their own
time-outs, or at once where the cut is a reset.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random as Generator
from typing import Any

from ..gossip.transport import Link
from ..storage.errors import LinkLost

Answer = Callable[[Link], Coroutine[Any, Any, None]]
CONNECT_TIMEOUT_SECONDS = 3.0


class SimLink:
    """One end of a link; `peer` is the other end."""

    def __init__(self, network: SimNetwork, here: str, there: str) -> None:
        self._network = network
        self.here = here
        self.there = there
        self.peer: SimLink | None = None
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._flying: deque[bytes | None] = deque()
        self._last_arrival = 0.0
        self._lost_a_frame = False
        self.closed = False

    async def send(self, frame: bytes) -> None:
        """Put a frame on its way."""
        if self.closed or self.peer is None:
            raise LinkLost("the link is closed")
        self._network.frames += 1
        self._network.bytes += len(frame)
        if self._lost_a_frame or not self._network.passes(self.here, self.there):
            self._lost_a_frame = True
            return
        self._deliver(frame)
        await asyncio.sleep(0)

    def _deliver(self, frame: bytes | None) -> None:
        loop = asyncio.get_running_loop()
        delay = self._network.delay(self.here, self.there)
        self._last_arrival = max(loop.time() + delay, self._last_arrival)
        self._flying.append(frame)
        loop.call_at(self._last_arrival, self._arrive)

    def _arrive(self) -> None:
        frame = self._flying.popleft()  # timers of one moment come in any order, frames do not
        if self._lost_a_frame or not self._network.passes(self.here, self.there):
            self._lost_a_frame = True
        elif self.peer is not None and not self.peer.closed:
            self.peer.inbox.put_nowait(frame)

    async def receive(self) -> bytes:
        """The next frame."""
        if self.closed:
            raise LinkLost("the link is closed")
        frame = await self.inbox.get()
        if frame is None:
            self.closed = True
            raise LinkLost("the other side closed the link")
        return frame

    async def close(self) -> None:
        """End the link; the other side hears of it if the network lets it."""
        if not self.closed:
            self.closed = True
            self.inbox.put_nowait(None)
            self._deliver(None)

    def reset(self) -> None:
        """Break the link for this side at once."""
        self.inbox.put_nowait(None)
        self._lost_a_frame = True


class SimNetwork:
    """All links of a world."""

    def __init__(self, generator: Generator, *, latency_seconds: float = 0.02) -> None:
        self._generator = generator
        self.latency_seconds = latency_seconds
        self._answer: dict[str, Answer] = {}
        self._cut: set[tuple[str, str]] = set()
        self._links: list[SimLink] = []
        self._serving: set[asyncio.Task[None]] = set()
        self.frames = 0
        self.bytes = 0

    def listen(self, name: str, answer: Answer) -> None:
        """A node is up and answers links."""
        self._answer[name] = answer

    def down(self, name: str) -> None:
        """A node is gone: its links break at once, as the kernel of a dead process does."""
        self._answer.pop(name, None)
        for link in self._links:
            if name in (link.here, link.there):
                link.reset()
        self._forget_closed()

    def cut(self, here: str, there: str, *, reset: bool = False) -> None:
        """Drop everything from one node to another."""
        self._cut.add((here, there))
        if reset:
            for link in self._links:
                if {link.here, link.there} == {here, there}:
                    link.reset()
            self._forget_closed()

    def heal(self, here: str | None = None, there: str | None = None) -> None:
        """Let frames pass again: from one node to another, or everywhere."""
        if here is None or there is None:
            self._cut.clear()
        else:
            self._cut.discard((here, there))

    def passes(self, here: str, there: str) -> bool:
        """Whether frames pass from one node to another."""
        return (here, there) not in self._cut

    def delay(self, here: str, there: str) -> float:
        """How long a frame takes now."""
        return self._generator.uniform(0.5, 1.5) * self.latency_seconds

    async def connect(self, here: str, there: str) -> Link:
        """Dial a node."""
        await asyncio.sleep(2 * self.delay(here, there))
        if not (self.passes(here, there) and self.passes(there, here)):
            await asyncio.sleep(CONNECT_TIMEOUT_SECONDS)
            raise LinkLost(f"no answer from {there}")
        answer = self._answer.get(there)
        if answer is None:
            raise LinkLost(f"{there} refused the connection")
        near, far = SimLink(self, here, there), SimLink(self, there, here)
        near.peer, far.peer = far, near
        self._forget_closed()
        self._links += [near, far]
        task = asyncio.get_running_loop().create_task(answer(far))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return near

    def _forget_closed(self) -> None:
        self._links = [link for link in self._links if not link.closed]


class SimPort:
    """A node's way into the network (gossip.transport.Network)."""

    def __init__(self, network: SimNetwork, name: str, name_of_url: dict[str, str]) -> None:
        self._network = network
        self._name = name
        self._name_of_url = name_of_url

    async def connect(self, url: str) -> Link:
        """Dial the node at a URL."""
        return await self._network.connect(self._name, self._name_of_url[url])

    async def close(self) -> None:
        """Stop answering."""
        self._network.down(self._name)
