"""Pages of events: which commits, and which of their events, answer a read.

A page is worked out in one go, without waiting in between, so it is a snapshot: the settled part
from the index, then the tentative part as folded now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..storage.commit import Commit, read_payloads, shard_of
from ..storage.errors import NotFound
from ..storage.keys import Place
from ..storage.limits import PAGE_BYTES_MAX, PAGE_EVENTS_MAX
from ..storage.stamp import STAMP_MAX
from .fold import ACCEPTED, KEPT, OrderKey, Standing
from .history import History
from .position import position

_SCANNED_MAX = 10 * PAGE_EVENTS_MAX  # with a filter: looked at before a page ends early


@dataclass(slots=True)
class Slice:
    """Some events of one commit, in the order in which the page shows them.

    `first_revision` is that of the commit's first event; `places` are the events' places in it.
    """

    commit: Commit
    payloads: tuple[bytes, ...]
    key: OrderKey
    first_revision: int
    outcome: int
    settled: bool
    places: range | list[int]


@dataclass(slots=True)
class Page:
    """An answer to a read."""

    slices: list[Slice] = field(default_factory=list)
    settled_revision: int = -1
    last_revision: int = -1
    next: int | str | None = None  # a revision, or a position: where to go on
    end: bool = True


@dataclass(slots=True)
class _Place:
    """A commit that may have events on the page."""

    position: int
    length: int
    count: int
    first_revision: int
    outcome: int
    key: OrderKey
    settled: bool


def _from_index(place: Place) -> _Place:
    return _Place(
        place.position,
        place.length,
        place.events,
        place.first_revision,
        place.outcome,
        (place.stamp, place.priority, place.origin),
        settled=True,
    )


def _from_fold(one: Standing) -> _Place:
    held = one.held
    return _Place(
        held.position,
        held.length,
        held.count,
        one.first_revision,
        one.outcome,
        held.key,
        settled=False,
    )


def stream_page(
    history: History,
    name: str,
    shards: int,
    *,
    start: int | None,
    limit: int,
    backward: bool,
    before: int,
    types: frozenset[str],
) -> Page:
    """Events of one stream from a revision on: settled ones, and those below the stamp `before`.

    Raises NotFound for a stream that never was.
    """
    shard = shard_of(name, shards)
    fold = history.stream(name)
    page = Page(settled_revision=fold.settled_revision)
    page.last_revision = history.last_revision(name, shard, before)
    if page.last_revision < 0 and not fold.below(before):
        raise NotFound(f"there is no stream {name!r}")
    last = page.last_revision if before else page.settled_revision
    first = start if start is not None else (last if backward else 0)
    places = _places(
        history,
        name,
        shard,
        first,
        last,
        backward=backward,
        before=before,
    )
    reader = _Reader(history, limit, types)
    after = first
    for place in places:
        if backward:
            high = min(first, place.first_revision + place.count - 1) - place.first_revision
            wanted = range(high, -1, -1)
        else:
            low = max(0, first - place.first_revision)
            wanted = range(low, place.count)
        stopped = reader.add(place, wanted, page)
        if stopped is not None:
            page.next, page.end = place.first_revision + stopped, False
            return page
        after = place.first_revision + (-1 if backward else place.count)
    if backward:
        page.next = None
    else:
        page.next = max(after, first)
    return page


def _places(
    history: History,
    name: str,
    shard: int,
    first: int,
    last: int,
    *,
    backward: bool,
    before: int,
) -> Iterator[_Place]:
    settled = (
        _from_index(place)
        for place in history.settled_places(name, min(first, last), reverse=backward)
        if backward or place.first_revision + place.events > first
    )
    tentative = (
        _from_fold(one)
        for one in history.tentative(name, shard, first, before=before, reverse=backward)
        if one.outcome in (ACCEPTED, KEPT)
    )
    if backward:
        yield from (one for one in tentative if one.first_revision <= first)
        yield from settled
    else:
        yield from settled
        yield from tentative


class _Reader:
    """Fills a page, commit by commit, until one of its bounds is reached."""

    def __init__(self, history: History, limit: int, types: frozenset[str]) -> None:
        self._history = history
        self._room = limit
        self._types = types
        self._bytes = 0
        self._scanned = 0

    def add(self, place: _Place, wanted: range, page: Page) -> int | None:
        """Add the wanted events of a commit; the place of the first that did not fit, if any."""
        if not wanted:
            return None
        if not self._room or self._scanned > _SCANNED_MAX:
            return wanted[0]
        if page.slices and self._bytes + place.length > PAGE_BYTES_MAX:
            return wanted[0]
        commit, payloads = read_payloads(self._history.body(place.position, place.length))
        self._scanned += len(wanted)
        self._bytes += place.length
        places: range | list[int] = wanted
        if self._types:
            places = [at for at in wanted if commit.types[at % len(commit.types)] in self._types]
        taken = places[: self._room]
        if taken:
            page.slices.append(
                Slice(
                    commit,
                    payloads,
                    place.key,
                    place.first_revision,
                    place.outcome,
                    place.settled,
                    taken,
                )
            )
        self._room -= len(taken)
        return places[len(taken)] if len(taken) < len(places) else None


def order_page(
    history: History,
    *,
    after: tuple[OrderKey, int] | None,
    limit: int,
    until: int,
    before: int,
    types: frozenset[str],
    stream_prefix: str,
) -> Page:
    """Events of all streams in the one order, after a position.

    Settled ones up to the stamp `until`, and if `before` is above it what lies between.
    """
    page = Page()
    key, place_before = after if after is not None else ((0, 0, 0), -1)
    reader = _Reader(history, limit, types)
    last = after
    for place in _ordered(history, key, until, before=before):
        low = place_before + 1 if place.key == key else 0
        if place.outcome not in (ACCEPTED, KEPT) or low >= place.count:
            continue
        if stream_prefix and not _is_under(history, place, stream_prefix):
            continue
        stopped = reader.add(place, range(low, place.count), page)
        if stopped is not None:
            page.end = False
            if stopped > low:
                last = (place.key, stopped - 1)
            break
        last = (place.key, place.count - 1)
    page.next = position(*last) if last is not None else None
    return page


def _is_under(history: History, place: _Place, prefix: str) -> bool:
    return history.header(place.position, place.length).stream.startswith(prefix)


def _ordered(history: History, key: OrderKey, until: int, *, before: int) -> Iterable[_Place]:
    for place in history.settled_order(key, until):
        yield _from_index(place)
    if before:
        yield from _beyond(history, key, until, before)


def _beyond(history: History, key: OrderKey, until: int, before: int) -> list[_Place]:
    """What lies above the common watermark: settled in some shards, tentative in others."""
    start = max(key, (until + 1, 0, 0))
    found = [_from_index(place) for place in history.settled_order(start, STAMP_MAX - 1)]
    found += [_from_fold(one) for one in history.all_tentative(before) if one.held.key >= start]
    return sorted(found, key=lambda place: place.key)
