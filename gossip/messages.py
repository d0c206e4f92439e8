"""The messages between nodes, and their bytes (docs/protocol.md is the normative page).

Every message is an array: [kind, epoch, boot, counter, wall_ms, reports, body...]. The first five
are about the sender itself; `reports` are about any member.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from ..storage.commit import pack, unpack
from ..storage.errors import BadFrame
from ..storage.limits import MEMBERS_MAX, SHARDS_MAX
from .reports import Claim, Report

PROTOCOL: Final = 1

HELLO: Final = 1
REFUSE: Final = 2
REPORT: Final = 3
PUSH: Final = 4
ACK: Final = 5
PULL: Final = 6
GIVE: Final = 7

_WORD: Final = 1 << 64


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

    `members` are (name, site, priority, origin or 0 where it is not known yet).
    """

    protocol: int
    cluster: str
    shards: int
    name: str
    origin: int
    members: list[tuple[str, str, int, int]]


@dataclass(slots=True)
class Refuse:
    """Why this link is not wanted; then the link is closed."""

    cause: str
    reason: str


@dataclass(slots=True)
class ReportMessage:
    """Reports alone. `close` asks for one that promises at least this stamp, 0 for none.

    `live`: the sender pushes its commits to the receiver by itself. Where it does not, the
    receiver has to pull them.
    """

    close: int
    live: bool


@dataclass(slots=True)
class Push:
    """New commits of the sender, in its order. Answered by Ack once they are durable."""

    commits: list[bytes]


@dataclass(slots=True)
class Ack:
    """The answer to a Push; what was taken is in the report."""


@dataclass(slots=True)
class Pull:
    """Asks for the commits after a sequence of some logs: (shard, origin, after)."""

    wanted: list[tuple[int, int, int]]
    bytes_max: int


@dataclass(slots=True)
class Give:
    """The answer to a Pull: commits in the order of their sequences."""

    commits: list[bytes]


Body = Hello | Refuse | ReportMessage | Push | Ack | Pull | Give


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
    parts = unpack(data)
    if not isinstance(parts, tuple) or len(parts) < 6:
        raise BadFrame("a message is an array of at least six parts")
    kind, epoch, boot, counter, wall_ms, reports = parts[:6]
    _need(all(_word(part) for part in (kind, epoch, boot, counter, wall_ms)), "message head")
    _need(isinstance(reports, tuple) and len(reports) <= MEMBERS_MAX, "list of reports")
    read = _READERS.get(kind)
    if read is None:
        raise BadFrame(f"a message of unknown kind {kind}")
    try:
        body = read(parts[6:])
    except (ValueError, TypeError):
        raise BadFrame(f"a message of kind {kind} has the wrong parts") from None
    sender = Sender(epoch, boot, counter, wall_ms)
    return Message(sender, body, [_read_report(report) for report in reports])


def _parts(body: Body) -> tuple[int, tuple[Any, ...]]:
    match body:
        case Hello():
            return HELLO, (
                body.protocol,
                body.cluster,
                body.shards,
                body.name,
                body.origin,
                body.members,
            )
        case Refuse():
            return REFUSE, (body.cause, body.reason)
        case ReportMessage():
            return REPORT, (body.close, body.live)
        case Push():
            return PUSH, (body.commits,)
        case Ack():
            return ACK, ()
        case Pull():
            return PULL, (body.wanted, body.bytes_max)
        case Give():
            return GIVE, (body.commits,)


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


def _read_report(parts: Any) -> Report:
    _need(isinstance(parts, tuple) and len(parts) == 8, "report")
    *words, claim, moved = parts
    _need(all(_word(word) for word in words), "report")
    _need(isinstance(moved, tuple) and all(_log(entry) for entry in moved), "frontier")
    origin, epoch, mark, boot, counter, promise = words
    return Report(origin, epoch, mark, boot, counter, promise, _claim(claim), list(moved))


def _claim(claim: Any) -> Claim | None:
    if claim is None:
        return None
    _need(isinstance(claim, tuple) and len(claim) == 3, "claim")
    shard, count, running = claim
    _need(_shard(shard) and _word(count), "claim")
    _need(type(running) is bytes and len(running) == 32, "claim")
    return shard, count, running


def _read_hello(parts: Any) -> Hello:
    protocol, cluster, shards, name, origin, members = parts[:6]
    if protocol != PROTOCOL:  # the rest may have another form
        return Hello(int(protocol), str(cluster), 0, str(name), 0, [])
    _need(type(cluster) is str and type(name) is str, "hello")
    _need(_word(shards) and _word(origin), "hello")
    _need(isinstance(members, tuple) and len(members) <= MEMBERS_MAX, "member table")
    for member in members:
        _need(isinstance(member, tuple) and len(member) == 4, "member table")
        _need(type(member[0]) is str and type(member[1]) is str, "member table")
        _need(_word(member[2]) and _word(member[3]), "member table")
    return Hello(protocol, cluster, shards, name, origin, list(members))


def _read_refuse(parts: Any) -> Refuse:
    cause, reason = parts
    _need(type(cause) is str and type(reason) is str, "refusal")
    return Refuse(cause[:100], reason[:1000])


def _read_report_message(parts: Any) -> ReportMessage:
    close, live = parts
    _need(_word(close) and type(live) is bool, "report")
    return ReportMessage(close, live)


def _read_commits(parts: Any) -> list[bytes]:
    (commits,) = parts
    _need(isinstance(commits, tuple) and all(type(one) is bytes for one in commits), "commits")
    return list(commits)


def _read_pull(parts: Any) -> Pull:
    wanted, bytes_max = parts
    _need(isinstance(wanted, tuple) and all(_log(entry) for entry in wanted), "pull")
    _need(_word(bytes_max), "pull")
    return Pull(list(wanted), bytes_max)


def _read_ack(parts: Any) -> Ack:
    _need(len(parts) == 0, "acknowledgement")
    return Ack()


_READERS: Final[dict[int, Callable[[Any], Body]]] = {
    HELLO: _read_hello,
    REFUSE: _read_refuse,
    REPORT: _read_report_message,
    PUSH: lambda parts: Push(_read_commits(parts)),
    ACK: _read_ack,
    PULL: _read_pull,
    GIVE: lambda parts: Give(_read_commits(parts)),
}


def _need(good: bool, what: str) -> None:  # noqa: FBT001
    if not good:
        raise BadFrame(f"a malformed {what}")


def _word(value: Any) -> bool:
    return type(value) is int and 0 <= value < _WORD


def _shard(value: Any) -> bool:
    return type(value) is int and 0 <= value < SHARDS_MAX


def _log(entry: Any) -> bool:
    return (
        isinstance(entry, tuple)
        and len(entry) == 3
        and _shard(entry[0])
        and _word(entry[1])
        and _word(entry[2])
    )
