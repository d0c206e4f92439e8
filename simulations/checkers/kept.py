"""What a node acknowledged is in its own directory when it has died, however it died (I1, I20)."""

from __future__ import annotations

from ..history import Append, History, Left


def acknowledged_is_kept(history: History) -> list[str]:
    """Hold each node's log, as it was found after each death, against what it had acknowledged."""
    waiting: dict[str, list[Append]] = {}
    for append in sorted(history.appends, key=lambda append: append.ended or 0.0):
        if append.receipt is not None and append.ended is not None:
            waiting.setdefault(append.node, []).append(append)
    problems = []
    held: dict[str, set[tuple[bytes, str]]] = {}
    for event in history.events:
        if not isinstance(event, Left):
            continue
        held.setdefault(event.node, set()).update(event.found)
        due = waiting.get(event.node, [])
        while due and (due[0].ended or 0.0) <= event.at:
            append = due.pop(0)
            if event.harmed:
                continue
            if (append.draft.commit_id, append.draft.stream) not in held[event.node]:
                died = f"when it died at {event.at:.3f} s"
                problems.append(f"{append} was acknowledged, and not in its log {died}")
    return problems
