"""When a promise of the store hung by a thread.

What only one site holds, which site can't write, and who waits for whom before anything is final.
"""

from __future__ import annotations

from ..gossip.frontier import LogKey
from ..node.status import held_back_by
from .plans.plan import Plan
from .timeline import Span, Timeline
from .watch.watched import WatchedWorld
from .world.clock import EPOCH_MS

KEPT = "acknowledged commits are kept"
WRITABLE = "every site takes appends"
FINAL = "what is written becomes final"

_ALONE_BEATS = 5  # a commit takes a moment to spread; that is no risk to speak of


class Risks:
    """What is at risk now, and since when."""

    def __init__(self, world: WatchedWorld, plan: Plan, pause: float) -> None:
        self._world = world
        self._plan = plan
        self._since: dict[tuple[str, str], tuple[float, str]] = {}
        beat = plan.tuning.heartbeat_seconds
        self._patience = max(1.0, 10 * beat)
        self._shortest = max(_ALONE_BEATS * beat, 2.5 * pause)

    def look(self, now: float, held: dict[str, dict[LogKey, int]], line: Timeline) -> None:
        """Compare with what was so before."""
        found = self._alone(held) | self._silent(held, line) | self._late(held, line)
        for risk in [one for one in self._since if one not in found]:
            self._end(risk, now, line)
        for risk in found:
            if risk not in self._since:
                self._since[risk] = now, self._label(risk, now)

    def close(self, now: float, line: Timeline) -> None:
        """The run is over."""
        for risk in list(self._since):
            self._end(risk, now, line)
        line.risks.sort(key=lambda span: (span.begins, span.kind, span.where))

    def _end(self, risk: tuple[str, str], now: float, line: Timeline) -> None:
        kind, where = risk
        since, label = self._since.pop(risk)
        if kind != KEPT or now - since >= self._shortest:
            line.risks.append(Span(kind, label, since, now, self._plan.among([where])))

    def _alone(self, held: dict[str, dict[LogKey, int]]) -> set[tuple[str, str]]:
        """Sites that hold commits which no other site holds."""
        if len(self._plan.sites) < 2:
            return set()
        by_site: dict[str, dict[LogKey, int]] = {}
        for name, frontier in held.items():
            most = by_site.setdefault(self._plan.site_of(name), {})
            for log, seq in frontier.items():
                most[log] = max(seq, most.get(log, 0))
        found = set()
        for site, most in by_site.items():
            others = [other for name, other in by_site.items() if name != site]
            if any(all(other.get(log, 0) < seq for other in others) for log, seq in most.items()):
                found.add((KEPT, site))
        return found

    def _silent(self, held: dict[str, dict[LogKey, int]], line: Timeline) -> set[tuple[str, str]]:
        """Sites where no node is up, of those that have come."""
        come = {self._plan.site_of(node) for node in self._world.names}
        return {
            (WRITABLE, site)
            for site, nodes in line.sites
            if site in come and not any(node in held for node in nodes)
        }

    def _late(self, held: dict[str, dict[LogKey, int]], line: Timeline) -> set[tuple[str, str]]:
        return {(FINAL, name) for name in held if line.nodes[name].lag[-1] > self._patience}

    def _label(self, risk: tuple[str, str], now: float) -> str:
        kind, where = risk
        if kind == KEPT:
            return f"only {where} holds some commits that it acknowledged"
        if kind == WRITABLE:
            return f"no node of {where} is up"
        # Its status would look at its disk and its clock, and it would go on with what it saw.
        wall = EPOCH_MS + int(now * 1000) + self._world.clocks[where].off_ms()
        node = self._world.nodes[where]
        holders = held_back_by(node, node.settler.final_until(move=False), wall)
        names = ", ".join(holder["name"] for holder in holders)
        return f"nothing becomes final at {where}" + (f": it waits for {names}" if names else "")
