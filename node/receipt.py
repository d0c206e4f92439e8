"""What an append is answered with."""

from __future__ import annotations

from dataclasses import dataclass

from ..storage.commit import Commit
from ..storage.keys import Place
from .fold import ACCEPTED, KEPT, OUTCOMES, Held, OrderKey


@dataclass(frozen=True, slots=True)
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
    held: Held,
    outcome: int,
    first: int,
    acked: str,
    *,
    duplicate: bool,
    timed_out: bool = False,
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
        acked=acked,
        duplicate=duplicate,
        outcome="tentative",
        reached=not timed_out,
    )


def place_receipt(place: Place, commit: Commit, *, duplicate: bool) -> Receipt:
    """The receipt of a settled commit."""
    shown = place.outcome in (ACCEPTED, KEPT)
    return Receipt(
        commit.id,
        commit.stream,
        (place.stamp, place.priority, place.origin),
        place.first_revision if shown else None,
        place.first_revision + place.events - 1 if shown else None,
        settled=True,
        acked="settled",
        duplicate=duplicate,
        outcome=OUTCOMES[place.outcome],
        found=place.first_revision - 1,
    )
