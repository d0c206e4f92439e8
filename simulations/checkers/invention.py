"""What is settled was appended by somebody, as it is; what was refused is not there (I2, I25).

A commit may be refused after it was written: when another one with its id and another body comes
first in the final order. It is shadowed then; unless that other one loses its place there, since
its node was removed, and is appended again behind it.
"""

from __future__ import annotations

from ...node.fold import SHADOWED, OrderKey
from ..history import Append, History, Row

_REFUSED_LATER = "Unprocessable"


def nothing_invented(history: History) -> list[str]:
    """Every settled commit has the place, and the body, of an append that was not refused."""
    placed: dict[OrderKey, list[Append]] = {}
    for append in history.appends:
        if append.key is not None:
            placed.setdefault(append.key, []).append(append)
    moved = set(history.again.values())
    loose = {append.draft.commit_id for append in history.appends if append.key in moved}
    return [
        f"{problem}, and {node} has it"
        for node, shards in history.finals()
        for rows in shards.values()
        for row in rows
        if (
            problem := _wrong(
                row,
                placed.get(_first(history, row), []),
                history.entries.get(row.hash),
                shadowed=row.outcome == SHADOWED or row.id in loose,
            )
        )
    ]


def _first(history: History, row: Row) -> OrderKey:
    """The place that a commit had when it was appended for the first time."""
    key = row.key
    while key in history.again:
        key = history.again[key]
    return key


def _wrong(row: Row, appends: list[Append], entry: bytes | None, *, shadowed: bool) -> str | None:
    if not appends:
        return f"nobody sent {row}"
    same = [append for append in appends if append.draft.entry == entry]
    if not same:
        return f"nobody sent {row} with that body"
    if all(append.error not in (None, _REFUSED_LATER) for append in same):
        return f"{row} was refused"
    if not shadowed and all(append.error is not None for append in same):
        return f"{row} was refused for its id, is shown all the same"
    return None
