"""Each checker that judges events finds what was spoilt, when it happens and in the end alike."""

from __future__ import annotations

import pytest

from anabranch.node.fold import KEPT
from anabranch.simulations.checkers import ONLINE, Judges, violations
from anabranch.simulations.checkers.agreement import Agreement, Unchanging
from anabranch.simulations.checkers.causality import Causality
from anabranch.simulations.checkers.check import folded
from anabranch.simulations.checkers.feeds import Feeds
from anabranch.simulations.checkers.late import Late
from anabranch.simulations.checkers.majority import Majority
from anabranch.simulations.checkers.order import Order
from anabranch.simulations.checkers.promises import Promises
from anabranch.simulations.checkers.recovery import Recovery
from anabranch.simulations.checkers.roots import Roots
from anabranch.simulations.checkers.skew import Skew, allowed_ms
from anabranch.simulations.checkers.stamps import Stamps
from anabranch.simulations.checkers.stray import BelowStrays
from anabranch.simulations.history import (
    Digested,
    Fed,
    History,
    Inserted,
    Promised,
    Recovered,
    Settled,
    Shown,
    Stamped,
)

from .good_history import MEMBERS, ROWS, change, good, restarted

# -- promises, stamps, clocks --------------------------------------------------------------------


def stamp_at_the_promise(history):
    change(history, Promised, lambda event: event.time == 59, time=60)


def stamp_below_a_promise_from_before_a_restart(history):
    history.events.insert(0, Promised(0, "tok1", 3, 40))


def stamp_twice_the_same(history):
    """Over two shards, as a clock that forgot would."""
    history.events.append(Stamped(70, "tok1", 3, 1, 1, 50, 40, 20, 520))


def stamp_again_what_a_start_has_read_back(history):
    """Sequence 1 was kept at the restart of ny1."""
    history.events.append(Stamped(70, "ny1", 1, 1, 2, 15, 10, 20, 520))


def stamp_too_far_ahead(history):
    change(history, Stamped, lambda event: event.stamp == 30, ahead_ms=521)


def let_the_counter_overflow(history):
    history.events.append(Stamped(70, "ny1", 9, 0, 1, 1 << 64, 0, 20, 520))


def stamp_below_what_was_held(history):
    change(history, Stamped, lambda event: event.stamp == 20, above=30)


def insert_at_the_watermark(history):
    change(history, Inserted, lambda event: event.key[0] == 50, watermark=50)


# -- what is settled -----------------------------------------------------------------------------


def settle_what_a_minority_holds(history):
    change(history, Settled, lambda event: event.node == "ny1", on_disk_at=("ny1",))


def settle_what_others_hold(history):
    change(history, Settled, lambda event: event.node == "ny1", here=False)


def swap_two_commits_everywhere(history):
    for number, event in enumerate(history.events):
        if isinstance(event, Settled) and event.number < 2 and event.row.shard == 0:
            history.events[number] = event._replace(row=ROWS[1 - event.number])


def settle_a_commit_twice(history):
    change(history, Settled, lambda event: event.number == 1, row=ROWS[0])


def leave_a_revision_out(history):
    row = ROWS[6]._replace(first_revision=3)
    change(history, Settled, lambda event: event.row is ROWS[6], row=row)


def leave_a_sequence_out(history):
    row = ROWS[1]._replace(seq=2)
    change(history, Settled, lambda event: event.row is ROWS[1], row=row)


def settle_otherwise_at_one_node(history):
    row = ROWS[6]._replace(outcome=KEPT)
    change(history, Settled, lambda event: event.node == "tok1" and event.number == 1, row=row)


def show_otherwise_at_one_node(history):
    change(history, Shown, lambda event: event.node == "tok1", rows=(ROWS[0], ROWS[2]))


def change_an_outcome_over_a_restart(history):
    rows = (ROWS[0], ROWS[1]._replace(outcome=KEPT))
    change(history, Shown, lambda event: event.when == "read back", rows=rows)


def skip_a_number(history):
    change(history, Settled, lambda event: event.number == 3, number=4)


def settle_what_was_settled(history):
    event = next(event for event in history.events if isinstance(event, Settled))
    history.events.append(event)


def show_less_than_before(history):
    rows = (ROWS[0],)
    change(history, Shown, lambda event: event.node == "lon1" and event.shard == 0, rows=rows)


# -- hashes --------------------------------------------------------------------------------------


def say_another_running_hash(history):
    change(history, Shown, lambda event: event.when == "final", running=bytes(32))


def say_one_digest_of_two_histories(history):
    history.events.append(Digested(66, "ny1", (4, 2), "digest"))


def say_two_digests_of_one_history(history):
    history.events.append(Digested(66, "tok1", (5, 2), "another"))


# -- recovery ------------------------------------------------------------------------------------


def recover(history, **fields):
    change(history, Recovered, lambda event: True, **fields)


def read_back(history, frontier=None, tentative=None):
    """Change what ny1 has read back, however often it reads."""
    after = restarted().after
    after = after._replace(
        frontier={**after.frontier, **(frontier or {})},
        tentative={**after.tentative, **(tentative or {})},
    )
    recover(history, after=after, again=(after, after, after))


def forget_what_was_on_disk(history):
    read_back(history, frontier={(0, 3): 0})


def read_back_what_was_never_written(history):
    read_back(history, frontier={(1, 1): 2})


def read_back_the_second_and_not_the_first(history):
    read_back(history, frontier={(0, 2): 1, (0, 3): 2})


def read_back_another_commit(history):
    read_back(history, tentative={(0, 2, 2): b"another"})


def read_back_a_commit_from_nowhere(history):
    read_back(history, tentative={(1, 2, 9): b"nobody's"})


def drop_a_tentative_commit(history):
    found = dict(restarted().after.tentative)
    del found[0, 3, 1]
    recover(history, after=restarted().after._replace(tentative=found), again=())


def read_it_otherwise_the_second_time(history):
    event = restarted()
    less = event.after._replace(tentative={})
    recover(history, again=(event.after, less, event.after))


def rebuild_another_index(history):
    event = restarted()
    rebuilt = event.after._replace(marks=((2, b"otherwise"), (2, b"two of 1")))
    recover(history, again=(event.after, event.after, rebuilt))


def rebuild_less_from_the_log(history):
    event = restarted()
    rebuilt = event.after._replace(frontier=event.before.frontier)
    recover(history, again=(event.after, event.after, rebuilt))


def know_of_too_few_that_are_missing(history):
    """Its log is torn, and it does not know how much of it there was."""
    tear(history, {(0, 3): 0})


def rebuild_less_from_a_damaged_log_and_not_know(history):
    event = restarted()
    rebuilt = event.after._replace(frontier=event.before.frontier)
    recover(history, hurt=True, again=(event.after, event.after, rebuilt))


def stamp_again_what_a_torn_log_had(history):
    """The commit was on disk, and is not read back."""
    tear(history, {(1, 1): 1}, lost=(1, 1))
    again = next(event for event in history.events if isinstance(event, Stamped))
    at = next(i for i, event in enumerate(history.events) if isinstance(event, Recovered))
    history.events.insert(at + 1, again)


def tear(history, torn, lost=(0, 3)):
    after = restarted().after
    frontier = {log: seq for log, seq in after.frontier.items() if log != lost}
    after = after._replace(
        frontier=frontier,
        tentative={key: found for key, found in after.tentative.items() if key[:2] != lost},
        torn=torn,
    )
    recover(history, after=after, again=(after, after, after), hurt=True)


def settle_above_a_stray(history):
    change(history, Settled, lambda event: event.number == 1, stray=(1, 0, 9))


# -- what readers are told -----------------------------------------------------------------------


def tell_a_reader_another_event(history):
    change(
        history, Fed, lambda event: event.node == "tok1" and event.number, events=(("p9", "t", 0),)
    )


def leave_out_an_event_that_a_reader_wants(history):
    change(
        history, Fed, lambda event: event.node == "tok1" and event.number, events=(("p4", "t", 1),)
    )


def tell_a_reader_what_nobody_told_before(history):
    history.events.append(Fed(70, "tok1", 9, (("p9", "t", 9),)))


def tell_a_reader_an_earlier_event_last(history):
    history.events.append(Fed(70, "tok1", 3, (("p0", "t", 1),)))


TABLE = [
    (Promises, stamp_at_the_promise),
    (Promises, stamp_below_a_promise_from_before_a_restart),
    (Stamps, stamp_twice_the_same),
    (Stamps, stamp_again_what_a_start_has_read_back),
    (Stamps, stamp_again_what_a_torn_log_had),
    (Skew, stamp_too_far_ahead),
    (Skew, let_the_counter_overflow),
    (Causality, stamp_below_what_was_held),
    (Late, insert_at_the_watermark),
    (Majority, settle_what_a_minority_holds),
    (Majority, settle_what_others_hold),
    (Order, swap_two_commits_everywhere),
    (Order, settle_a_commit_twice),
    (Order, leave_a_revision_out),
    (Order, leave_a_sequence_out),
    (Agreement, settle_otherwise_at_one_node),
    (Agreement, show_otherwise_at_one_node),
    (Agreement, skip_a_number),
    (Unchanging, change_an_outcome_over_a_restart),
    (Unchanging, skip_a_number),
    (Unchanging, settle_what_was_settled),
    (Unchanging, show_less_than_before),
    (Roots, say_another_running_hash),
    (Roots, say_one_digest_of_two_histories),
    (Roots, say_two_digests_of_one_history),
    (Recovery, forget_what_was_on_disk),
    (Recovery, read_back_what_was_never_written),
    (Recovery, read_back_the_second_and_not_the_first),
    (Recovery, read_back_another_commit),
    (Recovery, read_back_a_commit_from_nowhere),
    (Recovery, drop_a_tentative_commit),
    (Recovery, read_it_otherwise_the_second_time),
    (Recovery, rebuild_another_index),
    (Recovery, rebuild_less_from_the_log),
    (Recovery, know_of_too_few_that_are_missing),
    (Recovery, rebuild_less_from_a_damaged_log_and_not_know),
    (BelowStrays, settle_above_a_stray),
    (Feeds, tell_a_reader_another_event),
    (Feeds, leave_out_an_event_that_a_reader_wants),
    (Feeds, tell_a_reader_what_nobody_told_before),
    (Feeds, tell_a_reader_an_earlier_event_last),
]


@pytest.mark.parametrize(("check", "spoil"), TABLE, ids=lambda function: function.__name__)
def test_what_was_spoilt_is_found(check, spoil):
    history = good()
    assert folded(check)(history) == []
    spoil(history)
    assert folded(check)(history) != []
    live = History(MEMBERS)
    judges = Judges(live)
    for event in history.events:
        judges.take(event)
    assert check.name in {violation.check for violation in live.violations}
    assert live.first_violation is not None


def test_every_checker_is_shown_to_fail():
    assert {check for check, _ in TABLE} == set(ONLINE)


@pytest.mark.parametrize("torn", [{(0, 3): 1}, {(0, 3): 4}])
def test_a_torn_log_that_is_known_to_be_torn_is_no_violation(torn):
    history = good()
    tear(history, torn)
    assert folded(Recovery)(history) == []


def test_who_is_unsure_may_know_of_nothing():
    history = good()
    tear(history, {})
    recover(history, after=restarted().after._replace(frontier={}, tentative={}, unsure=True))
    change(history, Recovered, lambda event: True, again=())
    assert folded(Recovery)(history) == []


def test_what_was_judged_when_it_happened_is_not_judged_again():
    history = good()
    stamp_at_the_promise(history)
    judges = Judges(history)
    for event in history.events:
        judges.take(event)
    assert [problem.split(":")[0] for problem in violations(history)] == ["promises_kept"]
    assert history.first_violation.at == 60


@pytest.mark.parametrize(
    ("mine", "others", "allowed"),
    [
        ((0, 0), [(0, 0), (0, 0)], 500),
        ((0, 3000), [(0, 0), (0, 0)], 3500),  # its own clock may be as wrong as it likes
        ((0, 0), [(0, 3000), (0, 0)], 500),  # one fast clock drags nobody
        ((0, 0), [(0, 3000), (0, 1000)], 1500),  # two of three do, as far as the slower of them
        ((-200, 0), [(0, 100), (0, 100)], 800),  # an offset that was learned may be old
        ((0, 0), [], 500),
    ],
)
def test_how_far_ahead_a_stamp_may_be(mine, others, allowed):
    assert allowed_ms(mine, others, 500) == allowed
