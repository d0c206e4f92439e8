"""A plan that fails, reduced to a story file that still fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..simulations.plans.plan import Plan
from ..simulations.plans.story import read_story, write_story
from ..simulations.shrink import check_of, shrink, size_of
from ..storage.errors import ConfigError
from .simulate_pools import Task, run_task

TRIES = 400


@dataclass(frozen=True)
class Reduced:
    """A story that fails as the plan did that it was made from."""

    plan: Plan
    violation: str  # the first one of the kind
    before: str
    tries: int

    @property
    def after(self) -> str:
        """How much is left."""
        return size_of(self.plan)


def reduced(
    plan: Plan, problem: str, told: Callable[[str], None], *, tries: int = TRIES
) -> Reduced | None:
    """Make a plan smaller while it fails as `problem` says; None if it does not, or no story can.

    Each candidate is run as it would be read from its file.
    """
    search = _Search(check_of(problem), plan.seed)
    title = f"Reduced: {plan.title or f'seed {plan.seed}'}"
    titled = _explained(replace(plan, title=title), problem)
    if not search.fails(titled):
        return None
    smallest = shrink(titled, search.fails, tries=tries, told=told)
    assert search.fails(smallest), "the same plan runs the same way"
    found = _explained(smallest, search.violation)
    return Reduced(found, search.violation, size_of(plan), search.tries)


def _explained(plan: Plan, problem: str) -> Plan:
    why = f"It fails, and was reduced for as long as it did so in the same way:\n{problem}"
    return replace(plan, why=why)


class _Search:
    def __init__(self, check: str, seed: int) -> None:
        self._check = check
        self._name = f"seed {seed}"
        self.violation = ""
        self.tries = 0

    def fails(self, plan: Plan) -> bool:
        """Whether the plan, as a story, fails in the same way."""
        try:
            as_read = read_story(write_story(plan), self._name)
        except ConfigError:
            return False  # no story says this, as when all faults come after its end
        self.tries += 1
        result = run_task(Task(as_read.seed, as_read))
        for problem in result.violations:
            if check_of(problem) == self._check:
                self.violation = problem
                return True
        return False


def write_reduced(reduced: Reduced, file: Path) -> None:
    """Write the story."""
    file.write_text(write_story(reduced.plan), encoding="utf-8")
