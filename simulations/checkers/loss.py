"""What was acknowledged is there, at every node, as it was sent (I1).

What only a lost disk held is lost, and what one took that was put back in time: that is beyond what
`local` promises.
"""

from __future__ import annotations

from ..history import Append, History


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
            if append.receipt is None or _was_lost(history, append):
                continue
            there = entries.get((append.draft.commit_id, append.draft.stream), [])
            if not there:
                problems.append(f"{append} was acknowledged, and {node} does not have it")
            elif append.draft.entry not in there:
                problems.append(f"{append} was acknowledged, and {node} has another body of it")
    return problems


def _was_lost(history: History, append: Append) -> bool:
    """Whether only a disk that was lost, or put back in time, need have held an append."""
    receipt, ended = append.receipt, append.ended
    if receipt is None or receipt.settled or ended is None:
        return False
    return ended <= history.lost_disks.get(append.node, -1.0) or any(
        append.node == node and since <= ended <= at for node, since, at in history.rolled_back
    )
