"""The state machine of one node, message by message; what many do is in the world's tests."""

from dataclasses import replace

import pytest

from anabranch.gossip.epoch import Change, Epoch, Frozenness, Member
from anabranch.gossip.epochs import (
    Accept,
    Accepts,
    Ask,
    Epochs,
    Freeze,
    Frozen,
    Here,
    Learn,
    Outbid,
    Outcome,
)
from anabranch.gossip.frontier import Frontier
from anabranch.storage.errors import BadFrame

ONE, TWO, THREE, FOUR = (Member(f"n{one}", "s", 0, one) for one in (1, 2, 3, 4))
FIRST = Epoch.founded([ONE, TWO, THREE])
NOBODY = Frozenness(0, ())


def here(*rows, promised=0, sure=True):
    frontier = Frontier()
    for shard, origin, seq in rows:
        frontier.advance((shard, origin), seq)
    return Here(frontier, promised, sure)


def value(*remove, join=()):
    """What epoch 2 becomes if nobody holds anything."""
    proposer = Epochs(1, FIRST)
    proposer.propose(Change(join, remove), here())
    proposer.receive(1, Frozen(1, (1, 1), NOBODY, None), here())
    return proposer.receive(2, Frozen(1, (1, 1), NOBODY, None), here()).send[0][1].value


def test_a_change_from_the_first_message_to_the_last():
    one, two = Epochs(1, FIRST), Epochs(2, FIRST)
    begun = one.propose(Change(remove=(3,)), here(promised=7))
    assert begun.keep == one.state and one.frozen
    assert begun.send == [(origin, Freeze(1, (1, 1))) for origin in (1, 2, 3)]

    mine = one.receive(1, begun.send[0][1], here(promised=7))
    theirs = two.receive(1, begun.send[1][1], here((0, 3, 4), promised=9))
    assert theirs.keep == two.state and two.frozen
    assert theirs.send == [(1, Frozen(1, (1, 1), Frozenness(9, ((0, 3, 4),)), None))]

    assert one.receive(1, mine.send[0][1], here()) == Outcome()
    asked = one.receive(2, theirs.send[0][1], here())
    accept = asked.send[1][1]
    assert accept.value.finals == {3: {0: 4}} and accept.value.floor == 9

    accepted = two.receive(1, accept, here())
    assert accepted.keep == two.state
    assert accepted.send == [(1, Accepts(1, (1, 1)))]
    assert one.receive(2, accepted.send[0][1], here()) == Outcome()
    decided = one.receive(1, Accepts(1, (1, 1)), here())
    assert decided.entered == (FIRST, accept.value) and decided.keep == one.state
    assert decided.send == [(2, Learn(accept.value)), (3, Learn(accept.value))]
    assert not one.frozen

    learned = two.receive(1, Learn(accept.value), here())
    assert learned == Outcome(two.state, entered=(FIRST, accept.value))
    assert two.receive(1, Learn(accept.value), here()) == Outcome()


def test_what_was_kept_is_what_goes_on():
    node = Epochs(2, FIRST)
    node.receive(1, Freeze(1, (4, 1)), here())
    accepted = node.receive(1, Accept(1, (5, 3), value(3)), here())
    again = Epochs.restored(2, accepted.keep)
    assert again.frozen and again.state == node.state and again.epoch == FIRST
    assert again.receive(1, Freeze(1, (5, 1)), here()).send == [(1, Outbid(1, (5, 3)))]
    answer = again.receive(3, Freeze(1, (6, 3)), here()).send[0][1]
    assert answer.accepted == ((5, 3), value(3))


@pytest.mark.parametrize("kept", [b"", b"\x93\x01\x02\x03", Epochs(1, FIRST).state[:-1]])
def test_other_bytes_are_no_state(kept):
    with pytest.raises(BadFrame):
        Epochs.restored(1, kept)


def test_a_frozen_node_reports_nothing_until_the_next_epoch():
    node = Epochs(2, FIRST)
    assert node.may_report(here())
    node.receive(1, Freeze(1, (1, 1)), here())
    assert not node.may_report(here())
    node.receive(1, Learn(value(3)), here())
    assert node.may_report(here())
    assert not node.may_report(here(sure=False))


def test_a_change_that_stalled_is_taken_over_and_an_accepted_value_carried_on():
    two = Epochs(2, FIRST)
    two.receive(1, Accept(1, (3, 1), value(3)), here())
    begun = two.propose(Change(remove=(1,)), here())
    ballot = begun.send[0][1].ballot
    assert ballot == (4, 2)
    two.receive(3, Frozen(1, ballot, NOBODY, ((1, 3), value())), here())
    mine = two.receive(2, begun.send[1][1], here()).send[0][1]
    asked = two.receive(2, mine, here())
    assert {message for _, message in asked.send} == {Accept(1, ballot, value(3))}


def test_who_was_outbid_bids_higher_the_next_time():
    one = Epochs(1, FIRST)
    one.propose(Change(), here())
    assert one.proposing
    one.receive(2, Outbid(1, (8, 2)), here())
    assert not one.proposing and one.frozen
    assert one.propose(Change(), here()).send[0][1].ballot == (9, 1)


def test_a_lower_ballot_is_not_heeded_and_an_equal_one_answered_again():
    node = Epochs(2, FIRST)
    node.receive(1, Freeze(1, (5, 1)), here())
    before = node.state
    assert node.receive(3, Freeze(1, (4, 3)), here()) == Outcome(send=[(3, Outbid(1, (5, 1)))])
    assert node.receive(3, Accept(1, (4, 3), value()), here()).keep is None
    assert node.receive(1, Freeze(1, (5, 1)), here()).send[0][1].ballot == (5, 1)
    assert node.state == before


def test_answers_to_another_ballot_or_of_strangers_do_not_count():
    one = Epochs(1, FIRST)
    one.propose(Change(), here())
    one.propose(Change(), here())
    for sender, ballot in ((1, (1, 1)), (2, (1, 1)), (4, (2, 1)), (5, (2, 1))):
        assert one.receive(sender, Frozen(1, ballot, NOBODY, None), here()) == Outcome()
    one.receive(1, Frozen(1, (2, 1), NOBODY, None), here())
    one.receive(2, Frozen(1, (2, 1), NOBODY, None), here())
    for sender, ballot in ((1, (1, 1)), (4, (2, 1)), (2, (2, 1)), (2, (2, 1))):
        assert one.receive(sender, Accepts(1, ballot), here()) == Outcome()
    assert one.receive(3, Accepts(1, (2, 1)), here()).entered


def with_base():
    """Epoch 2 with a base: five commits of the first member."""
    base = ((0, 1, 5),)
    return replace(value(join=(FOUR,)), base=base)


@pytest.mark.parametrize(
    ("me", "what", "why"),
    [
        (9, here((0, 1, 5)), "no member of epoch 2"),
        (4, here((0, 1, 3)), "still has to copy 2 commits"),
        (4, here((0, 1, 5), sure=False), "went back in time"),
    ],
)
def test_who_has_no_vote_and_why(me, what, why):
    node = Epochs(me, with_base())
    assert why in node.hindrance(what)
    assert node.propose(Change(), what) == Outcome()
    assert node.receive(1, Freeze(2, (1, 1)), what) == Outcome()
    assert node.receive(1, Accept(2, (1, 1), value()), what) == Outcome()
    assert not node.frozen


def test_a_joiner_has_a_vote_once_it_holds_the_base():
    node = Epochs(4, with_base())
    assert node.hindrance(here((0, 1, 5))) is None
    assert node.propose(Change(), here((0, 1, 5))).keep


def test_a_newer_epoch_is_asked_for_and_an_older_one_told():
    old, new = Epochs(1, FIRST), Epochs(2, value(3))
    ask = old.heard(2, 2, new.epoch.mark)
    assert ask == Outcome(send=[(2, Ask(1))])
    learn = new.receive(1, ask.send[0][1], here())
    assert learn == Outcome(send=[(1, Learn(new.epoch))])
    assert new.heard(1, 1, FIRST.mark) == learn
    assert new.receive(1, Freeze(1, (9, 1)), here()) == learn
    assert old.receive(2, Freeze(2, (9, 2)), here()) == ask
    assert old.receive(2, learn.send[0][1], here()).entered == (FIRST, new.epoch)
    assert old.heard(2, 2, new.epoch.mark) == Outcome()
    assert old.receive(2, Ask(2), here()) == Outcome()


def test_epochs_may_be_skipped():
    third = Epochs(1, value(3))
    third.propose(Change(join=(FOUR,)), here())
    third.receive(1, Frozen(2, (1, 1), NOBODY, None), here())
    third.receive(2, Frozen(2, (1, 1), NOBODY, None), here())
    third.receive(1, Accepts(2, (1, 1)), here())
    newest = third.receive(2, Accepts(2, (1, 1)), here()).entered[1]
    assert newest.number == 3
    assert Epochs(2, FIRST).receive(1, Learn(newest), here()).entered == (FIRST, newest)


def test_another_history_is_a_fork_and_changes_nothing():
    node = Epochs(2, value(3))
    other = value(1)
    for outcome in (node.heard(3, 2, other.mark), node.receive(3, Learn(other), here())):
        assert outcome.keep is None and not outcome.send
        assert "another epoch 2" in outcome.fork
    assert node.epoch == value(3)
    assert node.receive(3, Accept(2, (1, 1), other), here()) == Outcome()


def test_force_decides_with_those_who_are_left():
    one = Epochs(1, FIRST)
    begun = one.force(Change(remove=(2, 3)), here((0, 1, 6)))
    answer = one.receive(1, begun.send[0][1], here((0, 1, 6)))
    decided = one.receive(1, answer.send[0][1], here((0, 1, 6)))
    epoch = decided.entered[1]
    assert epoch.forced and epoch.origins == (1,) and epoch.base == ((0, 1, 6),)


def test_force_waits_for_all_who_are_left_and_asks_those_that_lack_the_base_too():
    epoch = with_base()
    one, four = Epochs(1, epoch), Epochs(4, epoch)
    begun = one.force(Change(remove=(2, 3)), here((0, 1, 2)))
    mine = one.receive(1, begun.send[0][1], here((0, 1, 2)))
    assert one.receive(1, mine.send[0][1], here((0, 1, 2))) == Outcome()
    theirs = four.receive(1, begun.send[3][1], here((0, 1, 3)))
    decided = one.receive(4, theirs.send[0][1], here((0, 1, 2)))
    assert decided.entered[1].base == ((0, 1, 3),)


def test_force_carries_on_what_the_others_may_have_decided():
    one = Epochs(1, FIRST)
    one.receive(2, Accept(1, (3, 2), value(3)), here())
    begun = one.force(Change(remove=(2, 3)), here())
    answer = one.receive(1, begun.send[0][1], here())
    assert one.receive(1, answer.send[0][1], here()).entered == (FIRST, value(3))
