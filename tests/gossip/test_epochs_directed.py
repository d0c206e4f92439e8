"""Cases that luck seldom finds: safe as the rules are, and not with one of them left out."""

import pytest

from anabranch.gossip.epoch import Change

from .epochs.mutants import MUTANTS, RULES
from .epochs.stage import Stage
from .epochs.world import Rules


def two_quick_changes(stage_of):
    """Three of five settle a commit; the other two, with one vote of the three, remove them."""
    stage = stage_of(5)
    stage.time = 10
    stage.append(4)
    stage.go(4, 0, 1)
    for _ in range(3):
        stage.time += 5
        for sender in (2, 3):  # they promise, but nothing reaches them
            stage.go(sender, 0, 1, 4)
        stage.settle_among(0, 1, 4)
    assert len(stage.order[0][1]) == 1
    stage.vote(2, Change(remove=(stage.origin(0), stage.origin(1))), (2, 3, 4), learners=(3,))
    assert 2 in stage.epochs
    stage.vote(2, Change(remove=(stage.origin(4),)), (2, 3), learners=(3, 4))
    return stage


def fresh_members_that_promised_little(stage_of):
    """A founder settles; two that never promised anything admit one that wrote before that."""
    stage = stage_of(1, spares=3)
    stage.append(3)
    stage.time = 100
    stage.append(0)
    stage.go(0, 1)
    stage.look(stage.nodes[0])
    assert len(stage.order[0][1]) == 1
    both = (stage.member(1), stage.member(2))
    stage.vote(0, Change(join=both), (0,), learners=(1, 2))
    stage.go(0, 1, 2)
    stage.vote(1, Change(join=(stage.member(3),)), (1, 2), learners=(0, 2, 3))
    assert 3 in stage.epochs
    stage.go(3, 0)
    return stage


def a_member_that_was_not_told(stage_of):
    """A member that still is in epoch 1 hears promises of epoch 2, but nothing of who joined."""
    stage = stage_of(3, spares=1)
    stage.settle_among(0, 1, 2)
    stage.vote(0, Change(join=(stage.member(3),)), (0, 1), learners=(1, 3))
    stage.time += 50
    stage.append(3)
    for _ in range(3):
        stage.time += 50
        stage.go(0, 1, 2)
        stage.go(1, 0, 2)
        stage.go(2, 0, 1)
        stage.net.clear()
    stage.pass_on(())
    stage.settle_among(0, 1, 2, 3)
    stage.drain()
    stage.settle_among(0, 1, 2, 3)
    return stage


def a_vote_that_a_crash_takes_back(stage_of):
    """A member crashes while it keeps what it accepted, and votes for another value."""
    stage = stage_of(3)
    stage.settle_among(0, 1, 2)
    voters = stage.nodes[0], stage.nodes[1]
    stage.propose(voters[0], Change(remove=(stage.origin(2),)))
    crashes = iter((False,) * 8)
    stage.strikes = lambda: next(crashes, False)
    while stage.net:
        to, _, what = stage.net[0]
        accept = type(what).__name__ == "Accept"
        if to == 1 and accept:
            crashes = iter((True,))  # before it is kept
        if to == 2:
            stage.net.pop(0)
        else:
            stage.deliver(0)
    stage.start(1)
    if not stage.nodes[1].sure:
        stage.nodes[1].become_sure()
    stage.vote(1, Change(remove=(stage.origin(0),)), (1, 2), learners=(2,))
    return stage


def a_commit_that_one_node_has(stage_of):
    """A member holds all that was promised, and nobody else does; then it is removed."""
    stage = stage_of(3)
    stage.time = 10
    stage.append(2)
    for _ in range(2):
        stage.time += 5
        stage.go(0, 1, 2)
        stage.go(1, 0, 2)
        stage.tell(stage.nodes[2], stage.nodes[0])  # is lost
        stage.net.clear()
    stage.vote(0, Change(remove=(stage.origin(2),)), (0, 1), learners=(1, 2))
    assert 2 in stage.epochs
    return stage


def a_pull_after_the_freeze(stage_of):
    """A member takes a commit after it answered the freeze that removes who made it."""
    stage = stage_of(3)
    stage.time = 10
    stage.append(1)
    stage.time = 20
    stage.go(0, 2)
    stage.go(2, 0)
    stage.propose(stage.nodes[2], Change(remove=(stage.origin(1),)))
    stage.deliver(next(at for at, (to, _, _) in enumerate(stage.net) if to == 0))
    assert stage.nodes[0].epochs.frozen
    stage.go(1, 0)
    stage.pass_on((0, 2), learners=(0,))
    assert 2 in stage.epochs
    return stage


def a_decision_that_nobody_heard(stage_of):
    """A proposer decides and is cut off; another takes over for a change of its own."""
    stage = stage_of(3)
    stage.settle_among(0, 1, 2)
    stage.vote(0, Change(remove=(stage.origin(2),)), (0, 1))
    assert stage.nodes[0].epochs.epoch.number == 2
    assert stage.nodes[1].epochs.epoch.number == 1
    stage.vote(1, Change(remove=(stage.origin(0),)), (1, 2), learners=(2,))
    assert stage.nodes[1].epochs.epoch.number == 2
    return stage


CASES = {
    "an accepted value not carried on": a_decision_that_nobody_heard,
    "no majority": a_commit_that_one_node_has,
    "a frozen node counts itself": a_pull_after_the_freeze,
    "no freeze": a_pull_after_the_freeze,
    "no base": two_quick_changes,
    "a floor that can go down": fresh_members_that_promised_little,
    "uses what it does not know": a_member_that_was_not_told,
    "sent before it is kept": a_vote_that_a_crash_takes_back,
}


def played(case, rules):
    stage = case(lambda founders, spares=0: Stage(founders, spares, rules))
    stage.compare_all()
    return stage


@pytest.mark.parametrize("name", CASES)
def test_it_is_safe_as_the_rules_are_and_heals(name):
    stage = played(CASES[name], Rules())
    assert stage.violation is None
    stage.heal()
    assert stage.violation is None


@pytest.mark.parametrize("name", CASES)
def test_it_is_not_with_one_rule_left_out(name):
    with MUTANTS[name]():
        assert played(CASES[name], RULES.get(name, Rules)()).violation is not None


def test_a_cluster_grows_from_one_to_nine_and_shrinks_to_three():
    stage = Stage(1, spares=8)
    everyone = range(9)
    for joiner in range(1, 9):
        stage.append(joiner)  # it takes appends before it is a member
        stage.vote(0, Change(join=(stage.member(joiner),)), everyone, learners=everyone)
        stage.settle_among(*everyone)
    assert len(stage.nodes[8].epochs.epoch.members) == 9
    gone = []
    for leaver in range(8, 2, -1):
        stage.append(leaver)
        stage.settle_among(*everyone)  # it drains first
        gone.append(stage.origin(leaver))
        stage.vote(leaver, Change(remove=(gone[-1],)), everyone, learners=everyone)
        stage.settle_among(*everyone)
    newest = stage.nodes[0].epochs.epoch
    assert newest.number == 15 and len(newest.members) == 3
    assert sorted(newest.finals) == sorted(gone)
    stage.compare_all()
    assert stage.violation is None
    shown = {one for _, _, one in stage.nodes[0].order(0, stage.nodes[0].settlement.watermark(0))}
    assert shown == stage.acked


def test_a_lost_majority_is_given_up_by_force_and_what_comes_back_joins_anew():
    stage = Stage(3)
    stage.settle_among(0, 1, 2)
    stage.append(1)  # only there
    stage.append(0)
    lost = (stage.origin(1), stage.origin(2))
    node = stage.nodes[0]
    assert node.epochs.propose(Change(remove=lost), node.here).keep  # it may try
    stage.pass_on((0,))
    assert node.epochs.epoch.number == 1 and node.epochs.frozen
    node.carry_out(node.epochs.force(Change(remove=lost), node.here))
    stage.pass_on((0,))
    assert node.epochs.epoch.forced
    stage.settle_among(0)
    stage.time += 5
    node.report()
    stage.look(node)
    assert len(stage.order[0][1]) == 1
    stage.heal()
    assert stage.violation is None  # all are members again, and nothing of theirs is lost
