"""What clients do: operations and payloads, worked out from the seed, the client and a number.

A payload begins with what it was made from, so that a checker can make it again from nothing but
the bytes it found. Tokens and subscriptions will be further kinds of operations here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random as Generator
from typing import NamedTuple

from ...storage.commit import (
    EXPECT_ANY,
    EXPECT_EXISTS,
    EXPECT_NONE,
    KEEP,
    REJECT,
    Draft,
    keyed_commit_id,
    listed_commit_id,
)
from .plan import Client

_SHARED = "shared"  # stands for a client where any client sends the same


class Shape(NamedTuple):
    """What appends are like; the weights were read off the recordings that are named."""

    streams: int  # that a client writes to
    hottest: float  # share of appends that go to the first of them
    sizes: tuple[int, ...]  # of payloads, in bytes; one is drawn
    events: tuple[int, ...]  # of a commit; one is drawn
    together: tuple[int, ...]  # operations that come at one moment; one is drawn


SHAPES: dict[str, Shape] = {
    # everything at once: what finds most in a short run
    "mixed": Shape(4, 0.25, (0, 10, 10, 100, 1000), (1, 1, 1, 3), (1, 1, 2, 4, 8)),
    # one instrument takes all, in short lines (LOBSTER, AMZN 2012-06-21: 57,515 lines of 37 bytes)
    "hot": Shape(2, 0.95, (30, 37, 45), (1,), (1, 1, 1, 2)),
    # 93 of 100 pages get one edit a day (Wikipedia, 2015-09-12: 35,143 pages, 39,244 edits)
    "tiny": Shape(5000, 0.0, (150, 300, 500), (1,), (1,)),
    # many commits in few bytes
    "dust": Shape(50, 0.1, (0,), (1,), (8,)),
    # quiet, then dozens within a millisecond (LOBSTER: nine in ten come alone, one in 1,000 with
    # 22 others)
    "bursts": Shape(20, 0.3, (120,), (1, 1, 5), (1,) * 18 + (3, 23)),
}


def payload(seed: int, client: str, number: int, event: int, size: int) -> bytes:
    """The bytes of one event: what it is made from, then `size` bytes of filling."""
    head = f"{client}/{number}/{event}/{size}\n".encode()
    if not size:
        return head
    digest = hashlib.blake2b(b"%d/%s" % (seed, head)).digest()
    return head + (digest * (size // len(digest) + 1))[:size]


def payload_is_true(seed: int, data: bytes) -> bool:
    """Whether the bytes of an event are those that a client of this seed made."""
    try:
        client, number, event, size = data.partition(b"\n")[0].decode().rsplit("/", 3)
        return data == payload(seed, client, int(number), int(event), int(size))
    except ValueError:
        return False


@dataclass(frozen=True)
class Write:
    """An append to send, and where; None: where the client is at home."""

    draft: Draft
    at: str | None = None


class Script:
    """What one client does next; `revision` tells the revision of a stream as some node has it."""

    def __init__(self, seed: int, client: Client, revision: Callable[[str], int]) -> None:
        self._seed = seed
        self._client = client
        self._shape = SHAPES[client.shape]
        self._revision = revision
        self._luck = Generator(f"client {seed} {client.name}")
        self._number = 0
        self._sent: list[Draft] = []

    def pause(self) -> float:
        """Seconds until the next operations; the rate is kept whatever the shape."""
        together = self._shape.together
        return self._luck.expovariate(self._client.rate * len(together) / sum(together))

    def together(self) -> int:
        """How many operations come at once."""
        return self._luck.choice(self._shape.together)

    def reads(self) -> bool:
        """Whether the next operation is a read."""
        return self._luck.random() < self._client.reads

    def waits(self) -> bool:
        """Whether the next append waits until its place is final."""
        return self._luck.random() < self._client.ack_settled

    def write(self, nodes: list[str]) -> list[Write]:
        """The next append; or several for one new stream, each at a node of its own."""
        if self._client.shape == "mixed" and self._luck.random() < self._client.conditional / 4:
            return self._contest(nodes)
        if self._sent and self._luck.random() < self._client.retries:
            return [Write(self._luck.choice(self._sent), self._luck.choice([None, *nodes]))]
        draft = self._draft()
        self._sent.append(draft)
        del self._sent[:-50]
        if self._client.doubles and self._luck.random() < self._client.doubles:
            home = self._luck.choice([name for name in nodes if name in self._client.at] or nodes)
            return [Write(draft, home), Write(draft, home)]
        return [Write(draft)]

    def _draft(self) -> Draft:
        if self._luck.random() < self._client.conditional:
            return self._conditional()
        if self._client.shape == "mixed":
            kind = self._luck.random()
            if kind < 0.2:
                return self._keyed()
            if kind < 0.4:
                return self._listed()
            if kind < 0.45:
                return self._astray()
        return self._make(self._stream())

    def _stream(self) -> str:
        shape = self._shape
        hot = self._luck.random() < shape.hottest
        number = 0 if hot else self._luck.randrange(shape.streams)
        return f"s{number}" if shape.streams <= 20 else f"{self._client.name} {number}"

    def _make(self, stream: str, *, expected: int = EXPECT_ANY, policy: int = REJECT) -> Draft:
        self._number += 1
        number, name = self._number, self._client.name
        size, count = self._luck.choice(self._shape.sizes), self._luck.choice(self._shape.events)
        payloads = [payload(self._seed, name, number, event, size) for event in range(count)]
        commit_id = hashlib.blake2b(f"{self._seed} {name} {number}".encode(), digest_size=16)
        return Draft(
            stream,
            ["t"],
            payloads,
            commit_id=commit_id.digest(),
            expected=expected,
            policy=policy,
        )

    def _keyed(self) -> Draft:
        """A key out of few, so that it comes at several nodes, mostly with one body."""
        number = self._luck.randrange(12)
        stream, key = f"s{number % 4}", f"key {number}"
        who, which = _SHARED, number
        if self._luck.random() < 0.1:
            self._number += 1
            who, which = self._client.name, self._number
        body = payload(self._seed, who, which, 0, 10)
        return Draft(stream, ["t"], [body], commit_id=keyed_commit_id(stream, key))

    def _listed(self) -> Draft:
        """Events with their own ids, out of few."""
        number = self._luck.randrange(8)
        stream = f"s{number % 4}"
        ids = number.to_bytes(16, "big") + (number + 100).to_bytes(16, "big")
        bodies = [payload(self._seed, _SHARED, 100 + number, event, 5) for event in range(2)]
        return Draft(stream, ["a", "b"], bodies, commit_id=listed_commit_id(stream, ids), ids=ids)

    def _astray(self) -> Draft:
        """A commit id that comes again for another stream of the same shard."""
        number = self._luck.randrange(3)
        body = payload(self._seed, _SHARED, 200 + number, 0, 0)
        commit_id = self._luck.randrange(4).to_bytes(16, "big")
        return Draft(f"{{astray}} {number}", ["t"], [body], commit_id=commit_id)

    def _conditional(self) -> Draft:
        stream = f"c{self._luck.randrange(3)}"
        seen = self._revision(stream)
        expected = self._luck.choice([seen, seen, seen, EXPECT_EXISTS, EXPECT_ANY, EXPECT_NONE])
        return self._make(stream, expected=expected, policy=self._luck.choice([REJECT, KEEP]))

    def _contest(self, nodes: list[str]) -> list[Write]:
        stream = f"contest {self._client.name} {self._number}"
        writes = []
        for node in nodes:
            if self._luck.random() < 0.7:
                policy = self._luck.choice([REJECT, KEEP])
                draft = self._make(stream, expected=EXPECT_NONE, policy=policy)
                writes.append(Write(draft, node))
        return writes
