"""What a node answers, as far as the commands look at it. Fields that are not named are ignored."""

from __future__ import annotations

from typing import Any

import msgspec


class Appended(msgspec.Struct):
    """The answer to an append."""

    commit: str
    stream: str
    position: str
    first_revision: int | None
    last_revision: int | None
    settled: bool = False
    acked: str = "local"
    duplicate: bool = False
    outcome: str = "tentative"


class Event(msgspec.Struct):
    """One event as a page shows it; `data` stays as it came."""

    revision: int
    position: str
    commit: str
    id: str
    type: str
    stream: str = ""
    settled: bool = False
    origin: str = ""
    site: str = ""
    recorded: str = ""
    time: str | msgspec.UnsetType | None = msgspec.UNSET
    data: msgspec.Raw = msgspec.Raw(b"null")
    data_base64: str | msgspec.UnsetType | None = msgspec.UNSET
    content_type: str | msgspec.UnsetType | None = msgspec.UNSET
    metadata: dict[str, str] | msgspec.UnsetType | None = msgspec.UNSET
    tags: list[str] | msgspec.UnsetType | None = msgspec.UNSET


class Page(msgspec.Struct):
    """A page of events, of one stream or of all; `next` is where the following one begins."""

    events: list[Event]
    end: bool = True
    next: int | str | None = None
    stream: str = ""
    settled_revision: int | None = None
    last_revision: int | None = None


class Member(msgspec.Struct):
    """One member of the cluster, as a node knows it."""

    name: str
    site: str
    url: str
    priority: int = 0
    origin: str | None = None
    self_: bool = msgspec.field(default=False, name="self")


class Peer(msgspec.Struct):
    """One link of a node, and how far the node at its other end is behind."""

    name: str
    site: str
    link: str
    since_seconds: float = 0.0
    error: str | None = None
    lag_commits: int = 0
    lag_seconds: float | None = None
    clock_offset_ms: float | None = None
    held_back: int = 0
    bytes_sent: dict[str, int] = {}
    bytes_received: dict[str, int] = {}


class HeldBackBy(msgspec.Struct):
    """A member that the watermark waits for; `since_seconds` is unknown if it was never seen."""

    name: str
    since_seconds: float | None = None
    why: str = ""


class Watermark(msgspec.Struct):
    """How far a node has settled, and who keeps it from going on."""

    time: str | None = None
    age_seconds: float | None = None
    held_back_by: list[HeldBackBy] = []
    tentative_commits: int = 0
    settled_commits: int = 0


class LogSize(msgspec.Struct):
    """What a node's log takes on its disk."""

    bytes: int = 0
    segments: int = 0
    sealed_segments: int = 0


class Repair(msgspec.Struct):
    """Damage that a node has found on its disk, and what became of it."""

    missing_commits: int = 0
    healed_commits: int = 0


class Joining(msgspec.Struct):
    """How much a node that is no member has copied."""

    copied: int
    of: int


class UnderWay(msgspec.Struct):
    """What a node wants to be changed among the members, and who has to come back for that."""

    state: str = "stable"
    wanted: list[str] = []
    waits_for: list[str] = []


class Status(msgspec.Struct):
    """What a node says of itself, its links and its watermark."""

    node: str
    site: str
    cluster: str
    state: str
    watermark: Watermark
    members: list[Member]
    peers: list[Peer]
    origin: str = ""
    epoch: int = 0
    shards: int = 0
    version: str = ""
    uptime_seconds: float = 0.0
    needs: list[str] = []
    disputed_shards: list[int] = []
    log: LogSize = msgspec.field(default_factory=LogSize)
    repair: Repair = msgspec.field(default_factory=Repair)
    joining: Joining | None = None
    strays: int = 0
    membership: UnderWay = msgspec.field(default_factory=UnderWay)


class MemberState(msgspec.Struct):
    """One member, and whether it is there."""

    name: str
    site: str
    url: str
    self_: bool = msgspec.field(default=False, name="self")
    link: str | None = None
    silent_seconds: float | None = None
    suspected_since: str | None = None
    will_be: str | None = None


class WaitingNode(msgspec.Struct):
    """A node that is there, and no member."""

    name: str
    site: str
    url: str
    asks: bool = False


class MembersAnswer(msgspec.Struct):
    """Who belongs to the cluster; after an order, whether it is done, and if not why."""

    node: str
    cluster: str
    epoch: int
    members: list[MemberState]
    state: str = "stable"
    wanted: list[str] = []
    waiting: list[WaitingNode] = []
    done: bool = False
    why: str = ""


class MembersCheck(msgspec.Struct):
    """What an order would do."""

    change: str
    possible: bool
    objection: str | None = None
    needs_force: str | None = None
    says: list[str] = []


class SettledDigest(msgspec.Struct):
    """The settled history in three numbers: equal hashes mean equal histories."""

    commits: int
    events: int
    hash: str


class ShardDigest(msgspec.Struct):
    """The settled part of one shard."""

    shard: int
    commits: int
    hash: str
    root: str = ""


class Dispute(msgspec.Struct):
    """A shard that a node settles no further, as another one has settled it differently."""

    shard: int
    why: str


class Digest(msgspec.Struct):
    """What two nodes compare. Roots are over all commits with stamps up to the cut."""

    node: str
    site: str
    settled: SettledDigest
    tentative_commits: int = 0
    cut: str = ""
    shards: list[ShardDigest] = []
    disputes: list[Dispute] = []


class ConflictEvent(msgspec.Struct):
    """An event of a commit that did not fit."""

    id: str
    type: str


class Conflict(msgspec.Struct):
    """A commit that was rejected, or kept against its expectation."""

    stream: str
    commit: str
    position: str
    outcome: str
    winner: str | None = None
    expected: Any = None
    policy: str = ""
    found: int = -1
    events: list[ConflictEvent] = []


class ConflictsPage(msgspec.Struct):
    """A page of the conflict feed."""

    conflicts: list[Conflict]
    end: bool = True
    next: str | None = None


class DrillAnswer(msgspec.Struct):
    """What a node cut, and until when."""

    cut: list[str]
    until: str = ""
