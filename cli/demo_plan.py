"""Who gets which order event, and when the cut comes. Rules without I/O, the same on every run.

An exchange with three sites: each order has a home, where its maker is connected; most of its
events arrive there. A fixed share of its later events arrives at another site (the maker's desk
elsewhere changes or cancels it). A small share of all requests arrives twice, the second time at
another site: a gateway that saw no answer tries again there, with the same key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from .mapping import Outgoing
from .order_book import OrderBook

SITES = ("ny", "london", "tokyo")
HOME_SHARES = (0.5, 0.3, 0.2)
AWAY_SHARE = 0.15  # of an order's later events
AGAIN_SHARE = 0.03  # of all requests

CUT_SITE = "tokyo"
RIVAL_SITE = "london"  # tries to cancel the same orders as the site that is cut off
CONTESTS = 20


@dataclass(frozen=True)
class Planned:
    """One recorded event, and where it arrives."""

    number: int
    stream: str
    type: str
    event_id: str
    data: dict[str, Any]
    body: bytes
    site: str
    again: str | None

    @property
    def key(self) -> str:
        """The idempotency key of its request."""
        return f"bitstamp-{self.number}"


@dataclass(frozen=True)
class Contest:
    """An order that two sites try to cancel while they can't see each other."""

    stream: str
    expected: int
    data: dict[str, Any]


def plan(events: Sequence[Outgoing]) -> list[Planned]:
    """Say for every event of the recording where it arrives."""
    seen: set[str] = set()
    made = []
    for number, event in enumerate(events):
        site = arrival(event.stream, number, first=event.stream not in seen)
        seen.add(event.stream)
        made.append(_planned(number, event, site))
    return made


def _planned(number: int, event: Outgoing, site: str) -> Planned:
    fields = msgspec.json.decode(event.body)
    event_id = str(UUID(bytes=_digest(f"event {number}"), version=4))
    return Planned(
        number=number,
        stream=event.stream,
        type=fields["type"],
        event_id=event_id,
        data=fields["data"],
        body=msgspec.json.encode({"id": event_id, **fields}),
        site=site,
        again=_another(site, f"where again {number}")
        if draw(f"again {number}") < AGAIN_SHARE
        else None,
    )


def arrival(stream: str, number: int, *, first: bool) -> str:
    """The site at which an event arrives."""
    home = home_of(stream)
    if first or draw(f"away {number}") >= AWAY_SHARE:
        return home
    return _another(home, f"where {number}")


def home_of(stream: str) -> str:
    """The site at which an order's maker is connected."""
    at = draw(f"home {stream}")
    for site, share in zip(SITES, HOME_SHARES, strict=True):
        if at < share:
            return site
        at -= share
    return SITES[-1]


def _another(site: str, what: str) -> str:
    others = [other for other in SITES if other != site]
    return others[int(draw(what) * len(others))]


def draw(what: str) -> float:
    """A number from 0 to below 1 that is always the same for the same text."""
    return int.from_bytes(_digest(what)[:6], "big") / 2**48


def _digest(what: str) -> bytes:
    return blake2b(what.encode(), digest_size=16).digest()


def thirds(many: int) -> tuple[int, int]:
    """The numbers of the first event after the cut, and of the first after the heal."""
    return many // 3, 2 * many // 3


def contests(planned: Sequence[Planned], cut_at: int) -> list[Contest]:
    """Orders to fight over: open at the cut, and left alone by the recording ever after."""
    last: dict[str, Planned] = {}
    length: dict[str, int] = {}
    book = OrderBook()
    for event in planned:
        last[event.stream] = event
        length[event.stream] = length.get(event.stream, 0) + 1
        apply(book, event.stream, event.type, event.data)
    left_alone = [
        event for name, event in last.items() if event.number < cut_at and name in book.orders()
    ]
    newest_last = sorted(left_alone, key=lambda event: event.number)
    return [
        Contest(event.stream, length[event.stream] - 1, event.data)
        for event in newest_last[:CONTESTS]
    ]


def apply(book: OrderBook, stream: str, type_: str, data: dict[str, Any]) -> None:
    """Take one event of the recording, or a cancellation, into a book."""
    book.apply(stream, type_, data["side"], data["price"], data["volume"])


def cancellation(contest: Contest, site: str) -> tuple[str, bytes]:
    """The id and the body of the event with which a site cancels a contested order."""
    event_id = str(UUID(bytes=_digest(f"cancel {contest.stream} {site}"), version=4))
    data = {**contest.data, "by": site}
    return event_id, msgspec.json.encode({"id": event_id, "type": "cancelled", "data": data})
