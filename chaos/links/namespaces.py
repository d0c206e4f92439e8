"""A network of the kernel's own for each node, for root: namespaces, joined by one bridge.

The bridge has a namespace too, so that nothing but one link stands in the host's network; over
that link this process reaches every node. All names carry our process id. What a process left that
was killed is removed by the next `open()`.
"""

from __future__ import annotations

import atexit
import ipaddress
import json
import os
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Final

from ...storage.errors import ConfigError

_NAMESPACE: Final = re.compile(r"anabranch-(\d+-\d+)(?:-.*)?")
_LINK: Final = re.compile(r"ab(\d+-\d+)")
_NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BRIDGE: Final = "bridge0"
_DEVICE: Final = "eth0"  # of a node, in its own namespace
_NETWORKS: Final = 64 * 256  # from 10.64.0.0 on, with 256 addresses each
_NODES_MAX: Final = 250
_NOWHERE: Final = "02:00:00:00:00:00"  # a hardware address that nobody has
_BURST_BYTES: Final = 16 * 1024  # more than the largest packet that is handed to a device at once
_QUEUE_MS: Final = 400
_numbers = count(1)
_open: set[str] = set()  # marks of this process: its id may have been another's before


class Namespaces:
    """One network namespace for each of some nodes. Methods raise ConfigError."""

    def __init__(self, names: Sequence[str]) -> None:
        for name in names:
            if not _NODE.fullmatch(name):
                raise ConfigError(f"{name!r} can't name a namespace; use letters, digits and -")
        if len(set(names)) < len(names) or len(names) > _NODES_MAX:
            raise ConfigError(f"a network has up to {_NODES_MAX} nodes, with different names")
        self._names = list(names)
        self._mark = f"{os.getpid()}-{next(_numbers)}"
        self._link = f"ab{self._mark}"
        self._hub = f"anabranch-{self._mark}"
        self._addresses: dict[str, str] = {}
        self._cuts: set[tuple[str, str]] = set()
        self.host = ""  # the address of this process in the network

    def open(self) -> None:
        """Make the network, and remove what processes left that are no more."""
        if os.geteuid() != 0:
            raise ConfigError("only root can make network namespaces; run as root, or without them")
        _sweep()
        atexit.register(self.close)
        _open.add(self._mark)
        try:
            network = _unused_network()
            self._open_hub(network)
            for name, address in zip(self._names, network.hosts(), strict=False):
                self._open_node(name, f"{address}")
        except BaseException:
            self.close()
            raise

    def address(self, name: str) -> str:
        """The address of a node."""
        return self._addresses[name]

    def prefix(self, name: str) -> list[str]:
        """What to put before a command to run it in a node's namespace; it keeps its process id."""
        return ["ip", "netns", "exec", self._namespace(name)]

    def cut(self, here: str, there: str) -> None:
        """Have all packets from one node to another vanish; those the other way still arrive."""
        self._cuts.add((here, there))
        where = (self._addresses[there], "lladdr", _NOWHERE, "dev", _DEVICE, "nud", "permanent")
        self._in(here, "neigh", "replace", *where)

    def mend(self, here: str, there: str) -> None:
        """Let packets from one node to another through again."""
        if (here, there) in self._cuts:
            self._cuts.discard((here, there))
            self._in(here, "neigh", "del", self._addresses[there], "dev", _DEVICE)

    def heal(self) -> None:
        """Mend all that was cut."""
        for here, there in sorted(self._cuts):
            self.mend(here, there)

    def rate(self, here: str, bytes_per_second: int | None) -> None:
        """Let so much out of a node at most; None takes the limit away."""
        device = ["dev", _DEVICE, "root"]
        scope = ["-n", self._namespace(here), "qdisc"]
        if bytes_per_second is None:
            _run("tc", *scope, "replace", *device, "pfifo")
            return
        burst = str(max(_BURST_BYTES, bytes_per_second // 100))
        bucket = ["tbf", "rate", f"{8 * bytes_per_second}bit", "burst", burst]
        _run("tc", *scope, "replace", *device, *bucket, "latency", f"{_QUEUE_MS}ms")

    def close(self) -> None:
        """Remove everything. Processes inside keep a network of one until they end."""
        atexit.unregister(self.close)
        _open.discard(self._mark)
        self._cuts.clear()
        with suppress(ConfigError):  # it may not be there
            _run("ip", "link", "del", self._link)
        for namespace in (self._hub, *map(self._namespace, self._names)):
            with suppress(ConfigError):
                _run("ip", "netns", "del", namespace)

    def _open_hub(self, network: ipaddress.IPv4Network) -> None:
        self.host = f"{network[-2]}"
        _run("ip", "netns", "add", self._hub)
        _run("ip", "-n", self._hub, "link", "add", "name", _BRIDGE, "type", "bridge")
        _run("ip", "-n", self._hub, "link", "set", _BRIDGE, "up")
        self._plug("host", self._link)
        _run("ip", "addr", "add", f"{self.host}/{network.prefixlen}", "dev", self._link)
        _run("ip", "link", "set", self._link, "up")

    def _open_node(self, name: str, address: str) -> None:
        namespace = self._namespace(name)
        _run("ip", "netns", "add", namespace)
        self._plug(f"node{len(self._addresses)}", _DEVICE, namespace)
        self._addresses[name] = address
        self._in(name, "addr", "add", f"{address}/24", "dev", _DEVICE)
        self._in(name, "link", "set", "lo", "up")
        self._in(name, "link", "set", _DEVICE, "up")

    def _plug(self, port: str, device: str, namespace: str = "") -> None:
        """A cable from the bridge to a device, in a namespace or in the host's network."""
        scope = ["-n", namespace] if namespace else []
        ends = ["name", device, "type", "veth", "peer", "name", port, "netns", self._hub]
        _run("ip", *scope, "link", "add", *ends)
        _run("ip", "-n", self._hub, "link", "set", port, "master", _BRIDGE, "up")

    def _namespace(self, name: str) -> str:
        return f"anabranch-{self._mark}-{name}"

    def _in(self, name: str, *arguments: str) -> None:
        _run("ip", "-n", self._namespace(name), *arguments)


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, check=False, text=True)
    except FileNotFoundError:
        raise ConfigError(f"there is no `{command[0]}`; `apt-get install iproute2`") from None
    if done.returncode:
        raise ConfigError(
            f"`{' '.join(command)}` failed: {done.stderr.strip()}. Network namespaces need root, "
            "and veth and bridge of the kernel; run without them where these are not allowed"
        )
    return done.stdout


def _unused_network() -> ipaddress.IPv4Network:
    """256 private addresses that no route of this machine speaks of."""
    routes = json.loads(_run("ip", "-json", "-4", "route", "show", "table", "all") or "[]")
    taken = []
    for route in routes:
        with suppress(KeyError, ValueError):  # as `default`
            taken.append(ipaddress.ip_network(route["dst"], strict=False))
    first = int(ipaddress.ip_address("10.64.0.0"))
    for number in range(_NETWORKS):
        start = first + (os.getpid() + number) % _NETWORKS * 256
        network = ipaddress.IPv4Network((start, 24))
        if not any(network.overlaps(other) for other in taken):
            return network
    raise ConfigError("all addresses from 10.64.0.0 to 10.127.255.255 are in use; free some")


def _sweep() -> None:
    for line in _run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        if (match := _NAMESPACE.fullmatch(name)) and not _in_use(match[1]):
            with suppress(ConfigError):  # another process may be sweeping too
                _run("ip", "netns", "del", name)
    for link in json.loads(_run("ip", "-json", "link", "show", "type", "veth") or "[]"):
        match = _LINK.fullmatch(link.get("ifname", ""))
        if match and not _in_use(match[1]):
            with suppress(ConfigError):  # it may have gone with its namespace
                _run("ip", "link", "del", link["ifname"])


def _in_use(mark: str) -> bool:
    pid = int(mark.partition("-")[0])
    if pid == os.getpid():
        return mark in _open
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
