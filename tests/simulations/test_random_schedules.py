"""Random schedules of real nodes: whatever goes wrong, nothing is lost and all agree in the end.

A failure names its seed and the command that runs it again, event by event.
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import cache

import pytest

from anabranch.node.fold import OUTCOMES

from .workload import Outcome, run_seed

SEEDS = range(150)
MORE_SEEDS = range(150, 3050)


@cache
def outcome_of(seed: int) -> Outcome:
    """Run a seed, once."""
    logging.disable(logging.CRITICAL)  # nodes in trouble have much to say
    try:
        return run_seed(seed)
    finally:
        logging.disable(logging.NOTSET)


def check(outcome: Outcome) -> None:
    if outcome.violations:
        shown = "\n  ".join(outcome.violations[:20])
        pytest.fail(
            f"seed {outcome.seed} with {outcome.profile}:\n  {shown}\n"
            f"Run it again: python -m anabranch.tests.simulations.replay {outcome.seed}",
            pytrace=False,
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed):
    check(outcome_of(seed))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(MORE_SEEDS.start, MORE_SEEDS.stop, 100))
def test_more_seeds(first):
    for seed in range(first, first + 100):
        check(run_seed(seed))


# -- that the schedules are worth anything -------------------------------------------------------


def test_every_state_that_matters_is_reached():
    seen = {state for seed in SEEDS for state in outcome_of(seed).history.seen}
    assert seen == {
        "a commit was held back",
        "a node ended with its disk",
        "a torn tail was cut",
        "an index was lost",
        "commits were pulled",
        "commits went around a broken link",
        "settled commits were read back",
        "the log had many segments",
    }


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


def test_clusters_of_every_size_restart():
    starts: Counter[int] = Counter()
    for seed in SEEDS:
        history = outcome_of(seed).history
        lives = {(prefix.node, prefix.life) for prefix in history.prefixes}
        starts[len(history.members)] += len(lives) > len(history.members)
    assert min(starts[size] for size in (1, 2, 3, 4, 5)) > 0
