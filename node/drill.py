"""A drill: links with some members are cut for a while, and come back by themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Drill:
    """The cut that is in force at one node."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: dict[str, float] = {}

    def begin(self, names: list[str], seconds: float) -> None:
        """Cut the links with these members, and with nobody else."""
        until = self._monotonic() + seconds
        self._until = dict.fromkeys(names, until) if seconds > 0 else {}
        _log.warning("drill: links with %s are cut for %s s", ", ".join(names) or "nobody", seconds)

    def holds(self, name: str) -> bool:
        """Whether the links with a member are cut now."""
        until = self._until.get(name)
        if until is None:
            return False
        if self._monotonic() < until:
            return True
        del self._until[name]
        _log.warning("drill: links with %s are no longer cut", name)
        return False
