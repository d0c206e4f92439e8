"""A node's log, history and store without its links: what is settled, the test decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from anabranch.gossip.members import Member, Members
from anabranch.node.fold import Held, OrderKey
from anabranch.node.history import History
from anabranch.node.recovery import recover
from anabranch.node.store import Store
from anabranch.node.strays import Strays
from anabranch.simulations.world.disk import SimDisk
from anabranch.storage.commit import Draft, receive, shard_of
from anabranch.storage.errors import AnabranchError
from anabranch.storage.index import Index
from anabranch.storage.limits import SEGMENT_BYTES
from anabranch.storage.log import Log
from anabranch.storage.state import State

from .commits import ORIGINS, SHARDS, STREAMS, Verdict, body_of, commit_id

MINE = 11
PROVISIONAL = 1000
WALL_MS = 1_764_043_200_000
TABLE = tuple(
    Member(f"n{origin}", f"site{priority}", priority, f"http://n{origin}")
    for origin, priority in ORIGINS.items()
)


class Life:
    """One life of a data directory, from recovery to kill."""

    def __init__(
        self,
        disk: SimDisk,
        index: Index,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        settled_in: bool = True,
        provisional: int = PROVISIONAL,
    ) -> None:
        self.failures: list[AnabranchError] = []
        self.wall_ms = WALL_MS
        self.log = Log(
            disk,
            opening_state=lambda: self.store.state(everything=True),
            on_durable=self.durable_until,
            on_failure=self.failures.append,
            segment_bytes=segment_bytes,
        )
        self.members = Members("cluster", SHARDS, f"n{MINE}", TABLE)
        self.history = History(index, self.log, SHARDS)
        self.moved: list[Held] = []  # strays that gave way
        self.strays = Strays(self.history, self.moved.append)
        self.recovered = recover(self.log, self.history, self.members, self.strays)
        if self.recovered.state is None:
            rows = [(one.name, one.site, one.priority, 0) for one in TABLE]
            self.recovered.state = State(MINE, 1, SHARDS, "cluster", f"n{MINE}", 0, rows, {})
            self.members.identify(MINE)
        for origin in ORIGINS:
            self.members.bind(f"n{origin}", origin)
        self.store = Store(
            self.log,
            self.history,
            self.members,
            self.recovered,
            self.strays,
            1,
            provisional,
            lambda group: None,
        )
        self.store.take_place(settled_in=settled_in and self.members.is_member)

    def durable_until(self, end: int) -> None:
        self.store.durable(end)

    async def start(self) -> None:
        """As a node does: nothing is served before the first state record is on disk."""
        self.log.start()
        await self.log.wait(self.store.store_state(self.wall_ms, everything=True))

    async def append(self, draft: Draft) -> Held:
        held = self.store.stamp(draft, self.wall_ms)
        await self.log.wait(held.position)
        return held

    def receive(self, draft: Draft, origin: int, stamp: int) -> Held:
        """Take the next commit of another node; it is held once it is durable."""
        seq = self.store.arrived(shard_of(draft.stream, SHARDS), origin) + 1
        body = body_of(draft, origin, seq, stamp)
        self.store.receive(receive(body, SHARDS), body)
        return self.store._on_its_way[-1][0]

    async def durable(self) -> None:
        """All that was appended is on disk and in the history."""
        await self.log.wait(self.log.end - 1)

    async def note(self) -> None:
        """Log how far everything is settled."""
        await self.log.wait(self.store.store_state(self.wall_ms))

    def settle(self, watermark: int, *, commits_max: int = 1 << 30) -> list[Held]:
        settled = []
        for shard in range(SHARDS):
            until = self.strays.limit(shard, watermark)
            settled += self.history.settle(shard, until, commits_max)
            self.history.write_settled()
            self.store.note_settled(shard, self.history.mark(shard).watermark)
        return settled


@dataclass
class Picture:
    """All that a history shows of its settled part, and what it holds besides."""

    marks: list[Any] = field(default_factory=list)
    order: list[Any] = field(default_factory=list)
    conflicts: list[Any] = field(default_factory=list)
    streams: dict[str, list[Any]] = field(default_factory=dict)
    names: list[tuple[str, int]] = field(default_factory=list)
    ids: dict[tuple[int, int], Any] = field(default_factory=dict)
    logs: dict[tuple[int, int], list[Any]] = field(default_factory=dict)
    frontier: dict[tuple[int, int], int] = field(default_factory=dict)
    roots: list[bytes] = field(default_factory=list)
    tentative: list[Any] = field(default_factory=list)


def picture(history: History) -> Picture:
    end = (1 << 64) - 2
    shown = Picture()
    shown.marks = [history.mark(shard) for shard in range(SHARDS)]
    shown.order = list(history.settled_order((0, 0, 0), end))
    shown.conflicts = list(history.settled_order((0, 0, 0), end, conflicts=True))
    for name in STREAMS:
        shown.streams[name] = list(history.settled_places(name, 0))
        backwards = list(history.settled_places(name, 1 << 40, reverse=True))
        assert backwards == shown.streams[name][::-1]
    shown.names = history.names("", None, 1000)
    for shard in range(SHARDS):
        for number in range(40):
            found = history.find(commit_id(number), shard)
            shown.ids[number, shard] = found.key if isinstance(found, Held) else found
        for origin in ORIGINS:
            shown.logs[shard, origin] = list(history.log_entries(shard, origin, 0))
    shown.frontier = dict(history.settled)
    shown.roots = history.trees.roots(end)
    shown.tentative = sorted(
        (one.held.key, one.outcome, one.first_revision) for one in history.all_tentative()
    )
    return shown


def verdicts(history: History) -> dict[OrderKey, Verdict]:
    """What a history says of every commit that it holds."""
    settled = history.settled_order((0, 0, 0), (1 << 64) - 2)
    found = {
        (place.stamp, place.priority, place.origin): (place.outcome, place.first_revision)
        for place in settled
    }
    for one in history.all_tentative():
        found[one.held.key] = (one.outcome, one.first_revision)
    return found
