"""Writes down the course of a run of real processes, for its report and for whoever looks on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, replace
from math import isnan, nan

from ..simulations.history import History
from ..simulations.plans.plan import Plan
from ..simulations.record import Record
from ..simulations.risks import FINAL, WRITABLE
from ..simulations.timeline import NodeSeries, Span
from ..simulations.troubles import Course as FaultCourse
from .polls import Look

SAMPLES_MAX = 2000
LATE_SECONDS = 1.5  # by which a watermark may be behind before that is worth a word


class Course(Record):
    """Fills the timeline from what nodes say of themselves."""

    def __init__(self, plan: Plan, history: History) -> None:
        super().__init__(plan, history, f"Chaos, seed {plan.seed}")
        self._at_risk: dict[tuple[str, str], tuple[float, str]] = {}

    def sample(self, looks: dict[str, Look]) -> None:
        """What every node is like now."""
        line, now = self.timeline, self._now
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
        now = self._now
        series.lag.append(nan if not look.up or isnan(look.lag) else min(look.lag, now))
        series.missing.append(max(0, most - series.commits[-1]))

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
        self.timeline.whole_at = self._now

    def finish(self, courses: Iterable[FaultCourse], born_ms: int, names: dict[int, str]) -> None:
        """Close what is open. `names`: who stamped under which origin."""
        line, now = self.timeline, self._now
        self._close(courses)
        line.over_at = max((span.ends for span in line.faults), default=0.0)
        for risk in list(self._at_risk):
            self._end(risk, now)
        line.risks.sort(key=lambda span: (span.begins, span.kind, span.where))
        self._note_conflicts(born_ms, names)
        line.conflicts = [  # by a clock that may have been wrong
            replace(one, at=min(max(0.0, one.at), now)) for one in line.conflicts
        ]
