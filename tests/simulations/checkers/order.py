"""The settled order grows strictly, and revisions of a stream have no gaps (I6)."""

from __future__ import annotations

from itertools import pairwise

from anabranch.node.fold import ACCEPTED, KEPT

from ..history import History, Row


def in_order(history: History) -> list[str]:
    """Check the order and the revisions of every prefix that was seen."""
    problems = []
    for prefix in history.prefixes:
        for before, after in pairwise(prefix.rows):
            if before.key >= after.key:
                problems.append(f"{after} comes after {before} at {prefix}")
        problems += [f"{problem} at {prefix}" for problem in _gaps(prefix.rows)]
    return problems


def _gaps(rows: tuple[Row, ...]) -> list[str]:
    """Where revisions of a stream are not contiguous, or sequences of an origin are not."""
    problems = []
    revisions: dict[str, int] = {}
    sequences: dict[int, int] = {}
    for row in rows:
        origin = row.key[2]
        if row.seq != sequences.get(origin, 0) + 1:
            problems.append(f"{row} follows on sequence {sequences.get(origin, 0)}")
        sequences[origin] = row.seq
        if row.outcome in (ACCEPTED, KEPT):
            expected = revisions.get(row.stream, 0)
            if row.first_revision != expected:
                problems.append(f"{row} has revision {row.first_revision}, not {expected}")
            revisions[row.stream] = row.first_revision + row.count
    return problems
