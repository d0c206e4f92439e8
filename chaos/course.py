"""Writes down the course of a run of real processes, for its report and for whoever looks on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from math import isnan, nan

from ..node.fold import KEPT, REJECTED
from ..simulations.history import Append, History
from ..simulations.plans.kinds import describe, sides
from ..simulations.plans.plan import Plan
from ..simulations.risks import FINAL, WRITABLE
from ..simulations.timeline import Moment, NodeSeries, Span, Timeline
from ..simulations.troubles import Course as FaultCourse
from ..storage.stamp import milliseconds
from .polls import Look

NOTES_MAX = 2000
SAMPLES_MAX = 2000
LATE_SECONDS = 1.5  # by which a watermark may be behind before that is worth a word
ANSWERS = frozenset({"RevisionConflict", "Unprocessable"})  # the node could, the append could not


class Course:
    """Fills the timeline of one run."""

    def __init__(self, plan: Plan, history: History) -> None:
        self._plan = plan
        self._history = history
        self._loop = asyncio.get_running_loop()
        self._phases: list[tuple[str, float]] = []
        self._at_risk: dict[tuple[str, str], tuple[float, str]] = {}
        self._seen = 0
        self._open: list[Append] = []
        self.accepted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.timeline = Timeline(
            plan.title or f"Chaos, seed {plan.seed}",
            plan.why,
            plan.seed,
            sites=[(site.name, list(plan.among([site.name]))) for site in plan.sites],
            nodes={name: NodeSeries() for name in plan.nodes},
        )

    def phase(self, name: str) -> None:
        """The next part of the run begins."""
        self._phases.append((name, self._loop.time()))

    def note(self, line: str) -> None:
        """Something that a person may want to know; it begins with a node's name if it has one."""
        if len(self.timeline.notes) < NOTES_MAX:
            name, _, what = line.partition(" ")
            known = name in self._plan.nodes
            at = self._loop.time()
            self.timeline.notes.append(Moment(at, name if known else "", what if known else line))

    def sample(self, looks: dict[str, Look]) -> None:
        """What every node is like now."""
        line, now = self.timeline, self._loop.time()
        line.times.append(now)
        self._count_answers()
        most: Counter[tuple[str, str]] = Counter()
        for look in looks.values():
            for origin, logs in look.frontier.items():
                for shard, seq in logs.items():
                    most[origin, shard] = max(seq, most[origin, shard])
        for name, look in looks.items():
            self._sample(line.nodes[name], name, look, most.total())
        self._look_for_risks(now, looks)
        if len(line.times) > SAMPLES_MAX:
            self._thin_out()

    def _thin_out(self) -> None:
        """Forget every other sample: a long run is looked at from further away."""
        line = self.timeline
        line.times = line.times[::2]
        for series in line.nodes.values():
            for one in fields(series):
                setattr(series, one.name, getattr(series, one.name)[::2])

    def _sample(self, series: NodeSeries, name: str, look: Look, most: int) -> None:
        told = look.up and bool(look.digest)
        series.up.append(look.up)
        series.accepted.append(self.accepted[name])
        series.refused.append(self.refused[name])
        for values, value in (
            (series.commits, look.commits),
            (series.settled, look.settled),
            (series.tentative, look.tentative),
        ):
            values.append(value if told or not values else values[-1])
        now = self._loop.time()
        series.lag.append(nan if not look.up or isnan(look.lag) else min(look.lag, now))
        series.missing.append(max(0, most - series.commits[-1]))

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
            elif append.lost is None:
                still.append(append)
        self._open = still

    def _look_for_risks(self, now: float, looks: dict[str, Look]) -> None:
        found: dict[tuple[str, str], str] = {}
        for site, nodes in self.timeline.sites:
            if not any(looks[name].up for name in nodes):
                found[WRITABLE, site] = f"no node of {site} is up"
        for name, look in looks.items():
            if look.up and look.tentative and look.lag > LATE_SECONDS:
                waits = ", ".join(look.held_back_by)
                text = f"nothing becomes final at {name}"
                found[FINAL, name] = text + (f": it waits for {waits}" if waits else "")
        for risk in [one for one in self._at_risk if one not in found]:
            self._end(risk, now)
        for risk, label in found.items():
            self._at_risk.setdefault(risk, (now, label))

    def _end(self, risk: tuple[str, str], now: float) -> None:
        kind, where = risk
        since, label = self._at_risk.pop(risk)
        self.timeline.risks.append(Span(kind, label, since, now, self._plan.among([where])))

    def whole(self) -> None:
        """All are equal now, and nothing is tentative."""
        self.timeline.whole_at = self._loop.time()

    def finish(self, courses: Iterable[FaultCourse], born_ms: int, names: dict[int, str]) -> None:
        """Close what is open. `names`: who stamped under which origin."""
        line, now = self.timeline, self._loop.time()
        line.length = now
        ends = [*(began for _, began in self._phases[1:]), now]
        line.phases = [
            Span(name, name, began, end)
            for (name, began), end in zip(self._phases, ends, strict=True)
        ]
        for course in courses:
            where, towards = sides(self._plan, course.fault)
            end = now if course.ended is None else course.ended
            line.faults.append(
                Span(course.fault.kind, describe(course.fault), course.began, end, where, towards)
            )
            line.over_at = max(line.over_at, end)
        for risk in list(self._at_risk):
            self._end(risk, now)
        line.risks.sort(key=lambda span: (span.begins, span.kind, span.where))
        for row in self._history.rows():
            if row.outcome in (REJECTED, KEPT):
                what = "rejected" if row.outcome == REJECTED else "kept beside another"
                at = min(max(0.0, (milliseconds(row.key[0]) - born_ms) / 1000), now)
                label = f"an append to {row.stream} is {what}"
                line.conflicts.append(Moment(at, names.get(row.key[2], ""), label))
