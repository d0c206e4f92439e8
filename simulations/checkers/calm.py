"""Where nothing is wrong, an append that waits for its final place gets it soon (settlement lives).

Under constant load too: a settlement that only moves when nobody writes would starve.
"""

from __future__ import annotations

from ..history import History

WITHIN_SECONDS = 2.0  # several round trips and heartbeats of the slowest plan


def nothing_waits_in_calm(history: History) -> list[str]:
    """Without a fault nobody waits for a final answer longer than that."""
    if not history.calm:
        return []
    return [
        f"{append} waited {append.ended - append.began:.3f} s for its final place"
        for append in history.appends
        if append.ack == "settled"
        and append.ended is not None
        and append.ended - append.began > WITHIN_SECONDS
    ]
