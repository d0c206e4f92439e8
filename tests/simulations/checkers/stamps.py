"""Stamps of an origin strictly grow, over restarts too (I9)."""

from __future__ import annotations

from ..history import History, Stamped


def stamps_grow(history: History) -> list[str]:
    """Hold every stamp against the highest of its origin before it.

    A commit that was lost in a crash before anybody was told may have had a higher stamp than the
    first one after it; so only commits that are settled in the end count.
    """
    kept = {(row.key[2], row.shard, row.seq, row.key[0]) for row in history.rows()}
    highest: dict[int, int] = {}
    problems = []
    for step in history.steps:
        if not isinstance(step, Stamped):
            continue
        if (step.origin, step.shard, step.seq, step.stamp) not in kept:
            continue
        if step.stamp <= highest.get(step.origin, 0):
            problems.append(
                f"{step.origin:016x} stamped {step.stamp:x} after {highest[step.origin]:x}"
            )
        highest[step.origin] = max(step.stamp, highest.get(step.origin, 0))
    return problems
