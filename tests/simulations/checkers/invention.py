"""What is settled was appended by somebody, as it is; what was refused is not there (I2, I25).

A commit may be refused after it was written: when another one with its id and another body comes
first in the final order. It is shadowed then.
"""

from __future__ import annotations

from anabranch.node.fold import SHADOWED

from ..history import History


def nothing_invented(history: History) -> list[str]:
    """Every settled commit is one that a client sent and that was not refused each time."""
    sent = {append.draft.entry for append in history.appends}
    kept = {append.draft.entry for append in history.appends if append.error is None}
    problems = []
    for node, shards in history.final.items():
        for row in (row for rows in shards.values() for row in rows):
            if row.entry not in sent:
                problems.append(f"nobody sent {row}, which {node} has")
            elif row.entry not in kept and row.outcome != SHADOWED:
                problems.append(f"{row} was refused, and {node} has it")
    return problems
