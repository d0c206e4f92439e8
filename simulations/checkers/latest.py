"""Who reads what is tentative is shown all of it in order, with what each would be now (I10, I14).

A node may show the settled part, then all that it holds besides in the one order: nothing more,
nothing less, and nothing else (invariants 3.1).
"""

from __future__ import annotations

from ...node.fold import ACCEPTED, KEPT
from ..history import History, Latest
from .conditions import verdict


def latest_is_whole(history: History) -> list[str]:
    """Hold each read of a tentative part against what the node held."""
    return [problem for read in history.latest for problem in _wrong(read)]


def _wrong(read: Latest) -> list[str]:
    held = sorted(read.held, key=lambda row: row.key)
    there = [row.key for row in held if row.stream == read.stream]
    if [row.key for row in read.shown] != there:
        count = f"{len(there)} tentative commits of {read.stream}"
        return [f"{read.node} holds {count}, and shows {len(read.shown)}, or in another order"]
    shown, seen = iter(read.shown), set(read.settled_ids)
    revision, problems = read.settled_revision, []
    for row in held:
        again = row.id in seen
        seen.add(row.id)
        if row.stream != read.stream:
            continue
        one, outcome = next(shown), verdict(row, revision, again=again)
        if (one.outcome, one.first_revision) != (outcome, revision + 1):
            problems.append(
                f"{read.node} shows {row}, which is tentative, with outcome {one.outcome} at "
                f"revision {one.first_revision}, not {outcome} at {revision + 1}"
            )
        if outcome in (ACCEPTED, KEPT):
            revision += row.events
    return problems
