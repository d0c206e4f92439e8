"""Are two settled histories the same? Rules without I/O.

A settled history only grows, so of two equal stores one may be a few commits ahead: it is then the
longer, and the other's whole history is its beginning. Two histories part at a place when both have
an event there and these are not the same; that is what must never happen. It can also show in what
was rejected or kept, or in hashes alone, which run over commits that no reader is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from ..storage.merkle import shard_root
from .model import Conflict, Digest, Event

Verdict = Literal["equal", "behind", "different"]
Entry: TypeAlias = Event | Conflict


@dataclass(frozen=True)
class Parting:
    """The first place where two histories or conflict feeds differ, and what each has there."""

    index: int
    left: Entry
    right: Entry
    fields: list[str]

    @property
    def among(self) -> Literal["events", "conflicts"]:
        """Of what it is a place."""
        return "events" if isinstance(self.left, Event) else "conflicts"

    def sentence(self) -> str:
        """What differs, for a person."""
        names = ", ".join(self.fields)
        return (
            f"{self.among[:-1]} {self.index:,}: {named(self.left)} against {named(self.right)} "
            f"(differs in {names})"
        )


@dataclass(frozen=True)
class Walked:
    """Two histories, or two conflict feeds, read side by side until they part or one ends."""

    parting: Parting | None
    left: int  # how many entries were read
    right: int
    beyond: Entry | None = None  # the first that only one of the two has


def named(one: Entry) -> str:
    """An entry, for a person."""
    if isinstance(one, Event):
        return f"{one.stream!r} revision {one.revision} ({one.type})"
    return f"{one.stream!r} commit {one.commit} ({one.outcome})"


def same_digests(digests: Sequence[Digest]) -> bool:
    """Whether all nodes name one settled history."""
    first = digests[0].settled
    return all(digest.settled == first for digest in digests[1:])


def surely_different(left: Digest, right: Digest) -> list[int]:
    """Shards in which as many commits have another hash: no waiting makes these the same."""
    others = {shard.shard: shard for shard in right.shards}
    return [
        shard.shard
        for shard in left.shards
        if shard.shard in others
        and others[shard.shard].commits == shard.commits
        and others[shard.shard].hash != shard.hash
    ]


def other_commits(left: Digest, right: Digest) -> list[int]:
    """Shards that have other Merkle roots at one cut: other commits are settled up to there."""
    if not left.cut or left.cut != right.cut:
        return []
    mine, theirs = ({one.shard: one.root for one in digest.shards} for digest in (left, right))
    empty = shard_root([]).hex()  # a shard without commits is not named
    shards = sorted({*mine, *theirs})
    return [one for one in shards if mine.get(one, empty) != theirs.get(one, empty)]


# `settled` and `tags` as None or empty may be said in two ways; what the order gives may not.
_EVENT = ("stream", "revision", "commit", "position", "id", "type", "origin", "time")
_CONFLICT = ("stream", "commit", "position", "outcome", "winner", "expected", "policy", "found")


def differing_fields(left: Entry, right: Entry) -> list[str]:
    """The names of what is not the same in two events, or two conflicts, at one place."""
    compared = _EVENT if isinstance(left, Event) else _CONFLICT
    names = [name for name in compared if getattr(left, name) != getattr(right, name)]
    if isinstance(left, Event) and isinstance(right, Event) and not _same_data(left, right):
        names.append("data")
    return names


def _same_data(left: Event, right: Event) -> bool:
    if left.data_base64 != right.data_base64:
        return False
    if bytes(left.data) == bytes(right.data):
        return True
    return bool(msgspec.json.decode(left.data) == msgspec.json.decode(right.data))


def first_parting(left: Sequence[Entry], right: Sequence[Entry], start: int = 0) -> Parting | None:
    """Where two histories part, as far as both go; `start` is the number of the first entry."""
    for index, (one, other) in enumerate(zip(left, right, strict=False), start=start):
        fields = differing_fields(one, other)
        if fields:
            return Parting(index, one, other, fields)
    return None
