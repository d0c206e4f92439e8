"""An epoch: one numbered version of the membership, and what follows from it (DESIGN 5).

An epoch stands by itself: whoever knows it needs none of those before. It names

- its members, each with one origin and the floor above which that origin's commits count;
- every origin that was ever removed, with its finals: the last sequence of each of its logs that
  counts. What lies above is cut, for ever and everywhere;
- its base: for logs of members the sequences that a member has to hold before it counts;
- its floor: nothing above it was settled before this epoch began, so whoever joins is bound by
  no promise up to it;
- its lineage: the marks of all epochs before, so that two histories are never taken for one.

`successor` makes the next one of what a majority of frozen members told. Whatever was settled
is held by a majority, and was reported before they froze; two majorities share a member. So the
highest frontier among the frozen ones, the base, holds all that was settled, and the highest
stamp that they promised, the floor, is not below any watermark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Final

from msgspec import Meta, ValidationError
from msgspec.msgpack import Decoder

from ..storage.commit import pack
from ..storage.errors import BadFrame
from ..storage.limits import MEMBERS_MAX, SHARDS_MAX
from .frontier import Frontier, LogKey

_MARK_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Member:
    """A node with the one origin that it has among the members."""

    name: str
    site: str
    priority: int  # of its site: the lower one wins a tie
    origin: int
    floor: int = 0  # its commits count above this stamp
    url: str = ""  # where it says that it is dialled; a founder is dialled as each file says


@dataclass(frozen=True, slots=True)
class Removed:
    """An origin that is no member any more, and how much of its logs counts."""

    member: Member  # its place in the order and its floor go on
    finals: tuple[tuple[int, int], ...]  # (shard, last sequence); 0 for the other shards


@dataclass(frozen=True)
class Epoch:
    """One version of the membership."""

    number: int
    members: tuple[Member, ...]  # by name
    removed: tuple[Removed, ...] = ()  # by origin
    base: tuple[tuple[int, int, int], ...] = ()  # (shard, origin, sequence), sorted
    floor: int = 0
    forced: bool = False  # by an operator, without a majority
    lineage: bytes = b""

    @cached_property
    def packed(self) -> bytes:
        """The canonical bytes."""
        members = [_row(member) for member in self.members]
        removed = [(_row(one.member), one.finals) for one in self.removed]
        return pack(
            (self.number, members, removed, self.base, self.floor, self.forced, self.lineage)
        )

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over the canonical bytes."""
        return hashlib.sha256(self.packed).digest()

    @cached_property
    def mark(self) -> int:
        """What stands for this epoch in reports and messages: never 0."""
        return int.from_bytes(self.digest[:_MARK_BYTES], "big") or 1

    @cached_property
    def origins(self) -> tuple[int, ...]:
        """The origins of the members."""
        return tuple(member.origin for member in self.members)

    @cached_property
    def joined(self) -> Mapping[int, Member]:
        """The members by origin."""
        return {member.origin: member for member in self.members}

    @cached_property
    def finals(self) -> Mapping[int, Mapping[int, int]]:
        """The finals of all removed origins: the last sequence by shard."""
        return {one.member.origin: dict(one.finals) for one in self.removed}

    @cached_property
    def owed(self) -> Mapping[int, Mapping[LogKey, int]]:
        """By shard, what a member has to hold: the base, and the finals of all removed origins."""
        owed: dict[int, dict[LogKey, int]] = {}
        for shard, origin, seq in self.base:
            owed.setdefault(shard, {})[shard, origin] = seq
        for origin, finals in self.finals.items():
            for shard, seq in finals.items():
                owed.setdefault(shard, {})[shard, origin] = seq
        return owed

    @property
    def majority(self) -> int:
        """How many members are more than half of them."""
        return len(self.members) // 2 + 1

    def lacks(self, frontier: Frontier) -> dict[LogKey, int]:
        """The logs in which a frontier does not hold what a member has to hold, and how much."""
        return {
            log: seq - frontier[log]
            for owed in self.owed.values()
            for log, seq in owed.items()
            if frontier[log] < seq
        }

    def is_owed(self, frontier: Frontier) -> bool:
        """Whether a frontier still lacks something that a member has to hold."""
        held = frontier.get
        return any(held(log, 0) < seq for owed in self.owed.values() for log, seq in owed.items())

    def limit(self, log: LogKey) -> int | None:
        """The last sequence of a log that may be held in it; None if there is none."""
        finals = self.finals.get(log[1])
        return None if finals is None else finals.get(log[0], 0)

    def extends(self, other: Epoch) -> bool:
        """Whether another epoch is one of those before this one."""
        at = _MARK_BYTES * (other.number - 1)
        mark = other.mark.to_bytes(_MARK_BYTES, "big")
        return other.number < self.number and self.lineage[at : at + _MARK_BYTES] == mark

    @classmethod
    def founded(cls, members: Iterable[Member]) -> Epoch:
        """The first epoch of a cluster."""
        return cls(1, tuple(sorted(members, key=lambda member: member.name)))


_Word = Annotated[int, Meta(ge=0)]
_Shard = Annotated[int, Meta(ge=0, lt=SHARDS_MAX)]
_Member = tuple[str, str, _Word, _Word, _Word, str]
_Members = Annotated[tuple[_Member, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
_decode = Decoder(
    tuple[
        Annotated[int, Meta(ge=1)],
        _Members,
        tuple[tuple[_Member, tuple[tuple[_Shard, _Word], ...]], ...],
        tuple[tuple[_Shard, _Word, _Word], ...],
        _Word,
        bool,
        bytes,
    ]
).decode


def read_epoch(data: bytes) -> Epoch:
    """Read the canonical bytes of an epoch. Raises BadFrame for anything else."""
    try:
        number, members, removed, base, floor, forced, lineage = _decode(data)
    except (ValidationError, ValueError, RecursionError) as error:
        raise BadFrame(f"these {len(data)} bytes are no epoch: {error}") from None
    epoch = Epoch(
        number,
        tuple(Member(*row) for row in members),
        tuple(Removed(Member(*row), finals) for row, finals in removed),
        base,
        floor,
        forced,
        lineage,
    )
    if len({one.name for one in epoch.members}) + len(epoch.joined) != 2 * len(epoch.members):
        raise BadFrame(f"epoch {number} has a name or an origin twice")
    if epoch.packed != data or len(epoch.lineage) != _MARK_BYTES * (number - 1):
        raise BadFrame(f"epoch {number} is not in its canonical form")
    return epoch


def _row(member: Member) -> tuple[Any, ...]:
    return member.name, member.site, member.priority, member.origin, member.floor, member.url


# -- from one epoch to the next --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """Who is to join and which origins are to go; neither: only to end a change that stalled."""

    join: tuple[Member, ...] = ()
    remove: tuple[int, ...] = ()

    def is_about(self, name: str) -> bool:
        """Whether somebody of this name, and nobody else, is to join."""
        return not self.remove and [member.name for member in self.join] == [name]

    def is_done(self, epoch: Epoch) -> bool:
        """Whether it is in force in an epoch, or can't be any more."""
        joined = all(one.origin in epoch.joined or one.origin in epoch.finals for one in self.join)
        return joined and not any(origin in epoch.joined for origin in self.remove)


@dataclass(frozen=True, slots=True)
class Frozenness:
    """What a member answers that has frozen: its last promise, and what it has on its disk."""

    promised: int
    held: tuple[tuple[int, int, int], ...]  # (shard, origin, last sequence)


def successor(
    epoch: Epoch, change: Change, answers: Iterable[Frozenness], *, forced: bool = False
) -> Epoch:
    """The next epoch, from what a majority of frozen members told.

    `forced`: from what all told who are left, however few. Then nobody is owed what they lack.
    A removed origin does not join again; a name has one origin, its newest; and somebody stays.
    """
    answers = list(answers)
    highest: dict[LogKey, int] = {}
    for answer in answers:
        for shard, origin, seq in answer.held:
            highest[shard, origin] = max(seq, highest.get((shard, origin), 0))
    floor = max([epoch.floor, *(answer.promised for answer in answers)])
    members, gone = _moved(epoch, change, floor)
    removed = [
        Removed(one.member, _lowered(one, highest) if forced else one.finals)
        for one in epoch.removed
    ] + [Removed(member, _finals(member, epoch, highest)) for member in gone]
    staying = {member.origin for member in members} & {*epoch.origins}
    return Epoch(
        epoch.number + 1,
        members,
        tuple(sorted(removed, key=lambda one: one.member.origin)),
        tuple(sorted((*log, seq) for log, seq in highest.items() if log[1] in staying)),
        floor,
        forced,
        epoch.lineage + epoch.mark.to_bytes(_MARK_BYTES, "big"),
    )


def _moved(
    epoch: Epoch, change: Change, floor: int
) -> tuple[tuple[Member, ...], tuple[Member, ...]]:
    """The members after a change, and who is removed by it."""
    known = {*epoch.finals, *epoch.origins}
    joining = {
        one.name: replace(one, floor=floor)
        for one in change.join
        if one.origin not in known and one.origin not in change.remove
    }
    going = {*change.remove} | {one.origin for one in epoch.members if one.name in joining}
    staying = {one.name: one for one in epoch.members if one.origin not in going} | joining
    if not staying:
        return epoch.members, ()
    never_joined = sorted(going - known)
    gone = [one for one in epoch.members if one.origin in going]
    gone += [Member("", "", 0, origin) for origin in never_joined]
    return tuple(staying[name] for name in sorted(staying)), tuple(gone)


def _finals(member: Member, epoch: Epoch, highest: Mapping[LogKey, int]) -> tuple[Any, ...]:
    if member.origin not in epoch.joined:  # it never joined: nothing of it counts
        return ()
    return tuple(
        sorted((shard, seq) for (shard, of), seq in highest.items() if of == member.origin)
    )


def _lowered(one: Removed, highest: Mapping[LogKey, int]) -> tuple[tuple[int, int], ...]:
    lowered = (
        (shard, min(seq, highest.get((shard, one.member.origin), 0))) for shard, seq in one.finals
    )
    return tuple((shard, seq) for shard, seq in lowered if seq)


# -- who may be removed, and what it costs ---------------------------------------------------


def evictable(
    epoch: Epoch, gone_seconds: Mapping[int, Mapping[int, float]], evict_after_seconds: float
) -> Member | None:
    """The one member that may be removed without an operator; None if there is none.

    `gone_seconds`: for each member that says so, which others it has not heard and for how long.
    The rest of its site and a majority have to agree. The last one of a site is a whole site, and
    whoever is not heard agrees to nothing: that is for an operator to decide.
    """
    for member in epoch.members:
        agreed = {
            by
            for by, gone in gone_seconds.items()
            if by in epoch.joined
            and by != member.origin
            and gone.get(member.origin, 0.0) >= evict_after_seconds
        }
        mates = {
            other.origin
            for other in epoch.members
            if other.site == member.site and other.origin != member.origin
        }
        if mates and mates <= agreed and len(agreed) >= epoch.majority:
            return member
    return None


def objection(epoch: Epoch, change: Change) -> str | None:
    """Why a change makes no sense; None if it does."""
    for member in change.join:
        if member.origin in epoch.finals:
            return (
                f"origin {member.origin:016x} of {member.name} was removed, and a removed origin "
                "is never admitted again: start the node anew, it takes a new origin"
            )
    unknown = [origin for origin in change.remove if origin in epoch.finals]
    if unknown:
        return f"origin {unknown[0]:016x} was removed before epoch {epoch.number + 1} already"
    if not change.join and {*epoch.origins} <= {*change.remove}:
        return "a cluster keeps one member at least: leave one out"
    return None


def needs_force(epoch: Epoch, gone: Collection[int]) -> str | None:
    """Why a change can't be agreed on while these members are away; None if it can."""
    there = [member.name for member in epoch.members if member.origin not in gone]
    if len(there) >= epoch.majority:
        return None
    return (
        f"{len(there)} of {len(epoch.members)} members are there, and a change takes "
        f"{epoch.majority}: bring one back, or use --force"
    )


def force_gives_up(epoch: Epoch, change: Change) -> list[str]:
    """What is given up by deciding a change without a majority, in sentences."""
    gone = [one.name for one in epoch.members if one.origin in change.remove]
    names = ", ".join(gone) or "no member"
    costs = [
        "It asks only those who are left. What none of them holds is lost, even if it was settled."
    ]
    if gone:
        costs.append(
            f"It takes {names} for lost for good. What only they hold is lost, even if it was "
            "acknowledged, unless they come back as new members."
        )
        costs.append(
            f"If they still run and reach each other, they go on without the others: two clusters "
            f"with one epoch {epoch.number + 1} each, which never settle with each other again. "
            f"Stop {names} first."
        )
    return costs
