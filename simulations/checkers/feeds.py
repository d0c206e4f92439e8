"""What was read as settled is the one order from its beginning, without a hole (I4, I5)."""

from __future__ import annotations

from ..history import Fed
from .check import Check, folded


class Feeds(Check):
    """Hold what each node tells its readers against what any of them told before."""

    name = "readers_agree"
    takes = (Fed,)

    def __init__(self, members: tuple[str, ...]) -> None:
        super().__init__(members)
        self._order: list[tuple[str, str, int]] = []

    def take(self, event: Fed) -> str | None:
        """Compare with what others were told under the same numbers."""
        for number, told in enumerate(event.events, event.number):
            if number == len(self._order):
                if self._order and told[0] <= self._order[-1][0]:
                    return f"{event.node} told {told} after {self._order[-1]}"
                self._order.append(told)
            elif number > len(self._order):
                return f"{event.node} told {told} as event {number}, and nobody told the one before"
            elif self._order[number] != told:
                return (
                    f"event {number} of all is {told} at {event.node}, and was "
                    f"{self._order[number]} before"
                )
        return None


readers_agree = folded(Feeds)
