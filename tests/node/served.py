"""A node behind its HTTP face, in this process, on loopback, with real files."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from anabranch.gossip.members import Member
from anabranch.gossip.transport import WebSocketNetwork
from anabranch.node.clock import SystemClock, SystemRandom
from anabranch.node.config import ClusterConfig
from anabranch.node.http import Face
from anabranch.node.node import Node
from anabranch.storage.disk import FileDisk
from anabranch.storage.errors import AnabranchError
from anabranch.storage.index_rocks import RocksIndex


class Served:
    """One node and a client of it."""

    def __init__(self, node: Node, url: str, session: aiohttp.ClientSession) -> None:
        self.node = node
        self.url = url
        self.session = session

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        media_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and decoded body of one request; `body` is sent as JSON unless it is bytes."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        payload = io.BytesIO(data) if data is not None else None
        sent = {"Content-Type": media_type} if data is not None else {}
        async with self.session.request(
            method, URL(self.url + path, encoded=True), data=payload, headers=sent | (headers or {})
        ) as response:
            raw = await response.read()
            kind = response.content_type
            return response.status, json.loads(raw) if kind.endswith(("+json", "/json")) else raw

    async def append(self, stream: str, body: Any, query: str = "", **how: Any) -> tuple[int, Any]:
        """POST events to a stream."""
        return await self.ask("POST", f"/v1/streams/{stream}/events{query}", body, **how)

    async def read(self, stream: str, query: str = "", **how: Any) -> tuple[int, Any]:
        """GET events of a stream."""
        return await self.ask("GET", f"/v1/streams/{stream}/events{query}", **how)


ALONE = ClusterConfig("test", 8, (Member("one", "here", 0, "http://127.0.0.1:1"),))


@asynccontextmanager
async def served(
    directory: Path,
    *,
    drills: bool = False,
    config: ClusterConfig = ALONE,
    name: str = "one",
    port: int = 0,
) -> AsyncIterator[Served]:
    """Run a node, unless told otherwise of a cluster of one, until the block ends."""
    disk = FileDisk(directory)
    index = RocksIndex(disk.directory / "index")
    node = Node(
        config,
        name,
        disk=disk,
        index=index,
        clock=SystemClock(),
        random=SystemRandom(),
        network=WebSocketNetwork(),
    )
    try:
        await node.start()
    except AnabranchError:  # a process would end now
        index.close()
        disk.close()
        raise
    runner = web.ServerRunner(Face(node, drills=drills).server(), shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    listens = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as session:
            yield Served(node, f"http://127.0.0.1:{listens}", session)
    finally:
        await node.end_links()
        await runner.cleanup()
        await node.stop()
