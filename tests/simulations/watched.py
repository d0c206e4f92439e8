"""A world that writes down what happens in it.

It looks at the nodes from outside, at the seams and at four calls inside; a node does nothing
different because of it. Everything that is sent goes into `trace`, so two runs can be compared.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from anabranch.gossip.transport import Link, Network
from anabranch.node.fold import Held as HeldCommit
from anabranch.node.node import Node
from anabranch.simulations.world import World
from anabranch.storage.commit import Draft, shard_of
from anabranch.storage.errors import AnabranchError, SyncFailed, Unconfirmed
from anabranch.storage.index import MemoryIndex
from anabranch.storage.stamp import STAMP_MAX

from .history import Append, Held, History, Prefix, Promised, Row, Stamped


class Trace:
    """A running hash over everything that was sent and answered."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, *parts: object) -> None:
        """Take in one more event."""
        self._hash.update(repr(parts).encode())

    @property
    def hex(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest()


class WatchedLink:
    """A link whose frames go into the trace."""

    def __init__(self, link: Link, name: str, trace: Trace) -> None:
        self._link = link
        self._name = name
        self._trace = trace

    async def send(self, frame: bytes) -> None:
        """Send a frame."""
        self._trace.add(asyncio.get_running_loop().time(), self._name, frame)
        await self._link.send(frame)

    async def receive(self) -> bytes:
        """The next frame."""
        return await self._link.receive()

    async def close(self) -> None:
        """End the link."""
        await self._link.close()


class WatchedPort:
    """A way into the network whose links are watched."""

    def __init__(self, port: Network, name: str, trace: Trace) -> None:
        self._port = port
        self._name = name
        self._trace = trace

    async def connect(self, url: str) -> Link:
        """Open a link."""
        return WatchedLink(await self._port.connect(url), self._name, self._trace)

    async def close(self) -> None:
        """Let go of everything."""
        await self._port.close()


class Life:
    """One node from a start to its end."""

    def __init__(self, name: str, number: int, node: Node) -> None:
        self.name = name
        self.number = number
        self.node = node
        self.over = False
        self.settled: dict[int, list[Row]] = {}
        self.tasks: set[asyncio.Task[None]] = set()


class WatchedWorld(World):
    """A world with a history."""

    def __init__(self, seed: int, sites: list[tuple[str, int]], **options: Any) -> None:
        super().__init__(seed, sites, **options)
        self.history = History(tuple(self.names))
        self.trace = Trace()
        self.lives: dict[str, Life] = {}
        self._starts = dict.fromkeys(self.names, 0)

    # -- life and death --------------------------------------------------------------------------

    async def start(self, *names: str) -> None:
        """Start nodes; all if none is named."""
        for name in names or self.names:
            await super().start(name)
            self._watch(name)

    async def crash(self, name: str) -> None:
        """Kill a node, and whoever waits for its answer gets none."""
        life = self.lives[name]
        await super().crash(name)
        self._end(life)

    async def stop_one(self, name: str) -> None:
        """End one node in order."""
        life, node = self.lives[name], self.nodes.pop(name)
        self.network.down(name)
        await node.stop()
        self._end(life)

    def lose_index(self, name: str) -> None:
        """Delete the index of a node that is down."""
        self.history.seen.add("an index was lost")
        self.indexes[name] = MemoryIndex()

    def flush_index(self, name: str) -> None:
        """What is in the index now survives a crash, as when a memory table is full."""
        self.indexes[name].flush()

    def finish(self) -> None:
        """Note what is settled at the end."""
        for name in sorted(self.nodes):
            self.note_prefixes(name, "final")
            rows = self._rows(self.nodes[name])
            self.history.final[name] = {shard: tuple(found) for shard, found in rows.items()}
            self._note_alarms(self.lives[name])

    def _end(self, life: Life) -> None:
        life.over = True
        for task in life.tasks:
            task.cancel()
        self._note_alarms(life)
        for shard, rows in life.settled.items():
            self.history.prefixes.append(
                Prefix(life.name, life.number, "as it happened", shard, tuple(rows))
            )

    # -- appends ---------------------------------------------------------------------------------

    def append(self, name: str, draft: Draft, ack: str, timeout: float) -> asyncio.Task[None]:
        """Let a client append at a node; what comes of it goes into the history."""
        life = self.lives[name]
        done = Append(name, draft, ack, self.loop_time())
        self.history.appends.append(done)
        task = asyncio.get_running_loop().create_task(self._append(life, done, timeout))
        life.tasks.add(task)
        task.add_done_callback(life.tasks.discard)
        return task

    async def _append(self, life: Life, done: Append, timeout: float) -> None:
        try:
            done.receipt = await life.node.append(done.draft, ack=done.ack, timeout=timeout)
        except (asyncio.CancelledError, Unconfirmed):
            return  # nobody can say whether it was kept
        except AnabranchError as error:
            done.error = type(error).__name__
        done.ended = self.loop_time()
        self.trace.add(done.ended, done.node, done.receipt, done.error)

    def loop_time(self) -> float:
        """Seconds since the world began."""
        return asyncio.get_running_loop().time()

    # -- looking on ------------------------------------------------------------------------------

    def _watch(self, name: str) -> None:
        node = self.nodes[name]
        self._starts[name] += 1
        life = self.lives[name] = Life(name, self._starts[name], node)
        life.settled = self._rows(node)
        self.note_prefixes(name, "read back")
        if node.log.torn is not None:
            self.history.seen.add("a torn tail was cut")
        if life.settled:
            self.history.seen.add("settled commits were read back")
        for dialer in node.replication.dialers.values():
            dialer._network = WatchedPort(dialer._network, name, self.trace)

        async def answer(link: Link) -> None:
            await node.answer(WatchedLink(link, name, self.trace))

        self.network.listen(name, answer)
        self._watch_settling(life)
        self._watch_stamps(node)
        self._watch_promises(life)
        self._watch_pulls(node)

    def _watch_settling(self, life: Life) -> None:
        settle = life.node.history.settle

        def watched(shard: int, watermark: int, commits_max: int) -> list[HeldCommit]:
            settled = settle(shard, watermark, commits_max)
            if settled and life.over:
                self.history.alarms.append(f"{life.name} settled commits after its end")
            for held in settled:
                row = self._row_of_held(life.node, held)
                life.settled.setdefault(shard, []).append(row)
                self.history.held.append(Held(life.name, row, self._on_disk_at(row)))
            return settled

        life.node.history.settle = watched  # type: ignore[method-assign]

    def _watch_stamps(self, node: Node) -> None:
        stamp = node.store.stamp

        def watched(draft: Draft, wall_ms: int) -> HeldCommit:
            held = stamp(draft, wall_ms)
            stamp_, _, origin = held.key
            before = dict(node.store.frontier.items())
            self.history.steps.append(Stamped(origin, held.shard, held.seq, stamp_, before))
            return held

        node.store.stamp = watched  # type: ignore[method-assign]

    def _watch_promises(self, life: Life) -> None:
        tell = life.node.replication.tell

        def watched(told: Any) -> Any:
            reports = tell(told)
            mine = life.node.store.origin
            self.history.steps += [
                Promised(mine, report.promise) for report in reports if report.origin == mine
            ]
            return reports

        life.node.replication.tell = watched  # type: ignore[method-assign]

    def _watch_pulls(self, node: Node) -> None:
        give = node.replication.give

        async def watched(wanted: list[tuple[int, int, int]], bytes_max: int) -> list[bytes]:
            commits = await give(wanted, bytes_max)
            if commits:
                self.history.seen.add("commits were pulled")
                if any(origin != node.store.origin for _, origin, _ in wanted):
                    self.history.seen.add("commits went around a broken link")
            return commits

        node.replication.give = watched  # type: ignore[method-assign]

    def note_prefixes(self, name: str, when: str) -> None:
        """Read all that a node has settled, as a reader would."""
        life = self.lives[name]
        for shard, rows in self._rows(life.node).items():
            self.history.prefixes.append(Prefix(name, life.number, when, shard, tuple(rows)))

    def _rows(self, node: Node) -> dict[int, list[Row]]:
        rows: dict[int, list[Row]] = {}
        for place in node.history.settled_order((0, 0, 0), STAMP_MAX - 1):
            commit = node.history.header(place.position, place.length)
            key = (place.stamp, place.priority, place.origin)
            row = Row(
                shard_of(commit.stream, self.config.shards),
                key,
                commit.seq,
                commit.id,
                commit.stream,
                commit.count,
                commit.expected,
                commit.policy,
                commit.entry,
                place.outcome,
                place.first_revision,
            )
            rows.setdefault(row.shard, []).append(row)
        return rows

    def _row_of_held(self, node: Node, held: HeldCommit) -> Row:
        return Row(
            held.shard,
            held.key,
            held.seq,
            held.id,
            held.stream,
            held.count,
            held.expected,
            held.policy,
            node.history.header(held.position, held.length).entry,
            held.outcome,
            held.first_revision,
        )

    def _on_disk_at(self, row: Row) -> tuple[str, ...]:
        log = (row.shard, row.key[2])
        return tuple(
            name for name, life in self.lives.items() if life.node.store.frontier[log] >= row.seq
        )

    def _note_alarms(self, life: Life) -> None:
        node, alarms = life.node, self.history.alarms
        if node.replication.held_back:
            self.history.seen.add("a commit was held back")
        if node.log.segments > 2:
            self.history.seen.add("the log had many segments")
        if isinstance(node.failure, SyncFailed):
            self.history.seen.add("a node ended with its disk")
        elif node.failure is not None:
            alarms.append(f"{life.name} ended: {node.failure}")
        if node.replication.stranger is not None:
            alarms.append(f"{life.name} is a stranger: {node.replication.stranger}")
        alarms += [f"{life.name} disputes: {why}" for why in node.settler.disputes.values()]
