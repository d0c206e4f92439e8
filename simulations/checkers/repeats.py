"""One seed and one code give one run, whoever runs it (I26)."""

from __future__ import annotations

from typing import Protocol


class Ran(Protocol):
    """What is kept of a run; runs that went the same way are equal."""

    @property
    def trace(self) -> str:
        """The hash over all that was sent."""
        ...


def repeats(first: Ran, second: Ran) -> str | None:
    """How two runs of one seed differ; None if they don't."""
    if first == second:
        return None
    if first.trace != second.trace:
        return f"same seed, same run: the traces {first.trace} and {second.trace} differ"
    return "same seed, same run: the traces are alike, what was counted is not"
