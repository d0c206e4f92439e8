"""Nothing piles up: queues and buffers have limits, and tasks when all is quiet (I24)."""

from __future__ import annotations

from ..history import History


def nothing_piles_up(history: History) -> list[str]:
    """Hold every gauge against its limit."""
    return [
        f"{gauge.node} has {gauge.value} {gauge.what}, the limit is {gauge.limit}"
        for gauge in history.gauges
        if gauge.value > gauge.limit
    ]


def tasks_of(nodes: int) -> int:
    """How many tasks so many idle nodes have.

    Each a heartbeat, a writer, a sealer, a scrub, one for epochs, one for strays and one for who is
    silent; and for each other node one that dials, one that listens to what is answered there, and
    one that answers.
    """
    return nodes * (7 + 3 * (nodes - 1))
