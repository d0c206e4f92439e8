"""A simulated network: links between nodes that deliver in order, late, or break.

A cut drops frames in one direction without a word, as a black hole does; a link that has lost a
frame to it never delivers another one, since a stream has no holes. Both sides notice by their own
time-outs, or at once where the cut is a reset. What is merely lost, the transport sends again: it
and all behind it come later. Frames that arrive twice, out of order or damaged are the work of a
broken proxy.

Each way from one node to another draws from its own luck, so what happens on one changes nothing
for the others. What flies belongs to no node: it arrives also where a node stands still.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from random import Random as Generator
from typing import Any

from ...gossip.transport import Link
from ...storage.errors import LinkLost
from .weather import Route, Weather, combine, flip_a_bit, resend_seconds

__all__ = ["Answer", "Route", "SimLink", "SimNetwork", "SimPort", "Weather"]

Answer = Callable[[Link], Coroutine[Any, Any, None]]
SYN_RESENT_AFTER_SECONDS = (1.0, 2.0, 4.0)  # as a kernel does (RFC 6298)
NOBODY = Context()  # in which frames fly: it has no owner who could be paused


class Path:
    """One way from a node to another: its route, its weather, and what waits to be sent there."""

    def __init__(self, route: Route, luck: Generator) -> None:
        self.route = route
        self.weathers: dict[str, Weather] = {}
        self.luck = luck
        self.now = combine(route, ())
        self._waiting: deque[tuple[SimLink, bytes | None]] = deque()
        self._sending: asyncio.TimerHandle | None = None

    def renew(self) -> None:
        """Route or weather have changed."""
        before, self.now = self.now.bandwidth, combine(self.route, self.weathers.values())
        if self._sending is not None and before != self.now.bandwidth:
            self._sending.cancel()
            self._send_first()

    def resends(self, counts: Counter[str]) -> float:
        """How much later a frame comes because the transport has to send it again."""
        losses = self.now.losses(self.luck)
        if losses:
            counts["lost"] += losses
        return resend_seconds(losses)

    def send(self, link: SimLink, frame: bytes | None) -> None:
        """Let a frame fly, once those before it are on their way."""
        if self._sending is None and self.now.bandwidth is None:
            link.fly(frame)
            return
        self._waiting.append((link, frame))
        if self._sending is None:
            self._send_first()

    def _send_first(self) -> None:
        while self._waiting and self._waiting[0][0].broken:
            self._waiting.popleft()
        self._sending = None
        if self._waiting:
            bandwidth, frame = self.now.bandwidth, self._waiting[0][1]
            seconds = len(frame or b"") / bandwidth if bandwidth is not None else 0.0
            loop = asyncio.get_running_loop()
            self._sending = loop.call_later(seconds, self._sent, context=NOBODY)

    def _sent(self) -> None:
        link, frame = self._waiting.popleft()
        link.fly(frame)
        self._send_first()


class SimLink:
    """One end of a link; `peer` is the other end."""

    def __init__(self, network: SimNetwork, here: str, there: str) -> None:
        self._network = network
        self.here = here
        self.there = there
        self.peer: SimLink | None = None
        self.inbox: deque[bytes | None] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._path = network.path(here, there)
        self._flying: deque[bytes | None] = deque()
        self._last_arrival = 0.0
        self._lost_a_frame = False
        self.closed = False

    @property
    def broken(self) -> bool:
        """Whether nothing that is sent from this end will ever be read."""
        return self._lost_a_frame or self.peer is None or self.peer.closed

    async def send(self, frame: bytes) -> None:
        """Put a frame on its way."""
        if self.closed or self.peer is None:
            raise LinkLost("the link is closed")
        self._network.frames += 1
        self._network.bytes += len(frame)
        self._send(frame)
        await asyncio.sleep(0)

    def _send(self, frame: bytes | None) -> None:
        if self._passes():
            self._path.send(self, frame)

    def _passes(self) -> bool:
        if not self._lost_a_frame and not self._path.now.passes:
            self._lost_a_frame = True
            self._network.counts["cut off"] += 1
        return not self._lost_a_frame

    def fly(self, frame: bytes | None) -> None:
        """A frame has left this end, and is on its way to the other."""
        later = 0.0
        if not self._path.now.steady:
            later = self._path.resends(self._network.counts)
            if frame is not None:
                self._meet_a_proxy(frame, later)
                return
        self._flying.append(frame)
        self._arrives(later)

    def _meet_a_proxy(self, frame: bytes, later: float) -> None:
        """A broken proxy damages a frame, doubles it, or lets it overtake others."""
        now, luck, counts = self._path.now, self._path.luck, self._network.counts
        if frame and luck.random() < now.garble:
            counts["garbled"] += 1
            frame = flip_a_bit(frame, luck)
        if luck.random() < now.reorder and self._flying:
            counts["reordered"] += 1
            self._flying.appendleft(frame)
        else:
            self._flying.append(frame)
        self._arrives(later)
        if luck.random() < now.duplicate:
            counts["duplicated"] += 1
            self._flying.append(frame)
            self._arrives(later)

    def _arrives(self, later: float) -> None:
        loop = asyncio.get_running_loop()
        arrival = loop.time() + self._network.delay(self.here, self.there) + later
        self._last_arrival = max(arrival, self._last_arrival)
        loop.call_at(self._last_arrival, self._arrive, context=NOBODY)

    def _arrive(self) -> None:
        frame = self._flying.popleft()  # timers of one moment come in any order, frames do not
        if self._passes() and self.peer is not None and not self.peer.closed:
            self.peer.take(frame)

    def take(self, frame: bytes | None) -> None:
        """A frame is here; None ends the link."""
        self.inbox.append(frame)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def receive(self) -> bytes:
        """The next frame."""
        if self.closed:
            raise LinkLost("the link is closed")
        while not self.inbox:
            assert self._reader is None or self._reader.done(), "a link has one reader"
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        frame = self.inbox.popleft()
        if frame is None:
            self.closed = True
            raise LinkLost("the other side closed the link")
        return frame

    async def close(self) -> None:
        """End the link; the other side hears of it if the network lets it."""
        if not self.closed:
            self.closed = True
            self.take(None)
            self._send(None)

    def reset(self) -> None:
        """Break the link for this side at once."""
        self.take(None)
        self._lost_a_frame = True


class SimNetwork:
    """All links of a world."""

    def __init__(self, seed: Generator | str | int, *, latency_seconds: float = 0.02) -> None:
        self._seed = seed.getrandbits(64) if isinstance(seed, Generator) else seed
        self._usual = Route(latency_seconds)
        self._paths: dict[tuple[str, str], Path] = {}
        self._answer: dict[str, Answer] = {}
        self._links: list[SimLink] = []
        self._serving: set[asyncio.Task[None]] = set()
        self.frames = 0
        self.bytes = 0
        self.counts: Counter[str] = Counter()  # of frames that met the weather

    # -- nodes -----------------------------------------------------------------------------------

    def listen(self, name: str, answer: Answer) -> None:
        """A node is up and answers links."""
        self._answer[name] = answer

    def down(self, name: str) -> None:
        """A node is gone: its links break at once, where a cut does not keep that a secret."""
        self._answer.pop(name, None)
        for link in self._links:
            if link.here == name or (link.there == name and self.path(name, link.here).now.passes):
                link.reset()
        self._forget_closed()

    # -- routes and weather ----------------------------------------------------------------------

    @property
    def latency_seconds(self) -> float:
        """How long a frame takes where no route is set."""
        return self._usual.latency_seconds

    @latency_seconds.setter
    def latency_seconds(self, seconds: float) -> None:
        before, self._usual = self._usual, Route(seconds)
        for path in self._paths.values():
            if path.route is before:
                path.route = self._usual
                path.renew()

    def path(self, here: str, there: str) -> Path:
        """The way from one node to another."""
        path = self._paths.get((here, there))
        if path is None:
            luck = Generator(f"{self._seed} {here} {there}")
            path = self._paths[here, there] = Path(self._usual, luck)
        return path

    def set_route(self, here: str, there: str, route: Route) -> None:
        """Say what the way from one node to another is like."""
        path = self.path(here, there)
        path.route = route
        path.renew()

    def begin(self, token: str, pairs: Iterable[tuple[str, str]], weather: Weather) -> None:
        """Let weather come over some ways, until the token is ended."""
        for here, there in pairs:
            path = self.path(here, there)
            path.weathers[token] = weather
            path.renew()
            if weather.reset:
                self._break(here, there)

    def end(self, token: str) -> None:
        """End the weather that began with this token."""
        for path in self._paths.values():
            if path.weathers.pop(token, None) is not None:
                path.renew()

    def cut(self, here: str, there: str, *, reset: bool = False) -> None:
        """Drop everything from one node to another."""
        self.begin(f"cut {here} {there}", [(here, there)], Weather(cut=True, reset=reset))

    def heal(self, here: str | None = None, there: str | None = None) -> None:
        """End a cut from one node to another; or all that is wrong, everywhere."""
        if here is not None and there is not None:
            self.end(f"cut {here} {there}")
            return
        for path in self._paths.values():
            path.weathers.clear()
            path.renew()

    def passes(self, here: str, there: str) -> bool:
        """Whether frames pass from one node to another."""
        return self.path(here, there).now.passes

    def delay(self, here: str, there: str) -> float:
        """How long a frame takes now."""
        path = self.path(here, there)
        return path.now.delay(path.luck)

    # -- links -----------------------------------------------------------------------------------

    async def connect(self, here: str, there: str) -> Link:
        """Dial a node."""
        forth, back = self.path(here, there), self.path(there, here)
        later = forth.resends(self.counts) + back.resends(self.counts)
        await asyncio.sleep(self.delay(here, there) + self.delay(there, here) + later)
        for seconds in SYN_RESENT_AFTER_SECONDS:
            if forth.now.opens and back.now.opens:
                break
            await asyncio.sleep(seconds)
        if not (forth.now.opens and back.now.opens):
            raise LinkLost(f"no answer from {there}")
        if there not in self._answer:
            raise LinkLost(f"{there} refused the connection")
        near, far = SimLink(self, here, there), SimLink(self, there, here)
        near.peer, far.peer = far, near
        self._forget_closed()
        self._links += [near, far]
        task = asyncio.get_running_loop().create_task(self._serve(far), context=NOBODY.copy())
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return near

    async def _serve(self, link: SimLink) -> None:
        answer = self._answer.get(link.here)
        if answer is not None:  # it may have gone down in this very moment
            await answer(link)

    def _break(self, here: str, there: str) -> None:
        for link in self._links:
            if {link.here, link.there} == {here, there}:
                link.reset()
        self._forget_closed()

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
        if url not in self._name_of_url:
            raise LinkLost(f"nothing is at {url!r}")
        return await self._network.connect(self._name, self._name_of_url[url])

    async def close(self) -> None:
        """Stop answering."""
        self._network.down(self._name)
