"""Looks on at one node, from a start to its end, and tells what happens there.

It wraps the public calls of the node's parts; the node does nothing different because of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...gossip.epoch import Epoch
from ...gossip.messages import Compare, Compared, Message, Sender, encode
from ...gossip.reports import Report, Told
from ...gossip.session import Session
from ...node.fold import Held as HeldCommit
from ...node.fold import OrderKey
from ...node.node import Node
from ...storage.commit import Commit, Draft, read_header
from ...storage.merkle import levels, node_root
from ...storage.stamp import milliseconds
from ..history import Append, Comparison, Event, History, Inserted, Promised, Settled, Stamped
from ..world.clock import EPOCH_MS, SimClock
from .reading import Left, known_of, row_of_held, waiting_of

_STEPS = 10  # pulls one after the other


class Watcher(Protocol):
    """Who wants to know."""

    history: History

    def tell(self, event: Event) -> None:
        """Something happened."""
        ...

    def allowed_ms(self, name: str) -> int:
        """How far ahead of true time a node's stamps may be now."""
        ...

    def on_disk_at(self, shard: int, origin: int, seq: int) -> tuple[str, ...]:
        """The nodes that have a commit on disk."""
        ...

    def declared(self, name: str, shard: int, watermark: int = 0) -> int:
        """The highest watermark that a node ever declared for a shard, this one included."""
        ...

    def pulled(self, size: int) -> None:
        """So many bytes were given to a node that asked."""
        ...

    def stamped(self, size: int) -> None:
        """A commit of so many bytes was made."""
        ...

    def made(self, name: str, held: HeldCommit) -> None:
        """A process stamped a commit."""
        ...

    def given(self, name: str, commits: list[bytes]) -> None:
        """A node gave commits to another one."""
        ...

    def doubted(self, name: str) -> None:
        """A node sets aside what another process may have gone on with."""
        ...

    def healed(self, size: int) -> None:
        """A commit of so many bytes that a node had lost came to it again."""
        ...


class WatchedClock(SimClock):
    """A clock that remembers how far off it was when it was read."""

    def __init__(self, loop: asyncio.AbstractEventLoop, offset_ms: int = 0) -> None:
        super().__init__(loop, offset_ms)
        self.lowest_ms = 0
        self.highest_ms = 0
        self.latest_ms = 0  # the highest wall time that it ever told

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as this node believes."""
        off = self.off_ms()
        if off > self.highest_ms:
            self.highest_ms = off
        elif off < self.lowest_ms:
            self.lowest_ms = off
        wall = EPOCH_MS + int(self._loop.time() * 1000) + off
        if wall > self.latest_ms:
            self.latest_ms = wall
        return wall


def _wrap(part: Any, call: str, by: Callable[..., Any]) -> None:
    """Put something around a call of a part of a node."""
    setattr(part, call, by(getattr(part, call)))


def _size(body: Compare | Compared | None) -> int:
    """The bytes of a message, by itself."""
    return 0 if body is None else len(encode(Message(Sender(0, 0, 0, 0), body)))


@dataclass
class Cost:
    """What a comparison has cost so far."""

    bytes: int = 0
    shards: int = 0  # whose roots were named for a reason
    differing: set[int] = field(default_factory=set)  # shards whose roots the other has otherwise

    def of(self, node: Node, session: Session) -> Comparison:
        """All of it, once it is over."""
        logs = [(log, seq) for log, seq in node.store.frontier.items() if log[0] in self.differing]
        return Comparison(
            node.me.name,
            self.bytes,
            session.rounds,
            self.shards,
            len(self.differing),
            len(logs),
            max((levels(seq) for _, seq in logs), default=0),
            len(session.found),
        )


class Life:
    """One node from a start to its end."""

    def __init__(self, name: str, number: int, node: Node, watcher: Watcher) -> None:
        self.name = name
        self.number = number
        self.node = node
        self.over = False
        self.counts: dict[int, int] = {}  # settled commits by shard
        self.highest = 0  # the highest stamp of all that is here
        self.appends: dict[asyncio.Task[Any], Append] = {}  # those that wait
        self._watcher = watcher
        self._time = asyncio.get_running_loop().time
        self._promised: dict[int, int] = {}  # by origin
        self._taking: list[tuple[int, int, int]] = []  # commits that the present `take` has stored
        self._steps: dict[tuple[int, ...], int] = {}
        self._costs: dict[str, Cost] = {}  # of the comparisons under way, by node
        self._last: OrderKey = (0, 0, 0)  # of what was stamped
        self._doubted: Left | None = None  # what it had before it set some of it aside
        # By epoch that it has left: the watermarks of its shards, and who the members were.
        self._epochs_left: list[tuple[dict[int, int], set[str]]] = []

    def left(self) -> Left:
        """What is in this node's directory, and on its way there.

        What it has set aside is there too, until it is kept that it did so; a crash may keep that.
        """
        known, waiting = known_of(self.node), waiting_of(self.node)
        states = self.node.store._states  # noqa: SLF001 - looking inside is the point
        if self._doubted is None or not any(state.cut for state in states):
            return known, waiting
        before, waited = self._doubted
        ends = {log: max(seq, known.frontier.get(log, 0)) for log, seq in before.frontier.items()}
        known = known._replace(
            frontier={**known.frontier, **ends},
            tentative={**known.tentative, **before.tentative},
            ids=known.ids | before.ids,
            cut={(shard, origin): seq for one in states for shard, origin, seq in one.cut},
        )
        return known, (*waited, *(one for one in waiting if one not in waited))

    def watch(self) -> None:
        """Begin to look on."""
        node = self.node
        _wrap(node.history, "settle", self._settle)
        _wrap(node.members, "enter", self._enter)
        _wrap(node.history, "insert_new", self._insert)
        _wrap(node.store, "stamp", self._stamp)
        _wrap(node.store, "append_again", self._append_again)
        _wrap(node.store, "receive", self._receive)
        _wrap(node.store, "receive_again", self._receive_again)
        _wrap(node.store, "dropped", self._dropped)
        _wrap(node.store, "doubt", self._doubt)
        _wrap(node.replication, "tell", self._tell)
        _wrap(node.replication, "give", self._give)
        _wrap(node.replication, "take", self._take)
        _wrap(node.comparing, "answered", self._answered)

    def watch_copy(self) -> None:
        """Look on at a node that runs on a copy: at what it makes alone, the rest is not judged."""
        _wrap(self.node.store, "stamp", self._make)
        _wrap(self.node.store, "append_again", self._append_again)
        _wrap(self.node.store, "doubt", self._doubt)

    def end(self, reason: str) -> None:
        """Whoever waits for an answer from here gets none, for this reason."""
        self.over = True
        for task, append in self.appends.items():
            append.lost = reason
            task.cancel()

    def _make(
        self, stamp: Callable[[Draft, int], HeldCommit]
    ) -> Callable[[Draft, int], HeldCommit]:
        def watched(draft: Draft, wall_ms: int) -> HeldCommit:
            held = stamp(draft, wall_ms)
            self._made(held)
            return held

        return watched

    def _made(self, held: HeldCommit) -> None:
        self._watcher.made(self.name, held)
        self._last = held.key
        append = self.appends.get(asyncio.current_task())  # type: ignore[arg-type]
        if append is not None:
            append.key = held.key

    def _settle(
        self, settle: Callable[[int, int, int], list[HeldCommit]]
    ) -> Callable[[int, int, int], list[HeldCommit]]:
        watcher, counts = self._watcher, self.counts

        def watched(shard: int, watermark: int, commits_max: int) -> list[HeldCommit]:
            settled = settle(shard, watermark, commits_max)
            watcher.declared(self.name, shard, watermark)
            if settled and self.over:
                watcher.history.alarms.append(f"{self.name} settled commits after its end")
            at, number = self._time(), counts.get(shard, 0)
            stray = self.node.strays.first(shard)
            for held in settled:
                there = watcher.on_disk_at(shard, held.key[2], held.seq)
                members = self._members_when_final(shard, held.key[0])
                where, count = tuple(one for one in there if one in members), len(members)
                row = row_of_held(held)
                here = self.name in there
                watcher.tell(
                    Settled(at, self.name, self.number, number, row, where, count, stray, here)
                )
                number += 1
            counts[shard] = number
            return settled

        return watched

    def _enter(self, enter: Callable[[Epoch], None]) -> Callable[[Epoch], None]:
        members, settler = self.node.members, self.node.settler

        def watched(epoch: Epoch) -> None:
            if settler.settlement is not None:
                reached = {s: settler.settlement.watermark(s) for s in range(members.shards)}
                self._epochs_left.append((reached, {member.name for member in members.table}))
            enter(epoch)

        return watched

    def _members_when_final(self, shard: int, stamp: int) -> set[str]:
        """Those by whom a commit became final; for want of room it may be called so only now."""
        for reached, members in self._epochs_left:
            if stamp <= reached[shard]:
                return members
        return {member.name for member in self.node.members.table}

    def _insert(self, insert_new: Callable[[HeldCommit], None]) -> Callable[[HeldCommit], None]:
        watcher = self._watcher

        def watched(held: HeldCommit) -> None:
            watermark = watcher.declared(self.name, held.shard)
            if held.key[0] > self.highest:
                self.highest = held.key[0]
            watcher.tell(
                Inserted(self._time(), self.name, held.shard, held.key, held.seq, watermark)
            )
            insert_new(held)

        return watched

    def _stamp(
        self, stamp: Callable[[Draft, int], HeldCommit]
    ) -> Callable[[Draft, int], HeldCommit]:
        watcher = self._watcher

        def watched(draft: Draft, wall_ms: int) -> HeldCommit:
            above = self.highest
            held = stamp(draft, wall_ms)
            marks, whole = watcher.history.marks, not self.node.store.holes.hides(held.shard)
            marks.always(whole, f"{self.name} made a commit, and lacks some that it made")
            self._made(held)
            at, (hlc, _, origin) = self._time(), held.key
            ahead = milliseconds(hlc) - EPOCH_MS - int(at * 1000)
            allowed = watcher.allowed_ms(self.name)
            watcher.stamped(held.length)
            if milliseconds(hlc) > wall_ms:
                marks.reach("a stamp ran ahead of its clock")
            watcher.tell(
                Stamped(at, self.name, origin, held.shard, held.seq, hlc, above, ahead, allowed)
            )
            return held

        return watched

    def _append_again(
        self, append_again: Callable[[HeldCommit, int], None]
    ) -> Callable[[HeldCommit, int], None]:
        def watched(stray: HeldCommit, wall_ms: int) -> None:
            append_again(stray, wall_ms)
            self._watcher.history.again[self._last] = stray.key
            self._watcher.history.marks.reach("a stray was appended again")

        return watched

    def _tell(self, tell: Callable[[Told], list[Report]]) -> Callable[[Told], list[Report]]:
        marks = self._watcher.history.marks

        def watched(told: Told) -> list[Report]:
            reports, mine = tell(told), self.node.store.origin
            for report in reports:
                if report.origin == mine and report.promise > self._promised.get(mine, 0):
                    self._promised[mine] = report.promise
                    whole = not self.node.store.holes.mine
                    marks.always(whole, f"{self.name} promises, and lacks commits that it made")
                    self._watcher.tell(Promised(self._time(), self.name, mine, report.promise))
            return reports

        return watched

    # -- what goes over links --------------------------------------------------------------------

    def _give(self, give: Callable[..., Any]) -> Callable[..., Any]:
        marks = self._watcher.history.marks

        async def watched(
            wanted: list[tuple[int, int, int, int]], bytes_max: int, *asker: str
        ) -> list[bytes]:
            commits: list[bytes] = await give(wanted, bytes_max, *asker)
            logs = tuple(part for shard, origin, *_ in wanted for part in (shard, origin))
            self._steps[logs] = self._steps.get(logs, 0) + 1 if commits else 0
            if commits:
                self._watcher.given(self.name, commits)
                marks.reach("commits were pulled")
                self._watcher.pulled(sum(len(commit) for commit in commits))
                if any(origin != self.node.store.origin for _, origin, *_ in wanted):
                    marks.reach("commits went around a broken link")
            if self._steps[logs] == _STEPS:
                marks.reach("a pull took many steps")
            return commits

        return watched

    def _answered(
        self, answered: Callable[[str, Compared], None]
    ) -> Callable[[str, Compared], None]:
        node, costs = self.node, self._costs

        def watched(name: str, answer: Compared) -> None:
            turn = node.comparing.turns[name]
            session = turn.session
            if session is None:
                answered(name, answer)
                return
            if session.rounds == 0:
                costs[name] = Cost()
            cost = costs[name]
            asked = session._asked  # noqa: SLF001 - looking inside is the point
            cost.bytes += _size(asked) + _size(answer)
            answered(name, answer)
            if answer.roots and asked is not None and asked.root != node_root(answer.roots):
                cost.shards = len(answer.roots)
                mine = node.history.trees.roots(session.cut)
                cost.differing = {n for n, root in enumerate(mine) if root != answer.roots[n]}
            if turn.session is None:
                self._watcher.history.comparisons.append(cost.of(node, session))

        return watched

    def _receive(self, receive: Callable[[Commit, bytes], None]) -> Callable[[Commit, bytes], None]:
        def watched(commit: Commit, body: bytes) -> None:
            self._taking.append((commit.shard, commit.origin, commit.seq))
            if (commit.shard, commit.origin) in self.node.store.holes:
                self._watcher.healed(len(body))
            receive(commit, body)

        return watched

    def _receive_again(
        self, receive_again: Callable[[Commit, bytes], None]
    ) -> Callable[[Commit, bytes], None]:
        def watched(commit: Commit, body: bytes) -> None:
            self._taking.append((commit.shard, commit.origin, commit.seq))
            self._watcher.healed(len(body))
            receive_again(commit, body)

        return watched

    def _dropped(self, dropped: Callable[[int], None]) -> Callable[[int], None]:
        def watched(end: int) -> None:
            self._watcher.history.marks.reach("the disk had no room in the middle of a write")
            dropped(end)

        return watched

    def _doubt(self, doubt: Callable[[], None]) -> Callable[[], None]:
        def watched() -> None:
            self._watcher.doubted(self.name)
            self._doubted = known_of(self.node), waiting_of(self.node)
            doubt()

        return watched

    def _take(self, take: Callable[[list[bytes]], Any]) -> Callable[[list[bytes]], Any]:
        history = self._watcher.history

        async def watched(commits: list[bytes], *sender: str) -> None:
            stored = self._taking = []  # `take` stores all that it does before it waits
            await take(commits, *sender)
            history.transfers.sent += len(commits)
            history.marks.reach(
                "a commit was held back", len(self.node.replication.welcome.held_back)
            )
            if len(stored) < len(commits):
                again = self._known_already(commits, set(stored))
                history.transfers.repeated += again
                history.marks.reach("a commit came again", again)

        return watched

    def _known_already(self, commits: list[bytes], stored: set[tuple[int, int, int]]) -> int:
        known = 0
        for body in commits:
            commit = read_header(body)
            log = (commit.shard, commit.origin)
            here = commit.seq <= self.node.store.arrived(*log)
            known += here and (*log, commit.seq) not in stored
        return known
