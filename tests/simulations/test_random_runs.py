"""Random runs of real nodes: whatever goes wrong, nothing is lost and all agree in the end.

A failure names its seed and the command that runs it again, event by event.
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import cache

import pytest

from anabranch.node.fold import OUTCOMES
from anabranch.simulations.marks import missing
from anabranch.simulations.plans.draw import plan_of
from anabranch.simulations.plans.plan import Plan, Site
from anabranch.simulations.runner import Outcome, run_plan
from anabranch.simulations.watch.watched import WatchedWorld

SEEDS = range(100)
MORE_SEEDS = range(100, 2100)


@cache
def outcome_of(seed: int) -> Outcome:
    """Run a seed, once."""
    logging.disable(logging.CRITICAL)  # nodes in trouble have much to say
    try:
        return run_plan(plan_of(seed))
    finally:
        logging.disable(logging.NOTSET)


def check(outcome: Outcome) -> None:
    if outcome.violations:
        shown = "\n  ".join(outcome.violations[:20])
        seed = outcome.plan.seed
        pytest.fail(
            f"seed {seed}:\n  {shown}\nRun it again: anabranch simulate --seeds {seed}..{seed} -vv",
            pytrace=False,
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed):
    check(outcome_of(seed))


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(2602917, id="a commit that a majority held, one behind a hole"),
        pytest.param(2603008, id="a root that was put right before the answer came"),
        pytest.param(2603162, id="commits behind a hole, which the others lack"),
    ],
)
def test_a_checker_that_once_was_wrong_is_right_now(seed):
    check(outcome_of(seed))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(MORE_SEEDS.start, MORE_SEEDS.stop, 100))
def test_more_seeds(first):
    logging.disable(logging.CRITICAL)
    try:
        for seed in range(first, first + 100):
            check(run_plan(plan_of(seed)))
    finally:
        logging.disable(logging.NOTSET)


# -- that the runs are worth anything ------------------------------------------------------------


def test_every_state_that_matters_is_reached():
    marks: Counter[str] = Counter()
    for seed in SEEDS:
        marks += outcome_of(seed).marks
    assert missing(marks, len(SEEDS)) == []


def test_clients_get_answers_of_every_kind():
    kinds: Counter[str] = Counter()
    for seed in SEEDS:
        history = outcome_of(seed).history
        kinds.update(f"settled as {OUTCOMES[row.outcome]}" for row in history.rows())
        for append in history.appends:
            if append.receipt is None:
                kinds[append.error or "never answered"] += 1
            else:
                kinds[f"{append.ack}, {append.receipt.outcome}"] += 1
                kinds["time-out"] += not append.receipt.reached
                kinds["repeated"] += append.receipt.duplicate
    often = {kind for kind, count in kinds.items() if count >= 10}
    assert often >= {
        "local, accepted",
        "local, tentative",
        "never answered",
        "repeated",
        "DiskFull",
        "RevisionConflict",
        "settled as accepted",
        "settled as kept",
        "settled as rejected",
        "settled as shadowed",
        "settled, accepted",
        "settled, rejected",
        "settled, tentative",
        "time-out",
        "Unavailable",
        "Unprocessable",
    }


def test_what_a_restart_mends_is_found_all_the_same(monkeypatch):
    real, times = WatchedWorld.finish, []

    def finish(world):
        real(world)
        times.append(world)
        if len(times) == 1:
            world.history.final["ny1"] = {}

    monkeypatch.setattr(WatchedWorld, "finish", finish)
    found = run_plan(Plan(1, (Site("ny", 1), Site("lon", 1)), warm_up=1, trouble=1, frozen=1))
    assert len(times) == 2
    assert any("acknowledged, and ny1 does not have it" in one for one in found.violations)
