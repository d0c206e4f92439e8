"""One run of one plan: warm up, trouble, what stays broken, heal, quiet, restart; and every check.

Everything in here follows from the plan, so the same plan leaves the same trace, byte for byte.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random as Generator

from ..storage.commit import Draft, keyed_commit_id
from ..storage.errors import AnabranchError
from .checkers import violations
from .crowd import Crowd
from .faults import SimTroubles
from .history import History
from .plans.bounds import bounded
from .plans.calm import calm_of
from .plans.clients import payload, payload_is_true
from .plans.plan import Plan, Road
from .recorder import Recorder
from .timeline import Timeline
from .watch.watched import WatchedWorld
from .world.loop import run
from .world.weather import Route
from .wounds import COMPARED_SECONDS

HEALED_WITHIN_SECONDS = 600.0  # all faults are over, or they wait for each other
PROBE_SECONDS = 1.0  # a node that can take an append answers within this


@dataclass
class Outcome:
    """What came of a plan."""

    plan: Plan
    history: History
    trace: str  # a hash over all that was sent and answered
    violations: list[str]
    seconds: float  # of virtual time
    faults: Counter[str] = field(default_factory=Counter)  # that were injected, by kind
    marks: Counter[str] = field(default_factory=Counter)
    timeline: Timeline | None = None


def run_plan(
    plan: Plan, *, timeline: bool = False, watch: Callable[[str], None] | None = None
) -> Outcome:
    """Run a plan to its end and check all that happened."""

    async def main() -> Outcome:
        return await _Run(plan, timeline=timeline, watch=watch).run()

    with bounded(plan.bounds):
        return run(main())


class _Run:
    def __init__(self, plan: Plan, *, timeline: bool, watch: Callable[[str], None] | None) -> None:
        self._plan = plan
        self._watch = watch
        self._luck = Generator(f"run {plan.seed}")
        self._world = WatchedWorld(
            plan.seed,
            [(site.name, site.nodes) for site in plan.sites],
            shards=plan.shards,
            tuning=plan.tuning,
            late=plan.late,
        )
        self._world.history.is_true = lambda data: payload_is_true(plan.seed, data)
        self._world.history.calm = calm_of(plan)
        self._lay_roads()
        for disk in self._world.disks.values():
            disk.sync_seconds = plan.sync
        self._troubles = SimTroubles(self._world, plan, tell=self._tell, note=self._note)
        self._crowd = Crowd(self._world, plan)
        self._recorder = Recorder(self._world, plan, self._troubles) if timeline else None
        self._world.on_change = self._note

    def _note(self, line: str) -> None:
        """Something that belongs into the report too."""
        if self._recorder is not None:
            self._recorder.note(line)
        self._tell(line)

    def _tell(self, line: str) -> None:
        if self._watch is not None:
            self._watch(f"{self._now:10.3f} s  {line}")

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - self._now))

    def _phase(self, name: str) -> None:
        if self._recorder is not None:
            self._recorder.phase(name)
        self._tell(f"-- {name}")

    async def run(self) -> Outcome:
        """All phases, then all checks."""
        plan, history = self._plan, self._world.history
        tasks = await self._trouble()
        self._phase("heal")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(HEALED_WITHIN_SECONDS):
            await self._troubles.heal()
        history.damages += self._troubles.damages
        # What takes too long is sent again.
        history.transfers.excused = self._troubles.injected["drip"] > 0
        self._world.note_heal()
        if history.lost_disks or history.rolled_back or history.copied:
            await self._world.replace_the_lost()
        await self._quiesce("quiesce")
        self._world.finish()
        found = violations(history)  # a restart may mend what was wrong
        await self._restart_everything()
        await self._quiesce("restarted")
        await self._world.calm_down()
        self._world.finish()
        self._phase("end")
        seconds = self._now
        if self._recorder is not None:
            self._recorder.finish(f"anabranch simulate --seeds {plan.seed}")
        await self._world.stop()
        trace, course = self._world.trace.hex, None
        if self._recorder is not None:
            course = self._recorder.timeline
            course.trace = trace
        found = [*dict.fromkeys(found + violations(history))]
        outcome = Outcome(plan, history, trace, found, seconds, timeline=course)
        outcome.faults += self._troubles.injected
        outcome.marks += history.marks.counts
        return outcome

    async def _trouble(self) -> list[asyncio.Task[None]]:
        """From the start to the heal."""
        plan, loop = self._plan, asyncio.get_running_loop()
        self._phase("warm up")
        tasks = [loop.create_task(self._troubles.run()), loop.create_task(self._crowd.run())]
        if self._recorder is not None:
            self._world.look_on(self._recorder.look)
        await self._start()
        await self._until(plan.warm_up)
        self._phase("trouble")
        await self._until(plan.warm_up + plan.trouble)
        self._phase("frozen")
        self._world.note_amid()
        await self._probe()
        await self._until(plan.healed_at)
        self._world.note_amid()
        for task in tasks:
            if task.done() and task.exception() is not None:
                await task
        return tasks

    async def _start(self) -> None:
        if not self._plan.start_apart:
            for name in self._world.names:
                await self._start_one(name)
            return
        names = self._luck.sample(self._world.names, len(self._world.names))
        for name in names:
            await self._start_one(name)
            await asyncio.sleep(self._luck.uniform(0, self._plan.warm_up / len(names)))

    async def _probe(self) -> None:
        """Every node that can take an append has to, whatever else is broken."""
        for number, name in enumerate(self._plan.nodes):
            if self._world.is_up(name):
                body = payload(self._plan.seed, "probe", number, 0, 0)
                commit_id = keyed_commit_id("probe", name)
                draft = Draft("probe", ["t"], [body], commit_id=commit_id)
                await self._world.probe(name, draft, PROBE_SECONDS)

    async def _quiesce(self, phase: str) -> None:
        """Wait until all is whole, or as long as the plan says."""
        began, history = self._now, self._world.history
        within = max(self._plan.patience, history.whole_within or 0)
        self._phase(phase)
        await self._crowd.answered()
        try:
            await self._world.until_settled(within)
            history.whole_after.append(self._now - began)
            await self._scrub(within)
            history.unlinked += await self._world.until_linked(began + within - self._now)
            if self._recorder is not None:
                self._recorder.whole()
        except TimeoutError as error:
            history.unsettled = str(error)

    async def _scrub(self, within: float) -> None:
        """Let all find what is damaged and was not noticed, and heal it; comparisons come first."""
        compare = self._plan.tuning.compare_seconds
        if compare <= COMPARED_SECONDS:
            await asyncio.sleep(9 * compare + 2)  # each with each, behind what settled last
            self._world.history.healing.untrue += [
                f"{name} was not told by comparisons that its index names a wrong hash"
                for name in self._troubles.wrong_indexes()
            ]
        await self._world.scrub_all()
        began = self._now
        await self._world.until_settled(within)
        self._world.history.whole_after.append(self._now - began)

    async def _restart_everything(self) -> None:
        """End every node, one way or another, and start all again; some without an index."""
        self._phase("restart")
        for name in self._world.names:
            if self._luck.random() < 0.5:
                await self._world.stop_one(name)
            else:
                await self._world.crash(name)
        for name in self._world.names:
            if self._luck.random() < 0.3:
                self._world.lose_index(name)
            await self._start_one(name)

    async def _start_one(self, name: str) -> None:
        """Start a node, if it can start; who is missing in the end is found by a checker."""
        try:
            await self._world.start(name)
        except AnabranchError as error:
            self._note(f"{name} does not start: {error}")

    def _lay_roads(self) -> None:
        """Give every way between two nodes what the plan says of their sites."""
        plan = self._plan
        roads = {frozenset(road.between): road for road in plan.roads}
        near = Road(("", ""), latency=0.0005)
        for here in plan.nodes:
            for there in plan.nodes:
                sites = frozenset({plan.site_of(here), plan.site_of(there)})
                road = roads.get(sites, near if len(sites) == 1 else Road(("", "")))
                route = Route(
                    latency_seconds=road.latency,
                    jitter=road.jitter,
                    tail=road.tail,
                    bandwidth=road.bandwidth,
                    loss=road.loss,
                )
                self._world.network.set_route(here, there, route)
