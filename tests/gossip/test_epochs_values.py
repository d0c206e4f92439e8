"""Epochs as values: bytes, lineage, what the next one is made of, who loses their place."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.gossip.epoch import (
    Change,
    Epoch,
    Frozenness,
    Member,
    evictable,
    force_gives_up,
    needs_force,
    objection,
    read_epoch,
    successor,
)
from anabranch.gossip.frontier import Frontier
from anabranch.storage.commit import pack
from anabranch.storage.errors import BadFrame

from .epochs.placing import counts, strays

A, B, C, D = (Member(f"n{one}", f"s{one % 2}", one % 2, one) for one in (1, 2, 3, 4))
FIRST = Epoch.founded([C, A, B])


def frontier(*rows):
    held = Frontier()
    for shard, origin, seq in rows:
        held.advance((shard, origin), seq)
    return held


def after(change, *answers, epoch=FIRST, forced=False):
    told = [Frozenness(promised, tuple(rows)) for promised, *rows in answers]
    return successor(epoch, change, told, forced=forced)


@given(
    st.lists(st.sampled_from([1, 2, 3, 9]), max_size=2),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 3]), st.integers(1, 1 << 62))),
    st.integers(0, (1 << 64) - 1),
    st.booleans(),
)
def test_an_epoch_outlives_its_bytes(remove, rows, promised, forced):
    epoch = after(Change((D,), tuple(remove)), (promised, *rows), forced=forced)
    again = read_epoch(epoch.packed)
    assert again == epoch and again.mark == epoch.mark


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data + b"\x00",
        lambda data: pack([1, 2]),
        lambda data: data.replace(b"\xa2n1", b"\xc4\x02n1"),
        lambda data: replace(FIRST, lineage=b"12345678").packed,
        lambda data: b"\x97\xcc\x01" + data[2:],  # the number in a longer form
    ],
)
def test_other_bytes_are_no_epoch(spoil):
    with pytest.raises(BadFrame):
        read_epoch(spoil(FIRST.packed))


def test_the_order_of_the_founders_does_not_matter():
    assert Epoch.founded([A, B, C]).digest == Epoch.founded([C, B, A]).digest


def test_an_epoch_knows_all_before_it_and_no_others():
    second = after(Change(join=(D,)))
    third = after(Change(), epoch=second)
    assert third.extends(FIRST) and third.extends(second) and second.extends(FIRST)
    assert not second.extends(second) and not second.extends(third)
    other = after(Change(remove=(1,)))
    assert not third.extends(other)
    assert not third.extends(Epoch.founded([A, B]))


def test_base_and_finals_are_the_highest_that_was_told_and_the_floor_too():
    epoch = after(
        Change((D,), (3,)),
        (70, (0, 1, 5), (0, 3, 2), (1, 3, 1)),
        (90, (0, 1, 4), (0, 2, 7), (0, 3, 3), (0, 9, 9)),
    )
    assert epoch.base == ((0, 1, 5), (0, 2, 7))
    assert epoch.finals == {3: {0: 3, 1: 1}}
    assert epoch.floor == 90
    assert [(one.origin, one.floor) for one in epoch.members] == [(1, 0), (2, 0), (4, 90)]
    assert epoch.lacks(frontier((0, 1, 5), (0, 2, 6), (0, 3, 3))) == {(0, 2): 1, (1, 3): 1}
    assert epoch.is_owed(frontier((0, 1, 5), (0, 2, 7), (0, 3, 3)))
    assert not epoch.is_owed(frontier((0, 1, 5), (0, 2, 7), (0, 3, 3), (1, 3, 1)))


def test_a_floor_never_goes_down():
    second = after(Change(join=(D,)), (90,))
    assert after(Change(), (10,), epoch=second).floor == 90


def test_the_new_origin_of_a_node_removes_its_earlier_one():
    back = replace(C, origin=33)
    epoch = after(Change(join=(back,)), (5, (0, 3, 4)))
    assert epoch.origins == (1, 2, 33) and epoch.finals == {3: {0: 4}}


def test_a_removed_origin_is_never_admitted_again():
    second = after(Change(remove=(3,)), (5, (0, 3, 4)))
    third = after(Change(join=(C,)), (9, (0, 3, 4)), epoch=second)
    assert third.origins == (1, 2) and third.finals == {3: {0: 4}}


def test_finals_are_final():
    second = after(Change(remove=(3,)), (5, (0, 3, 4)))
    assert after(Change(remove=(3,)), (5, (0, 3, 9)), epoch=second).finals == {3: {0: 4}}


def test_somebody_stays():
    assert after(Change(remove=(1, 2, 3))).origins == (1, 2, 3)


def test_an_origin_that_never_joined_is_given_up_with_nothing():
    epoch = after(Change(remove=(9,)), (5, (0, 9, 4)))
    assert epoch.finals == {9: {}} and epoch.origins == FIRST.origins
    assert epoch.limit((0, 9)) == 0 and not counts(epoch, (0, 9), 1, 99)


def test_force_owes_nobody_what_those_who_are_left_do_not_hold():
    second = after(Change(remove=(3,)), (5, (0, 3, 4), (0, 1, 9)))
    third = after(Change(remove=(2,)), (7, (0, 3, 2), (0, 1, 6)), epoch=second, forced=True)
    assert third.forced and third.base == ((0, 1, 6),) and third.finals == {2: {}, 3: {0: 2}}


@pytest.mark.parametrize(
    ("log", "seq", "stamp", "has_a_place"),
    [
        ((0, 1), 9, 1, True),
        ((0, 3), 4, 80, True),  # within the finals
        ((0, 3), 5, 80, False),
        ((1, 3), 1, 80, False),  # a shard without finals
        ((0, 4), 1, 90, False),  # not above the floor of one that joined
        ((0, 4), 1, 91, True),
        ((0, 9), 1, 91, False),  # of nobody yet
    ],
)
def test_what_counts(log, seq, stamp, has_a_place):
    epoch = after(Change((D,), (3,)), (90, (0, 3, 4)))
    assert counts(epoch, log, seq, stamp) is has_a_place


HELD = [
    ((0, 3), 4, 50, b"within"),
    ((0, 3), 5, 60, b"cut"),
    ((0, 3), 6, 70, b"cut, but elsewhere"),
    ((0, 1), 1, 75, b"cut, but elsewhere"),
    ((0, 4), 1, 80, b"void"),
    ((0, 9), 1, 85, b"pending"),
    ((1, 3), 1, 55, b"cut, twice"),
    ((0, 3), 7, 65, b"cut, twice"),
]


@pytest.mark.parametrize(
    ("me", "given_up", "expected"),
    [
        (1, (), [((1, 3), 1), ((0, 3), 5)]),
        (4, (), [((1, 3), 1), ((0, 3), 5), ((0, 4), 1)]),
        (1, (9,), [((1, 3), 1), ((0, 3), 5), ((0, 9), 1)]),
        (9, (), [((1, 3), 1), ((0, 3), 5)]),
    ],
)
def test_who_appends_what_again(me, given_up, expected):
    epoch = after(Change((D,), (3,)), (90, (0, 3, 4)))
    assert strays(epoch, me, HELD, given_up) == expected


def test_what_this_node_appended_again_before_it_joined_is_no_stray():
    epoch = after(Change((D,), (3,)), (90, (0, 3, 4)))
    held = [((0, 3), 5, 60, b"cut"), ((0, 9), 1, 95, b"cut")]
    assert strays(epoch, 9, held) == []
    assert strays(epoch, 1, held) == [((0, 3), 5)]


SITES = Epoch.founded(
    Member(f"{site}{one}", site, at, 10 * at + one)
    for at, site in enumerate("abc", 1)
    for one in (1, 2, 3)
)
ALL = [one.origin for one in SITES.members]


@pytest.mark.parametrize(
    ("agreed", "gone", "evicted"),
    [
        ([12, 13, 21, 22, 31], {11: 60.0}, 11),
        ([12, 13, 21, 22, 31], {11: 59.9}, None),
        ([12, 13, 21, 22], {11: 60.0}, None),  # no majority
        ([12, 21, 22, 23, 31, 32], {11: 60.0}, None),  # a mate disagrees
        ([21, 22, 23, 31, 32, 33], {11: 99.0, 12: 99.0, 13: 99.0}, None),  # a whole site
        ([13, 21, 22, 23, 31, 32], {11: 99.0, 12: 99.0}, None),  # two of a site
        ([12, 13, 22, 23, 31, 32], {11: 99.0, 21: 99.0}, 11),  # one after the other
        ([11, 12, 13, 21, 22], {11: 60.0}, None),  # of itself it says nothing
        ([12, 13, 91, 92, 93], {11: 60.0}, None),  # strangers
    ],
)
def test_who_may_be_evicted_without_an_operator(agreed, gone, evicted):
    found = evictable(SITES, dict.fromkeys(agreed, gone), 60.0)
    assert (found and found.origin) == evicted


def test_a_cluster_of_two_evicts_nobody_by_itself():
    two = Epoch.founded([replace(A, site="a"), replace(B, site="a")])
    assert evictable(two, {1: {2: 99.0}}, 60.0) is None


def test_what_makes_no_sense_is_said():
    second = after(Change(remove=(3,)))
    assert "never admitted again" in objection(second, Change(join=(C,)))
    assert "was removed before" in objection(second, Change(remove=(3,)))
    assert "one member at least" in objection(second, Change(remove=(1, 2)))
    assert objection(second, Change((D,), (1,))) is None


def test_force_is_needed_without_a_majority_and_says_what_it_costs():
    assert needs_force(FIRST, [1]) is None
    assert "1 of 3 members are there, and a change takes 2" in needs_force(FIRST, [1, 2])
    assert len(force_gives_up(FIRST, Change())) == 1
    costs = force_gives_up(FIRST, Change(remove=(1, 2)))
    assert "n1, n2" in costs[1] and "Stop n1, n2 first" in costs[2]
