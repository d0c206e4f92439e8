"""Nothing that a node itself calls a fault: no dispute, no stranger, nothing unexpected."""

from __future__ import annotations

from ..history import History


def no_alarms(history: History) -> list[str]:
    """What the nodes said went wrong, and what should always hold and did not."""
    expected = tuple(f"{node} is a stranger" for node in history.lost_disks)
    alarms = [alarm for alarm in history.alarms if not alarm.startswith(expected)]
    return list(dict.fromkeys([*alarms, *history.marks.broken]))
