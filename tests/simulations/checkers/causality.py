"""A commit is stamped above all that its node held when it was made (I10, I13)."""

from __future__ import annotations

from ..history import History, Stamped


def causality_respected(history: History) -> list[str]:
    """Hold every stamp against the last commits of the logs that its node held then."""
    stamps = {(row.shard, row.key[2], row.seq): row.key[0] for row in history.rows()}
    return [
        f"{step.origin:016x} stamped {step.stamp:x} when it held {origin:016x}:{seq} of shard "
        f"{shard} with {stamps[shard, origin, seq]:x}"
        for step in history.steps
        if isinstance(step, Stamped)
        for (shard, origin), seq in step.held.items()
        if stamps.get((shard, origin, seq), 0) >= step.stamp
    ]
