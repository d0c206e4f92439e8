"""Reads at nodes as clients do, and writes down what they were shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from ...node.digest import digest
from ...node.fold import ACCEPTED, KEPT, OrderKey
from ...node.node import Node
from ...storage.errors import DamagedLog
from ..history import Digested, Event, History, Latest, Read, Row, Shown
from ..world.world import World
from .reading import Reader, key_of_tail, known_tentative, row_of_standing, settled_revision


class Viewer:
    """All reads in one world; `order` is the one order, as far as any node has shown it."""

    def __init__(
        self,
        world: World,
        history: History,
        order: Mapping[int, Sequence[Row]],
        tell: Callable[[Event], None],
    ) -> None:
        self._world = world
        self._history = history
        self._order = order
        self._tell = tell
        self._reader = Reader(history)
        self._waiting: set[asyncio.Task[None]] = set()  # who wait for a heal

    def prefixes(self, name: str, when: str) -> list[Row]:
        """What a node has settled: all of it if it is not much, else the end."""
        node, shards = self._world.nodes[name], self._world.config.shards
        counts = [node.history.mark(shard).commits for shard in range(shards)]
        after = key_of_tail(self._order, counts)
        try:
            rows = self.show(name, when, after)
        except DamagedLog as error:
            node.repair.notice(error)  # as whoever serves a reader does
            if when == "read":
                self._read_later(name, after)
            return []
        if when == "read":
            self.note_digest(name)
            self._read_within(node, rows)
            self.read_latest(name)
        return [row for of_shard in rows.values() for row in of_shard]

    def show(self, name: str, when: str, after: OrderKey) -> dict[int, list[Row]]:
        """What a node has settled after a place in the order. Raises DamagedLog."""
        node, life = self._world.nodes[name], self._history.starts[name]
        rows = self._reader.rows(node, self._world.config.shards, after)
        at = asyncio.get_running_loop().time()
        for shard, shown in rows.items():
            mark = node.history.mark(shard)
            first = mark.commits - len(shown)
            self._tell(Shown(at, name, life, when, shard, first, tuple(shown), mark.running))
        return rows

    def note_digest(self, name: str) -> None:
        """What a node says over all that it has settled."""
        node, shards = self._world.nodes[name], self._world.config.shards
        counts = tuple(node.history.mark(shard).commits for shard in range(shards))
        at = asyncio.get_running_loop().time()
        self._tell(Digested(at, name, counts, digest(node)["settled"]["hash"]))

    def _read_within(self, node: Node, rows: dict[int, list[Row]]) -> None:
        """Read a stream from the middle of its last commit that has one."""
        shown = [row for of_shard in rows.values() for row in of_shard if row.events > 1]
        row = next((row for row in reversed(shown) if row.outcome in (ACCEPTED, KEPT)), None)
        if row is None:
            return
        revision = row.first_revision + row.events // 2
        place = next(iter(node.history.settled_places(row.stream, revision)), None)
        first, events = (None, 0) if place is None else (place.first_revision, place.events)
        self._history.reads.append(Read(node.me.name, row.stream, revision, first, events))

    def read_latest(self, name: str) -> None:
        """Read the tentative part of the stream of each shard's first commit that has no place."""
        node = self._world.nodes[name]
        for shard in node.history.pending_shards:
            first = node.history.first_pending(shard)
            assert first is not None, "the shard has some"
            known = known_tentative(node, shard)
            self._history.latest.append(
                Latest(
                    name,
                    first.stream,
                    settled_revision(node, first.stream),
                    frozenset(row.id for row, again in known if again),
                    tuple(row for row, _ in known),
                    tuple(map(row_of_standing, node.history.tentative(first.stream, shard, -1))),
                )
            )

    def _read_later(self, name: str, after: OrderKey) -> None:
        """Wait for a heal as long as a reader has to."""
        node = self._world.nodes[name]

        async def show() -> None:
            self.show(name, "read", after)

        async def wait() -> None:
            with suppress(DamagedLog, KeyError):  # it may end meanwhile
                await node.repair.around(show)
                self._history.marks.reach("a reader waited for a heal")

        context = self._world.contexts[name].copy()
        task = asyncio.get_running_loop().create_task(wait(), context=context)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
