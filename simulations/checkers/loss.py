"""What was acknowledged is there, at every node, as it was sent (I1).

What only a lost disk held is lost: that is beyond what `local` promises. In this version a member
that comes back with an empty disk stops settlement, until it can be replaced.
"""

from __future__ import annotations

from ..history import History


def nothing_lost(history: History) -> list[str]:
    """Every acknowledged append is settled everywhere; the one that counts has its body."""
    if history.lost_disks:
        return _lost_though_held(history)
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


def _lost_though_held(history: History) -> list[str]:
    """A disk is lost, and nothing settles: the rest holds all that the rest acknowledged."""
    problems = []
    for node, shards in history.final.items():
        if node in history.lost_disks:
            continue
        settled = {(row.id, row.stream) for rows in shards.values() for row in rows}
        there = settled | history.tentative[node]
        problems += [
            f"{append} was acknowledged, and {node} does not hold it"
            for append in history.appends
            if append.receipt is not None
            and append.node not in history.lost_disks
            and (append.draft.commit_id, append.draft.stream) not in there
        ]
    return problems
