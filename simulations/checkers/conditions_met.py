"""A condition is checked against what is here in that moment, tentative or not (I14)."""

from __future__ import annotations

from ...node.fold import fits
from ..history import History


def conditions_are_checked(history: History) -> list[str]:
    """Who was refused did not fit a moment before, and who was taken did."""
    problems = []
    for append in history.appends:
        if append.revision is None:
            continue
        fitted = fits(append.draft.expected, append.revision)
        what = f"{append} expected {append.draft.expected} at revision {append.revision}"
        if fitted and append.error == "RevisionConflict":
            problems.append(f"{what} and was refused")
        elif not fitted and append.receipt is not None and not append.receipt.duplicate:
            problems.append(f"{what} and was taken")
    return problems
