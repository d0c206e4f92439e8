"""The judge finds what is wrong with a program: three bugs planted into real processes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from anabranch.chaos.report import problems
from anabranch.simulations.plans.plan import Client, Fault

from . import planted
from .runs import outcome_of, plan_of

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

POWER = (Fault("power", 0.8, 0.3), Fault("power", 3.0, 0.3))
# What is acknowledged waits in memory behind a sync that takes a fifth of a second. One kill in two
# meets something there; and a node that was killed has to be made slow again.
SLOW = tuple(
    fault
    for turn in range(9)
    for fault in (
        Fault("disk-slow", 0.3 + 0.8 * turn, 0.9, ("abc"[turn % 3],), amount=40),
        Fault("crash", 1.0 + 0.8 * turn, 0.2, ("abc"[turn % 3],)),
    )
)
RETRIES = tuple(Client(f"k{site}", at=(site,), rate=20, retries=0.6, doubles=0.3) for site in "abc")


@pytest.mark.parametrize(
    ("bug", "faults", "found_by"),
    [
        ("no-fsync", POWER, "acknowledged_is_kept"),
        ("answer-before-fsync", SLOW, "acknowledged_is_kept"),
        ("no-commit-ids", (Fault("crash", 1.0, 0.3, ("a",)),), "shown_once"),
    ],
)
def test_a_planted_bug_is_found(
    tmp_path: Path, bug: str, faults: tuple[Fault, ...], found_by: str
) -> None:
    plan = replace(plan_of(*faults, trouble=8.5, clients=RETRIES), patience=5.0)
    command = [sys.executable, planted.__file__, bug]
    outcome = outcome_of(plan, tmp_path, command=command)
    found = problems(outcome)
    assert any(one.startswith(found_by) for one in found), "\n".join(found) or "nothing was found"
