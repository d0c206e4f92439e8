"""What is wrong with the history of a run, by the checkers of the simulator.

A client that got no answer does not know what came of its append; in the end the order tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..node.fold import OrderKey
from ..simulations.history import Append, History, Row
from ..storage.commit import Draft

Same = tuple[bytes, str, bytes]  # a commit's id, stream and entry


def resolve(history: History) -> Counter[str]:
    """Give every settled commit to the append that made it; how many there are of each case.

    A commit stands where its receipt said. Else its client had no answer, or was told of another
    commit with the same id that came first, or a node appended it again, without the place that it
    had before. Each append makes one commit at most.
    """
    counts: Counter[str] = Counter()
    places: set[OrderKey] = {append.key for append in history.appends if append.key is not None}
    rows = [row for row in history.rows() if row.key not in places]
    settled = {row.key for row in history.rows()}
    open_ones: dict[Same, list[Append]] = {}
    for append in _without_their_own(history.appends, settled):
        open_ones.setdefault(_same(append.draft), []).append(append)
    for row in rows:
        waiting = open_ones.get(_same_of(history, row))
        if not waiting:
            counts["nobody sent"] += 1
            continue
        append = waiting.pop(0)
        if append.key is None or append.key in settled:
            counts["found in the end" if append.key is None else "a repetition"] += 1
            append.key = row.key
        else:
            history.again[row.key] = append.key
            counts["appended again"] += 1
    counts["never written"] = sum(
        append.lost is not None and append.key is None for append in history.appends
    )
    return counts


def _without_their_own(appends: Iterable[Append], settled: set[OrderKey]) -> list[Append]:
    """Appends that may have made a commit of which no receipt told: those without an answer first.

    Then those that were told of another commit with their id, then those whose place is no more.
    """
    found: tuple[list[Append], list[Append], list[Append]] = ([], [], [])
    told: set[OrderKey] = set()
    for one in appends:
        if one.key is None:
            if one.error in (None, "Unprocessable"):
                found[0].append(one)
        elif one.key not in settled:
            found[2].append(one)
        elif one.key in told or (one.receipt is not None and one.receipt.duplicate):
            found[1].append(one)
        else:
            told.add(one.key)
    return [one for of in found for one in of]


def _same(draft: Draft) -> Same:
    return draft.commit_id, draft.stream, draft.entry


def _same_of(history: History, row: Row) -> Same:
    return row.id, row.stream, history.entries.get(row.hash, b"")
