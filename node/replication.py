"""This node as its links see it: what they may take, give, tell and learn (gossip.host.Host)."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from math import ceil
from typing import Any

from ..gossip.agreeing import has_ballots
from ..gossip.answering import answer
from ..gossip.clocks import Clocks
from ..gossip.coming import Coming
from ..gossip.frontier import Frontier, LogKey
from ..gossip.members import Cause, Member, Objection
from ..gossip.messages import Agree, Hello, Message, Refuse, ReportMessage, Sender
from ..gossip.outbox import Outbox
from ..gossip.pace import Budget
from ..gossip.peer import Dialer
from ..gossip.reports import Report, Told
from ..gossip.routes import Routes
from ..gossip.traffic import Traffic
from ..gossip.transport import Link, Network
from ..storage.commit import receive
from ..storage.errors import AnabranchError, DamagedLog, DiskError, DiskFull
from ..storage.limits import IDLE_AFTER_SECONDS, IDLE_BEATS, SILENCE_SECONDS
from ..storage.stamp import milliseconds
from .clock import Clock, Random
from .comparing import Comparing
from .drill import Drill
from .fold import Held
from .forks import Forks
from .membership import Membership
from .repair import Repair
from .room import Room
from .settler import Settler
from .store import Store
from .stranger import Stranger
from .welcome import Welcome

_log = logging.getLogger(__name__)


class Replication:
    """All links of one node, dialled and answered.

    `on_learned` is called when reports or members have been learned that may allow to settle;
    `renew_report` makes this node promise as much as is true now; `on_failure` ends the node.
    """

    def __init__(  # noqa: PLR0913 - what it needs of its node, part by part
        self,
        store: Store,
        settler: Settler,
        outbox: Outbox,
        *,
        membership: Membership,
        repair: Repair,
        comparing: Comparing,
        room: Room,
        clock: Clock,
        clocks: Clocks,
        random: Random,
        network: Network,
        heartbeat_seconds: float,
        pull_bytes_per_second: int,
        renew_report: Callable[[], None],
        on_learned: Callable[[], None],
        on_failure: Callable[[AnabranchError], None],
    ) -> None:
        self.outbox = outbox
        self._heartbeat_seconds = heartbeat_seconds
        self.coming = Coming(clock.monotonic)
        self._stirred = clock.monotonic()  # when a commit was last stored
        self.pulling: set[LogKey] = set()
        self.forks = Forks(store, repair)
        self.welcome = Welcome(store, settler, room, clock, clocks, on_learned)
        self._stranger = Stranger(store.members.me)
        self._store = store
        self._members = store.members
        self._settler = settler
        self.membership = membership
        self._repair = repair
        self.comparing = comparing
        self._room = room
        self._clock = clock
        self._clocks = clocks
        self._random = random
        self._renew_report = renew_report
        self._on_learned = on_learned
        self._on_failure = on_failure
        self._opened: dict[str, list[Link]] = {}  # links that others dialled, by their names
        self._closing: set[asyncio.Task[None]] = set()
        self._learned_at = 0  # the position of the record that names all origins known here
        self._drill = Drill(clock.monotonic)
        self._to_pass_on: set[tuple[LogKey, int]] = set()  # of those on their way to the disk
        self.budget = Budget(pull_bytes_per_second, clock.monotonic())
        self._network = network
        self._dialing: dict[str, asyncio.Task[None]] = {}
        self._spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]] | None = None
        self.traffic: defaultdict[str, Traffic] = defaultdict(Traffic)
        self.dialers: dict[str, Dialer] = {}
        self.look()

    def look(self) -> None:
        """Dial whoever is a member now, or asks to be one, or may know where the members are."""
        members = self._members
        if members.complete:
            self._stranger.is_known()
        self._routes = Routes(members.table, members.me)
        renamed = self.outbox.origin != self._store.origin
        if renamed:  # the others know this node by its old origin: all links begin again
            self.outbox = Outbox(self._store.origin, self.outbox.bytes_max)
            self._hang_up([*self._opened])
        waiting = [
            Member(w.name, w.site, w.priority, w.url) for w in self.membership.waiting.values()
        ]
        sought = [*members.sought, *self.membership.sureness.sought]
        there = {one.name: one for one in [*waiting, *sought, *members.guides, *members.others]}
        there.pop(members.me, None)
        for name, dialer in list(self.dialers.items()):
            if dialer.member == there.get(name) and not renamed:
                continue
            del self.dialers[name]
            if (task := self._dialing.pop(name, None)) is not None:
                task.cancel()
        for name, member in there.items():
            near = self._routes.is_near(name)
            if name not in self.dialers:
                self.dialers[name] = Dialer(self, self._network, member, near=near)
                self._dial(name)
            self.dialers[name].is_near(near=near)
        self._repair.keep_doubts(members.joined)
        self._clocks.keep({origin for origin in members.origins if origin != self._store.origin})
        self.wake()

    def start(self, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        """Begin to dial."""
        self._spawn = spawn
        for name in self.dialers:
            self._dial(name)

    def _dial(self, name: str) -> None:
        if self._spawn is not None:
            self._dialing[name] = self._spawn(self.dialers[name].run())

    @property
    def heartbeat_seconds(self) -> float:
        """How often to report when there is nothing else to say; who waits asks more often."""
        beat, now = self._heartbeat_seconds, self._clock.monotonic()
        if self._store.history.tentative_commits or now - self._stirred < IDLE_AFTER_SECONDS:
            return beat
        twice = SILENCE_SECONDS / 2 - beat  # within the silence: no link looks dead
        return max(beat, min(IDLE_BEATS * beat, twice))

    async def answer(self, link: Link) -> None:
        """Serve a link that another node has dialled, until it ends."""
        try:
            await answer(self, link, self._opened)
        except DiskFull as error:
            _log.warning("a link ends: %s", error)
        except DiskError as error:
            self._on_failure(error)

    def wake(self) -> None:
        """There is something new to push."""
        for dialer in self.dialers.values():
            dialer.wake()

    def ask_to_close(self, stamp: int) -> None:
        """Ask all members at once to promise at least this stamp."""
        for dialer in self.dialers.values():
            dialer.ask_to_close(stamp)

    # -- who is there ----------------------------------------------------------------------------

    def hello(self) -> Hello:
        """What to say first."""
        return self._members.hello(self._store.boots_before)

    def sender(self) -> Sender:
        """The head of every message."""
        store = self._store
        return Sender(self._members.number, store.boot, store.log.durable, self._clock.wall_ms())

    async def meet(self, hello: Hello, sender: Sender) -> Objection | None:
        """Check who is there; a new origin is durable before it counts."""
        members = self._members
        objection = members.objection(hello, sender.epoch, sender.boot)
        if objection is not None:
            if objection.cause is Cause.KNOWN_AS:
                self._stranger.unknown_to(hello.name, objection.text)
            return objection
        before = members.table
        new = members.learn(hello, sender.epoch, sender.boot)
        if members.table != before:
            self.look()
        if new:
            self._learned_at = self._store.store_state(self._clock.wall_ms())
        position = self._learned_at  # also of what another link learned and may not see written
        await self._store.log.wait(position)
        if position == self._learned_at:
            self.membership.founded()
        self.membership.linked(hello.name)
        return None

    def outdated(self, name: str, origin: int, boot: int) -> str | None:
        """Why not to talk to a start of a node any more; None unless a newer one has said hello."""
        objection = self._members.objection_to_boot(name, origin, boot)
        return None if objection is None else objection.text

    @property
    def stranger(self) -> str | None:
        """Why this node is not taken for a member."""
        return self._stranger.why

    def refused(self, name: str, refusal: Refuse) -> None:
        """A peer does not want to talk to this node."""
        if refusal.cause == Cause.ORIGIN:
            self._stranger.unknown_to(name, refusal.reason)
        elif refusal.cause == Cause.COPIED and self._stranger.copied_at(name):
            self.membership.give_way()  # its commits come back once the other one is stopped

    # -- cuts ------------------------------------------------------------------------------------

    def cut(self, names: list[str], seconds: float) -> None:
        """Break the links with some members, and refuse new ones for a while."""
        self._drill.begin(names, seconds)
        self._hang_up(names)
        self.wake()

    def _hang_up(self, names: list[str]) -> None:
        """End the links that these have dialled."""
        for link in [link for name in names for link in self._opened.get(name, ())]:
            self._closing.add(task := asyncio.get_running_loop().create_task(link.close()))
            task.add_done_callback(self._closing.discard)

    def is_cut(self, name: str) -> bool:
        """Whether a drill has cut the links with a member."""
        return self._drill.holds(name)

    async def close(self) -> None:
        """End all links that others dialled."""
        links = [link for links in self._opened.values() for link in links]
        await asyncio.gather(*(link.close() for link in links), *self._closing)

    # -- reports ---------------------------------------------------------------------------------

    def learn(self, origin: int, message: Message, asked: float | None = None) -> None:
        """Take what a message says of its sender, and the reports that it carries."""
        sender = message.sender
        clock, now = self._clock, self._clock.monotonic()
        suspicion = self.membership.eviction.suspicion
        if origin in self._members.joined:
            self._store.seen.note(origin, sender.boot, sender.counter)
            suspicion.heard(origin, now)
            round_trip_ms = None if asked is None else ceil((now - asked) * 1000)
            wall_ms = sender.wall_ms
            self._clocks.learn(origin, wall_ms, clock.wall_ms(), round_trip_ms, at_seconds=now)
        elif origin != self._store.origin:
            self._store.seen.note(origin, sender.boot, sender.counter)
        if isinstance(message.body, Agree) and has_ballots(message.body.parts):
            self._store.seen.counts(origin, sender.boot, sender.counter)
        for report in message.reports:
            if self._settler.learn(report):
                suspicion.heard(report.origin, now)
                if report.mark:
                    self._store.seen.counts(report.origin, report.boot, report.counter)
        if isinstance(message.body, ReportMessage):
            suspicion.told(origin, message.body.missed, now)
            if message.body.close:
                self._observe(message.body.close)
        if message.reports:
            self._on_learned()

    def tell(self, told: Told) -> list[Report]:
        """Reports that a link has not carried yet: this node's own, then the others'."""
        standings, mine = self._settler.standings, self._store.origin
        origins = [mine, *(one for one in self._members.origins if one != mine)]
        reports = (told.tell(one, standings.of(one)) for one in origins if one in standings)
        return [report for report in reports if report is not None]

    async def close_up(self, stamp: int) -> None:
        """Promise what is true now; return when that is as much as a peer asked for."""
        promised = self._settler.standings.of(self._store.origin).promise
        age_ms = self._clock.wall_ms() - milliseconds(promised)
        if age_ms > 1000 * self.heartbeat_seconds / 2 or promised < stamp:
            self._renew_report()
        if stamp and self._settler.standings.of(self._store.origin).promise < stamp:
            await self._stored()
            self._renew_report()

    def _observe(self, stamp: int) -> None:
        if self._clocks.ahead_ms(stamp, self._clock.wall_ms()) <= 0:
            self._store.hlc.observe(stamp)

    def frontier_of(self, origin: int) -> Frontier:
        """What a member was last heard to hold."""
        return self._settler.standings.of(origin).frontier

    # -- routes ----------------------------------------------------------------------------------

    def pushes_to(self, name: str) -> bool:
        """Whether own commits are pushed to a member, or to its site's relay."""
        dialers = self.dialers
        if name not in dialers or name not in self._members:
            return False
        if self._routes.is_near(name):
            return dialers[name].pushes.live
        site = self._members.member(name).site
        return any(dialers[one].pushes.live for one in self._routes.rank(self._store.origin, site))

    def is_relay(self, name: str) -> bool:
        """Whether own commits are to be pushed to this member: a mate, or its site's relay."""
        if self._routes.is_near(name):
            return True
        if name not in self._members:
            return False
        dialers = self.dialers
        return (
            self._routes.relay(
                self._store.origin,
                self._members.member(name).site,
                lambda one: dialers[one].works,
                lambda one: dialers[one].pushes.ready,
            )
            == name
        )

    def is_ahead_beside(self, name: str) -> bool:
        """Whether another node of a member's site has own commits that it will pass on to it."""
        mine, members = self._store.origin, self._members
        if name not in members:
            return False
        frontier = self.frontier_of(members.origin(name) or 0)
        for other in self._routes.rank(mine, members.member(name).site):
            dialer = self.dialers[other]
            if other == name or not (dialer.state == "connected" or self._opened.get(other)):
                continue
            held = self.frontier_of(members.origin(other) or 0)
            more = (log for log, seq in held.items() if log[1] == mine and seq > frontier[log])
            if dialer.pushes.ahead_of(frontier, mine) or any(more):
                return True
        return False

    def is_there(self, name: str) -> None:
        """A member has dialled: it can be dialled now too."""
        if name in self.dialers and self.dialers[name].state != "connected":
            self.dialers[name].wake()

    def before(self, origin: int) -> list[str]:
        """The mates that come before this node in fetching an origin's commits."""
        return self._routes.before(origin, lambda one: self.dialers[one].state == "connected")

    def mate_ahead(self, log: LogKey, seq: int) -> str | None:
        """A mate that can be reached and holds more of a log than up to a sequence."""
        for name in self._routes.mates:
            origin = self._members.origin(name)
            reached = self.dialers[name].state == "connected" and origin is not None
            if reached and self.frontier_of(origin or 0)[log] > seq:
                return name
        return None

    def publish(self, group: list[tuple[Held, bytes]]) -> None:
        """Push what has become durable: own commits, and what mates get by this node."""
        mine = self._store.origin
        self._stirred = self._clock.monotonic()
        for held, body in group:
            log = (held.shard, held.key[2])
            if log[1] == mine:
                self.outbox.add(log, held.seq, body)
            elif (log, held.seq) in self._to_pass_on:
                self._to_pass_on.discard((log, held.seq))
                self.outbox.add(log, held.seq, body)

    # -- commits ---------------------------------------------------------------------------------

    def behind(self, origin: int) -> dict[LogKey, tuple[int, int]]:
        """Logs of which a member holds more, and may be asked for."""
        held_back = self.welcome.still_held_back()
        behind = self._store.frontier.behind(self.frontier_of(origin))
        mine, members = self._store.origin, self._members
        return {
            log: (own, members.end(log, theirs))
            for log, (own, theirs) in behind.items()
            if log[1] != mine
            and members.end(log, theirs) > own
            and log not in held_back
            and log not in self._store.holes
        }

    async def take(self, commits: list[bytes], name: str) -> None:
        """Check commits, store those that fit, and return when they are durable.

        What does not follow on what is here, is here already, or is ahead of time is left out;
        the report that answers tells which. Raises BadFrame if a commit is not well-formed.
        """
        near = self._routes.is_near(name)
        pass_on = bool(self._routes.mates) and not near
        for body in commits:
            commit = receive(body, self._members.shards)
            log = (commit.shard, commit.origin)
            if near and log not in self.pulling:  # then it is an answer
                self.coming.passed_on(commit.origin)
            if self._repair.takes(commit, body):
                continue
            if commit.seq <= self._store.frontier[log]:
                self.forks.compare(self._members.origin(name) or 0, log, commit.seq, commit.hash)
            elif not self._repair.in_doubt(log) and self.welcome.takes(commit):
                self._store.receive(commit, body)
                if pass_on:
                    self._to_pass_on.add((log, commit.seq))
        await self._stored()

    async def _stored(self) -> None:
        """Return when all that was logged is on disk, or had no room and was dropped."""
        with suppress(DiskFull):
            await self._store.log.wait_all()

    async def give(
        self, wanted: list[tuple[int, int, int, int]], bytes_max: int, name: str
    ) -> list[bytes]:
        """Commits of some stretches of logs, up to so many bytes (one at least)."""
        commits: list[bytes] = []
        size = 0
        history, dialer = self._store.history, self.dialers.get(name)
        pushes = None if dialer is None else dialer.pushes
        if pushes is not None:
            pushes.asked(self._clock.monotonic())
        for shard, origin, after, until in wanted:
            log = (shard, origin)
            if origin == self._store.origin and not until and not self.membership.sureness.sure:
                continue  # a copy of the directory may have gone on with this log
            if pushes is not None and not until and pushes.bring(log, after):
                continue
            held = self._store.frontier[log]
            held = min(held, until or held)
            for seq, position, length in history.log_entries(shard, origin, after):
                if seq > held or (commits and size + length > bytes_max):
                    break
                body = self._undamaged(position, length)
                if body is None:
                    break
                commits.append(body)
                size += length
                if pushes is not None and not until:
                    pushes.given(log, seq)
            if size >= bytes_max:
                break
        return commits

    def _undamaged(self, position: int, length: int) -> bytes | None:
        """A commit of the log; None if it can't be read, which is seen to."""
        try:
            return self._store.history.body(position, length)
        except DamagedLog as error:
            self._repair.notice(error)
            return None

    def ended(self, name: str) -> None:
        """A link that a member dialled has ended: what it was given may not have come."""
        if name in self.dialers:
            self.dialers[name].pushes.not_given()
        self.coming.ended(self._members.origin(name) or 0)

    # -- the membership ---------------------------------------------------------------------------

    @property
    def linked(self) -> list[str]:
        """The members that can be reached."""
        joined, dialers = self._members.joined, self.dialers.items()
        return [name for name, one in dialers if one.state == "connected" and one.origin in joined]

    @property
    def has_told(self) -> bool:
        """Whether a majority of the members is in this node's epoch, or in a later one."""
        members, dialers = self._members, self.dialers.items()
        told = sum(one.epoch >= members.number for name, one in dialers if name in members)
        return 2 * told > len(members.table)

    def lacking(self, origin: int) -> list[tuple[int, int, int, int]]:
        """Stretches of logs that this node's disk has lost and that a member holds."""
        return self._repair.lacking(origin, self.frontier_of(origin))

    # -- time and luck ---------------------------------------------------------------------------

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        return self._clock.monotonic()

    def jitter(self, seconds: float) -> float:
        """A random time up to so many seconds."""
        return self._random.uniform(seconds)
