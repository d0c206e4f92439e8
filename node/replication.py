"""This node as its links see it: what they may take, give, tell and learn (gossip.host.Host)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from math import ceil

from ..gossip.answering import answer
from ..gossip.clocks import Clocks
from ..gossip.frontier import Frontier, LogKey
from ..gossip.members import COPIED, Cause, Objection
from ..gossip.messages import Compare, Compared, Hello, Message, Refuse, ReportMessage, Sender
from ..gossip.outbox import Outbox
from ..gossip.pace import Budget
from ..gossip.peer import Dialer
from ..gossip.reports import Report, Told
from ..gossip.routes import Routes
from ..gossip.traffic import Traffic
from ..gossip.transport import Link, Network
from ..storage.commit import Commit, receive
from ..storage.errors import AnabranchError, DamagedLog, DiskError, DiskFull, Refused
from ..storage.limits import IDLE_AFTER_SECONDS, IDLE_BEATS, SILENCE_SECONDS
from ..storage.stamp import milliseconds
from .clock import Clock, Random
from .comparing import Comparing
from .fold import Held
from .repair import Repair
from .room import Room
from .settler import Settler
from .store import Store

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
        self._stirred = clock.monotonic()  # when a commit was last stored
        self.pulling: set[LogKey] = set()
        self.held_back: dict[LogKey, int] = {}  # the stamp that is ahead of time
        self.stranger: str | None = None  # why this node is not taken for a member
        self._store = store
        self._members = store.members
        self._settler = settler
        self._repair = repair
        self._comparing = comparing
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
        self._cut_until: dict[str, float] = {}
        self._to_pass_on: set[tuple[LogKey, int]] = set()  # of those on their way to the disk
        self.budget = Budget(pull_bytes_per_second, clock.monotonic())
        self._routes = Routes(self._members.table, self._members.me)
        others = [member for member in self._members.table if member.name != self._members.me]
        self.traffic = {member.name: Traffic() for member in others}
        self.dialers = {
            member.name: Dialer(self, network, member, near=self._routes.is_near(member.name))
            for member in others
        }

    @property
    def heartbeat_seconds(self) -> float:
        """How often to report when there is nothing else to say; who waits asks more often."""
        beat, now = self._heartbeat_seconds, self._clock.monotonic()
        if self._store.history.tentative_commits or now - self._stirred < IDLE_AFTER_SECONDS:
            return beat
        return max(beat, min(IDLE_BEATS * beat, SILENCE_SECONDS / 3))  # no link looks dead

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
        return self._members.hello()

    def sender(self) -> Sender:
        """The head of every message."""
        store = self._store
        return Sender(self._members.epoch, store.boot, store.log.durable, self._clock.wall_ms())

    async def meet(self, hello: Hello, boot: int) -> Objection | None:
        """Check who is there; a new origin is durable before it counts."""
        members = self._members
        objection = members.objection(hello, boot)
        if objection is not None:
            if objection.cause is Cause.KNOWN_AS:
                self._we_are_strangers(hello.name, objection.text)
            return objection
        if members.learn(hello, boot):
            self._learned_at = self._store.store_state(self._clock.wall_ms())
        position = self._learned_at  # also of what another link learned and may not see written
        await self._store.log.wait(position)
        if self._settler.settlement is None and position == self._learned_at:
            self._settler.begin()
            self._renew_report()
        return None

    def refused(self, name: str, refusal: Refuse) -> None:
        """A peer does not want to talk to this node."""
        if refusal.cause == Cause.ORIGIN:
            self._we_are_strangers(name, refusal.reason)
        elif refusal.cause == Cause.COPIED and self.stranger is None:
            self.stranger = f"{name} does not take this node for {self._members.me}: {COPIED}"
            _log.critical("%s", self.stranger)

    def _we_are_strangers(self, name: str, why: str) -> None:
        if self.stranger is None:
            me = self._members.me
            self.stranger = (
                f"{name} does not take this node for {me}: {why}. Its promises from before can't "
                f"bind this directory. Start {me} with its old directory; if that is lost, {me} "
                "has to be replaced as a member (a later version brings the command). Until then "
                "append at another node"
            )
            _log.critical("%s", self.stranger)

    # -- cuts ------------------------------------------------------------------------------------

    def cut(self, names: list[str], seconds: float) -> None:
        """Break the links with some members, and refuse new ones for a while."""
        until = self._clock.monotonic() + seconds
        self._cut_until = dict.fromkeys(names, until) if seconds > 0 else {}
        _log.warning("drill: links with %s are cut for %s s", ", ".join(names) or "nobody", seconds)
        loop = asyncio.get_running_loop()
        for name in names:
            for link in list(self._opened.get(name, ())):
                self._closing.add(task := loop.create_task(link.close()))
                task.add_done_callback(self._closing.discard)
        self.wake()

    def is_cut(self, name: str) -> bool:
        """Whether a drill has cut the links with a member."""
        until = self._cut_until.get(name)
        if until is None:
            return False
        if self._clock.monotonic() < until:
            return True
        del self._cut_until[name]
        _log.warning("drill: links with %s are no longer cut", name)
        return False

    async def close(self) -> None:
        """End all links that others dialled."""
        links = [link for links in self._opened.values() for link in links]
        await asyncio.gather(*(link.close() for link in links), *self._closing)

    # -- reports ---------------------------------------------------------------------------------

    def learn(self, origin: int, message: Message, asked: float | None = None) -> None:
        """Take what a message says of its sender, and the reports that it carries.

        Raises Refused if a newer start of the sender has said hello meanwhile.
        """
        name = self._members.name(origin)
        copied = name and self._members.objection_to_boot(name, origin, message.sender.boot)
        if copied:
            raise Refused(copied.text)
        clock, now = self._clock, self._clock.monotonic()
        round_trip_ms = None if asked is None else ceil((now - asked) * 1000)
        wall_ms = message.sender.wall_ms
        self._clocks.learn(origin, wall_ms, clock.wall_ms(), round_trip_ms, at_seconds=now)
        for report in message.reports:
            self._settler.learn(report)
        if isinstance(message.body, ReportMessage) and message.body.close:
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
        if self._routes.is_near(name):
            return dialers[name].pushes.live
        site = self._members.member(name).site
        return any(dialers[one].pushes.live for one in self._routes.rank(self._store.origin, site))

    def is_relay(self, name: str) -> bool:
        """Whether own commits are to be pushed to this member: a mate, or its site's relay."""
        if self._routes.is_near(name):
            return True
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
        if self.dialers[name].state != "connected":
            self.dialers[name].wake()

    def before(self, origin: int) -> list[str]:
        """The mates that come before this node in fetching an origin's commits."""
        return self._routes.before(origin, lambda one: self.dialers[one].state == "connected")

    def a_mate_holds(self, log: LogKey, seq: int) -> bool:
        """Whether a mate that can be reached holds a log so far."""
        near = [name for name in self._routes.mates if self.dialers[name].state == "connected"]
        origins = [self._members.origin(name) for name in near]
        return any(self.frontier_of(one)[log] >= seq for one in origins if one is not None)

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
        wall = self._clock.wall_ms()
        for log, stamp in list(self.held_back.items()):
            if self._clocks.ahead_ms(stamp, wall) <= 0:
                del self.held_back[log]
        behind = self._store.frontier.behind(self.frontier_of(origin))
        mine = self._store.origin
        return {
            log: (own, theirs)
            for log, (own, theirs) in behind.items()
            if log[1] != mine and log not in self.held_back and log not in self._store.holes
        }

    async def take(self, commits: list[bytes], name: str) -> None:
        """Check commits, store those that fit, and return when they are durable.

        What does not follow on what is here, is here already, or is ahead of time is left out;
        the report that answers tells which. Raises BadFrame if a commit is not well-formed.
        """
        pass_on = bool(self._routes.mates) and not self._routes.is_near(name)
        for body in commits:
            commit = receive(body, self._members.shards)
            if not self._repair.takes(commit, body) and self._welcome(commit):
                self._store.receive(commit, body)
                if pass_on:
                    self._to_pass_on.add(((commit.shard, commit.origin), commit.seq))
        await self._stored()

    async def _stored(self) -> None:
        """Return when all that was logged is on disk, or had no room and was dropped."""
        with suppress(DiskFull):
            await self._store.log.wait_all()

    def _welcome(self, commit: Commit) -> bool:
        log = (commit.shard, commit.origin)
        if self._members.priority(commit.origin) is None or not self._room.can_settle:
            return False
        if commit.origin == self._store.origin and log not in self._store.holes:
            return False
        if commit.seq != self._store.arrived(*log) + 1 or commit.shard in self._settler.disputes:
            return False
        wall = self._clock.wall_ms()
        if self._clocks.ahead_ms(commit.hlc, wall) > 0:
            self._hold_back(commit, wall)
            return False
        broken = self._broken_promise(commit)
        if broken is not None:
            self._settler.dispute(
                commit.shard,
                f"{self._members.name(commit.origin)} sent commit {commit.id.hex()} of shard "
                f"{commit.shard}, stamped {broken}",
            )
            return False
        return True

    def _broken_promise(self, commit: Commit) -> str | None:
        """What is wrong with the stamp of a commit that is the next of its log."""
        settlement = self._settler.settlement
        if settlement is not None and commit.hlc <= settlement.watermark(commit.shard):
            return "at a time that is settled: it broke its promise"
        if commit.hlc <= self._store.newest(commit.shard, commit.origin):
            return "not after the commit before it: its clock or its log is at fault"
        return None

    def _hold_back(self, commit: Commit, wall: int) -> None:
        log = (commit.shard, commit.origin)
        if not any(origin == commit.origin for _, origin in self.held_back):
            _log.error(
                "commits of %s are stamped %d ms ahead of the members' clocks and are held back "
                "until then: correct the clock of that node",
                self._members.name(commit.origin),
                milliseconds(commit.hlc) - self._clocks.median_ms(wall),
            )
        self.held_back[log] = commit.hlc
        if self._settler.settlement is not None:
            self._settler.settlement.seen_ahead(log, commit.seq, commit.hlc)
            self._on_learned()

    async def give(
        self, wanted: list[tuple[int, int, int, int]], bytes_max: int, name: str
    ) -> list[bytes]:
        """Commits of some stretches of logs, up to so many bytes (one at least)."""
        commits: list[bytes] = []
        size = 0
        history, pushes = self._store.history, self.dialers[name].pushes
        pushes.asked(self._clock.monotonic())
        for shard, origin, after, until in wanted:
            log = (shard, origin)
            if not until and pushes.bring(log, after):
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
                if not until:
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

    def not_given(self, name: str) -> None:
        """A link that a member dialled has ended: what it was given may not have come."""
        self.dialers[name].pushes.not_given()

    # -- holes and comparing --------------------------------------------------------------------

    def lacking(self, origin: int) -> list[tuple[int, int, int, int]]:
        """Stretches of logs that this node's disk has lost and that a member holds."""
        return self._repair.lacking(origin, self.frontier_of(origin))

    def question(self, name: str) -> Compare | None:
        """What to ask a member about what both have settled."""
        return self._comparing.question(name)

    def answered(self, name: str, answer: Compared) -> None:
        """A member has answered the question."""
        self._comparing.answered(name, answer)

    def unanswered(self, name: str) -> None:
        """The link was lost before the question was answered."""
        self._comparing.unanswered(name)

    async def compare(self, question: Compare, name: str) -> Compared:
        """The answer to a member's question."""
        return self._comparing.compare(question, name)

    # -- time and luck ---------------------------------------------------------------------------

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        return self._clock.monotonic()

    def jitter(self, seconds: float) -> float:
        """A random time up to so many seconds."""
        return self._random.uniform(seconds)
