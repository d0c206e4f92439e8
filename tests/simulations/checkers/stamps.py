"""Stamps of an origin strictly grow, over restarts too (I9)."""

from __future__ import annotations

from ..history import History, Stamped


def stamps_grow(history: History) -> list[str]:
    """Hold every stamp against the highest of its origin before it.

    A commit that was lost in a crash before anybody was told does not count: it is not settled in
    the end, or its sequence was given again.
    """
    kept = {(row.key[2], row.shard, row.seq, row.key[0]) for row in history.rows()}
    stamped = {}  # by what they stand for in the end: the last one under each sequence
    for number, step in enumerate(history.steps):
        if isinstance(step, Stamped):
            stamped[step.origin, step.shard, step.seq] = (number, step)
    highest: dict[int, int] = {}
    problems = []
    for _, step in sorted(stamped.values(), key=lambda one: one[0]):
        if (step.origin, step.shard, step.seq, step.stamp) not in kept:
            continue
        if step.stamp <= highest.get(step.origin, 0):
            problems.append(
                f"{step.origin:016x} stamped {step.stamp:x} after {highest[step.origin]:x}"
            )
        highest[step.origin] = max(step.stamp, highest.get(step.origin, 0))
    return problems
