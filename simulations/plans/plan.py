"""What a run is: sites, links, clients and faults, as data.

A seed draws a plan, a story file says one, the shrinker makes one smaller, and `run_plan` runs it.
All that happens in a run follows from its plan. Times are seconds of virtual time since the
beginning; names in `at`, `where` and `towards` are those of nodes, or of sites for all their nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...node.config import Tuning
from .bounds import Bounds


@dataclass(frozen=True)
class Site:
    """A datacenter with nodes `name1`, `name2`, ...; earlier sites win ties."""

    name: str
    nodes: int = 1


@dataclass(frozen=True)
class Road:
    """What lies between two sites, or within one that is named twice; each way is like this."""

    between: tuple[str, str]
    latency: float = 0.02  # seconds one way
    jitter: float = 0.5  # share of the latency by which it varies, up and down
    tail: float = 0.0  # share of frames that take much longer
    bandwidth: float | None = None  # bytes a second
    loss: float = 0.0  # share of frames that are lost and sent again


@dataclass(frozen=True)
class Client:
    """Somebody who appends and reads, mostly at one place."""

    name: str
    at: tuple[str, ...] = ()  # nodes or sites; empty: anywhere
    rate: float = 10.0  # operations a second, on average
    limit: int = 1 << 30  # operations in all
    starts: float = 0.0
    ends: float | None = None  # None: when everything is healed
    shape: str = "mixed"  # one of clients.SHAPES: what streams, how large, how they come
    ack_settled: float = 0.3  # share of appends that wait for the final order
    timeout: float = 4.0  # seconds; then the append is sent again, at another node
    retries: float = 0.3  # share of operations that repeat an earlier one
    conditional: float = 0.2  # share of appends that expect a revision
    reads: float = 0.1  # share of operations that read
    doubles: float = 0.0  # share of appends that are sent twice at once


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong: one of kinds.KINDS."""

    kind: str
    at: float
    lasts: float | None = None  # seconds; None: until everything is healed
    where: tuple[str, ...] = ()
    towards: tuple[str, ...] = ()  # of a fault of links; empty: all others
    amount: float | None = None  # of what the kind says; None: its usual amount
    every: float | None = None  # seconds; of what comes and goes
    point: str | None = None  # of `kill-at`: where in the code; None: drawn


@dataclass(frozen=True)
class Plan:
    """One run, whole."""

    seed: int
    sites: tuple[Site, ...]
    title: str = ""
    why: str = ""
    shards: int = 4
    tuning: Tuning = field(default_factory=Tuning)
    bounds: Bounds = field(default_factory=Bounds)
    roads: tuple[Road, ...] = ()
    sync: float = 0.0005  # seconds that a disk takes to make things durable
    start_apart: bool = False  # nodes start one after the other, in the middle of it all
    clients: tuple[Client, ...] = ()
    faults: tuple[Fault, ...] = ()
    warm_up: float = 1.0
    trouble: float = 5.0  # seconds of faults after that
    frozen: float = 1.0  # seconds in which what does not end by itself goes on, and all else must
    patience: float = 30.0  # seconds after the heal in which all has to be whole again
    expect: Mapping[str, object] = field(default_factory=dict)  # see expectations.py

    @property
    def healed_at(self) -> float:
        """When everything is healed."""
        return self.warm_up + self.trouble + self.frozen

    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes, by name."""
        return tuple(
            f"{site.name}{number + 1}" for site in self.sites for number in range(site.nodes)
        )

    @property
    def late(self) -> frozenset[str]:
        """The nodes that are not there from the start: they join."""
        joins = [fault for fault in self.faults if fault.kind == "join"]
        return frozenset(node for fault in joins for node in self.among(fault.where))

    def site_of(self, node: str) -> str:
        """The site of a node."""
        return node.rstrip("0123456789")

    def among(self, names: Iterable[str]) -> tuple[str, ...]:
        """The nodes that are meant by names of nodes and sites; all if there is no name."""
        wanted = set(names)
        return tuple(
            node
            for node in self.nodes
            if not wanted or node in wanted or self.site_of(node) in wanted
        )
