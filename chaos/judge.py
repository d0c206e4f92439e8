"""What is wrong with the history of a run, by the checkers of the simulator.

A client that got no answer does not know what came of its append; in the end the order tells.
"""

from __future__ import annotations

from collections import Counter

from ..node.fold import SHADOWED
from ..simulations.history import Append, History, Row
from ..storage.commit import Draft

Same = tuple[bytes, str, bytes]  # a commit's id, stream and entry


def resolve(history: History) -> Counter[str]:
    """Give every settled commit to the append that made it; how many there are of each case.

    A commit stands where its receipt said. Else its client had no answer, or was told of another
    commit with the same id that came first, or a node appended it again, without the place that it
    had before. Each append makes one commit, but for copies: of a commit that has lost its place,
    everybody who holds it may make one, and all but the first of them are shadowed.
    """
    counts: Counter[str] = Counter({"nobody sent": 0})
    attempts: dict[Same, list[Append]] = {}
    for append in history.appends:
        if append.error in (None, "Unprocessable"):
            attempts.setdefault(_same(append.draft), []).append(append)
    rows: dict[Same, list[Row]] = {}
    for row in history.rows():
        rows.setdefault(_same_of(history, row), []).append(row)
    for same, found in rows.items():
        _give(history, found, attempts.get(same, []), counts)
    counts["never written"] = sum(
        append.lost is not None and append.key is None for append in history.appends
    )
    return counts


def _give(history: History, rows: list[Row], attempts: list[Append], counts: Counter[str]) -> None:
    """Give the commits of one append to those who sent it, those without an answer first."""
    exact = {append.key: append for append in reversed(attempts) if append.key is not None}
    given = {row.key: exact[row.key] for row in rows if row.key in exact}
    taken = {id(append) for append in given.values()}
    left = sorted(
        (one for one in attempts if id(one) not in taken), key=lambda one: one.key is not None
    )
    for row in (one for one in rows if one.key not in given):
        if left:
            append = left.pop(0)
            counts["found in the end" if append.key is None else "appended again"] += 1
            append.key = row.key
        elif attempts and row.outcome == SHADOWED:
            counts["copies"] += 1
            history.again[row.key] = rows[0].key
        else:
            counts["nobody sent"] += 1


def _same(draft: Draft) -> Same:
    return draft.commit_id, draft.stream, draft.entry


def _same_of(history: History, row: Row) -> Same:
    return row.id, row.stream, history.entries.get(row.hash, b"")
