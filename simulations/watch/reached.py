"""Which states a run has reached: at a start of a node, and as its history tells in the end."""

from __future__ import annotations

from collections.abc import Mapping

from ...node.fold import KEPT, REJECTED, SHADOWED
from ...node.node import Node
from ..history import Append, History, Known
from ..marks import Marks

_OUTCOMES = {
    SHADOWED: "a commit was shadowed",
    REJECTED: "a commit was rejected",
    KEPT: "a commit was kept in conflict",
}
_ERRORS = {"DiskFull": "the disk was full", "Unprocessable": "another body was refused"}
_FRAMES = {
    "duplicated": "frames came twice",
    "reordered": "frames overtook others",
    "garbled": "frames came garbled",
    "lost": "frames were lost",
}


def note_start(marks: Marks, node: Node, after: Known, *, lost_index: bool) -> None:
    """Count what a node that has started shows of its directory."""
    marks.reach("a torn tail was cut", node.log.torn is not None)
    marks.reach("a log was torn", len(after.torn))
    marks.reach("a node was unsure", after.unsure)
    if any(count for count, _ in after.marks):
        marks.reach("settled commits were read back")
        marks.reach("a lost index came back", lost_index)


def note_crash(marks: Marks, before: Known, after: Known, waiting: int) -> None:
    """Count what became of `waiting` commits that were on their way when a node died."""
    more = sum(after.frontier.values()) - sum(before.frontier.values())
    marks.reach("unsynced commits survived a crash", max(0, more))
    marks.reach("commits were lost in a crash", max(0, waiting - more))


def note_reached(history: History, frames: Mapping[str, int]) -> None:
    """Count what the history shows; doing it again counts it anew."""
    found: dict[str, int] = {}

    def reach(name: str, times: int = 1) -> None:
        if times:
            found[name] = found.get(name, 0) + times

    rejected = set()
    for row in history.rows():
        if row.outcome in _OUTCOMES:
            reach(_OUTCOMES[row.outcome])
        if row.outcome == REJECTED:
            rejected.add(row.key)
    takers: dict[bytes, str] = {}
    for append in history.appends:
        for name in _answers(append, takers):
            reach(name)
        receipt = append.receipt
        if receipt is not None and not receipt.settled and receipt.key in rejected:
            reach("a conditional append lost a race")
    for kind, name in _FRAMES.items():
        reach(name, frames.get(kind, 0))
    for name, times in found.items():
        history.marks.counts.pop(name, None)
        history.marks.reach(name, times)


def _answers(append: Append, takers: dict[bytes, str]) -> list[str]:
    """What one answer shows."""
    names = [_ERRORS[append.error]] if append.error in _ERRORS else []
    receipt = append.receipt
    if receipt is None:
        return names
    first = takers.setdefault(append.draft.commit_id, append.node)
    if receipt.duplicate:
        names.append("a retry was recognised")
        if first != append.node:
            names.append("a retry was recognised elsewhere")
    if not receipt.reached:
        names.append("a time-out was answered")
    return names
