"""Where nothing is wrong, nothing waits, and nothing is refused (settlement lives; DESIGN 4, 5).

Under constant load too: a settlement that only moves when nobody writes would starve. And one clock
that is ahead is no excuse for any node but its own, which has to notice.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ..history import Append, Calm, History

WITHIN_SECONDS = 2.0  # several round trips and heartbeats of the slowest plan; links come up
NOTICED_SECONDS = 3.0  # in which a node has heard from all others again, idle ones too
_NOT_NOW = frozenset({"Unavailable", "DiskFull", "Overloaded"})


def nothing_waits_in_calm(history: History) -> list[str]:
    """Nobody waits for a final answer longer than that takes.

    Those that meet may take a heartbeat longer: a push waits for the one before it, and who holds
    what another node has just written is told with the next one.
    """
    calm = history.calm
    if calm is None:
        return []
    begun = sorted(append.began for append in history.appends)

    def within(append: Append) -> float:
        first = bisect_left(begun, append.began - calm.within)
        last = bisect_right(begun, append.began + calm.within)
        if append.began < calm.since:
            return WITHIN_SECONDS
        return calm.within if last - first == 1 else min(calm.met_within, WITHIN_SECONDS)

    return [
        f"{append} waited {append.ended - append.began:.3f} s for its final place"
        for append in history.appends
        if append.node in calm.nodes
        and append.ack == "settled"
        and append.began >= calm.waits_until
        and append.ended is not None
        and append.ended - append.began > within(append)
    ]


def nothing_is_refused_in_calm(history: History) -> list[str]:
    """Only who is wrong is told so; and who is ahead of all others takes nothing."""
    calm = history.calm
    if calm is None:
        return []
    problems = [
        f"{append} was refused: {append.error}"
        for append in history.appends
        if append.node in calm.nodes and append.error in _NOT_NOW
    ]
    return problems + _taken_ahead(history, calm)


def _taken_ahead(history: History, calm: Calm) -> list[str]:
    if calm.ahead is None:
        return []
    node, since, until = calm.ahead
    return [
        f"{append} was taken though the clock was ahead"
        for append in history.appends
        if append.node == node
        and append.receipt is not None
        and not append.receipt.duplicate
        and since + NOTICED_SECONDS < append.began < until
    ]
