"""The network seam: links that carry frames in order or break; and the real one, over WebSocket.

A link delivers what was sent, whole and in order, until it is lost; it never skips a frame.
"""

from __future__ import annotations

from typing import Protocol

import aiohttp
from aiohttp import web

from ..storage.errors import LinkLost
from ..storage.limits import CONNECT_SECONDS, FRAME_BYTES_MAX

LINK_PATH = "/v1/link"


class Link(Protocol):
    """One connection between two nodes."""

    async def send(self, frame: bytes) -> None:
        """Send a frame; waits while the other side is slow. Raises LinkLost."""
        ...

    async def receive(self) -> bytes:
        """The next frame. Raises LinkLost."""
        ...

    async def close(self) -> None:
        """End the link for both sides."""
        ...


class Network(Protocol):
    """How a node reaches others."""

    async def connect(self, url: str) -> Link:
        """Open a link to the node at a URL. Raises LinkLost with the reason."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


class WebSocketLink:
    """A link over a WebSocket, client's or server's."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse | web.WebSocketResponse) -> None:
        self._socket = socket

    async def send(self, frame: bytes) -> None:
        """Send a frame."""
        try:
            await self._socket.send_bytes(frame)
        except (ConnectionError, aiohttp.ClientError, RuntimeError) as error:
            raise LinkLost(f"the connection broke: {error}") from None

    async def receive(self) -> bytes:
        """The next frame."""
        try:
            message = await self._socket.receive()
        except (ConnectionError, aiohttp.ClientError, RuntimeError) as error:
            raise LinkLost(f"the connection broke: {error}") from None
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise LinkLost("the other side closed the connection")
        data: bytes = message.data
        return data

    async def close(self) -> None:
        """End the link."""
        await self._socket.close()


class WebSocketNetwork:
    """Links over WebSocket; made inside a running loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def connect(self, url: str) -> Link:
        """Open a link to the node at a URL."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        try:
            socket = await self._session.ws_connect(
                url.rstrip("/") + LINK_PATH,
                max_msg_size=FRAME_BYTES_MAX,
                autoping=True,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise LinkLost(f"can't reach {url}: {error}") from None
        return WebSocketLink(socket)

    async def close(self) -> None:
        """Let go of everything."""
        if self._session is not None:
            await self._session.close()


async def accept_websocket(request: web.BaseRequest) -> tuple[web.WebSocketResponse, Link]:
    """Make the server's side of a link from an upgrade request."""
    socket = web.WebSocketResponse(max_msg_size=FRAME_BYTES_MAX, compress=False, timeout=1.0)
    await socket.prepare(request)
    return socket, WebSocketLink(socket)
