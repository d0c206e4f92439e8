"""What a run of chaos came to: how much was done, how long things took, and what grew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..simulations.history import Gauge, History
from ..simulations.plans.kinds import KINDS, sides
from ..simulations.plans.plan import Plan
from ..simulations.record import ANSWERS
from ..simulations.troubles import Course
from .asking import CRASH
from .process import Size

CUT_P99_SECONDS = 0.05  # of an append at a node that is up, while links are cut
WHOLE_SECONDS = 5.0  # after a heal, besides the time that the missing bytes need
BYTES_PER_SECOND = 2_000_000  # that a node surely catches up by, on two shared cores
_GROWTH_SHARE = 0.5  # of memory, over a run, that is no leak: caches fill up
_GROWTH_BYTES = 48 * 1024 * 1024  # as above, of a small process
_FILES_MORE = 40  # segments and connections come and go
_TASKS_MORE = 5  # requests come and go
_ROUNDS_MIN = 6  # fewer tell nothing of growth


@dataclass
class Tally:
    """The figures of a run."""

    seconds: float = 0.0
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    operations: int = 0
    acknowledged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unknown: int = 0  # appends whose client never learnt what came of them
    resolved: Counter[str] = field(default_factory=Counter)
    reads: int = 0
    commits: int = 0
    whole_after: list[float] = field(default_factory=list)
    whole_within: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)  # local appends at nodes without an excuse
    took_cut: list[float] = field(default_factory=list)  # of them: while links were cut
    untaken_cut: Counter[str] = field(default_factory=Counter)  # appends they did not take: why
    sizes: dict[str, list[Size]] = field(default_factory=dict)  # of each node, after each round
    tasks: dict[str, list[int]] = field(default_factory=dict)

    def count(self, history: History) -> None:
        """Take in what became of the appends."""
        self.operations = len(history.appends)
        self.acknowledged = sum(append.receipt is not None for append in history.appends)
        self.unknown = sum(append.lost is not None for append in history.appends)
        self.refused = Counter(a.error for a in history.appends if a.error is not None)

    def time(self, history: History, courses: Sequence[Course], plan: Plan) -> None:
        """Work out how long local appends took, at nodes to which nothing else was done."""
        cuts = [one for one in courses if KINDS[one.fault.kind].family == "network"]
        blows = [one for one in courses if KINDS[one.fault.kind].family != "network"]
        hit = {
            name: [one for one in blows if name in sides(plan, one.fault)[0]] for name in plan.nodes
        }
        for append in history.appends:
            if append.ack != "local" or any(
                _within(append.began, one, 3.0) for one in hit[append.node]
            ):
                continue
            cut = any(_within(append.began, one, 0.0) for one in cuts)
            if append.receipt is not None and append.ended is not None:
                self.took.append(append.ended - append.began)
                self.took_cut += self.took[-1:] if cut else []
            elif cut and append.error not in ANSWERS and append.lost != CRASH:
                self.untaken_cut[append.error or append.lost or "no answer"] += 1


def _within(moment: float, course: Course, more: float) -> bool:
    """Whether a fault was on at a moment, or so many seconds before it."""
    return course.began <= moment and (course.ended is None or moment <= course.ended + more)


def share_of(values: Sequence[float], share: float) -> float:
    """The value that so large a share does not exceed; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def histogram(values: Iterable[float], edges: Sequence[float]) -> list[tuple[str, int]]:
    """How many lie below each edge and not below the one before; and above the last."""
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[sum(value >= edge for edge in edges)] += 1
    names = [f"under {edge:g}" for edge in edges] + [f"{edges[-1]:g} or more"]
    return list(zip(names, counts, strict=True))


class Grown(NamedTuple):
    """What a node took up in the first third of the rounds, and in the last: the middle values."""

    node: str
    what: str
    first: int
    last: int
    limit: int  # of the last, if nothing leaks


def grown(tally: Tally) -> list[Grown]:
    """What memory, open files and tasks came to; nothing of a run of few rounds."""
    found = []
    for name, sizes in tally.sizes.items():
        if len(sizes) < _ROUNDS_MIN:
            continue
        first, last = _thirds([one.memory_bytes for one in sizes])
        limit = first + max(_GROWTH_BYTES, int(_GROWTH_SHARE * first))
        found.append(Grown(name, "bytes of memory", first, last, limit))
        first, last = _thirds([one.files for one in sizes])
        found.append(Grown(name, "open files", first, last, first + _FILES_MORE))
        first, last = _thirds(tally.tasks[name])
        found.append(Grown(name, "tasks", first, last, first + _TASKS_MORE))
    return found


def growth(tally: Tally) -> list[Gauge]:
    """The same, to be judged."""
    return [Gauge(one.node, f"{one.what} in the end", one.last, one.limit) for one in grown(tally)]


def _thirds(values: Sequence[int]) -> tuple[int, int]:
    third = len(values) // 3
    return _middle(values[:third]), _middle(values[-third:])


def _middle(values: Iterable[int]) -> int:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
