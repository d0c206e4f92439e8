"""Every operation ends, in its time, unless for a reason that the documentation names (I25)."""

from __future__ import annotations

from ..history import Append, History

# The process is gone; or its disk failed while the append was on its way to it (Unconfirmed).
_REASONS = frozenset({"crash", "stop", "Unconfirmed"})


def all_answered(history: History) -> list[str]:
    """A receipt or an error, and in time; or a reason why nobody can tell what came of it."""
    return [
        f"{append}, begun at {append.began:.4f} s, {problem}"
        for append in history.appends
        if (problem := _wrong(append))
    ]


def _wrong(append: Append) -> str | None:
    if append.late:
        return "was not answered when its time was up"
    if append.lost is not None:
        return None if append.lost in _REASONS else f"was lost: {append.lost}"
    if append.ended is None:
        return "was never answered"
    if append.receipt is None and append.error is None:
        return "ended with neither a receipt nor an error"
    return None
