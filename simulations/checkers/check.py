"""What a checker is that judges events as they happen, and the same over a recorded history."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from ..history import History


class Check(ABC):
    """Judges events one by one; each costs a bounded amount of work."""

    name: ClassVar[str]
    takes: ClassVar[tuple[type, ...]]  # the events that it is given

    def __init__(self, members: tuple[str, ...]) -> None:
        self.members = members

    @abstractmethod
    def take(self, event: Any) -> str | None:
        """What is wrong with an event, after all before it."""


def folded(check: type[Check]) -> Callable[[History], list[str]]:
    """The function that holds the recorded events of a history against a check."""

    def fold(history: History) -> list[str]:
        judge = check(history.members)
        return [
            problem
            for event in history.events
            if isinstance(event, check.takes) and (problem := judge.take(event)) is not None
        ]

    fold.__name__ = check.name
    fold.__doc__ = check.__doc__
    return fold
