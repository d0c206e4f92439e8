"""A cluster of real node processes on this machine, each with its own directory and cluster file.

In the file of a node, all others are at the addresses of the wires to them, so whatever one node
says to another passes a place where it can go wrong. Clients ask nodes at their own addresses.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from ..node.config import ClusterConfig, Tuning, parse
from ..simulations.plans.plan import Plan
from ..simulations.troubles import Roads
from ..simulations.world.weather import Route
from ..storage.errors import ConfigError, Unavailable
from .injection.clocks import FakedClock, sweep
from .injection.rooms import Room
from .links.kernel import KernelWays
from .links.wires import Wires
from .process import Process

READY_SECONDS = 30.0  # a start; recovery of a large log under load takes a while
STOP_SECONDS = 20.0
_POLL_SECONDS = 0.03
_LIVE_SECONDS = 2.0
_PORTS = range(17000, 32000)
_given: set[int] = set()  # by this process: a node that is down needs its port again
NODE = (sys.executable, "-m", "anabranch")  # what runs a node, before `node NAME …`


class Ways(Roads, Protocol):
    """The ways between nodes, and what a cluster needs of them."""

    def set_route(self, here: str, there: str, route: Route) -> None:
        """What a way is like when all is well."""
        ...

    def heal(self) -> None:
        """No weather any more."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


class Cluster:
    """All nodes of a plan."""

    def __init__(
        self,
        plan: Plan,
        directory: Path,
        *,
        command: Sequence[str] = NODE,
        kernel: bool = False,
    ) -> None:
        self.plan = plan
        self.directory = directory
        self.names = list(plan.nodes)
        self.urls: dict[str, str] = {}
        self.processes = {name: Process(name, directory / f"{name}.log") for name in self.names}
        self.clocks: dict[str, FakedClock] = {}  # of those that may be set wrong
        self.rooms: dict[str, Room] = {}  # of those whose disk may be full
        self._ways: Ways | None = None
        self.on_change: Callable[[str], None] = lambda _: None
        self.ended_badly: list[str] = []  # nodes that ended by themselves, and should not have
        self.may_end: set[str] = set()  # nodes that have to, once they read what is damaged
        self._kernel = kernel  # whether links are cut there, and not in wires
        self._command = command
        self._prefix: dict[str, list[str]] = {name: [] for name in self.names}
        self._held: Counter[str] = Counter()  # reasons for which a node need not answer now
        self._released: dict[str, float] = {}  # when the last of them was gone
        self._answers: dict[str, bool] = dict.fromkeys(self.names, False)
        self._config: ClusterConfig | None = None
        self._changing = {name: asyncio.Lock() for name in self.names}

    @property
    def config(self) -> ClusterConfig:
        """The cluster as its nodes see it; the addresses are the real ones."""
        assert self._config is not None, "who asks has opened it"
        return self._config

    @property
    def ways(self) -> Ways:
        """The ways between the nodes."""
        assert self._ways is not None, "a cluster is opened first"
        return self._ways

    def data(self, name: str) -> Path:
        """A node's directory."""
        room = self.rooms.get(name)
        return self.directory / name / "data" if room is None else room.data

    # -- opening and closing ---------------------------------------------------------------------

    async def open(
        self, *, faked: Sequence[str] = (), small: Mapping[str, int] | None = None
    ) -> None:
        """Lay the wires and write the files; the nodes named have a clock that can be set wrong.

        `small`: the bytes of the disk of those nodes whose disk can be full.
        """
        if self._kernel:
            self._open_kernel()
        else:
            await self._open_wires()
        self._equip(faked, small or {})

    async def _open_wires(self) -> None:
        ports = dict(zip(self.names, free_ports(len(self.names)), strict=True))
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        wires = Wires(self.plan.seed, {name: ("127.0.0.1", port) for name, port in ports.items()})
        self._ways = wires
        await wires.open()
        self._write_files(wires.url)

    def _open_kernel(self) -> None:
        ways = KernelWays(self.names)
        self._ways = ways
        ways.open()
        self.urls = {name: ways.url(name) for name in self.names}
        self._prefix = {name: ways.namespaces.prefix(name) for name in self.names}
        self._write_files(lambda _, there: ways.url(there))

    def _equip(self, faked: Sequence[str], small: Mapping[str, int]) -> None:
        for name in self.names:
            self.data(name).parent.mkdir(parents=True, exist_ok=True)
        for name in faked:
            (self.directory / name / "clock").mkdir(exist_ok=True)
            self.clocks[name] = FakedClock(self.directory / name / "clock")
        for name, size in small.items():
            self.rooms[name] = Room(self.directory / name / "room", size)

    def _write_files(self, url: Callable[[str, str], str]) -> None:
        for name in self.names:
            urls = {other: url(name, other) for other in self.names if other != name}
            text = cluster_text(self.plan, urls | {name: self.urls[name]})
            self._file(name).write_text(text, encoding="utf-8")
        self._config = parse(cluster_text(self.plan, self.urls))

    def _file(self, name: str) -> Path:
        return self.directory / f"{name}.toml"

    async def close(self) -> None:
        """End every process, and let go of wires, clocks and rooms."""
        for process in self.processes.values():
            process.close()
        for clock in self.clocks.values():
            clock.steady()
        if self.clocks:
            sweep()
        if self._ways is not None:
            await self._ways.close()
        for name, room in self.rooms.items():
            if room.data.is_dir():  # whoever looks for a reason wants to see it
                shutil.copytree(room.data, self.directory / name / "data", dirs_exist_ok=True)
            room.unmount()

    # -- one node --------------------------------------------------------------------------------

    def is_up(self, name: str) -> bool:
        """Whether a node runs and has answered since its start."""
        return self._answers[name] and self.processes[name].is_up

    def command(self, name: str, data: Path | None = None, config: Path | None = None) -> list[str]:
        """What starts a node."""
        files = [
            "--config",
            str(config or self._file(name)),
            "--data",
            str(data or self.data(name)),
        ]
        return [*self._prefix[name], *self._command, "node", name, *files, "--drills"]

    def environment(self, name: str) -> dict[str, str]:
        """What its process needs to know besides."""
        clock = self.clocks.get(name)
        return {} if clock is None else clock.environment()

    async def start(
        self, name: str, command: Sequence[str] | None = None, *, traced: bool = False
    ) -> None:
        """Start a node and wait until it answers. Raises Unavailable if it does not."""
        process = self.processes[name]
        async with self._changing[name]:
            if process.is_up:
                return
            self.hold(name)
            try:
                process.start(command or self.command(name), self.environment(name), traced=traced)
                await self._until_it_answers(name)
                self.on_change(f"{name} starts")
            finally:
                self.release(name)

    async def _until_it_answers(self, name: str) -> None:
        loop, process = asyncio.get_running_loop(), self.processes[name]
        deadline = loop.time() + READY_SECONDS
        while not await _is_live(self.urls[name]):
            if not process.is_up:
                process.expected = True
                raise Unavailable(
                    f"{name} ended with status {process.status}; its log:\n{process.log_tail()}"
                )
            if loop.time() > deadline:
                raise Unavailable(
                    f"{name} does not answer after {READY_SECONDS:.0f} s; its log:\n"
                    f"{process.log_tail()}"
                )
            await asyncio.sleep(_POLL_SECONDS)
        self._answers[name] = True

    def launch_twin(self, name: str, data: Path) -> Process:
        """A second process with a copy of a node's directory; nobody dials it, and it dials all."""
        (port,) = free_ports(1)
        here = self.urls[name]
        there = f"{here.rpartition(':')[0]}:{port}"
        file = self.directory / f"{name}-twin.toml"
        file.write_text(self._file(name).read_text().replace(here, there), encoding="utf-8")
        twin = Process(f"{name}'s twin", self.directory / f"{name}-twin.log")
        twin.start(self.command(name, data, file), self.environment(name))
        twin.expected = True
        return twin

    async def kill(self, name: str) -> bool:
        """Kill a node. False if it was not up."""
        async with self._changing[name]:
            if not self.processes[name].is_up:
                return False
            self._down(name)
            await self.processes[name].kill()
            self.on_change(f"{name} is killed")
            return True

    async def stop(self, name: str) -> bool:
        """End a node in order. False if it was not up."""
        async with self._changing[name]:
            process = self.processes[name]
            if not process.is_up:
                return False
            self._down(name)
            status = await process.stop(STOP_SECONDS)
            self.on_change(f"{name} stops")
            if status != 0:
                what = "had to be killed" if status is None else f"ended with status {status}"
                self.ended_badly.append(f"{name} was asked to stop and {what}")
            return True

    def changing(self, name: str) -> asyncio.Lock:
        """Held while a node is started, stopped or killed."""
        return self._changing[name]

    def died(self, name: str) -> None:
        """A node was killed by somebody else, as was wanted."""
        self.processes[name].expected = True
        self.processes[name].wait()
        self._down(name)
        self.on_change(f"{name} is dead")

    def _down(self, name: str) -> None:
        self._answers[name] = False
        self._note_released(name)

    def pause(self, name: str) -> bool:
        """Let a node stand still."""
        if self.is_up(name) and self.processes[name].pause():
            self.hold(name)
            self.on_change(f"{name} stands still")
            return True
        return False

    def resume(self, name: str) -> None:
        """Let it go on."""
        if self.processes[name].paused:
            self.processes[name].resume()
            self.release(name)
            self.on_change(f"{name} goes on")

    # -- who need not answer ---------------------------------------------------------------------

    def hold(self, name: str) -> None:
        """From now on a node has an excuse, until it is released as often."""
        self._held[name] += 1

    def release(self, name: str) -> None:
        """The excuse is over."""
        self._held[name] -= 1
        self._note_released(name)

    def _note_released(self, name: str) -> None:
        self._released[name] = asyncio.get_running_loop().time()

    def excused(self, name: str, since: float) -> bool:
        """Whether a node could not answer at some time since a moment."""
        down = not self.processes[name].is_up
        down = down and (self.processes[name].expected or name in self.may_end)
        return down or self._held[name] > 0 or self._released.get(name, -1.0) >= since

    def note_failures(self) -> None:
        """Look for nodes that have ended by themselves without a reason."""
        for name, process in self.processes.items():
            if process.has_failed and not self._held[name]:
                process.expected = True
                self._down(name)
                if name in self.may_end:
                    self.on_change(f"{name} ends, as it can't trust its index")
                    continue
                self.ended_badly.append(
                    f"{name} ended by itself with status {process.status}; its log:\n"
                    f"{process.log_tail()}"
                )


async def _is_live(url: str) -> bool:
    """Whether a node answers; by hand, as a session would wait for more than that."""
    place = urlsplit(url)
    try:
        async with asyncio.timeout(_LIVE_SECONDS):
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
            said = await reader.readline()
            writer.close()
            return b" 200 " in said
    except (OSError, TimeoutError):
        return False


def free_ports(many: int) -> list[int]:
    """Ports on loopback that nobody listens on now.

    Below those that the system gives to connections: a node that is down gets its own one back.
    """
    found: list[int] = []
    for at in range(len(_PORTS)):
        port = _PORTS[(7919 * os.getpid() + at) % len(_PORTS)]
        if port not in _given and _is_free(port):
            found.append(port)
            if len(found) == many:
                _given.update(found)
                return found
    raise ConfigError(f"there are no {many} free ports from {_PORTS[0]} to {_PORTS[-1]} here")


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def cluster_text(plan: Plan, urls: Mapping[str, str]) -> str:
    """The cluster file of a node that finds the others at these addresses."""
    tuning, usual = plan.tuning, Tuning()
    head: dict[str, Any] = {"name": "chaos", "shards": plan.shards}
    head["evict_after"] = tuning.evict_after_seconds or "off"
    head["confirm"] = "all" if tuning.all_confirm else "majority"
    tuned = {
        "heartbeat": tuning.heartbeat_seconds,
        "segment_bytes": tuning.segment_bytes,
        "push_window_bytes": tuning.push_window_bytes,
        "pull_bytes_per_second": tuning.pull_bytes_per_second,
        "compare": tuning.compare_seconds,
        "scrub": tuning.scrub_seconds,
    }
    if tuning.max_clock_offset_ms != usual.max_clock_offset_ms:
        tuned["max_clock_offset"] = tuning.max_clock_offset_ms / 1000
    parts = [_table("[cluster]", head), _table("[tuning]", tuned)]
    for name, url in urls.items():
        member = {"name": name, "site": plan.site_of(name), "url": url}
        member["priority"] = _priority(plan, name)
        parts.append(_table("[[member]]", member))
    return "\n".join(parts)


def _priority(plan: Plan, name: str) -> Any:
    return [site.name for site in plan.sites].index(plan.site_of(name))


def _table(head: str, values: Mapping[str, Any]) -> str:
    lines = [
        f'{key} = "{of}"' if isinstance(of, str) else f"{key} = {of}" for key, of in values.items()
    ]
    return "\n".join([head, *lines]) + "\n"
