"""No commit is made at or below a promise that its origin has sent (I7, I8)."""

from __future__ import annotations

from ..history import History, Promised


def promises_kept(history: History) -> list[str]:
    """Hold every stamp against the highest promise that had been sent before it."""
    promised: dict[int, int] = {}
    problems = []
    for step in history.steps:
        before = promised.get(step.origin, 0)
        if isinstance(step, Promised):
            promised[step.origin] = max(step.time, before)
        elif step.stamp <= before:
            problems.append(
                f"{step.origin:016x} stamped {step.stamp:x} (shard {step.shard}, sequence "
                f"{step.seq}) after it had promised {before:x}"
            )
    return problems
