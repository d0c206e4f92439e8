"""What became of each commit is what the rules of the fold say, worked out once more (I14, I27)."""

from __future__ import annotations

from collections import Counter

from ...node.fold import ACCEPTED, KEPT, REJECTED, SHADOWED
from ...storage.commit import EXPECT_ANY, EXPECT_EXISTS, KEEP
from ..history import History, Row


def conditions_hold(history: History) -> list[str]:
    """Fold what each node has settled by the rules of DESIGN 3, and compare every verdict."""
    problems = []
    for node, shards in history.finals():
        rows = sorted((row for rows in shards.values() for row in rows), key=lambda row: row.key)
        problems += [f"{problem} at {node}" for problem in _refolded(rows)]
        problems += [f"{problem} at {node}" for problem in _won_twice(rows)]
    return problems


def _refolded(rows: list[Row]) -> list[str]:
    length: Counter[str] = Counter()  # events of a stream
    seen: set[tuple[int, bytes]] = set()
    problems = []
    for row in rows:
        outcome = verdict(row, length[row.stream] - 1, again=(row.shard, row.id) in seen)
        seen.add((row.shard, row.id))
        if (outcome, length[row.stream]) != (row.outcome, row.first_revision):
            problems.append(
                f"{row} has outcome {row.outcome} at revision {row.first_revision}, not {outcome} "
                f"at {length[row.stream]}"
            )
        if outcome in (ACCEPTED, KEPT):
            length[row.stream] += row.events
    return problems


def verdict(row: Row, revision: int, *, again: bool) -> int:
    """What becomes of a commit where its stream ends at a revision, by the rules of DESIGN 3."""
    if again:
        return SHADOWED
    fits = (
        row.expected == EXPECT_ANY
        or (row.expected == EXPECT_EXISTS and revision >= 0)
        or row.expected == revision
    )
    if fits:
        return ACCEPTED
    return KEPT if row.policy == KEEP else REJECTED


def _won_twice(rows: list[Row]) -> list[str]:
    """Commits that expected the same revision of a stream, where more than one was accepted."""
    winners = Counter(
        (row.stream, row.expected)
        for row in rows
        if row.outcome == ACCEPTED and row.expected not in (EXPECT_ANY, EXPECT_EXISTS)
    )
    return [
        f"{count} commits that expected revision {expected} of {stream} were accepted"
        for (stream, expected), count in winners.items()
        if count > 1
    ]
