"""What happened in a world: all that the checkers need, and nothing that they must trust.

A history is data. Some of it happens at a moment (`Event`): the checkers that can judge it then
do, so that a run can stop where the first thing went wrong. The rest is looked at in the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from ..gossip.frontier import LogKey
from ..node.fold import OrderKey
from ..node.receipt import Receipt
from ..storage.commit import Draft
from .marks import Marks


class Row(NamedTuple):
    """A settled commit, as one node has it."""

    shard: int
    key: OrderKey
    seq: int
    id: bytes
    stream: str
    events: int
    expected: int
    policy: int
    hash: bytes
    outcome: int
    first_revision: int

    def __str__(self) -> str:
        stamp, _, origin = self.key
        return f"commit {self.id.hex()[:8]} of {self.stream} ({stamp:x} {origin:016x}:{self.seq})"


class Known(NamedTuple):
    """What a node knows that it has on disk: at its end, or read back at a start."""

    frontier: Mapping[LogKey, int]
    tentative: Mapping[tuple[int, int, int], bytes]  # hashes by shard, origin and sequence
    marks: tuple[tuple[int, bytes], ...]  # of each shard: settled commits, running hash
    torn: Mapping[LogKey, int] = {}  # logs that lack commits: how many there were at least
    ids: frozenset[bytes] = frozenset()  # of all that is tentative
    strays: frozenset[bytes] = frozenset()  # ids of commits without a place, on disk
    unsure: bool = False  # nor does it know how many of its own there were
    finals: Mapping[int, Mapping[int, int]] = {}  # of removed origins: the last sequence by shard
    epoch: int = 0  # its number; 0: the cluster forms, or who are its members is not known here
    cut: Mapping[LogKey, int] = {}  # where logs may end, what follows being strays

    def may_have_had(self, log: LogKey, seq: int) -> bool:
        """Whether it does not take a commit for one that never was."""
        shard, origin = log
        if origin in self.finals:  # what they cut off is held aside
            seq = min(seq, self.finals[origin].get(shard, 0))
        return self.unsure or max(self.frontier.get(log, 0), self.torn.get(log, 0)) >= seq


# -- what happens at a moment --------------------------------------------------------------------


class Stamped(NamedTuple):
    """A node gave a stamp to a commit."""

    at: float
    node: str
    origin: int
    shard: int
    seq: int
    stamp: int
    above: int  # the highest stamp of all that the node held then
    ahead_ms: int  # of true time
    allowed_ms: int  # how far that may be, as the clocks were so far


class Promised(NamedTuple):
    """A node sent a promise of its own."""

    at: float
    node: str
    origin: int
    time: int


class Inserted(NamedTuple):
    """A commit came into the tentative part of a node."""

    at: float
    node: str
    shard: int
    key: OrderKey
    seq: int
    watermark: int  # the highest that the node had declared for the shard


class Settled(NamedTuple):
    """A node called a commit settled, as the one of this number in its shard."""

    at: float
    node: str
    life: int  # which start of the node
    number: int
    row: Row
    on_disk_at: tuple[str, ...]  # of those that are members as the node knows them
    members: int = 0  # how many these are; 0: all that the world began with
    stray: OrderKey | None = None  # the first one of the shard there that had no place in the order
    here: bool = True  # whether this node has it on disk, a member or not


class Shown(NamedTuple):
    """What a node shows of a shard's settled commits: those from `first` on, to the last."""

    at: float
    node: str
    life: int
    when: str
    shard: int
    first: int
    rows: tuple[Row, ...]
    running: bytes  # the node's own hash over all of them

    def __str__(self) -> str:
        return f"{self.node} (start {self.life}, {self.when})"


class Digested(NamedTuple):
    """The digest of all that a node has settled, and how many commits that are in each shard."""

    at: float
    node: str
    counts: tuple[int, ...]
    digest: str


class Recovered(NamedTuple):
    """A node started on the disk that it had left."""

    at: float
    node: str
    origin: int
    before: Known | None  # at its end; None: it never ran
    waiting: tuple[tuple[LogKey, int, bytes], ...]  # on their way to the disk then, in log order
    after: Known
    again: tuple[Known, ...] = ()  # read back from a copy of the disk: twice, and with no index
    hurt: bool = False  # whether its disk had been damaged


class Fed(NamedTuple):
    """A node told a reader the settled events of a stretch of the one order, over HTTP."""

    at: float
    node: str
    number: int  # of the first of them, counted by this reader from the beginning of the order
    events: tuple[tuple[str, str, int], ...]  # position, stream, revision


class Left(NamedTuple):
    """A node died, and somebody looked what its log holds."""

    at: float
    node: str
    found: frozenset[tuple[bytes, str]]  # ids and streams that were not there the last time
    harmed: bool = False  # it did not die: what it had acknowledged until now need not be there


Event = Stamped | Promised | Inserted | Settled | Shown | Digested | Recovered | Fed | Left


# -- what is looked at in the end ----------------------------------------------------------------


@dataclass
class Append:
    """One request of a client: it gets a receipt, or an error, or is lost for a reason."""

    node: str
    draft: Draft
    ack: str
    began: float
    ended: float | None = None
    receipt: Receipt | None = None
    error: str | None = None  # the name of what was raised: nothing was written
    lost: str | None = None  # why no answer can tell what became of it
    key: OrderKey | None = None  # the place that it was given
    late: bool = False  # the time was up, the node could have answered, and did not
    revision: int | None = None  # of the stream a moment before, if there was a condition to check

    def __str__(self) -> str:
        return f"{self.draft.commit_id.hex()[:8]} to {self.draft.stream} at {self.node}"


@dataclass
class Probe:
    """Something that a node had to do, whatever was broken elsewhere."""

    node: str
    kind: str  # append or read
    at: float
    ended: float | None = None
    error: str | None = None


class Read(NamedTuple):
    """What a node answered who read a stream from a revision on: the first commit of it."""

    node: str
    stream: str
    revision: int
    first: int | None  # the first revision of that commit; None: there was none
    events: int


class Latest(NamedTuple):
    """What a node answered who read all that is tentative in a stream, and what it holds."""

    node: str
    stream: str
    settled_revision: int
    settled_ids: frozenset[bytes]  # of what is tentative: those that are settled already
    held: tuple[Row, ...]  # all that is tentative in the shard, as the commits say
    shown: tuple[Row, ...]  # of the stream, with what each would be now


class Comparison(NamedTuple):
    """What one comparison of two nodes cost, as the one that asked has it."""

    node: str
    bytes: int  # of all questions and answers
    rounds: int
    shards: int  # whose roots were named, as the other had another one than it was asked about
    differing: int  # of them: the two named other roots
    logs: int  # of those shards
    levels: int  # of the highest tree
    differences: int  # that it found


class Calm(NamedTuple):
    """Where nothing goes wrong, so that nothing has an excuse."""

    nodes: frozenset[str]
    within: float  # seconds that a final answer takes at most
    since: float  # when all links are up
    ahead: tuple[str, float, float] | None = None  # whose clock is, from when until when
    met_within: float = inf  # seconds, of one that meets others on its way
    waits_until: float = 0.0  # all wait for somebody who is cut off until then


class Gauge(NamedTuple):
    """Something that must not pile up, when all was quiet."""

    node: str
    what: str
    value: int
    limit: int


class Body(NamedTuple):
    """The payloads of a commit, as a node has them."""

    node: str
    row: Row
    payloads: tuple[bytes, ...]


class Refusal(NamedTuple):
    """A node that ended by itself, or did not start, and the name of its error."""

    at: float
    node: str
    error: str


class Cut(NamedTuple):
    """The roots of all shards at a stamp that all nodes have settled, by node."""

    at: float
    stamp: int
    roots: Mapping[str, tuple[bytes, ...]]


@dataclass
class Healing:
    """What was damaged and healed, in commits."""

    damaged: int = 0  # on disks
    stretches: int = 0  # of logs in which these lie
    bytes: int = 0  # of them
    healed: int = 0  # that came from peers once more
    untrue: list[str] = field(default_factory=list)  # what a node gave or held that was not so
    cuts: list[Cut] = field(default_factory=list)


@dataclass
class Transfers:
    """What went over links, in commits and bytes."""

    sent: int = 0  # commits, those that were not wanted included
    repeated: int = 0  # of them: the receiver had them already
    pulled_bytes: int = 0  # since the heal
    pulled_allowed: int | None = None  # None: nobody said when the heal was
    links: int = 0  # that were opened
    behind: int = 0  # commits that one side of them lacked then, or who had room again
    excused: bool = False  # a proxy doubled frames, or a link was too narrow for them


class Violation(NamedTuple):
    """What was wrong, and when."""

    at: float
    check: str
    problem: str

    def __str__(self) -> str:
        return f"{self.check}: at {self.at:.4f} s: {self.problem}"


@dataclass
class History:
    """One run."""

    members: tuple[str, ...] = ()
    appends: list[Append] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    latest: list[Latest] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)  # as far as they are recorded
    final: dict[str, dict[int, tuple[Row, ...]]] = field(default_factory=dict)  # by node, by shard
    tentative: dict[str, frozenset[tuple[bytes, str]]] = field(default_factory=dict)  # id, stream
    entries: dict[bytes, bytes] = field(default_factory=dict)  # what was sent, by commit hash
    bodies: list[Body] = field(default_factory=list)  # each that was read, once
    is_true: Callable[[bytes], bool] | None = None  # whether some client sends such a payload
    gauges: list[Gauge] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)  # what a node says went wrong
    refusals: list[Refusal] = field(default_factory=list)
    damages: list[tuple[str, str]] = field(default_factory=list)  # node, what was done to its disk
    lost_disks: dict[str, float] = field(default_factory=dict)  # when each node's was lost, last
    rolled_back: list[tuple[str, float, float]] = field(default_factory=list)  # node, from, at
    copied: set[str] = field(default_factory=set)  # nodes of which a copy ran beside them
    again: dict[OrderKey, OrderKey] = field(default_factory=dict)  # by copy: the stray before it
    transfers: Transfers = field(default_factory=Transfers)
    comparisons: list[Comparison] = field(default_factory=list)
    healing: Healing = field(default_factory=Healing)
    absent: set[str] = field(default_factory=set)  # nodes that were not up when all should be
    unlinked: list[str] = field(default_factory=list)  # links that were not up again in time
    unsettled: str | None = None  # what was left when the time to converge was over
    whole_after: list[float] = field(default_factory=list)  # seconds, of each time to converge
    whole_within: float | None = None  # seconds: what that may take; None: not worked out
    starts: Counter[str] = field(default_factory=Counter)  # of each node
    marks: Marks = field(default_factory=Marks)
    calm: Calm | None = None
    judged: bool = False  # whether the events were, when they happened
    violations: list[Violation] = field(default_factory=list)  # that were found then

    @property
    def first_violation(self) -> Violation | None:
        """What went wrong first, of all that was noticed when it happened."""
        return self.violations[0] if self.violations else None

    @property
    def seen(self) -> set[str]:
        """The marks that were reached."""
        return set(self.marks.counts)

    def rows(self) -> list[Row]:
        """The final settled commits of the first node, in the one order."""
        first = next(iter(self.final.values()), {})
        return sorted((row for rows in first.values() for row in rows), key=lambda row: row.key)

    def finals(self) -> Iterator[tuple[str, dict[int, tuple[Row, ...]]]]:
        """The final settled commits of the first node, and of all that have other ones."""
        first: dict[int, tuple[Row, ...]] | None = None
        for node, shards in self.final.items():
            if first is None or shards != first:
                yield node, shards
            if first is None:
                first = shards
