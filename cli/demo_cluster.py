"""The demo's cluster: one real node process for each site, on loopback, with its own directory.

Processes are started in sessions of their own, so that Ctrl-C reaches the demo alone, and are ended
by their process ids, whatever happens; a demo that is itself killed without a chance leaves them.
"""

from __future__ import annotations

import asyncio
import atexit
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from .client import Client
from .errors import CommandError, NodeRefused, NodeUnreachable

POLL_SECONDS = 0.1
READY_SECONDS = 30.0
STOP_SECONDS = 5.0
LOG_LINES = 15


@dataclass(frozen=True)
class Site:
    """One site with its one node."""

    name: str
    node: str
    url: str
    data: Path
    log: Path


class Cluster:
    """Starts the nodes and ends them; use it as `async with Cluster(...)`."""

    def __init__(self, directory: Path, names: tuple[str, ...]) -> None:
        self.directory = directory
        self.config = directory / "cluster.toml"
        self.sites = [
            Site(
                name=name,
                node=f"{name}1",
                url=f"http://127.0.0.1:{port}",
                data=directory / f"{name}1",
                log=directory / f"{name}1.log",
            )
            for name, port in zip(names, free_ports(len(names)), strict=True)
        ]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    async def __aenter__(self) -> Self:
        self.config.write_text(cluster_file(self.sites), encoding="utf-8")
        atexit.register(self.kill)
        for site in self.sites:
            self._processes[site.node] = self._start(site)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._stop()
        finally:
            self.kill()
            atexit.unregister(self.kill)

    def _start(self, site: Site) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "anabranch", "node", site.node]
        options = ["--config", str(self.config), "--data", str(site.data), "--drills"]
        with site.log.open("ab") as log:
            return subprocess.Popen(
                [*command, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def pids(self) -> dict[str, int]:
        """The process id of each node."""
        return {name: process.pid for name, process in self._processes.items()}

    def check(self) -> None:
        """Raise, with the end of its log, if a node has ended."""
        for site in self.sites:
            status = self._processes[site.node].poll()
            if status is not None:
                raise CommandError(
                    f"The node {site.node} has ended with status {status}. The end of {site.log}:\n"
                    f"{log_tail(site.log)}"
                )

    async def watch(self) -> None:
        """Look after the processes for ever; raises when one has ended."""
        try:
            while True:
                self.check()
                await asyncio.sleep(POLL_SECONDS)
        except asyncio.CancelledError:
            self.check()  # it may be a node's end that ended whatever was going on
            raise

    async def ready(self) -> None:
        """Wait until every node says that it is ready."""
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        for site in self.sites:
            async with Client(site.url, timeout=2.0) as node:
                while (why := await _not_ready(node)) is not None:
                    self.check()
                    if asyncio.get_running_loop().time() > deadline:
                        raise CommandError(
                            f"The node {site.node} is not ready after {READY_SECONDS:.0f} s: {why} "
                            f"The end of {site.log}:\n{log_tail(site.log)}"
                        )
                    await asyncio.sleep(POLL_SECONDS)

    async def _stop(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS
        while self._running() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS / 2)

    def _running(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self._processes.values() if process.poll() is None]

    def kill(self) -> None:
        """End what is still running, at once."""
        for process in self._running():
            process.kill()
            process.wait()


async def _not_ready(node: Client) -> str | None:
    try:
        await node.ready()
    except (NodeUnreachable, NodeRefused) as error:
        return str(error)
    return None


def free_ports(many: int) -> list[int]:
    """Ports on loopback that nobody listens on just now."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(many)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in taken]


def cluster_file(sites: list[Site]) -> str:
    """The cluster file of a demo."""
    head = '[cluster]\nname = "demo"\nshards = 64\n'
    members = (
        f'\n[[member]]\nname = "{site.node}"\nsite = "{site.name}"\nurl = "{site.url}"\n'
        for site in sites
    )
    return head + "".join(members)


def log_tail(path: Path) -> str:
    """The last lines of a node's log."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(f"  {line}" for line in lines[-LOG_LINES:]) or "  (nothing was logged)"
