"""What a report shows of a run: its course, as data.

Times are seconds of virtual time since the beginning. Series have one value for each of `times`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Span:
    """Something that lasted."""

    kind: str  # of a fault, a phase, or the promise that was at risk
    label: str  # what to tell a person
    begins: float
    ends: float
    where: tuple[str, ...] = ()  # nodes
    towards: tuple[str, ...] = ()  # nodes at the other end of links

    def data(self) -> dict[str, object]:
        """The same for programs."""
        return asdict(self) | {"begins": round(self.begins, 4), "ends": round(self.ends, 4)}


@dataclass(frozen=True)
class Moment:
    """Something that happened."""

    at: float
    node: str
    label: str


@dataclass
class NodeSeries:
    """What one node was like."""

    up: list[bool] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)  # that it holds
    settled: list[int] = field(default_factory=list)
    tentative: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)  # commits that some node holds and it does not
    lag: list[float] = field(default_factory=list)  # seconds; nan: down
    accepted: list[int] = field(default_factory=list)  # appends that it answered, so far
    refused: list[int] = field(default_factory=list)  # appends that it refused, so far


@dataclass(frozen=True)
class Verdict:
    """Something that had to hold, and whether it did."""

    label: str
    held: bool
    detail: str = ""


@dataclass
class Timeline:
    """The course of one run."""

    title: str
    why: str
    seed: int
    trace: str = ""
    sites: list[tuple[str, list[str]]] = field(default_factory=list)
    length: float = 0.0
    phases: list[Span] = field(default_factory=list)
    faults: list[Span] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    nodes: dict[str, NodeSeries] = field(default_factory=dict)
    conflicts: list[Moment] = field(default_factory=list)
    notes: list[Moment] = field(default_factory=list)  # crashes, starts, alarms
    risks: list[Span] = field(default_factory=list)  # when a promise of DESIGN 10 hung by a thread
    healed_at: float = 0.0  # when all that was still broken was put right
    over_at: float = 0.0  # when the last fault was over: then, or before if all ended by themselves
    whole_at: float | None = None  # when all that had been written until then was final everywhere
    expected: list[Verdict] = field(default_factory=list)  # what the story said
    checked: list[Verdict] = field(default_factory=list)  # what always has to hold
    totals: dict[str, int | float | str] = field(default_factory=dict)  # for the head of the page
    spreads: dict[str, list[tuple[str, int]]] = field(default_factory=dict)  # how often what took
