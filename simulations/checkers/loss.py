"""What was acknowledged is there, at every node, as it was sent (I1)."""

from __future__ import annotations

from ..history import History


def nothing_lost(history: History) -> list[str]:
    """Every acknowledged append is settled everywhere; the one that counts has its body."""
    problems = []
    for node, shards in history.finals():
        entries: dict[tuple[bytes, str], list[bytes]] = {}
        for rows in shards.values():
            for row in rows:
                there = entries.setdefault((row.id, row.stream), [])
                there.append(history.entries.get(row.hash, b""))
        for append in history.appends:
            if append.receipt is None:
                continue
            there = entries.get((append.draft.commit_id, append.draft.stream), [])
            if not there:
                problems.append(f"{append} was acknowledged, and {node} does not have it")
            elif append.draft.entry not in there:
                problems.append(f"{append} was acknowledged, and {node} has another body of it")
    return problems
