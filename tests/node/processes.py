"""Real node processes on loopback, each ended by the test that started it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

DEADLINE_SECONDS = 20.0


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens at now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Cluster:
    """Three sites of one node each, as processes."""

    def __init__(self, directory: Path, *, name: str = "test", shards: int = 8) -> None:
        self.directory = directory
        self.names = ["a", "b", "c"]
        self.urls = {
            node: f"http://127.0.0.1:{port}"
            for node, port in zip(self.names, free_ports(3), strict=True)
        }
        self.config = directory / "cluster.toml"
        self.write_config(self.config, name, shards)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.session = aiohttp.ClientSession()

    def write_config(self, path: Path, name: str, shards: int) -> None:
        """The cluster's file."""
        rows = "".join(
            f'[[member]]\nname = "{node}"\nsite = "{node}"\nurl = "{url}"\n'
            for node, url in self.urls.items()
        )
        path.write_text(f'[cluster]\nname = "{name}"\nshards = {shards}\n{rows}')

    def data(self, node: str) -> Path:
        """A node's directory."""
        return self.directory / node

    def log(self, node: str) -> str:
        """What a node has logged in all its lives."""
        return (self.directory / f"{node}.log").read_text()

    def launch(self, node: str, config: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a node; does not wait."""
        command = [sys.executable, "-m", "anabranch", "node", node]
        command += ["--config", str(config or self.config), "--data", str(self.data(node))]
        command += ["--drills"]
        with (self.directory / f"{node}.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes[node] = process
        return process

    async def start(self, *nodes: str) -> None:
        """Start nodes and wait until they answer."""
        for node in nodes or self.names:
            self.launch(node)
        for node in nodes or self.names:
            await self.until(lambda node=node: self.answers(node), f"{node} answers")

    async def answers(self, node: str) -> bool:
        """Whether a node is there."""
        with suppress(aiohttp.ClientError):
            return (await self.get(node, "/livez"))[0] == 200
        return False

    async def ended(self, node: str) -> int:
        """The exit status of a node that ends by itself."""
        process = self.processes.pop(node)
        return await asyncio.to_thread(process.wait, DEADLINE_SECONDS)

    async def kill(self, node: str) -> None:
        """End a node without warning."""
        self.processes[node].send_signal(signal.SIGKILL)
        await self.ended(node)

    async def stop(self, node: str) -> int:
        """Ask a node to end; its exit status."""
        self.processes[node].terminate()
        return await self.ended(node)

    async def get(self, node: str, path: str) -> tuple[int, Any]:
        """GET, decoded."""
        async with self.session.get(self.urls[node] + path) as response:
            return response.status, json.loads(await response.read())

    async def append(
        self, node: str, stream: str, data: Any, query: str = "", key: str | None = None
    ) -> tuple[int, Any]:
        """POST one event."""
        headers = {"Idempotency-Key": key} if key else {}
        async with self.session.post(
            f"{self.urls[node]}/v1/streams/{stream}/events{query}",
            json={"type": "t", "data": data},
            headers=headers,
        ) as response:
            return response.status, json.loads(await response.read())

    async def settled(self) -> bool:
        """Whether all running nodes have settled the same, and nothing is left."""
        digests = [(await self.get(node, "/v1/digest"))[1] for node in self.processes]
        return all(
            one["tentative_commits"] == 0
            and one["settled"] == digests[0]["settled"]
            and one["frontier"] == digests[0]["frontier"]
            for one in digests
        )

    async def all_events(self, node: str) -> list[dict[str, Any]]:
        """A node's settled history."""
        events: list[dict[str, Any]] = []
        after = ""
        while True:
            _, page = await self.get(node, f"/v1/events?limit=1000{after}")
            events += page["events"]
            if page["end"]:
                return events
            after = f"&after={page['next']}"

    async def until(self, holds: Any, what: str) -> None:
        """Ask again and again until something holds. Fails after a while, with the logs."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DEADLINE_SECONDS
        pause = asyncio.Event()
        while not await holds():
            logs = "\n".join(self.log(node)[-1500:] for node in self.processes)
            assert loop.time() < deadline, f"{what}: not within {DEADLINE_SECONDS} s\n{logs}"
            with suppress(TimeoutError):
                await asyncio.wait_for(pause.wait(), 0.05)

    async def close(self) -> None:
        """End every process that is left, by its id."""
        await self.session.close()
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait(DEADLINE_SECONDS)


async def command(*arguments: str) -> tuple[int, str]:
    """`anabranch`, as a shell runs it: exit status and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "anabranch", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()
