"""A campaign: what many runs came to, one seed after the other. Sums only; nothing runs in here.

Results are taken in the order of their seeds, so the sums are the same whoever ran them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from typing import NamedTuple

from ..node.fold import OUTCOMES
from .checkers.repeats import repeats
from .marks import missing
from .plans.kinds import KINDS, SIMULATED
from .runner import Outcome
from .timeline import Verdict

REPEATED_EACH = 100  # one seed in so many is run twice, and the traces are compared
MARKS_NEEDED_FROM = 100  # with fewer seeds it is no wonder if a mark was never reached


@dataclass(frozen=True)
class Result:
    """What is kept of a run; small, so that it travels between processes."""

    seed: int
    violations: tuple[str, ...] = ()
    trace: str = ""
    seconds: float = 0.0  # of virtual time
    sites: int = 0
    nodes: int = 0
    appends: int = 0
    commits: int = 0  # that settled
    faults: Counter[str] = field(default_factory=Counter)  # that were injected, by kind
    marks: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)  # of appends, by kind
    settled: Counter[str] = field(default_factory=Counter)  # commits, by what became of them
    whole_after: tuple[float, ...] = ()  # seconds from a heal or restart until all was whole
    took: float = field(default=0.0, compare=False)  # seconds of real time


class Spread(NamedTuple):
    """How numbers are distributed."""

    least: float
    median: float
    ninth: float  # nine in ten are not above
    most: float


def result_of(outcome: Outcome, verdicts: Sequence[Verdict] = (), took: float = 0.0) -> Result:
    """What to keep of a run; what was expected and did not hold is a violation too."""
    history = outcome.history
    rows = history.rows()
    unmet = [f"expected: {one.label}: {one.detail}" for one in verdicts if not one.held]
    return Result(
        outcome.plan.seed,
        (*outcome.violations, *unmet),
        outcome.trace,
        outcome.seconds,
        len(outcome.plan.sites),
        len(outcome.plan.nodes),
        len(history.appends),
        len(rows),
        outcome.faults,
        outcome.marks,
        answers(outcome),
        Counter(OUTCOMES[row.outcome] for row in rows),
        tuple(history.whole_after),
        took,
    )


def answers(outcome: Outcome) -> Counter[str]:
    """How appends were answered: the kind of receipt, the error, or that nobody knows."""
    kinds: Counter[str] = Counter()
    for append in outcome.history.appends:
        if append.receipt is None:
            kinds[append.error or "never answered"] += 1
        else:
            kinds[append.receipt.outcome] += 1
            kinds["again"] += append.receipt.duplicate
            kinds["not as final as asked"] += not append.receipt.reached
    return +kinds


def tasks(seeds: Sequence[int]) -> Iterator[int]:
    """The seeds to run, in order; one in a hundred comes twice in a row."""
    for place, seed in enumerate(seeds):
        yield seed
        if place % REPEATED_EACH == 0:
            yield seed


class Campaign:
    """The sums over the results so far."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.repeated = 0  # seeds that were run twice
        self.unlike: dict[int, str] = {}  # of them, those whose traces differ, and how

    def take(self, result: Result) -> None:
        """Add a result; a seed that comes twice in a row is held against itself."""
        first = self.results[-1] if self.results else None
        if first is None or first.seed != result.seed:
            self.results.append(result)
            return
        self.repeated += 1
        unlike = repeats(first, result)
        if unlike is not None:
            self.unlike[result.seed] = unlike

    def problems(self, result: Result) -> list[str]:
        """All that is wrong with a seed."""
        unlike = self.unlike.get(result.seed)
        return [*result.violations, *([unlike] if unlike else [])]

    @property
    def failures(self) -> list[Result]:
        """The seeds with something wrong."""
        return [one for one in self.results if one.violations or one.seed in self.unlike]

    @property
    def seconds(self) -> float:
        """Virtual time, of all seeds."""
        return sum(one.seconds for one in self.results)

    def total(self, name: str) -> Counter[str]:
        """The sum of one of the counters of the results."""
        total: Counter[str] = Counter()
        for one in self.results:
            total.update(getattr(one, name))
        return total

    def sum(self, name: str) -> int:
        """The sum of one of the numbers of the results."""
        return sum(getattr(one, name) for one in self.results)

    def families(self) -> dict[str, Counter[str]]:
        """The faults that were injected, by family and kind; those that never were, too."""
        injected = self.total("faults")
        families: dict[str, Counter[str]] = {}
        for kind in SIMULATED:
            families.setdefault(KINDS[kind].family, Counter())[kind] = injected[kind]
        return families

    def spreads(self) -> dict[str, Spread]:
        """How large the runs were, and how long it took until all was whole."""
        numbers: dict[str, Iterable[float]] = {
            "nodes": (one.nodes for one in self.results),
            "faults": (one.faults.total() for one in self.results),
            "appends": (one.appends for one in self.results),
            "commits settled": (one.commits for one in self.results),
            "seconds": (one.seconds for one in self.results),
            "seconds to whole": (took for one in self.results for took in one.whole_after),
        }
        return {name: spread(of) for name, of in numbers.items()}

    def never_reached(self) -> list[str]:
        """The marks that no seed reached, of those that so many should."""
        return missing(self.total("marks"), len(self.results))

    @property
    def lacks_marks(self) -> bool:
        """Whether it was large enough to reach every mark, and did not."""
        return len(self.results) >= MARKS_NEEDED_FROM and bool(self.never_reached())

    def as_data(self) -> dict[str, object]:
        """All sums, for programs."""
        return {
            "seeds": len(self.results),
            "simulated_seconds": round(self.seconds, 3),
            "faults": {family: dict(kinds) for family, kinds in self.families().items()},
            "appends": self.sum("appends"),
            "answers": dict(sorted(self.total("answers").items())),
            "settled": dict(sorted(self.total("settled").items())),
            "marks": dict(sorted(self.total("marks").items())),
            "never_reached": self.never_reached(),
            "run_twice": self.repeated,
            "spreads": {name: of._asdict() for name, of in self.spreads().items()},
            "failures": [
                {"seed": one.seed, "trace": one.trace, "violations": self.problems(one)}
                for one in self.failures
            ],
        }


def spread(numbers: Iterable[float]) -> Spread:
    """The distribution of some numbers; zeros if there is none."""
    ordered = sorted(numbers) or [0.0]

    def at(share: float) -> float:
        return ordered[max(0, ceil(share * len(ordered)) - 1)]

    return Spread(ordered[0], at(0.5), at(0.9), ordered[-1])


def first_of(problems: Sequence[str], most: int = 3) -> list[str]:
    """The first few problems, each of another checker as far as possible."""
    firsts = {problem.partition(":")[0]: problem for problem in reversed(problems)}
    chosen = [problem for problem in problems if problem in firsts.values()]
    rest = [problem for problem in problems if problem not in chosen]
    return list(islice([*chosen, *rest], most))
