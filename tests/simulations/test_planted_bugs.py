"""Random runs find each bug in bugs/ within a bounded number of seeds.

The seed that docs/simulation.md names is tried first, then all from 0 on. Run with `-s` to see the
table: which bug took how many seeds, and what noticed it.
"""

from __future__ import annotations

import logging
import re
import sys
from contextlib import suppress
from itertools import chain
from pathlib import Path

import pytest

from anabranch.simulations.plans.draw import plan_of
from anabranch.simulations.runner import run_plan

from .bugs import BUGS

SEEDS_MAX = 2000
PAGE = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text(encoding="utf-8")
TOLD = {name: int(number) for name, number in re.findall(r"(?m)^\| ([^|`]+) \| (\d+) \|", PAGE)}
ROWS: list[tuple[str, str, str]] = []


def hunt(name: str) -> tuple[int, str]:
    """How many seeds it took to find a bug, and the checkers that noticed; -1 if it stayed."""
    for seed in chain([TOLD[name] - 1], range(SEEDS_MAX)):
        with BUGS[name]():
            try:
                found = run_plan(plan_of(seed)).violations
            except Exception as error:  # noqa: BLE001 - a bug may show in any way
                found = [f"raised {type(error).__name__}"]
        if found:
            return seed + 1, ", ".join(sorted({problem.split(":")[0] for problem in found}))
    return -1, "nothing"


@pytest.fixture(scope="module")
def table():
    logging.disable(logging.CRITICAL)
    ROWS.clear()
    yield ROWS
    logging.disable(logging.NOTSET)
    lines = ["", f"{'planted bug':<42} {'seeds':>5}  noticed by"]
    lines += [f"{name:<42} {seeds:>5}  {by}" for name, seeds, by in ROWS]
    with suppress(ValueError):  # pytest has closed what it captured
        sys.stdout.write("\n".join(lines) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_it_is_found(name, table):
    seeds, by = hunt(name)
    table.append((name, str(seeds) if seeds > 0 else "-", by))
    assert seeds > 0, f"{name} was not found within {SEEDS_MAX} seeds"
