"""The messages between nodes, and their bytes (docs/protocol.md is the normative page).

Every message is an array: [kind, epoch, boot, counter, wall_ms, reports, body...]. The first five
are about the sender itself; `reports` are about any member.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from types import GenericAlias
from typing import Annotated, Any, Final

from msgspec import Meta
from msgspec.msgpack import Decoder

from ..storage.commit import pack, unpack
from ..storage.errors import BadFrame
from ..storage.limits import (
    BOOTS_KEPT_MAX,
    COMPARE_NODES_MAX,
    COMPARE_SHARDS_MAX,
    HELLO_BYTES_MAX,
    MEMBERS_MAX,
    SHARDS_MAX,
    TREE_LEVELS_MAX,
)
from .reports import Report

PROTOCOL: Final = 1

HELLO: Final = 1
REFUSE: Final = 2
REPORT: Final = 3
PUSH: Final = 4
ACK: Final = 5
PULL: Final = 6
GIVE: Final = 7
COMPARE: Final = 8
COMPARED: Final = 9
AGREE: Final = 10
RECALL: Final = 11
RECALLED: Final = 12
JOIN: Final = 13


@dataclass(slots=True)
class Sender:
    """What every message says of its sender."""

    epoch: int
    boot: int
    counter: int
    wall_ms: int


@dataclass(slots=True)
class Hello:
    """The first message in each direction: who I am, and what must be the same with you.

    `members` are (name, site, priority, origin or 0 where it is not known yet, url). `mark` stands
    for the epoch, 0 while there is none. `before`: the boots of this directory before this one.
    """

    protocol: int
    cluster: str
    shards: int
    name: str
    origin: int
    members: list[tuple[str, str, int, int, str]]
    mark: int = 0
    before: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Refuse:
    """Why this link is not wanted; then the link is closed."""

    cause: str
    reason: str


@dataclass(slots=True)
class ReportMessage:
    """Reports alone. `close` asks for one that promises at least this stamp, 0 for none.

    `live`: the sender pushes its commits to the receiver by itself. Where it does not, the
    receiver has to pull them. `missed`: (origin, seconds) of members that the sender has not heard
    of for so long that they may be gone.
    """

    close: int
    live: bool
    missed: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Push:
    """New commits of the sender, in its order. Answered by Ack once they are durable.

    `tips`: (shard, origin, sequence, hash) of the commit that each log goes on from, if it has one:
    who holds another one there has met a fork.
    """

    commits: list[bytes]
    tips: list[tuple[int, int, int, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class Ack:
    """The answer to a Push; what was taken is in the report."""


@dataclass(slots=True)
class Pull:
    """Asks for commits of some logs: (shard, origin, after, until), to the end if `until` is 0."""

    wanted: list[tuple[int, int, int, int]]
    bytes_max: int


@dataclass(slots=True)
class Give:
    """The answer to a Pull: commits in the order of their sequences; `tips` as in a Push."""

    commits: list[bytes]
    tips: list[tuple[int, int, int, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class Compare:
    """Asks about what both sides have settled up to a stamp, the cut.

    `root` is the asker's node root there. `shards`: whose logs to name. `nodes`: of which inner
    nodes of the Merkle tree of a log to name the children: (shard, origin, size, level, index).
    """

    cut: int
    root: bytes
    shards: list[int]
    nodes: list[tuple[int, int, int, int, int]]


@dataclass(slots=True)
class Compared:
    """The answer to a Compare.

    `cut` is that of the question, or a lower one if the answerer has not settled that far; then
    the rest is empty. `roots`: of all shards, if the node roots differ. `logs`: (shard, origin,
    size, root) of the logs of the shards in question. `children`: for each node in question the
    hashes of its children, one after the other; empty if there is no such node.
    """

    cut: int
    roots: list[bytes]
    logs: list[tuple[int, int, int, bytes]]
    children: list[bytes]


@dataclass(slots=True)
class Agree:
    """What members say to agree on an epoch (gossip.agreeing). Answered by another one."""

    parts: list[bytes]


@dataclass(slots=True)
class Recall:
    """Asks what the other side saw of an origin of the sender before its present boot."""

    origin: int
    counter: int  # of the sender's durable state as that boot found it


@dataclass(slots=True)
class Recalled:
    """The answer to a Recall: the last boot that counted, and what was seen of all that did."""

    origin: int
    boot: int  # 0: none counted yet
    counter: int  # the highest
    logs: list[tuple[int, int]]


@dataclass(slots=True)
class Join:
    """A node that is no member says who it is. Answered by an Agree without parts.

    `asks`: it wants to be let in now, without an operator.
    """

    name: str
    site: str
    priority: int
    origin: int
    url: str
    asks: bool


Body = (
    Hello
    | Refuse
    | ReportMessage
    | Push
    | Ack
    | Pull
    | Give
    | Compare
    | Compared
    | Agree
    | Recall
    | Recalled
    | Join
)


@dataclass(slots=True)
class Message:
    """One message."""

    sender: Sender
    body: Body
    reports: list[Report] = field(default_factory=list)


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    kind, parts = _parts(message.body)
    sender = message.sender
    reports = [_report_parts(report) for report in message.reports]
    head = (kind, sender.epoch, sender.boot, sender.counter, sender.wall_ms, reports)
    return pack(head + parts)


def decode(data: bytes) -> Message:
    """Read a message that came from a peer. Raises BadFrame for anything else."""
    if len(data) < 2 or data[0] & 0xF0 != 0x90:  # its form depends on its kind, so look first
        raise BadFrame("a message is an array of 6 to 15 parts")
    kind = data[1]
    if kind == HELLO:
        return _read_hello(data)
    form = _FORMS.get(kind)
    if form is None:
        raise BadFrame(f"a message of unknown kind {kind}")
    read, make = form
    try:
        _, epoch, boot, counter, wall_ms, reports, *body = read(data)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"a message of kind {kind} has the wrong parts: {error}") from None
    return Message(Sender(epoch, boot, counter, wall_ms), make(*body), _reports(reports))


def _parts(body: Body) -> tuple[int, tuple[Any, ...]]:
    """The kind of a message, and its parts in the order of their fields."""
    return _KINDS[type(body)], tuple(getattr(body, name) for name in _FIELDS[type(body)])


def _report_parts(report: Report) -> tuple[Any, ...]:
    return (
        report.origin,
        report.epoch,
        report.mark,
        report.boot,
        report.counter,
        report.promise,
        report.claim,
        report.moved,
    )


def _reports(rows: list[tuple[Any, ...]]) -> list[Report]:
    return [Report(*row) for row in rows]


def _read_hello(data: bytes) -> Message:
    """Read a hello; of another version only as much as tells which one it is."""
    if len(data) > HELLO_BYTES_MAX:
        raise BadFrame(f"a hello of {len(data)} bytes; the limit is {HELLO_BYTES_MAX}")
    parts = unpack(data)
    if not isinstance(parts, tuple) or len(parts) < 13:  # of any version
        raise BadFrame("a hello is an array of at least 13 parts")
    protocol, cluster, name = parts[6], parts[7], parts[9]
    if type(protocol) is not int:
        raise BadFrame("a hello names its protocol by a number")
    if protocol != PROTOCOL:
        return Message(Sender(0, 0, 0, 0), Hello(protocol, str(cluster), 0, str(name), 0, []))
    try:
        _, epoch, boot, counter, wall_ms, reports, *body = _read_hello_parts(pack(parts[:14]))
    except ValueError as error:
        raise BadFrame(f"a hello has the wrong parts: {error}") from None
    return Message(Sender(epoch, boot, counter, wall_ms), Hello(*body), _reports(reports))


_KINDS: Final[dict[type, int]] = {
    Hello: HELLO,
    Refuse: REFUSE,
    ReportMessage: REPORT,
    Push: PUSH,
    Ack: ACK,
    Pull: PULL,
    Give: GIVE,
    Compare: COMPARE,
    Compared: COMPARED,
    Agree: AGREE,
    Recall: RECALL,
    Recalled: RECALLED,
    Join: JOIN,
}
_FIELDS: Final = {kind: tuple(field.name for field in fields(kind)) for kind in _KINDS}

# The forms of the messages. What does not fit is refused before it takes any memory.
_Word = Annotated[int, Meta(ge=0)]  # MessagePack has none of more than 64 bits
_Shard = Annotated[int, Meta(ge=0, lt=SHARDS_MAX)]
_Log = tuple[_Shard, _Word, _Word]
_Range = tuple[_Shard, _Word, _Word, _Word]
_Running = Annotated[bytes, Meta(min_length=32, max_length=32)]
_Root = tuple[_Shard, _Word, _Word, _Running]
_Level = Annotated[int, Meta(ge=1, le=TREE_LEVELS_MAX)]
_Node = tuple[_Shard, _Word, _Word, _Level, _Word]
_Shards = Annotated[list[_Shard], Meta(max_length=COMPARE_SHARDS_MAX)]
_Nodes = Annotated[list[_Node], Meta(max_length=COMPARE_NODES_MAX)]
_Claim = tuple[_Shard, _Word, _Running]
_Report = tuple[_Word, _Word, _Word, _Word, _Word, _Word, _Claim | None, list[_Log]]
_Reports = Annotated[list[_Report], Meta(max_length=MEMBERS_MAX)]
_Table = Annotated[list[tuple[str, str, _Word, _Word, str]], Meta(max_length=MEMBERS_MAX)]
_Boots = Annotated[list[_Word], Meta(max_length=BOOTS_KEPT_MAX)]
_Missed = Annotated[list[tuple[_Word, _Word]], Meta(max_length=MEMBERS_MAX)]


def _reader(*body: Any) -> Callable[[bytes], tuple[Any, ...]]:
    """Reads an array of head and body, each part of its type, and nothing else."""
    form: Any = GenericAlias(tuple, (int, _Word, _Word, _Word, _Word, _Reports, *body))
    return Decoder(form).decode


_read_hello_parts = _reader(int, str, _Word, str, _Word, _Table, _Word, _Boots)
_FORMS: Final[dict[int, tuple[Callable[[bytes], tuple[Any, ...]], Callable[..., Body]]]] = {
    REFUSE: (_reader(str, str), lambda cause, reason: Refuse(cause[:100], reason[:1000])),
    REPORT: (_reader(_Word, bool, _Missed), ReportMessage),
    PUSH: (_reader(list[bytes], list[_Root]), Push),
    ACK: (_reader(), Ack),
    PULL: (_reader(list[_Range], _Word), Pull),
    GIVE: (_reader(list[bytes], list[_Root]), Give),
    COMPARE: (_reader(_Word, _Running, _Shards, _Nodes), Compare),
    COMPARED: (_reader(_Word, list[_Running], list[_Root], list[bytes]), Compared),
    AGREE: (_reader(list[bytes]), Agree),
    RECALL: (_reader(_Word, _Word), Recall),
    RECALLED: (_reader(_Word, _Word, _Word, list[tuple[_Shard, _Word]]), Recalled),
    JOIN: (_reader(str, str, _Word, _Word, str, bool), Join),
}
