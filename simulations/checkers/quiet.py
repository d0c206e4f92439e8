"""Nothing that a node itself calls a fault: no dispute, no stranger, nothing unexpected."""

from __future__ import annotations

from ..history import History


def no_alarms(history: History) -> list[str]:
    """What the nodes said went wrong, and what should always hold and did not."""
    return list(dict.fromkeys([*history.alarms, *history.marks.broken]))
