"""Nothing that a node itself calls a fault: no dispute, no failure, no stranger."""

from __future__ import annotations

from ..history import History


def no_alarms(history: History) -> list[str]:
    """What the nodes said went wrong."""
    return list(dict.fromkeys(history.alarms))
