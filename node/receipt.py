"""What an append is answered with."""

from __future__ import annotations

from dataclasses import dataclass

from ..storage.commit import Commit
from ..storage.keys import Place
from .fold import ACCEPTED, KEPT, OUTCOMES, Held, OrderKey


@dataclass(slots=True)  # not frozen: that costs three microseconds an append
class Receipt:
    """Where a commit stands.

    `first_revision` and `last_revision` are None for a commit that is not shown. `reached` is
    false if the level that was asked for was not reached in time.
    """

    commit: bytes
    stream: str
    key: OrderKey
    first_revision: int | None
    last_revision: int | None
    settled: bool
    acked: str
    duplicate: bool
    outcome: str
    reached: bool = True
    found: int = -1  # for a rejected one: the stream's last revision at its place


def tentative_receipt(
    held: Held, outcome: int, first: int, *, duplicate: bool, reached: bool
) -> Receipt:
    """The receipt of a commit whose place may still change."""
    shown = outcome in (ACCEPTED, KEPT)
    return Receipt(
        held.id,
        held.stream,
        held.key,
        first if shown else None,
        first + held.count - 1 if shown else None,
        settled=False,
        acked="local",
        duplicate=duplicate,
        outcome="tentative",
        reached=reached,
    )


def settled_receipt(held: Held, *, duplicate: bool) -> Receipt:
    """The receipt of a commit that was settled while somebody waited."""
    return _settled(
        held.id, held.stream, held.key, held.first_revision, held.count, held.outcome, duplicate
    )


def place_receipt(place: Place, commit: Commit, *, duplicate: bool) -> Receipt:
    """The receipt of a settled commit from the index."""
    key = (place.stamp, place.priority, place.origin)
    first, count = place.first_revision, place.events
    return _settled(commit.id, commit.stream, key, first, count, place.outcome, duplicate)


def _settled(
    commit_id: bytes,
    stream: str,
    key: OrderKey,
    first: int,
    count: int,
    outcome: int,
    duplicate: bool,  # noqa: FBT001
) -> Receipt:
    shown = outcome in (ACCEPTED, KEPT)
    return Receipt(
        commit_id,
        stream,
        key,
        first if shown else None,
        first + count - 1 if shown else None,
        settled=True,
        acked="settled",
        duplicate=duplicate,
        outcome=OUTCOMES[outcome],
        found=first - 1,
    )
