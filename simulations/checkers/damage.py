"""Damage is healed, or refused with a reason; it is never served (I21).

That nothing damaged is shown or given is held by `trees_are_true` and `prefixes_agree` as well.
"""

from __future__ import annotations

from ..history import History

_DAMAGED = "DamagedLog"
_FAILED = frozenset({"SyncFailed", "DiskFull", "DiskError"})  # the disk does not do its work


def damage_is_healed(history: History) -> list[str]:
    """Who ends by itself has a reason, and who has damage has all that others have in the end."""
    damaged = {node for node, _ in history.damages}
    problems = []
    for refusal in history.refusals:
        if refusal.error == _DAMAGED and refusal.node not in damaged:
            problems.append(f"{refusal.node} says that its log is damaged, and it is not")
        elif refusal.error != _DAMAGED and refusal.error not in _FAILED:
            problems.append(f"{refusal.node} ended with {refusal.error}")
    problems += [
        f"{node} was harmed and is not healed: {what}"
        for node, what in history.damages
        if not _is_whole(history, node)
    ]
    return problems


def _is_whole(history: History, node: str) -> bool:
    """Whether a node has in the end what most others have."""
    finals = list(history.final.values())
    mine = history.final.get(node)
    return mine is not None and 2 * sum(mine == other for other in finals) >= len(finals)
