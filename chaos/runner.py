"""One run of chaos: start, rounds of trouble and healing, restart everything, judge it all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..simulations.checkers import Judges, violations
from ..simulations.crowd import Crowd
from ..simulations.history import History, Left, Row
from ..simulations.plans.clients import payload
from ..simulations.plans.kinds import KINDS
from ..simulations.plans.plan import Plan, Road
from ..simulations.timeline import Timeline
from ..simulations.troubles import Course as FaultCourse
from ..simulations.world.weather import Route
from ..storage.commit import Draft, keyed_commit_id
from ..storage.errors import AnabranchError, DirectoryInUse, Unavailable
from ..storage.limits import DISK_RESERVE_BYTES
from .asking import Asker, is_true
from .cluster import NODE, Cluster
from .course import Course
from .faults.real import RealTroubles
from .judge import resolve
from .links.kernel import check_kinds
from .polls import POLL_SECONDS, Look, Polls, parted
from .readers import Readers
from .reading import Directory, Looked
from .tally import BYTES_PER_SECOND, WHOLE_SECONDS, Tally, growth

ROOM_BYTES = 192 * 1024 * 1024  # of a disk that can be full
FORM_SECONDS = 40.0  # for all nodes to start and meet
SCRUB_SECONDS_MAX = 4.0  # in which a node reads all of its disk
COMMIT_BYTES = 500  # on the way to a node that lacks it; few of what clients send are more
HARM_SECONDS = 1.0  # after damage, in which an answer may come for what it has hit
PROBE_SECONDS = 1.0  # a node that can take an append answers within this
CLOCKS = frozenset({"clock", "drift", "strobe", "reboot"})  # kinds that need a clock to set wrong
ROOMS = frozenset({"disk-full", "no-room"})

Rounds = Callable[[int, float], Plan | None]  # by number and beginning; None: that was the last


@dataclass
class Outcome:
    """What came of a run."""

    plan: Plan
    history: History
    violations: list[str]
    tally: Tally
    timeline: Timeline


@dataclass
class State:
    """What somebody who looks on may want to know now."""

    phase: str
    seconds: float
    round: int
    looks: dict[str, Look]
    on: list[str]  # faults that are on, in words
    tally: Tally
    waits: str = ""  # what still keeps nodes from being whole


class Run:
    """One cluster, from its first start to its last end."""

    def __init__(
        self,
        base: Plan,
        rounds: Rounds,
        directory: Path,
        *,
        kinds: Sequence[str],
        kernel: bool = False,
        command: Sequence[str] = NODE,
    ) -> None:
        if kernel:
            check_kinds(kinds)
        # Damage has to be found within the run, whatever is usual.
        scrub = min(base.tuning.scrub_seconds, SCRUB_SECONDS_MAX)
        base = replace(base, tuning=replace(base.tuning, scrub_seconds=scrub))
        self._base = base
        self._rounds = rounds
        self._kinds = frozenset(kinds)
        self.on_line: Callable[[str], None] = lambda _: None  # told of all that happens
        self._loop = asyncio.get_running_loop()
        self._born_ms = time.time_ns() // 1_000_000 - round(1000 * self._loop.time())
        self.history = History(members=base.nodes)
        self.history.is_true = lambda data: is_true(base.seed, data)
        self._judges = Judges(self.history)
        self.cluster = Cluster(base, directory, command=command, kernel=kernel)
        self.course = Course(base, self.history)
        self.tally = Tally()
        self._looked = Looked()
        self._courses: list[FaultCourse] = []
        self._troubles: RealTroubles | None = None
        self._phase = "start"
        self._waits = ""
        self._origins: dict[int, str] = {}
        self._looks: dict[str, Look] = {}  # the last ones
        self._asker: Asker
        self._readers: Readers
        self._polls: Polls

    # -- for whoever looks on --------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """All nodes."""
        return self.cluster.names

    def is_up(self, name: str) -> bool:
        """Whether a node can be asked."""
        return self.cluster.is_up(name)

    def append(self, name: str, draft: Draft, ack: str, timeout: float) -> asyncio.Task[None]:
        """Append at a node; what comes of it goes into the history."""
        return self._asker.append(name, draft, ack, timeout)

    def look(self, name: str) -> None:
        """Read at a node."""
        self._readers.look(name)

    def revision(self, name: str, stream: str) -> int:
        """The revision of a stream that a client would read at a node."""
        return self._asker.revision(name, stream)

    def state(self) -> State:
        """How it goes."""
        self.tally.acknowledged = self.course.accepted.total()
        on = [] if self._troubles is None else self._troubles.now
        return State(
            self._phase,
            self._loop.time(),
            self.tally.rounds,
            self._looks,
            on,
            self.tally,
            self._waits,
        )

    def _tell(self, line: str) -> None:
        self.on_line(f"{self._loop.time():9.3f} s  {line}")

    def _note(self, line: str) -> None:
        self.course.note(line.partition("\n")[0])
        self._tell(line)

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self.course.phase(phase)
        self._tell(f"-- {phase}")

    # -- the run ---------------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """All rounds, then all checks. Ends every process, whatever happens."""
        nodes = self._base.nodes
        try:
            await self.cluster.open(
                faked=nodes if self._kinds & CLOCKS else (),
                small=dict.fromkeys(nodes, ROOM_BYTES) if self._kinds & ROOMS else {},
            )
            self.cluster.on_change = self._note
            self._lay_roads()
            excused = self.cluster.excused
            self._asker = Asker(self.cluster.urls, self.history, excused)
            self._readers = Readers(self._asker, self.history, excused, self._base.seed)
            self._polls = Polls(self.cluster, self._asker, self._judges)
            try:
                await self._watched(self._live())
            finally:
                await self._asker.close()
            return self._judge()
        finally:
            await self.cluster.close()

    async def _watched(self, life: Coroutine[Any, Any, None]) -> None:
        """Look at everything while the run goes on; an error in either ends both."""
        watching, living = self._loop.create_task(self._watch()), self._loop.create_task(life)
        try:
            await asyncio.wait({watching, living}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await watching
            await living
        finally:
            for task in (watching, living):
                task.cancel()
            await asyncio.gather(watching, living, return_exceptions=True)

    async def _live(self) -> None:
        self._enter("start")
        await asyncio.gather(*(self.cluster.start(name) for name in self.names))
        whole = await self._until_whole(FORM_SECONDS, "the cluster does not form")
        self.tally.whole_after.clear()
        self.tally.whole_within.clear()
        for number, plan in self._plans() if whole else ():
            self.tally.rounds = number + 1
            if not await self._round(plan):
                break
        self._enter("restart")
        await self._restart()
        await self._until_whole(self._base.patience, "after the last restart")
        await self._polls.read()
        self._note_end()
        self._enter("end")
        self._troubles = None
        for name in self.names:
            await self.cluster.stop(name)

    def _plans(self) -> Iterator[tuple[int, Plan]]:
        number = 0
        while (plan := self._rounds(number, self._loop.time())) is not None:
            yield number, plan
            number += 1

    async def _round(self, plan: Plan) -> bool:
        """Trouble, what stays broken, heal; whether all is whole again."""
        self._enter("trouble")
        began, harmed = self._loop.time(), len(self.history.damages)
        troubles = self._troubles = RealTroubles(
            self.cluster, self._asker, self.history, plan, tell=self._tell, note=self._note
        )
        troubles.after_death, troubles.after_harm = self._look_into, self._note_harm
        crowd = Crowd(self, plan)
        tasks = [self._loop.create_task(troubles.run()), self._loop.create_task(crowd.run())]
        await self._until(plan.warm_up + plan.trouble)
        self._enter("frozen")
        await self._probe(plan)
        await self._until(plan.healed_at)
        for task in tasks:
            if task.done() and task.exception() is not None:
                await task
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._enter("heal")
        await crowd.answered()
        before = self._polls.now
        await troubles.heal()
        self.course.timeline.healed_at = self._loop.time()
        self._enter("quiesce")
        whole = await self._until_whole(plan.patience, "", self._allowed(plan, began, before))
        if whole:
            whole = await self._scrubbed(plan, {name for name, _ in self.history.damages[harmed:]})
        await self._polls.read()
        await self._read_within()
        self._courses += troubles.courses
        self.tally.faults += troubles.injected
        self.tally.kills += troubles.kills
        troubles.kills = 0
        for name, look in self._polls.now.items():
            if look.size is not None:
                self.tally.sizes.setdefault(name, []).append(look.size)
                self.tally.tasks.setdefault(name, []).append(look.tasks)
        return whole

    async def _scrubbed(self, plan: Plan, harmed: set[str]) -> bool:
        """Wait until nodes have read all that is on their disks, and healed what they found."""
        if not harmed:
            return True
        self._enter("scrub")
        wanted = {name: self._polls.now[name].scrubs + 2 for name in harmed}
        deadline = self._loop.time() + 4 * SCRUB_SECONDS_MAX + plan.patience
        while any(self._polls.now[name].scrubs < passes for name, passes in wanted.items()):
            if self._loop.time() > deadline:
                self.history.alarms.append(f"{', '.join(harmed)} did not read their disks in time")
                return False
            await self._polls.look()
            await asyncio.sleep(POLL_SECONDS)
        return await self._until_whole(plan.patience, "after the scrub")

    def _allowed(self, plan: Plan, began: float, before: dict[str, Look]) -> float:
        """Seconds in which all has to be whole after the heal of a round that began then."""
        held = [look.commits for look in before.values() if look.digest]
        emptied = any(at > began for at in self.history.lost_disks.values())
        least = 0 if emptied else min(held, default=0)
        missing = COMMIT_BYTES * (max(held, default=0) - least)
        ahead = [f.amount or 0.0 for f in plan.faults if f.kind in {"clock", "reboot"}]
        return WHOLE_SECONDS + missing / BYTES_PER_SECOND + max([0.0, *ahead])

    async def _until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - self._loop.time()))

    async def _watch(self) -> None:
        """Look at everything, again and again."""
        while True:
            began = self._loop.time()
            looks = self._looks = await self._polls.look()
            self.course.sample(looks)
            self._origins |= {
                int(one.origin, 16): name for name, one in looks.items() if one.origin
            }
            await self._polls.read()
            await asyncio.sleep(max(0.05, began + POLL_SECONDS - self._loop.time()))

    async def _until_whole(self, patience: float, what: str, allowed: float | None = None) -> bool:
        """Wait until all are equal, all is final, and all links are up."""
        began = self._loop.time()
        while True:
            looks = await self._polls.look()
            self._waits = parted(looks) or ""
            took = self._loop.time() - began
            if not self._waits:
                break
            if took > patience:
                text = f"{what}: {self._waits}" if what else self._waits
                self.history.unsettled = f"not whole {took:.1f} s after the heal: {text}"
                return False
            await asyncio.sleep(0.05)
        self.tally.whole_after.append(took)
        self.course.whole()
        if allowed is not None:
            self.tally.whole_within.append(allowed)
            if took > allowed:
                self.history.alarms.append(
                    f"nodes were equal {took:.2f} s after the heal of round {self.tally.rounds}, "
                    f"and {allowed:.2f} s would do"
                )
        return True

    async def _probe(self, plan: Plan) -> None:
        """Every node that can take an append has to, whatever else is broken."""
        probes = []
        for number, name in enumerate(self.names):
            look = self._polls.now[name]
            room = self.cluster.rooms.get(name)
            has_room = room is None or room.free() > 2 * DISK_RESERVE_BYTES
            if self.is_up(name) and has_room and look.state in {"ready", "unsure", "joining"}:
                what = f"probe{self.tally.rounds}"
                body = payload(plan.seed, what, number, 0, 0)
                draft = Draft("probe", ["t"], [body], commit_id=keyed_commit_id(what, name))
                probes.append(self._asker.probe(name, draft, PROBE_SECONDS))
        await asyncio.gather(*probes)

    async def _read_within(self) -> None:
        """Read streams from a revision on that is known to be there."""
        for append in self.history.appends[-50::10]:
            receipt = append.receipt
            if receipt is not None and receipt.settled and receipt.first_revision is not None:
                for name in self.names:
                    stream, revision = append.draft.stream, receipt.first_revision
                    await self._asker.read_stream(name, stream, revision)

    async def _restart(self) -> None:
        """End every node, one way or another, and start all again."""
        for number, name in enumerate(self.names):
            if (self._base.seed + number) % 2:
                await self.cluster.kill(name)
                self.tally.kills += 1
                await self._look_into(name)
            else:
                await self.cluster.stop(name)
        for name in self.names:
            try:
                await self.cluster.start(name)
            except Unavailable as error:
                self._note(f"{name} does not start: {error}")

    def _lay_roads(self) -> None:
        """Give every way between two nodes what the plan says of their sites."""
        plan = self._base
        roads = {frozenset(road.between): road for road in plan.roads}
        for here in plan.nodes:
            for there in plan.nodes:
                sites = frozenset({plan.site_of(here), plan.site_of(there)})
                road = roads.get(sites, Road(("", ""), latency=0.0))
                if here != there:
                    self.cluster.ways.set_route(here, there, _route(road))

    # -- the end ---------------------------------------------------------------------------------

    def _note_harm(self, name: str) -> None:
        """A directory was damaged, emptied or put back; an answer may still be on its way."""
        at = self._loop.time() + HARM_SECONDS
        self.history.events.append(Left(at, name, frozenset(), harmed=True))
        self._looked.forget(name)

    async def _look_into(self, name: str) -> None:
        """A node has died: what does its log hold? The next start has to wait for that."""
        at = self._loop.time()
        try:
            found = await asyncio.to_thread(self._looked.new_commits, name, self.cluster.data(name))
        except DirectoryInUse:  # it was started again meanwhile
            return
        except AnabranchError as error:
            if not any(node == name for node, _ in self.history.damages):
                self.history.alarms.append(f"{name} left a log that can't be read: {error}")
            return
        self.history.events.append(Left(at, name, found))

    def _note_end(self) -> None:
        """Who was not there, and what was not linked."""
        for name, look in self._polls.now.items():
            if not look.up:
                self.history.absent.add(name)
            self.history.unlinked += [f"{name} - {other}" for other in look.unlinked]

    def _judge(self) -> Outcome:
        history, known = self.history, {}  # type: ignore[var-annotated]
        at = self._loop.time()
        history.alarms += self.cluster.ended_badly
        for name in self.names:
            if name in history.absent:
                continue
            try:
                self._read_directory(name, at, known)
            except AnabranchError as error:
                history.alarms.append(f"{name}'s directory can't be read in the end: {error}")
        self.tally.resolved = resolve(history)
        history.gauges += growth(self.tally)
        self._count()
        self.tally.commits = len(history.rows())
        self.tally.seconds = at
        self.tally.time(history, self._courses, self._base)
        found = violations(history)
        self.course.finish(self._courses, self._born_ms, self._origins)
        return Outcome(self._base, history, found, self.tally, self.course.timeline)

    def _read_directory(self, name: str, at: float, known: dict[Any, tuple[bytes, Row]]) -> None:
        directory = Directory(self.cluster.config, name, self.cluster.data(name))
        try:
            rows = directory.rows(self.history, known)
            for shown in directory.shown(rows, at, "in the end"):
                self._judges.take(shown)
            by_shard: dict[int, list[Row]] = {}
            for row in rows:
                by_shard.setdefault(row.shard, []).append(row)
            self.history.final[name] = {shard: tuple(of) for shard, of in by_shard.items()}
            self.history.tentative[name] = directory.tentative()
        finally:
            directory.close()

    def _count(self) -> None:
        tally, history = self.tally, self.history
        tally.count(history)
        tally.seconds = self._loop.time()
        tally.reads = self._readers.counts.total()


def _route(road: Road) -> Route:
    return Route(
        latency_seconds=road.latency,
        jitter=road.jitter,
        tail=road.tail,
        bandwidth=road.bandwidth,
        loss=road.loss,
    )


def kinds_of(plan: Plan) -> tuple[str, ...]:
    """The kinds of faults in a plan."""
    found = {fault.kind for fault in plan.faults}
    return tuple(kind for kind in KINDS if kind in found)
