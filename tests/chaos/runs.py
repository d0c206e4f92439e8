"""Short runs of chaos for tests: a plan in a few lines, real processes, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from anabranch.chaos.cluster import NODE
from anabranch.chaos.draw import shifted
from anabranch.chaos.injection.needs import missing
from anabranch.chaos.loop import run
from anabranch.chaos.report import problems
from anabranch.chaos.runner import Outcome, Run, kinds_of
from anabranch.node.config import Tuning
from anabranch.simulations.plans.plan import Client, Fault, Plan, Site

TUNING = Tuning(segment_bytes=16 * 1024, compare_seconds=1.0, scrub_seconds=2.0, all_confirm=True)
CLIENTS = (
    Client("c1", at=("a",), rate=15),
    Client("c2", at=("b",), rate=15),
    Client("c3", at=("c",), rate=15, ack_settled=0.0),
)


def plan_of(*faults: Fault, trouble: float = 3.0, **given: object) -> Plan:
    """Three sites, three clients, and faults whose times count from the beginning."""
    sites = (Site("a"), Site("b"), Site("c"))
    plan = Plan(7, sites, shards=4, tuning=TUNING, clients=CLIENTS, warm_up=0.5, trouble=trouble)
    return replace(plan, faults=faults, frozen=0.5, patience=15.0, **given)  # type: ignore[arg-type]


def outcome_of(
    plan: Plan, directory: Path, *, command: Sequence[str] = NODE, kernel: bool = False
) -> Outcome:
    """Run a plan with real processes; skips where a tool or a right is missing."""
    kinds = kinds_of(plan)
    lacking = missing([*kinds, *(["namespaces"] if kernel else [])])
    if lacking:
        pytest.skip("; ".join(lacking))

    async def main() -> Outcome:
        made = Run(
            plan,
            lambda number, begins: None if number else shifted(plan, begins),
            directory,
            kinds=kinds,
            kernel=kernel,
            command=command,
        )
        return await made.run()

    return run(main())


def well(plan: Plan, directory: Path, *, kernel: bool = False) -> Outcome:
    """The outcome of a plan after which all has to be well, and in which much has to happen."""
    outcome = outcome_of(plan, directory, kernel=kernel)
    found = problems(outcome)
    assert not found, "\n".join(found[:10])
    idle = {fault.kind for fault in plan.faults} - set(outcome.tally.faults)
    assert not idle, f"never came: {', '.join(sorted(idle))}"
    assert outcome.tally.acknowledged > 30 and outcome.tally.reads > 0
    assert outcome.tally.commits > 20 and len(outcome.history.final) == len(plan.nodes)
    return outcome
