"""What began after a final answer comes after it in the order (I14, real time).

`ack=settled` means that every member had promised the stamp. So whatever is appended later,
wherever, has a larger one: final answers are linearizable.
"""

from __future__ import annotations

from ...node.fold import SHADOWED
from ..history import History


def real_time_respected(history: History) -> list[str]:
    """Walk the order and keep the latest beginning seen so far."""
    began: dict[tuple[bytes, str], float] = {}
    final: dict[tuple[bytes, str], float] = {}
    for append in history.appends:
        which = (append.draft.commit_id, append.draft.stream)
        began[which] = min(append.began, began.get(which, append.began))
        if append.receipt is not None and append.receipt.settled and append.ended is not None:
            final[which] = min(append.ended, final.get(which, append.ended))
    problems = []
    latest, latest_row = float("-inf"), None
    for row in history.rows():
        if row.outcome == SHADOWED:  # the first of its id is the one that was answered
            continue
        which = (row.id, row.stream)
        if final.get(which, float("inf")) < latest:
            problems.append(
                f"{row} was final at {final[which]:.4f} s, and {latest_row}, begun at "
                f"{latest:.4f} s, comes before it"
            )
        if began.get(which, latest) > latest:
            latest, latest_row = began[which], row
    return problems
