"""A node on a damaged disk refuses to go on, or was not harmed (I21)."""

from __future__ import annotations

from ..history import History

_DAMAGED = "DamagedLog"
_FAILED = frozenset({"SyncFailed", "DiskFull", "DiskError"})  # the disk does not do its work


def damage_is_refused(history: History) -> list[str]:
    """Who ends by itself has a reason, and who has damage ends by that reason, or has all."""
    damaged = {node for node, _ in history.damages}
    problems = []
    for refusal in history.refusals:
        if refusal.error == _DAMAGED and refusal.node not in damaged:
            problems.append(f"{refusal.node} says that its log is damaged, and it is not")
        elif refusal.error != _DAMAGED and refusal.error not in _FAILED:
            problems.append(f"{refusal.node} ended with {refusal.error}")
    refused = {refusal.node for refusal in history.refusals if refusal.error == _DAMAGED}
    problems += [
        f"{node} was harmed and said nothing: {what}"
        for node, what in history.damages
        if node not in refused and not _is_whole(history, node)
    ]
    return problems


def _is_whole(history: History, node: str) -> bool:
    """Whether a node has in the end what most others have."""
    finals = list(history.final.values())
    mine = history.final.get(node)
    return mine is not None and 2 * sum(mine == other for other in finals) >= len(finals)
