"""A proxy on loopback for the links that one node dials to another, with faults on both lanes.

An opened connection goes on to the target at once; under a cut, in either direction, it stays half
open until that ends: accepted, and nothing behind it. While a lane is reset, what is open is torn
and what is new is refused, both with an RST.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import cast

from .lanes import Lane
from .stream import Ending, Stream

LOOPBACK = "127.0.0.1"
NO_LINGER = struct.pack("ii", 1, 0)  # a close then sends an RST


class Proxy:
    """Takes the connections from one node to another, whose real address is the target."""

    def __init__(
        self, here: str, there: str, *, target: tuple[str, int], forward: Lane, backward: Lane
    ) -> None:
        self.here = here
        self.there = there
        self.target = target
        self.forward = forward
        self.backward = backward
        self.port = 0
        self.closed = False
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def open(self, port: int = 0) -> None:
        """Listen, at any free port unless one is given."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, LOOPBACK, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more, and break whatever is open."""
        self.closed = True
        if self._server is not None:
            self._server.close()
        while self.connections:
            open_ones = list(self.connections)
            for one in open_ones:
                one.abort()
            await asyncio.gather(*(one.over.wait() for one in open_ones))
        if self._server is not None:
            await self._server.wait_closed()

    def _accept(self) -> Side:
        return Connection(self).near


class Connection:
    """A connection that was accepted, and the one that was dialled for it."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.forward = Stream(proxy.forward, self._ended)
        self.backward = Stream(proxy.backward, self._ended)
        self.near = Side(self, self.forward, self.backward)
        self.far = Side(self, self.backward, self.forward)
        self.over = asyncio.Event()
        self.aborted = False
        self._dialling: asyncio.Task[None] | None = None

    @property
    def lanes(self) -> tuple[Lane, Lane]:
        """The way there and the way back."""
        return self._proxy.forward, self._proxy.backward

    def accepted(self) -> None:
        """The near side is open: dial, if anything passes."""
        self._proxy.connections.add(self)
        for lane in self.lanes:
            lane.traffic[self] = None
        self.lanes[0].connections += 1
        refusing = next((lane for lane in self.lanes if lane.refuses), None)
        if refusing is not None:
            refusing.counts["reset"] += 1
            self.abort()
        elif self._proxy.closed:
            self.abort()
        else:
            self._dial()
            if self.lanes[0].now.opens and not self.lanes[1].now.opens:
                self.lanes[1].counts["cut off"] += 1  # on the way there the first bytes count

    def renewed(self) -> None:
        """The conditions of a lane have changed."""
        self._dial()
        self.forward.renewed()
        self.backward.renewed()

    def tear(self) -> None:
        """Break, in the middle of a frame if there is one."""
        if not self.aborted:
            self.forward.break_off()
            self.backward.break_off()
        self.abort()

    def abort(self) -> None:
        """Break both sides with an RST."""
        self.aborted = True
        self._leave()
        self.forward.sink_lost()
        self.backward.sink_lost()
        if self._dialling is not None:
            self._dialling.cancel()
        for side in (self.near, self.far):
            side.abort()

    def left(self, side: Side) -> None:
        """A side has ended what it says, or is gone."""
        if side is self.near and self._dialling is None:
            self.abort()  # who gave up before the call went through is not called back
        self._close_if_done()

    def check_over(self, _: object = None) -> None:
        """Forget the connection once nothing of it is left."""
        dialled = self._dialling is None or self._dialling.done()
        if dialled and not self.near.is_up and not self.far.is_up:
            self._leave()
            self._proxy.connections.discard(self)
            self.over.set()

    def _dial(self) -> None:
        if self._dialling is None and not self.aborted and all(x.now.opens for x in self.lanes):
            loop = asyncio.get_running_loop()
            greeting = sum(lane.opening_seconds() for lane in self.lanes)
            self.forward.not_before = loop.time() + greeting
            self._dialling = loop.create_task(self._open_far_side())
            self._dialling.add_done_callback(self.check_over)

    async def _open_far_side(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: self.far, *self._proxy.target
            )
        except OSError:  # nobody there: the near side hears of it over the way back
            self.forward.sink_lost()
            self.backward.finish(Ending.BROKEN)

    def _ended(self, ending: Ending) -> None:
        if ending is Ending.BROKEN:
            self.abort()
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self.forward.done and self.backward.done:
            self._leave()
            for side in (self.near, self.far):
                if side.transport is not None:
                    side.transport.close()

    def _leave(self) -> None:
        for lane in self.lanes:
            lane.traffic.pop(self, None)


class Side(asyncio.Protocol):
    """One of the two sockets of a connection: the source of one stream, the sink of the other."""

    def __init__(self, connection: Connection, out: Stream, into: Stream) -> None:
        self._connection = connection
        self._out = out
        self._into = into
        self.transport: asyncio.Transport | None = None
        self.is_up = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        tcp = cast("asyncio.Transport", transport)  # uvloop's is none by name
        self.transport = self._out.source = self._into.sink = tcp
        self.is_up = True
        if self._connection.aborted:
            self.abort()
        elif self is self._connection.near:
            self._connection.accepted()
        else:
            self._into.move()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self._out.take(data)

    def eof_received(self) -> bool:
        """No more bytes will come; those for this side still go."""
        self._out.finish(Ending.CLOSED)
        self._connection.left(self)
        return True

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._into.sink_full(full=True)

    def resume_writing(self) -> None:
        """The socket takes more again."""
        self._into.sink_full(full=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self.is_up = False
        self._into.sink_lost()
        self._out.finish(Ending.CLOSED if exc is None else Ending.BROKEN)
        self._connection.left(self)
        self._connection.check_over()

    def abort(self) -> None:
        """Break with an RST."""
        if self.transport is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER
                )
            self.transport.abort()
