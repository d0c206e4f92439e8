"""docs/simulation.md names all that there is: faults, expectations, checks and planted bugs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anabranch.simulations.checkers import ALL
from anabranch.simulations.expectations import EXPECTATIONS
from anabranch.simulations.plans.kinds import SIMULATED
from anabranch.simulations.plans.story import read_story

from .bugs import BUGS, UNSEEN

PAGE = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text("utf-8")


def rows_after(heading: str) -> list[str]:
    """The first cells of the table below a heading."""
    part = PAGE.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    cells = re.findall(r"^\| ([^|]+) \|", part, re.MULTILINE)
    return [cell.strip("` ") for cell in cells[1:]]


@pytest.mark.parametrize(
    ("heading", "there"),
    [
        ("### Kinds of faults", list(SIMULATED)),
        ("### What can be expected", list(EXPECTATIONS)),
        ("## What is checked", [check.__name__ for check in ALL]),
        ("## The bug bank", list(BUGS)),
        ("## Bugs that tests of their own find", list(UNSEEN)),
    ],
)
def test_a_table_is_complete(heading, there):
    assert sorted(rows_after(heading)) == sorted(there)


def test_the_story_on_the_page_can_be_run():
    (story,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert read_story(story, "docs/simulation.md").title == "One link fails one way"
