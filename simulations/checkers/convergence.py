"""After the heal all nodes have settled the same, within a time that was worked out (I16)."""

from __future__ import annotations

from ...storage.limits import (
    BACKOFF_SECONDS_MAX,
    CONNECT_SECONDS,
    RELAY_GRACE_SECONDS,
    SILENCE_SECONDS,
)
from ..history import History, Row

_ROUND_TRIPS = 12  # hello, reports, promises and their closing, with some to spare
_HEARTBEATS = 10


def all_converged(history: History) -> list[str]:
    """Nothing is tentative in the end, and the settled history is the same at all members."""
    problems = [] if history.unsettled is None else [history.unsettled]
    problems += [f"{link} was not up again in time" for link in history.unlinked]
    absent = sorted(history.absent | set(history.members) - set(history.final))
    if absent:
        problems.append(f"{', '.join(absent)} did not come back")
    within = history.whole_within
    problems += [
        f"all was whole {seconds:.3f} s after the heal, and {within:.3f} s would do"
        for seconds in history.whole_after
        if within is not None and seconds > within
    ]
    first = next(iter(history.final), None)
    problems += [
        f"{node} has settled {_count(shards)} commits, {first} "
        f"{_count(history.final[first])}, and not the same"
        for node, shards in history.finals()
        if first is not None and node != first
    ]
    return problems


def _count(shards: dict[int, tuple[Row, ...]]) -> int:
    return sum(len(rows) for rows in shards.values())


def whole_within(
    *,
    round_trip: float,
    heartbeat: float,
    pulls: int,
    missing_bytes: int,
    bandwidth: float | None,
    sync: float,
    ahead: float,
) -> float:
    """Seconds in which all has to be whole after a heal.

    A link that is dead is noticed and dialled again; then so many pulls, one after the other; then
    what was asked of a peer that did not have it is asked of another; and what is stamped ahead of
    the clocks has to wait until they are there.
    """
    dialled = SILENCE_SECONDS + 2 * CONNECT_SECONDS + BACKOFF_SECONDS_MAX
    carried = 0.0 if bandwidth is None else 2 * missing_bytes / bandwidth
    steps = (_ROUND_TRIPS + pulls) * (round_trip + 2 * sync)
    return (
        dialled
        + 2 * RELAY_GRACE_SECONDS
        + _HEARTBEATS * heartbeat
        + steps
        + carried
        + max(0, ahead)
    )
