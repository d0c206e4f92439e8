"""Each check of the demo finds its own kind of damage, and nothing where there is none."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from anabranch.cli import demo_checks
from anabranch.cli.demo_checks import Evidence, Lost, Seen, Sent, Told, Tried, WhileCut

SITES = ("ny", "london", "tokyo")


def data(price="10", side="bid", volume=5):
    return {"price": price, "side": side, "volume": volume}


def sent(number, stream, type_="created"):
    return Sent(stream, f"e{number}", type_, data(), f"c{number}")


def seen(position, event: Sent, revision):
    content = json.dumps(dict(event.data)).encode()
    return Seen(
        event.stream,
        revision,
        f"p{position:03d}",
        event.commit,
        event.event_id,
        event.type,
        content,
    )


WRITTEN = [sent(0, "a"), sent(1, "b"), sent(2, "c"), sent(3, "b", "changed")]
CANCEL = Sent("a", "x-tokyo", "cancelled", data(), "tokyo's")
HISTORY = [
    seen(0, WRITTEN[0], 0),
    seen(1, WRITTEN[1], 0),
    seen(2, WRITTEN[2], 0),
    seen(3, CANCEL, 1),
    seen(4, WRITTEN[3], 1),
]
TRIED = Tried("a", {"x-tokyo": "tokyo's", "x-london": "london's"})


def told(site, history=HISTORY, **changed):
    fields = {
        "name": f"{site}1",
        "site": site,
        "digest": "d",
        "settled_commits": 5,
        "tentative": 0,
        "history": history,
        "conflicts": [Lost("a", "london's", "tokyo's")],
    }
    return Told(**(fields | changed))


def cut(site, others, **changed):
    names = frozenset(f"{other}1" for other in others)
    return replace(WhileCut(f"{site}1", site, names, names, 3), **changed)


WHILE_CUT = [
    cut("ny", ["tokyo"]),
    cut("london", ["tokyo"]),
    cut("tokyo", ["ny", "london"]),
]


def evidence(*, tokyo=None, sent=WRITTEN, tried=(TRIED,), while_cut=WHILE_CUT, everywhere=None):
    history = HISTORY if everywhere is None else everywhere
    nodes = [told("ny", history), told("london", history), tokyo or told("tokyo", history)]
    made = Evidence(sent, tried, "tokyo", while_cut, nodes)
    return replace(made, books={node.name: demo_checks.book_of(node.history) for node in nodes})


def failed(damaged: Evidence) -> set[str]:
    asked = {ask.__name__: ask(damaged) for ask in demo_checks.QUESTIONS.values()}
    return {name for name, problems in asked.items() if problems}


def numbered(history):
    """The events with the revisions that a fold would give them."""
    revisions: dict[str, int] = {}
    made = []
    for event in history:
        revisions[event.stream] = revisions.get(event.stream, -1) + 1
        made.append(replace(event, revision=revisions[event.stream]))
    return made


def test_nothing_is_found_where_there_is_nothing():
    assert failed(evidence()) == set()
    assert all(not check.problems for check in demo_checks.gather(evidence()))


def test_an_event_lost_everywhere():
    found = failed(evidence(everywhere=[one for one in HISTORY if one.event_id != "e2"]))
    assert found == {"each_event_once", "books_are_equal"}


def test_an_event_lost_at_one_node():
    short = told("tokyo", [one for one in HISTORY if one.event_id != "e2"])
    assert "each_event_once" in failed(evidence(tokyo=short))
    assert "histories_are_equal" in failed(evidence(tokyo=short))


def test_an_event_doubled_everywhere():
    doubled = numbered([*HISTORY, replace(HISTORY[4], position="p005")])
    assert failed(evidence(everywhere=doubled)) == {"each_event_once"}


def test_an_event_that_nobody_sent():
    strange = numbered([*HISTORY, replace(HISTORY[4], position="p005", event_id="e9")])
    assert failed(evidence(everywhere=strange)) == {"each_event_once"}


def test_two_winners_everywhere():
    other = replace(HISTORY[3], position="p009", event_id="x-london", commit="london's")
    found = failed(evidence(everywhere=numbered([*HISTORY, other])))
    assert found == {"contests_have_one_winner", "winners_are_the_same"}


def test_no_winner():
    found = failed(evidence(everywhere=[one for one in HISTORY if one.type != "cancelled"]))
    assert found == {"contests_have_one_winner", "winners_are_the_same", "books_are_equal"}


def test_another_winner_at_one_node():
    other = replace(HISTORY[3], event_id="x-london", commit="london's")
    history = [other if one.type == "cancelled" else one for one in HISTORY]
    conflicts = [Lost("a", "tokyo's", "london's")]
    found = failed(evidence(tokyo=told("tokyo", history, conflicts=conflicts)))
    assert found == {"histories_are_equal", "winners_are_the_same"}


def test_a_winner_that_was_never_acknowledged():
    forged = [replace(one, commit="?") if one.type == "cancelled" else one for one in HISTORY]
    assert "contests_have_one_winner" in failed(evidence(everywhere=forged))


@pytest.mark.parametrize(
    "conflicts", [[], [Lost("a", "london's", "?")], [Lost("a", "tokyo's", "tokyo's")]]
)
def test_a_conflict_feed_that_says_something_else(conflicts):
    found = failed(evidence(tokyo=told("tokyo", conflicts=conflicts)))
    assert found == {"winners_are_the_same"}


def test_a_conflict_that_nobody_made():
    conflicts = [Lost("a", "london's", "tokyo's"), Lost("b", "c1", "c3")]
    found = failed(evidence(tokyo=told("tokyo", conflicts=conflicts)))
    assert found == {"winners_are_the_same"}


def test_an_order_that_only_one_site_could_cancel():
    once = Tried("a", {"x-tokyo": "tokyo's"})
    quiet = [told(site, conflicts=[]) for site in SITES]
    damaged = replace(evidence(tried=[once]), told=quiet)
    assert failed(damaged) == {"contests_have_one_winner"}


def test_another_order_at_one_node():
    swapped = [HISTORY[1], HISTORY[0], *HISTORY[2:]]
    assert failed(evidence(tokyo=told("tokyo", swapped))) == {"histories_are_equal"}


def test_a_stream_out_of_order_everywhere():
    swapped = numbered([HISTORY[0], HISTORY[4], HISTORY[2], HISTORY[3], HISTORY[1]])
    assert failed(evidence(everywhere=swapped)) == {"streams_are_in_order"}


def test_revisions_with_a_gap():
    gap = [replace(one, revision=one.revision * 2) for one in HISTORY]
    assert failed(evidence(everywhere=gap)) == {"streams_are_in_order"}


def test_changed_data_everywhere():
    changed = json.dumps(data(price="11")).encode()
    history = [replace(one, data=changed) if one.event_id == "e3" else one for one in HISTORY]
    found = failed(evidence(everywhere=history))
    assert found == {"events_are_as_sent", "books_are_equal"}


def test_a_commit_other_than_the_acknowledged_one():
    history = [replace(one, commit="?") if one.event_id == "e3" else one for one in HISTORY]
    assert failed(evidence(everywhere=history)) == {"events_are_as_sent"}


def test_another_book_at_one_node():
    made = evidence()
    empty = demo_checks.book_of([])
    assert failed(replace(made, books={**made.books, "tokyo1": empty})) == {"books_are_equal"}


def test_another_digest_and_something_tentative():
    assert failed(evidence(tokyo=told("tokyo", digest="?"))) == {"digests_are_equal"}
    assert failed(evidence(tokyo=told("tokyo", tentative=1))) == {"all_is_settled"}


@pytest.mark.parametrize(
    "changed",
    [{"links_cut": frozenset({"ny1"})}, {"held_back_by": frozenset()}, {"tentative": 0}],
)
def test_a_cut_that_was_none(changed):
    open_ = [*WHILE_CUT[:2], replace(WHILE_CUT[2], **changed)]
    assert failed(evidence(while_cut=open_)) == {"cut_was_real"}


def test_long_lists_are_cut_short():
    assert demo_checks.short(["a"] * 5) == ["a", "a", "a", "and 2 more"]
