"""This node as its links see it: what they may take, give, tell and learn (gossip.peer.Host)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ..gossip.frontier import Frontier, LogKey
from ..gossip.members import Cause, Objection
from ..gossip.messages import Hello, Message, Refuse, ReportMessage, Sender
from ..gossip.outbox import Outbox
from ..gossip.reports import Report, Told
from ..gossip.transport import Link
from ..storage.commit import Commit, receive
from ..storage.errors import LinkLost
from ..storage.stamp import milliseconds

if TYPE_CHECKING:
    from .node import Node

_log = logging.getLogger(__name__)


class Replication:
    """The host of all links of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.opened: dict[str, set[Link]] = {}  # links that others dialled, by their names
        self.pulling: set[LogKey] = set()
        self.held_back: dict[LogKey, int] = {}  # the stamp that is ahead of time
        self.stranger: str | None = None  # why this node is not taken for a member
        self._cut_until: dict[str, float] = {}
        self._closing: set[asyncio.Task[None]] = set()

    # -- who is there ----------------------------------------------------------------------------

    def hello(self) -> Hello:
        """What to say first."""
        return self._node.members.hello()

    def sender(self) -> Sender:
        """The head of every message."""
        node = self._node
        return Sender(node.members.epoch, node.boot, node.log.durable, node.clock.wall_ms())

    async def meet(self, hello: Hello) -> Objection | None:
        """Check who is there; a new origin is durable before it counts."""
        members = self._node.members
        objection = members.objection(hello)
        if objection is not None:
            if objection.cause is Cause.KNOWN_AS:
                self._we_are_strangers(hello.name, objection.text)
            return objection
        if members.learn(hello):
            known = members.bindings
            wall = self._node.clock.wall_ms()
            await self._node.log.wait(self._node.store.store_state(wall))
            if members.bindings == known:  # else more was learned, which is not durable yet
                self._node.settler.begin()
                self._node.renew_report()
        return None

    def refused(self, name: str, refusal: Refuse) -> None:
        """A peer does not want to talk to this node."""
        if refusal.cause == Cause.ORIGIN:
            self._we_are_strangers(name, refusal.reason)

    def _we_are_strangers(self, name: str, why: str) -> None:
        if self.stranger is None:
            me = self._node.me.name
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
        until = self._node.clock.monotonic() + seconds
        self._cut_until = dict.fromkeys(names, until) if seconds > 0 else {}
        _log.warning("drill: links with %s are cut for %s s", ", ".join(names) or "nobody", seconds)
        loop = asyncio.get_running_loop()
        for name in names:
            for link in list(self.opened.get(name, ())):
                self._closing.add(task := loop.create_task(link.close()))
                task.add_done_callback(self._closing.discard)
        for dialer in self._node.dialers.values():
            dialer.wake()

    def is_cut(self, name: str) -> bool:
        """Whether a drill has cut the links with a member."""
        until = self._cut_until.get(name)
        if until is None:
            return False
        if self._node.clock.monotonic() < until:
            return True
        del self._cut_until[name]
        _log.warning("drill: links with %s are no longer cut", name)
        return False

    async def close(self) -> None:
        """End all links that others dialled."""
        links = [link for links in self.opened.values() for link in links]
        await asyncio.gather(*(link.close() for link in links), *self._closing)

    # -- reports ---------------------------------------------------------------------------------

    def learn(self, origin: int, message: Message) -> None:
        """Take what a message says of its sender, and the reports that it carries."""
        node = self._node
        clock = node.clock
        node.clocks.learn(origin, message.sender.wall_ms, clock.wall_ms(), clock.monotonic())
        for report in message.reports:
            node.settler.learn(report)
        if isinstance(message.body, ReportMessage) and message.body.close:
            self._observe(message.body.close)
        if message.reports:
            node.settle_soon()

    def tell(self, told: Told) -> list[Report]:
        """Reports that a link has not carried yet: this node's own, then the others'."""
        standings = self._node.settler.standings
        mine = self._node.store.origin
        origins = [mine, *(one for one in self._node.members.origins if one != mine)]
        reports = (told.tell(one, standings.of(one)) for one in origins if one in standings)
        return [report for report in reports if report is not None]

    async def close_up(self, stamp: int) -> None:
        """Return when this node can promise a stamp that a peer asked for."""
        node = self._node
        if not stamp or node.settler.standings.of(node.store.origin).promise >= stamp:
            return
        if node.log.backlog_bytes:
            await node.log.wait(node.log.end - 1)
        node.renew_report()

    def _observe(self, stamp: int) -> None:
        node = self._node
        if node.clocks.ahead_ms(stamp, node.clock.wall_ms()) <= 0:
            node.store.hlc.observe(stamp)

    def frontier_of(self, origin: int) -> Frontier:
        """What a member was last heard to hold."""
        return self._node.settler.standings.of(origin).frontier

    def pushes_to(self, name: str) -> bool:
        """Whether this node's own link to a member pushes new commits there."""
        return self._node.dialers[name].live

    # -- commits ---------------------------------------------------------------------------------

    @property
    def outbox(self) -> Outbox:
        """Own recent commits."""
        return self._node.outbox

    def behind(self, origin: int) -> dict[LogKey, tuple[int, int]]:
        """Logs of which a member holds more, and may be asked for."""
        node = self._node
        wall = node.clock.wall_ms()
        for log, stamp in list(self.held_back.items()):
            if node.clocks.ahead_ms(stamp, wall) <= 0:
                del self.held_back[log]
        return {
            log: (own, theirs)
            for log, (own, theirs) in node.store.frontier.behind(self.frontier_of(origin)).items()
            if log[1] != node.store.origin and log not in self.held_back
        }

    async def take(self, commits: list[bytes]) -> None:
        """Check commits, store those that fit, and return when they are durable.

        What does not follow on what is here, is here already, or is ahead of time is left out;
        the report that answers tells which. Raises BadFrame if a commit is not well-formed.
        """
        node = self._node
        for body in commits:
            commit = receive(body, node.config.shards)
            if self._welcome(commit):
                node.store.receive(commit, body)
        if node.log.backlog_bytes:
            await node.log.wait(node.log.end - 1)
        if node.failure is not None:
            raise LinkLost("this node is about to end")

    def _welcome(self, commit: Commit) -> bool:
        node = self._node
        log = (commit.shard, commit.origin)
        if node.members.priority(commit.origin) is None or commit.origin == node.store.origin:
            return False
        if commit.seq != node.store.arrived(*log) + 1 or commit.shard in node.settler.disputes:
            return False
        wall = node.clock.wall_ms()
        if node.clocks.ahead_ms(commit.hlc, wall) > 0:
            self._hold_back(commit, wall)
            return False
        settlement = node.settler.settlement
        if settlement is not None and commit.hlc <= settlement.watermark(commit.shard):
            node.settler.dispute(
                commit.shard,
                f"{node.members.name(commit.origin)} sent commit {commit.id.hex()} of shard "
                f"{commit.shard}, stamped at a time that is settled: it broke its promise",
            )
            return False
        return True

    def _hold_back(self, commit: Commit, wall: int) -> None:
        node = self._node
        log = (commit.shard, commit.origin)
        if not any(origin == commit.origin for _, origin in self.held_back):
            _log.error(
                "commits of %s are stamped %d ms ahead of the members' clocks and are held back "
                "until then: correct the clock of that node",
                node.members.name(commit.origin),
                milliseconds(commit.hlc) - node.clocks.median_ms(wall),
            )
        self.held_back[log] = commit.hlc

    async def give(self, wanted: list[tuple[int, int, int]], bytes_max: int) -> list[bytes]:
        """Commits after a sequence, log by log, up to so many bytes (one at least)."""
        commits: list[bytes] = []
        size = 0
        history = self._node.history
        for shard, origin, after in wanted:
            held = self._node.store.frontier[shard, origin]
            for seq, position, length in history.log_entries(shard, origin, after):
                if seq > held or (commits and size + length > bytes_max):
                    break
                commits.append(history.body(position, length))
                size += length
            if size >= bytes_max:
                break
        return commits

    # -- time and luck ---------------------------------------------------------------------------

    @property
    def heartbeat_seconds(self) -> float:
        """How often to report when there is nothing else to say."""
        return self._node.config.tuning.heartbeat_seconds

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        return self._node.clock.monotonic()

    def jitter(self, seconds: float) -> float:
        """A random time up to so many seconds."""
        return self._node.random.uniform(seconds)
