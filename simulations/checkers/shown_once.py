"""A commit id is shown once at most, and it is the first one that counts (I3)."""

from __future__ import annotations

from ...node.fold import SHADOWED
from ..history import History


def shown_once(history: History) -> list[str]:
    """Of the commits with one id in a shard, all but the first are shadowed, at every node."""
    problems = []
    for node, shards in history.finals():
        for rows in shards.values():
            seen: set[bytes] = set()
            for row in sorted(rows, key=lambda row: row.key):
                if row.id in seen and row.outcome != SHADOWED:
                    problems.append(f"{node} counts {row} again")
                elif row.id not in seen and row.outcome == SHADOWED:
                    problems.append(f"{node} does not count {row}, the first of its id")
                seen.add(row.id)
    return problems
