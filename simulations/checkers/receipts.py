"""A final answer is what came to be (I14)."""

from __future__ import annotations

from ...node.fold import ACCEPTED, KEPT, OUTCOMES, SHADOWED
from ...node.receipt import Receipt
from ..history import History, Row


def receipts_are_true(history: History) -> list[str]:
    """Hold every settled receipt against the final order, and every other one against its place."""
    first: dict[tuple[bytes, int], Row] = {}
    for one in history.rows():
        if one.outcome != SHADOWED:
            first.setdefault((one.id, one.shard), one)
    by_stream = {(one.id, one.stream): one for one in first.values()}
    problems = []
    for append in history.appends:
        receipt = append.receipt
        row = by_stream.get((append.draft.commit_id, append.draft.stream))
        if receipt is None or row is None:
            continue
        if append.ack == "settled" and receipt.reached and not receipt.settled:
            problems.append(f"{append} was answered as settled, and was not")
        if receipt.settled and _said(receipt) != _true(row):
            problems.append(f"{append} was told {_said(receipt)}, and came to be {_true(row)}")
    return problems


def _said(receipt: Receipt) -> tuple[object, ...]:
    return (receipt.key, receipt.outcome, receipt.first_revision, receipt.last_revision)


def _true(row: Row) -> tuple[object, ...]:
    shown = row.outcome in (ACCEPTED, KEPT)
    first = row.first_revision if shown else None
    last = row.first_revision + row.events - 1 if shown else None
    return (row.key, OUTCOMES[row.outcome], first, last)
