"""Everything that is sent goes through here into one hash, so two runs can be compared."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from ...gossip.transport import Link, Network

Opened = Callable[[str, str], None]  # who has opened a link, and to which URL


class Trace:
    """A running hash over everything that was sent and answered."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, *parts: object) -> None:
        """Take in one more event."""
        self._hash.update(repr(parts).encode())

    @property
    def hex(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest()


class WatchedLink:
    """A link whose frames go into the trace."""

    def __init__(self, link: Link, name: str, trace: Trace) -> None:
        self._link = link
        self._name = name
        self._trace = trace
        self.receive = link.receive
        self.close = link.close

    async def send(self, frame: bytes) -> None:
        """Send a frame."""
        self._trace.add(asyncio.get_running_loop().time(), self._name, frame)
        await self._link.send(frame)


class WatchedPort:
    """A way into the network whose links are watched."""

    def __init__(self, port: Network, name: str, trace: Trace, opened: Opened) -> None:
        self._port = port
        self._name = name
        self._trace = trace
        self._opened = opened

    async def connect(self, url: str) -> Link:
        """Open a link."""
        link = await self._port.connect(url)
        self._opened(self._name, url)
        return WatchedLink(link, self._name, self._trace)

    async def close(self) -> None:
        """Let go of everything."""
        await self._port.close()
