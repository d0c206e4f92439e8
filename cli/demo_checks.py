"""Is what three sites show one history, and the right one? Pure checks over what was read.

What was sent and acknowledged is compared with what each node shows over HTTP at the end. Nothing
is taken from a node on trust: hashes and books are computed here, from the events. Each check
looks for one kind of damage and returns sentences; none means that all is well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec

from .demo_plan import apply
from .order_book import BookSummary, OrderBook

SHOWN_MAX = 3  # a damage of thousands is clear from a few


@dataclass(frozen=True, slots=True)
class Seen:
    """One event as a node showed it."""

    stream: str
    revision: int
    position: str
    commit: str
    event_id: str
    type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """One event as it was sent, with the commit that acknowledged it."""

    stream: str
    event_id: str
    type: str
    data: Mapping[str, Any]
    commit: str


@dataclass(frozen=True)
class Tried:
    """A contested order: the commit, by event id, that each site was acknowledged for it."""

    stream: str
    commits: Mapping[str, str]


@dataclass(frozen=True)
class Lost:
    """An entry of a node's conflict feed."""

    stream: str
    commit: str
    winner: str | None


@dataclass(frozen=True)
class WhileCut:
    """What a node said of itself just before the heal."""

    name: str
    site: str
    links_cut: frozenset[str]
    held_back_by: frozenset[str]
    tentative: int


@dataclass(frozen=True)
class Told:
    """What a node showed at the end."""

    name: str
    site: str
    digest: str
    settled_commits: int
    tentative: int
    history: Sequence[Seen]
    conflicts: Sequence[Lost]


@dataclass(frozen=True)
class Evidence:
    """Everything that the checks look at."""

    sent: Sequence[Sent]
    tried: Sequence[Tried]
    cut_site: str
    while_cut: Sequence[WhileCut]
    told: Sequence[Told]
    books: Mapping[str, BookSummary] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One question, and what speaks against a yes."""

    question: str
    problems: tuple[str, ...]


def gather(evidence: Evidence) -> list[Check]:
    """Ask every question."""
    return [Check(question, tuple(ask(evidence))) for question, ask in QUESTIONS.items()]


def book_of(history: Iterable[Seen]) -> BookSummary:
    """The order book that a node's own history leads to."""
    book = OrderBook()
    for event in history:
        apply(book, event.stream, event.type, msgspec.json.decode(event.data))
    return book.summary()


def book_sent(evidence: Evidence) -> BookSummary:
    """The book that the recording leads to, with each contested order cancelled."""
    book = OrderBook()
    for event in evidence.sent:
        apply(book, event.stream, event.type, dict(event.data))
    for tried in evidence.tried:
        book.apply(tried.stream, "cancelled", "", "0", 0)
    return book.summary()


def history_hash(history: Iterable[Seen]) -> str:
    """A hash over a history as it was read, place by place."""
    running = sha256()
    for event in history:
        line = (event.stream, event.revision, event.position, event.commit, event.event_id)
        running.update(msgspec.json.encode((*line, event.type, event.data)))
    return running.hexdigest()


def cut_was_real(evidence: Evidence) -> list[str]:
    """While cut, links were refused on both sides and each side waited for the other."""
    far = {node.name for node in evidence.while_cut if node.site == evidence.cut_site}
    near = {node.name for node in evidence.while_cut if node.site != evidence.cut_site}
    problems = []
    for node in evidence.while_cut:
        others = near if node.name in far else far
        open_links = others - node.links_cut
        if open_links:
            problems.append(f"{node.name} still had a link to {_names(open_links)} while cut")
        if not node.held_back_by & others:
            problems.append(f"{node.name}'s watermark was not held back by {_names(others)}")
        if node.tentative == 0:
            problems.append(f"{node.name} had nothing tentative: it was not written to while cut")
    return problems


def all_is_settled(evidence: Evidence) -> list[str]:
    """No node has anything tentative."""
    return [
        f"{node.name} still has {node.tentative:,} tentative commits"
        for node in evidence.told
        if node.tentative
    ]


def digests_are_equal(evidence: Evidence) -> list[str]:
    """The nodes name one digest for their settled histories."""
    first = evidence.told[0]
    return [
        f"{node.name} says {node.settled_commits:,} commits {node.digest[:16]}, "
        f"{first.name} {first.settled_commits:,} commits {first.digest[:16]}"
        for node in evidence.told[1:]
        if (node.digest, node.settled_commits) != (first.digest, first.settled_commits)
    ]


def histories_are_equal(evidence: Evidence) -> list[str]:
    """The histories that were read are the same, event by event."""
    first = evidence.told[0]
    expected = history_hash(first.history)
    return [
        _parting(first, node)
        for node in evidence.told[1:]
        if history_hash(node.history) != expected
    ]


def _parting(first: Told, other: Told) -> str:
    for index, (one, two) in enumerate(zip(first.history, other.history, strict=False)):
        if one != two:
            return (
                f"{first.name} and {other.name} part at event {index:,}: "
                f"{one.stream} revision {one.revision} ({one.type}) against "
                f"{two.stream} revision {two.revision} ({two.type})"
            )
    return f"{first.name} shows {len(first.history):,} events, {other.name} {len(other.history):,}"


def each_event_once(evidence: Evidence) -> list[str]:
    """Every event that was sent is there, once, and none that was not sent."""
    expected = {event.event_id: event.stream for event in evidence.sent}
    contested = {event_id for tried in evidence.tried for event_id in tried.commits}
    problems = []
    for node in evidence.told:
        times = Counter(event.event_id for event in node.history)
        lost = [expected[one] for one in expected if one not in times]
        doubled = [expected[one] for one in expected if times[one] > 1]
        strange = [one for one in times if one not in expected and one not in contested]
        for what, found in (("missing", lost), ("shown twice", doubled), ("never sent", strange)):
            if found:
                problems.append(f"{node.name}: {len(found):,} events {what} ({_names(found)})")
    return problems


def events_are_as_sent(evidence: Evidence) -> list[str]:
    """Type, data and commit of every event are those that were sent and acknowledged."""
    expected = {event.event_id: event for event in evidence.sent}
    problems = []
    for node in evidence.told:
        for event in node.history:
            sent = expected.get(event.event_id)
            if sent is not None and not _as_sent(event, sent):
                problems.append(f"{node.name}: {event.stream} revision {event.revision} is changed")
    return problems


def _as_sent(event: Seen, sent: Sent) -> bool:
    return (
        (event.stream, event.type, event.commit) == (sent.stream, sent.type, sent.commit)
    ) and msgspec.json.decode(event.data) == sent.data


def streams_are_in_order(evidence: Evidence) -> list[str]:
    """Each order's events stand in the order they were sent in, with revisions 0, 1, 2."""
    places = {event.event_id: place for place, event in enumerate(evidence.sent)}
    problems = []
    for node in evidence.told:
        revisions: Counter[str] = Counter()
        latest: dict[str, int] = {}
        for event in node.history:
            if event.revision != revisions[event.stream]:
                expected = revisions[event.stream]
                problems.append(
                    f"{node.name}: {event.stream} has revision {event.revision} "
                    f"where {expected} comes"
                )
            revisions[event.stream] += 1
            place = places.get(event.event_id, latest.get(event.stream, -1))
            if place < latest.get(event.stream, -1):
                problems.append(f"{node.name}: {event.stream} is not in the order it was sent in")
            latest[event.stream] = place
    return problems


def contests_have_one_winner(evidence: Evidence) -> list[str]:
    """Of the cancellations of one order, all acknowledged, exactly one is in the history."""
    problems = [
        f"{tried.stream}: only {len(tried.commits)} site could try to cancel it"
        for tried in evidence.tried
        if len(tried.commits) < 2
    ]
    if not evidence.tried:
        problems.append("no order was contested")
    for node in evidence.told:
        winners = _winners(node)
        for tried in evidence.tried:
            won = winners.get(tried.stream, [])
            if len(won) != 1:
                problems.append(f"{node.name}: {tried.stream} has {len(won)} winners")
            elif won[0].commit != tried.commits.get(won[0].event_id):
                problems.append(f"{node.name}: {tried.stream} was won by a commit nobody sent")
    return problems


def winners_are_the_same(evidence: Evidence) -> list[str]:
    """All nodes name the same winner, in their histories and in their conflict feeds."""
    first = evidence.told[0]
    problems = []
    for node in evidence.told:
        mine, theirs = _winners(node), _winners(first)
        for tried in evidence.tried:
            names = [event.commit for event in mine.get(tried.stream, [])]
            if names != [event.commit for event in theirs.get(tried.stream, [])]:
                problems.append(f"{node.name} and {first.name} name other winners: {tried.stream}")
            problems += _feed_problems(node, tried, names)
        extra = {lost.stream for lost in node.conflicts} - {one.stream for one in evidence.tried}
        if extra:
            problems.append(f"{node.name} has conflicts nobody made: {_names(extra)}")
    return problems


def _feed_problems(node: Told, tried: Tried, winners: list[str]) -> list[str]:
    losers = sorted(set(tried.commits.values()) - set(winners))
    entries = [lost for lost in node.conflicts if lost.stream == tried.stream]
    if sorted(entry.commit for entry in entries) != losers:
        return [f"{node.name}: its conflict feed does not name the loser of {tried.stream}"]
    if any(entry.winner not in winners for entry in entries):
        return [f"{node.name}: its conflict feed names another winner of {tried.stream}"]
    return []


def _winners(node: Told) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = {}
    for event in node.history:
        if event.type == "cancelled":
            found.setdefault(event.stream, []).append(event)
    return found


def books_are_equal(evidence: Evidence) -> list[str]:
    """The order book of every node's history is that of the recording."""
    expected = book_sent(evidence)
    return [
        f"{name}: {book.open_orders} open orders, best {book.best_bid} / {book.best_ask}; the "
        f"recording leads to {expected.open_orders}, {expected.best_bid} / {expected.best_ask}"
        for name, book in evidence.books.items()
        if book != expected
    ]


QUESTIONS: dict[str, Callable[[Evidence], list[str]]] = {
    "The cut was real, in both directions": cut_was_real,
    "All is settled everywhere": all_is_settled,
    "The nodes name one digest": digests_are_equal,
    "The histories, read and hashed here, are one": histories_are_equal,
    "Every event is there exactly once": each_event_once,
    "Every event is as it was sent and acknowledged": events_are_as_sent,
    "Every order's events are in the order sent": streams_are_in_order,
    "Every contested order has exactly one winner": contests_have_one_winner,
    "All nodes name the same winners and losers": winners_are_the_same,
    "The order books are one, and that of the recording": books_are_equal,
}


def short(problems: Sequence[str]) -> list[str]:
    """The first few problems, and how many more there are."""
    left = len(problems) - SHOWN_MAX
    return [*problems[:SHOWN_MAX], *([f"and {left:,} more"] if left > 0 else [])]


def _names(names: Iterable[str]) -> str:
    ordered = sorted(set(names))
    return ", ".join(short(ordered))
