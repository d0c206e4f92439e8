"""How a replay reaches the nodes: batches of one stream each, with keys that make repeats harmless.

A batch's key is made from the file's name, the batch's first line and its content. So a replay that
was broken off is simply run again, and a batch whose answer was lost is sent to the next node: what
is there already is answered as the first time, and stands in the history once.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from ..storage.limits import COMMIT_EVENTS_MAX, MIB
from .client import NDJSON, Client
from .errors import BadInput, CommandError, NodeRefused, NodeUnreachable
from .lanes import Lanes
from .mapping import Outgoing

BATCH_BYTES_MAX = 4 * MIB  # half of what a commit may have
ROUNDS_MAX = 20  # over all nodes, before a batch is given up
PAUSE_SECONDS = 0.5  # between two rounds


@dataclass(frozen=True)
class Batch:
    """Events of one stream that go out as one commit."""

    stream: str
    first_line: int
    last_line: int
    bodies: list[bytes]

    def body(self) -> bytes:
        """What is sent: an event a line."""
        return b"\n".join(self.bodies) + b"\n"

    def key(self, prefix: str) -> str:
        """The idempotency key: the same rows of the same file always have the same."""
        content = blake2b(self.body(), digest_size=12).hexdigest()
        return f"{prefix}:{self.first_line}:{content}"

    def places(self) -> str:
        """The lines it came from, for messages."""
        if self.first_line == self.last_line:
            return f"line {self.first_line}"
        return f"lines {self.first_line} to {self.last_line}"


async def batches(events: AsyncIterator[Outgoing], window: int) -> AsyncIterator[Batch]:
    """Group the events of each `window` rows by stream; the order within a stream stays."""
    gathered: dict[str, list[Outgoing]] = {}
    many = 0
    async for event in events:
        gathered.setdefault(event.stream, []).append(event)
        many += 1
        if many == window:
            for batch in _cut(gathered):
                yield batch
            gathered, many = {}, 0
    for batch in _cut(gathered):
        yield batch


def _cut(gathered: dict[str, list[Outgoing]]) -> list[Batch]:
    made = []
    for stream, events in gathered.items():
        part: list[Outgoing] = []
        size = 0
        for event in events:
            size += len(event.body) + 1
            if part and (size > BATCH_BYTES_MAX or len(part) == COMMIT_EVENTS_MAX):
                made.append(_batch(stream, part))
                part, size = [], len(event.body) + 1
            part.append(event)
        made.append(_batch(stream, part))
    return sorted(made, key=lambda batch: batch.first_line)


def _batch(stream: str, events: list[Outgoing]) -> Batch:
    return Batch(stream, events[0].line, events[-1].line, [event.body for event in events])


@dataclass
class Sent:
    """What one node took."""

    url: str
    events: int = 0
    commits: int = 0
    duplicates: int = 0
    unreached: int = 0


@dataclass
class Sender:
    """Sends batches to nodes; when a node does not answer, to the next one."""

    nodes: list[Client]
    prefix: str
    by_stream: bool
    lanes: Lanes
    rate: float | None = None
    progress: Callable[[int], None] = lambda _: None
    sent: dict[str, Sent] = field(init=False)
    _turn: int = 0
    _due: float = 0.0
    _tokens: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sent = {node.url: Sent(node.url) for node in self.nodes}

    async def send(self, batch: Batch) -> None:
        """Put one batch on its way; returns when there is room for the next."""
        await self._pace(len(batch.bodies))
        home = self._home(batch.stream)

        async def job() -> None:
            await self._deliver(batch, home)

        await self.lanes.put(self.nodes[home].url, batch.stream, job)

    def _home(self, stream: str) -> int:
        if self.by_stream:
            return zlib.crc32(stream.encode("utf-8", "surrogatepass")) % len(self.nodes)
        self._turn += 1
        return (self._turn - 1) % len(self.nodes)

    async def _pace(self, events: int) -> None:
        if self.rate is None:
            return
        now = asyncio.get_running_loop().time()
        wait = self._due - now
        self._due = max(self._due, now) + events / self.rate
        if wait > 0:
            await asyncio.sleep(wait)

    async def _deliver(self, batch: Batch, home: int) -> None:
        tried: CommandError | None = None
        for attempt in range(ROUNDS_MAX * len(self.nodes)):
            node = self.nodes[(home + attempt) % len(self.nodes)]
            try:
                await self._append(node, batch)
            except NodeUnreachable as error:
                tried = error
            except NodeRefused as error:
                if not error.passing:
                    raise BadInput(f"{batch.places().capitalize()}: {error}") from None
                tried = error
            else:
                self.progress(len(batch.bodies))
                return
            self.sent[node.url].unreached += 1
            if (attempt + 1) % len(self.nodes) == 0:
                await asyncio.sleep(PAUSE_SECONDS)
        raise CommandError(
            f"{batch.places().capitalize()} could be sent to no node. {tried} What was sent is "
            "kept: run the same replay again to go on."
        )

    async def _append(self, node: Client, batch: Batch) -> None:
        headers = {"Content-Type": NDJSON, "Idempotency-Key": batch.key(self.prefix)}
        before, token = self._tokens.get(batch.stream, ("", ""))
        if token and before != node.url:
            headers["Anabranch-Token"] = token  # keep the stream's order over nodes
        _, answer, token = await node.append(batch.stream, batch.body(), headers=headers)
        if not self.by_stream:
            self._tokens[batch.stream] = (node.url, token)
        taken = self.sent[node.url]
        taken.events += len(batch.bodies)
        taken.commits += 1
        taken.duplicates += len(batch.bodies) if answer.duplicate else 0
