"""What the course of a run is written down in, be its nodes simulated or real processes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

from ..node.fold import KEPT, REJECTED
from ..storage.stamp import milliseconds
from .history import Append, History
from .plans.kinds import describe, sides
from .plans.plan import Plan
from .timeline import Moment, NodeSeries, Span, Timeline
from .troubles import Course

_NOTES_MAX = 2000
_GIVEN_UP_SECONDS = 3600  # an append that has no answer by then gets none
ANSWERS = frozenset({"RevisionConflict", "Unprocessable"})  # the node could, the append could not


class Record:
    """Fills the timeline of one run; who looks at nodes is a subclass."""

    def __init__(self, plan: Plan, history: History, title: str) -> None:
        self._plan = plan
        self._history = history
        self._phases: list[tuple[str, float]] = []
        self._seen = 0  # appends
        self._open: list[Append] = []
        self.accepted: Counter[str] = Counter()  # appends that each node has answered
        self.refused: Counter[str] = Counter()
        self.timeline = Timeline(
            plan.title or title,
            plan.why,
            plan.seed,
            sites=[(site.name, list(plan.among([site.name]))) for site in plan.sites],
            nodes={name: NodeSeries() for name in plan.nodes},
        )

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def note(self, line: str) -> None:
        """Something that a person may want to know; it begins with a node's name if it has one."""
        name, _, what = line.partition(" ")
        name = name.rstrip(":")
        if len(self.timeline.notes) < _NOTES_MAX:
            known = name in self._plan.nodes
            self.timeline.notes.append(
                Moment(self._now, name if known else "", what if known else line)
            )

    def phase(self, name: str) -> None:
        """The next part of the run begins."""
        self._phases.append((name, self._now))

    def _count_answers(self) -> None:
        appends = self._history.appends
        self._open += appends[self._seen :]
        self._seen = len(appends)
        still = []
        for append in self._open:
            if append.receipt is not None:
                self.accepted[append.node] += 1
            elif append.error is not None:
                self.refused[append.node] += append.error not in ANSWERS
            elif append.lost is None and self._now - append.began < _GIVEN_UP_SECONDS:
                still.append(append)
        self._open = still

    def _close(self, courses: Iterable[Course]) -> None:
        """Write down how long phases and faults took."""
        line, now = self.timeline, self._now
        line.length = now
        ends = [*(began for _, began in self._phases[1:]), now]
        line.phases = [
            Span(name, name, began, end)
            for (name, began), end in zip(self._phases, ends, strict=True)
            if name != "end"
        ]
        for course in courses:
            where, towards = sides(self._plan, course.fault)
            end = now if course.ended is None else course.ended
            line.faults.append(
                Span(course.fault.kind, describe(course.fault), course.began, end, where, towards)
            )

    def _note_conflicts(self, born_ms: int, names: Mapping[int, str]) -> None:
        """Write down which appends came second. `names`: who stamped under which origin."""
        for row in self._history.rows():
            if row.outcome in (REJECTED, KEPT):
                what = "rejected" if row.outcome == REJECTED else "kept beside another"
                at = (milliseconds(row.key[0]) - born_ms) / 1000
                label = f"an append to {row.stream} is {what}"
                self.timeline.conflicts.append(Moment(at, names.get(row.key[2], ""), label))
