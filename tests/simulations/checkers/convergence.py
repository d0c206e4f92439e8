"""After the heal all nodes have settled the same (I16)."""

from __future__ import annotations

from ..history import History


def all_converged(history: History) -> list[str]:
    """Nothing is tentative in the end, and the settled history is the same at all members."""
    problems = [] if history.unsettled is None else [history.unsettled]
    absent = sorted(set(history.members) - set(history.final))
    if absent:
        problems.append(f"{', '.join(absent)} did not come back")
    shown = {node: _in_order(shards) for node, shards in history.final.items()}
    first = next(iter(shown), None)
    problems += [
        f"{node} has settled {len(rows)} commits, {first} {len(shown[first])}, and not the same"
        for node, rows in shown.items()
        if first is not None and rows != shown[first]
    ]
    return problems


def _in_order(shards: dict[int, tuple[object, ...]]) -> list[object]:
    return [row for shard in sorted(shards) for row in shards[shard]]
