"""How a bug is kept: beside the fewest tests that have to find it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

Bug = Callable[[], AbstractContextManager[Any]]
BUGS: dict[str, tuple[Bug, tuple[str, ...]]] = {}  # with places of tests, below tests/
QUICK: list[str] = []  # those that are looked for in every run of the tests
UNSEEN: dict[str, tuple[Bug, str]] = {}  # bugs that no test finds yet, and what it would take


def found_by(*tests: str, quick: bool = False) -> Callable[[Bug], Bug]:
    """Add a bug to the list, under the name of its function."""

    def keep(bug: Bug) -> Bug:
        name = bug.__name__.replace("_", " ")
        assert name not in BUGS, f"two bugs are called {name}"
        BUGS[name] = bug, tests
        if quick:
            QUICK.append(name)
        return bug

    return keep


def unseen(wants: str) -> Callable[[Bug], Bug]:
    """Keep a bug that no test finds yet, with what would find it."""

    def keep(bug: Bug) -> Bug:
        UNSEEN[bug.__name__.replace("_", " ")] = bug, wants
        return bug

    return keep
