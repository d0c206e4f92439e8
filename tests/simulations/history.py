"""What happened in a world: all that the checkers need, and nothing that they must trust.

A history is data. Clients' appends with their answers, what each node called settled and when,
stamps and promises in the order in which they were made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from anabranch.gossip.frontier import LogKey
from anabranch.node.fold import OrderKey
from anabranch.node.receipt import Receipt
from anabranch.storage.commit import Draft


class Row(NamedTuple):
    """A settled commit, as one node has it."""

    shard: int
    key: OrderKey
    seq: int
    id: bytes
    stream: str
    count: int
    expected: int
    policy: int
    entry: bytes
    outcome: int
    first_revision: int

    def __str__(self) -> str:
        stamp, _, origin = self.key
        return f"commit {self.id.hex()[:8]} of {self.stream} ({stamp:x} {origin:016x}:{self.seq})"


class Prefix(NamedTuple):
    """A shard's settled commits at a node, in its order, at one moment or up to it."""

    node: str
    life: int  # which start of the node
    when: str
    shard: int
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        return f"{self.node} (start {self.life}, {self.when})"


@dataclass
class Append:
    """One request of a client. Without a receipt and without an error it never was answered."""

    node: str
    draft: Draft
    ack: str
    began: float
    ended: float | None = None
    receipt: Receipt | None = None
    error: str | None = None  # the name of what was raised: nothing was written

    def __str__(self) -> str:
        return f"{self.draft.commit_id.hex()[:8]} to {self.draft.stream} at {self.node}"


class Stamped(NamedTuple):
    """A node gave a stamp to a commit, when it held others up to these sequences of their logs."""

    origin: int
    shard: int
    seq: int
    stamp: int
    held: dict[LogKey, int]


class Promised(NamedTuple):
    """A node sent a promise of its own."""

    origin: int
    time: int


class Held(NamedTuple):
    """When a node called a commit settled, these had it on disk."""

    by: str
    row: Row
    on_disk_at: tuple[str, ...]


@dataclass
class History:
    """One run."""

    members: tuple[str, ...] = ()
    appends: list[Append] = field(default_factory=list)
    prefixes: list[Prefix] = field(default_factory=list)
    final: dict[str, dict[int, tuple[Row, ...]]] = field(default_factory=dict)  # by node, by shard
    steps: list[Stamped | Promised] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)  # what a node says went wrong
    unsettled: str | None = None  # what was left when the time to converge was over
    seen: set[str] = field(default_factory=set)  # states that a campaign should reach

    def rows(self) -> list[Row]:
        """The final settled commits of the first node, in the one order."""
        first = next(iter(self.final.values()), {})
        return sorted((row for rows in first.values() for row in rows), key=lambda row: row.key)
