"""Settlement from epoch to epoch: what counts when."""

from dataclasses import replace

import pytest

from anabranch.gossip.counting import EpochSettlement
from anabranch.gossip.epoch import Change, Epoch, Frozenness, Member, successor
from anabranch.gossip.frontier import Frontier

ONE, TWO, THREE, FOUR = (Member(f"n{one}", "s", 0, one) for one in (1, 2, 3, 4))
FIRST = Epoch.founded([ONE, TWO, THREE])


def frontier(*rows):
    held = Frontier()
    for shard, origin, seq in rows:
        held.advance((shard, origin), seq)
    return held


def after(change, *answers, epoch=FIRST):
    return successor(epoch, change, [Frozenness(10, tuple(rows)) for rows in answers])


def settlement(epoch=FIRST, mine=(), me=1):
    made = EpochSettlement(me, epoch, frontier(*mine))
    made.counts_me = True
    return made


def all_promise(made, time, *rows):
    for origin in made.epoch.origins:
        own = [row for row in rows if row[1] == origin]
        made.heard(origin, made.epoch.number, time, own)


def test_it_is_settlement_as_ever_while_nothing_changes():
    made = settlement(mine=[(0, 2, 4)])
    all_promise(made, 20, (0, 2, 4))
    assert made.advance(0) == 20


def test_a_report_of_a_newer_epoch_is_not_used_yet():
    made = settlement()
    all_promise(made, 20)
    assert not made.heard(2, 2, 99, [])
    assert made.promised(2) == 20


def test_a_promise_counts_in_later_epochs_and_a_frontier_does_not():
    second = after(Change())
    made = settlement(second, mine=[(0, 1, 3)])
    all_promise(made, 20)
    made.heard(1, 2, 30, [(0, 1, 3)])
    for origin in (2, 3):
        assert made.heard(origin, 1, 30, [(0, 1, 3)])
    assert made.promised(2) == 30
    assert made.advance(0) == 20  # up to there nothing was named
    made.heard(2, 2, 30, [(0, 1, 3)])
    assert made.advance(0) == 30


def test_entering_an_epoch_forgets_who_held_what_in_the_one_before():
    made = settlement(mine=[(0, 1, 3)])
    all_promise(made, 20, (0, 1, 3))
    made.heard(2, 1, 20, [(0, 1, 3)])
    assert made.advance(0) == 20
    made.enter(after(Change(), [(0, 1, 3)]), 1, frontier((0, 1, 3)))
    for origin in FIRST.origins:
        made.heard(origin, 1, 30, [])
    assert made.advance(0) == 20  # never back
    made.heard(3, 2, 30, [(0, 1, 3)])
    assert made.advance(0) == 30


@pytest.mark.parametrize(
    ("mine", "theirs", "watermark"),
    [
        ([(0, 1, 5), (0, 2, 4)], [(0, 1, 5), (0, 2, 4)], 30),
        ([(0, 1, 5), (0, 2, 3)], [(0, 1, 5), (0, 2, 4)], 0),  # this node lacks of the base
        ([(0, 1, 5), (0, 2, 4)], [(0, 1, 5), (0, 2, 3)], 0),  # the other does
    ],
)
def test_who_lacks_the_base_does_not_count(mine, theirs, watermark):
    made = settlement(after(Change(), [(0, 2, 4)]), mine)
    made.heard(1, 2, 30, [(0, 1, 5)])
    made.heard(2, 2, 30, [])  # it may promise before
    made.heard(3, 2, 30, theirs)
    assert made.advance(0) == watermark


@pytest.mark.parametrize(("theirs", "watermark"), [(3, 0), (4, 30)])
def test_the_finals_of_removed_origins_are_held_by_a_majority(theirs, watermark):
    made = settlement(after(Change(remove=(3,)), [(0, 3, 4)]), [(0, 3, 4)])
    made.heard(1, 2, 30, [])
    made.heard(2, 2, 30, [(0, 3, theirs)])
    assert made.advance(0) == watermark
    assert made.advance(1) == 30  # nothing is owed there


def test_nothing_settles_here_before_the_finals_are_here_and_it_is_said():
    made = settlement(after(Change(remove=(3,)), [(0, 3, 4)]), [(0, 3, 1)])
    for origin in (1, 2):
        made.heard(origin, 2, 30, [(0, 3, 4)] if origin == 2 else [])
    assert made.advance(0) == 0
    (holder,) = [one for one in made.holders([0], 25) if one.origin == 3]
    assert holder.why == "3 of its commits, which the epoch names, are not here yet"
    assert made.holders([1], 25) == []


def test_a_joiner_promises_from_the_floor_on():
    made = settlement(after(Change(join=(FOUR,)), []))
    for origin in (1, 2, 3):
        made.heard(origin, 2, 30, [])
    assert made.promised(4) == 10
    assert made.advance(0) == 10
    made.heard(4, 2, 25, [])
    assert made.advance(0) == 25


def test_a_removed_member_holds_nothing_back():
    made = settlement()
    made.heard(1, 1, 20, [])
    made.heard(2, 1, 20, [])
    assert made.advance(0) == 0
    made.enter(after(Change(remove=(3,))), 1, frontier())
    assert made.heard(3, 1, 99, [])  # and what it says is of no use
    made.heard(2, 2, 20, [])
    assert made.advance(0) == 20


def test_a_node_that_may_not_report_does_not_count_itself():
    made = settlement(mine=[(0, 1, 3)])
    all_promise(made, 20, (0, 1, 3))
    made.counts_me = False
    made.heard(2, 1, 20, [(0, 1, 3)])
    assert made.advance(0) == 0
    made.heard(3, 1, 20, [(0, 1, 3)])
    assert made.advance(0) == 20


def test_who_is_no_member_settles_nothing():
    made = settlement(me=9)
    all_promise(made, 20)
    assert made.advance(0) == 0


def test_a_frontier_that_grows_without_a_report_counts_no_further():
    made = settlement(mine=[(0, 1, 3)])
    made.counts_me = False
    theirs = frontier((0, 1, 1))
    all_promise(made, 20, (0, 1, 3))
    for origin in (2, 3):
        made.heard(origin, 1, 20, [(*log, seq) for log, seq in theirs.items()])
    theirs.advance((0, 1), 3)
    assert made.advance(0) == 0


def test_an_origin_that_comes_back_is_a_new_one():
    second = after(Change(join=(replace(THREE, origin=33),)), [])
    made = settlement()
    all_promise(made, 20)
    assert made.advance(0) == 20
    made.enter(second, 1, frontier())
    assert made.promised(33) == 10 and made.watermark(0) == 20
