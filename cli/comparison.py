"""Are two settled histories the same? Rules without I/O.

A settled history only grows, so of two equal stores one may be a few commits ahead: it is then the
longer, and the other's whole history is its beginning. Two histories part at a place when both have
an event there and these are not the same; that is what must never happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from .model import Digest, Event

Verdict = Literal["equal", "behind", "different"]


@dataclass(frozen=True)
class Parting:
    """The first place where two histories are not the same, and what each has there."""

    index: int
    left: Event
    right: Event
    fields: list[str]

    def sentence(self) -> str:
        """What differs, for a person."""
        names = ", ".join(self.fields)
        return (
            f"event {self.index:,}: {_name(self.left)} against {_name(self.right)} "
            f"(differs in {names})"
        )


def _name(event: Event) -> str:
    return f"{event.stream!r} revision {event.revision} ({event.type})"


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


# `settled` and `tags` as None or empty may be said in two ways; what the order gives may not.
_COMPARED = ("stream", "revision", "commit", "position", "id", "type", "origin", "time")


def differing_fields(left: Event, right: Event) -> list[str]:
    """The names of what is not the same in two events at one place."""
    names = [name for name in _COMPARED if getattr(left, name) != getattr(right, name)]
    if not _same_data(left, right):
        names.append("data")
    return names


def _same_data(left: Event, right: Event) -> bool:
    if left.data_base64 != right.data_base64:
        return False
    if bytes(left.data) == bytes(right.data):
        return True
    return bool(msgspec.json.decode(left.data) == msgspec.json.decode(right.data))


def first_parting(left: Sequence[Event], right: Sequence[Event], start: int = 0) -> Parting | None:
    """Where two histories part, as far as both go; `start` is the number of the first event."""
    for index, (one, other) in enumerate(zip(left, right, strict=False), start=start):
        fields = differing_fields(one, other)
        if fields:
            return Parting(index, one, other, fields)
    return None
