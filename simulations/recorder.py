"""Writes down the course of a run for its report: what each node was like, again and again.

Nothing in the run is different because of it: it looks between the moments at which something
happens, and what it asks of a node moves nothing there.
"""

from __future__ import annotations

from math import inf, isnan, nan

from ..gossip.frontier import LogKey
from ..storage.stamp import milliseconds
from .plans.plan import Plan
from .record import ANSWERS, Record
from .risks import Risks
from .timeline import NodeSeries
from .troubles import Troubles
from .watch.watched import WatchedWorld
from .world.clock import EPOCH_MS

_SAMPLES = 1200
_SHORTEST_SECONDS = 0.02

Held = dict[str, dict[LogKey, int]]  # frontiers of the nodes that are up


class Recorder(Record):
    """Looks at the nodes of one simulated run."""

    def __init__(self, world: WatchedWorld, plan: Plan, troubles: Troubles) -> None:
        super().__init__(plan, world.history, f"Seed {plan.seed}")
        self._world = world
        self._troubles = troubles
        self._pause = max(_SHORTEST_SECONDS, plan.healed_at / _SAMPLES)
        self._risks = Risks(world, plan, self._pause)
        self._restarting = False
        self._over = False
        self.timeline.healed_at = self.timeline.over_at = plan.healed_at

    def look(self) -> float:
        """Look at everything; when to look again."""
        if self._over:
            return inf
        self._sample()
        since = self._now - self._troubles.last_ended
        close = max(_SHORTEST_SECONDS, since / 50)  # the more so the sooner after a fault's end
        return self._now + min(self._pause, close)

    def phase(self, name: str) -> None:
        """The next part of the run begins."""
        super().phase(name)
        if name == "restart":  # every node is down on purpose; that is no news
            self._risks.close(self._now, self.timeline)
            self._restarting = True

    def whole(self) -> None:
        """All have the same now, and nothing is tentative."""
        if self.timeline.whole_at is None:
            self.timeline.whole_at = self._now

    # -- samples ---------------------------------------------------------------------------------

    def _sample(self) -> None:
        line, now = self.timeline, self._now
        line.times.append(now)
        held: Held = {
            name: dict(node.store.frontier.items())
            for name, node in self._world.nodes.items()
            if name in line.nodes  # a copy that runs beside its original is no node of the plan
        }
        most: dict[LogKey, int] = {}
        for frontier in held.values():
            for log, seq in frontier.items():
                most[log] = max(seq, most.get(log, 0))
        self._count_answers()
        for name, series in line.nodes.items():
            self._sample_node(name, series, held.get(name), sum(most.values()))
        starting = now < self._plan.warm_up and len(held) < len(line.nodes)
        if not (starting or self._restarting):
            self._risks.look(now, held, line)

    def _sample_node(
        self, name: str, series: NodeSeries, frontier: dict[LogKey, int] | None, most: int
    ) -> None:
        series.up.append(frontier is not None)
        series.accepted.append(self.accepted[name])
        series.refused.append(self.refused[name])
        if frontier is None:
            for values in (series.commits, series.settled, series.tentative):
                values.append(values[-1] if values else 0)
            series.lag.append(nan)
        else:
            history, held = self._world.nodes[name].history, sum(frontier.values())
            series.commits.append(held)
            series.tentative.append(history.tentative_commits)
            series.settled.append(held - history.tentative_commits)
            series.lag.append(self._lag(name))
        series.missing.append(max(0, most - series.commits[-1]))

    def _lag(self, name: str) -> float:
        """Seconds by which a node's watermark is behind."""
        final = self._world.nodes[name].settler.final_until(move=False)
        behind = self._now - (milliseconds(final) - EPOCH_MS) / 1000
        return min(max(0.0, behind), self._now)

    # -- the end ---------------------------------------------------------------------------------

    def finish(self, replay: str) -> None:
        """Close what is open, and sum up."""
        self._over = True
        line, now = self.timeline, self._now
        self._close(self._troubles.courses)
        self._risks.close(now, line)
        self._find_whole()
        names = {node.store.origin: name for name, node in sorted(self._world.nodes.items())}
        self._note_conflicts(EPOCH_MS, names)
        self._sum_up(replay)

    def _find_whole(self) -> None:
        """Where all faults ended early: when all that was written before that was final again."""
        line = self.timeline
        if any(span.kind == "bit-rot" for span in line.faults):
            return  # the damage stays until the heal
        ends = [span.ends for span in line.faults]
        if not ends or max(ends) >= line.healed_at:
            return
        line.over_at = max(ends)
        for number, at in enumerate(line.times):
            lags = [series.lag[number] for series in line.nodes.values()]
            if at >= line.over_at and all(at - lag >= line.over_at for lag in lags):
                line.whole_at = at
                return

    def _sum_up(self, replay: str) -> None:
        line, history = self.timeline, self._world.history
        lags = [lag for series in line.nodes.values() for lag in series.lag if not isnan(lag)]
        answered = sum(append.receipt is not None for append in history.appends)
        line.totals = {
            "nodes": len(line.nodes),
            "simulated seconds": round(line.length, 3),
            "appends accepted": answered,
            "appends turned down": sum(append.error in ANSWERS for append in history.appends),
            "appends refused": sum(
                append.error is not None and append.error not in ANSWERS
                for append in history.appends
            ),
            "commits settled": len(history.rows()),
            "conflicts": len(line.conflicts),
            "longest lag, seconds": round(max(lags, default=0.0), 3),
            "faults": sum(self._troubles.injected.values()),
            "replay": replay,
        }
