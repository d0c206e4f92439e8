"""Whether a directory went back in time: who has to say so, and what each remembers of others."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.gossip.members import Member
from anabranch.gossip.sureness import Seen, Sureness
from anabranch.storage.limits import BOOTS_KEPT_MAX, CONFIRM_SECONDS

BEGUN = 4096
START = 100.0
LATE = START + CONFIRM_SECONDS
OTHERS = ["b", "c", "d", "e"]  # with this node five


def unsure(**options):
    return Sureness(BEGUN, START, **options)


def told(sureness, *names):
    for name in names:
        sureness.told(name, BEGUN, more=False)
    return sureness


# -- sureness -----------------------------------------------------------------------------------


def test_a_node_that_starts_is_unsure():
    assert not unsure().decide(OTHERS, START)
    assert not unsure().decide(OTHERS, LATE)
    assert not unsure().decide(OTHERS, START + 1e9)


def test_a_fresh_directory_has_nothing_to_forget():
    assert unsure(sure=True).decide(OTHERS, START)


def test_a_cluster_of_one_asks_nobody():
    for all_confirm in (False, True):
        assert unsure(all_confirm=all_confirm).decide([], START)


def test_once_all_have_confirmed_nobody_waits():
    assert not told(unsure(), "b", "c", "d").decide(OTHERS, START)
    assert told(unsure(), *OTHERS).decide(OTHERS, START)


@pytest.mark.parametrize(
    ("others", "confirmed", "enough"),
    [
        *((1, 0, False), (1, 1, True), (2, 0, False), (2, 1, True), (3, 1, False), (3, 2, True)),
        *((4, 1, False), (4, 2, True), (5, 2, False), (5, 3, True), (6, 2, False), (6, 3, True)),
    ],
)
def test_with_itself_a_majority_is_enough_after_two_seconds(others, confirmed, enough):
    names = [f"n{number}" for number in range(others)]
    sureness = told(unsure(), *names[:confirmed])
    if confirmed < others:
        assert not sureness.decide(names, LATE - 0.001)
    assert sureness.decide(names, LATE) is enough
    assert sureness.sure is enough


def test_who_wants_no_doubt_waits_for_all():
    sureness = told(unsure(all_confirm=True), "b", "c", "d")
    assert not sureness.decide(OTHERS, LATE + 1e9)
    assert told(sureness, "e").decide(OTHERS, LATE + 1e9)


def test_who_was_a_member_at_the_start_is_waited_for_but_not_for_ever():
    """They may have seen more; who is gone for good can't be asked."""
    for all_confirm in (False, True):
        sureness = unsure(all_confirm=all_confirm)
        sureness.witnesses = {"x": Member("x", "far", 1, "http://x:1")}
        assert sureness.sought == [*sureness.witnesses.values()]
        assert not told(sureness, *OTHERS).decide(OTHERS, START)
        assert sureness.decide(OTHERS, LATE)
        assert sureness.sought == []
        sureness = told(unsure(all_confirm=all_confirm), *OTHERS)
        sureness.witnesses = {"x": Member("x", "far", 1, "http://x:1")}
        assert told(sureness, "x").decide(OTHERS, START)


def test_who_was_away_is_asked_later_too_and_of_a_new_origin_nobody():
    sureness = told(unsure(), "b", "c")
    assert sureness.asks("b") and sureness.asks("d")
    assert sureness.decide(OTHERS, LATE)
    assert (sureness.asks("b"), sureness.asks("d")) == (False, True)
    sureness.told("d", BEGUN + 1, more=False)
    assert sureness.went_back == "d"
    sureness.begin_anew()
    assert (sureness.went_back, sureness.sure, sureness.asks("e")) == (None, True, False)
    assert not unsure(sure=True).asks("b")


def test_to_confirm_twice_counts_once():
    assert not told(unsure(), *["b"] * 9).decide(OTHERS, LATE)


def test_only_members_count():
    """Who confirmed before it was removed, or is none, does not."""
    assert not told(unsure(), "b", "x", "y", "z").decide(OTHERS, LATE)
    assert told(unsure(), "b", "x", "c").decide(OTHERS, LATE)
    assert told(unsure(), "b", "c").decide(["b", "c"], START), "the others are no members any more"


@pytest.mark.parametrize(
    ("counter", "longer"),
    [(BEGUN + 1, False), (BEGUN, True), (0, True), (BEGUN + 1, True), ((1 << 64) - 1, False)],
)
def test_one_who_saw_more_proves_that_the_disk_went_back(counter, longer):
    sureness = told(unsure(), "b", "c", "d")
    sureness.told("e", counter, more=longer)
    assert sureness.went_back == "e"
    assert not sureness.decide(OTHERS, LATE + 1e9)
    assert not told(sureness, "e").decide(OTHERS, LATE + 1e9), "it is not taken back"
    assert not sureness.sure


@pytest.mark.parametrize("counter", [0, 1, BEGUN - 1, BEGUN])
def test_to_have_seen_as_much_or_less_confirms(counter):
    sureness = unsure()
    for name in OTHERS:
        sureness.told(name, counter, more=False)
    assert sureness.went_back is None
    assert sureness.decide(OTHERS, START)


def test_the_first_who_saw_more_is_named():
    sureness = unsure()
    sureness.told("c", BEGUN + 1, more=False)
    sureness.told("b", BEGUN + 9, more=True)
    assert sureness.went_back == "c"


def test_who_is_sure_stays_sure():
    sureness = told(unsure(), *OTHERS)
    assert sureness.decide(OTHERS, START)
    assert sureness.decide([*OTHERS, "f", "g", "h"], START)


@given(
    st.integers(0, 7),
    st.sets(st.integers(0, 7)),
    st.booleans(),
    st.floats(0, 4, allow_nan=False),
)
def test_the_rule_in_its_plainest_form(others, confirmed, all_confirm, waited):
    names = [str(number) for number in range(others)]
    sureness = told(unsure(all_confirm=all_confirm), *map(str, confirmed))
    agreed = len(confirmed & set(range(others)))
    everyone = agreed == others
    majority = agreed + 1 >= (others + 1) // 2 + 1
    late = START + waited - START >= CONFIRM_SECONDS
    expected = everyone or (majority and late and not all_confirm)
    assert sureness.decide(names, START + waited) is expected


# -- what was seen of others ----------------------------------------------------------------------


def test_of_whom_nothing_was_seen_there_is_nothing_before():
    assert Seen().before(11, 5) == 0
    assert Seen().rows() == []


def test_before_is_what_was_seen_in_earlier_boots():
    seen = Seen()
    for counter in (10, 40, 30):
        seen.counts(11, 1, counter)
    assert seen.before(11, 1) == 0, "of this boot itself nothing is held against it"
    assert seen.before(11, 2) == 40
    seen.counts(11, 2, 41)
    seen.counts(11, 2, 90)
    assert seen.before(11, 2) == 40
    assert seen.before(11, 3) == 90
    assert seen.before(22, 1) == 0


def test_a_boot_that_saw_less_does_not_hide_what_the_one_before_it_had():
    """A restored directory comes with a lower counter: then with a lower one again."""
    seen = Seen()
    seen.counts(11, 1, 100)
    seen.counts(11, 2, 20)
    assert seen.before(11, 2) == 100
    seen.counts(11, 3, 30)
    assert seen.before(11, 3) == 100
    assert seen.before(11, 4) == 100


def test_what_was_seen_is_kept_and_restored():
    seen = Seen()
    seen.counts(11, 1, 100)
    seen.counts(11, 2, 120)
    seen.counts(22, 7, 5)
    assert sorted(seen.rows()) == [(11, 2, 120, 100), (22, 7, 5, 0)]
    again = Seen()
    again.restore(seen.rows())
    assert again.rows() == seen.rows()
    assert (again.before(11, 2), again.before(11, 3), again.before(22, 8)) == (100, 120, 5)
    assert (again.last(11), again.last(22), again.last(33)) == (2, 7, 0)
    again.note(11, 2, 130)
    assert again.before(11, 3) == 130
    assert again.before(11, 2) == 100


def test_a_boot_that_was_never_sure_neither_counts_nor_hides_the_one_that_was():
    seen = Seen()
    seen.counts(11, 1, 100)
    seen.note(11, 2, 300)
    assert (seen.last(11), seen.before(11, 3)) == (1, 100)
    assert seen.rows() == [(11, 1, 100, 0)]
    seen.counts(11, 2, 200)
    assert (seen.last(11), seen.before(11, 3), seen.before(11, 2)) == (2, 300, 100)


def test_a_boot_that_was_vouched_for_counts_and_those_before_it_come_before_it():
    seen = Seen()
    seen.counts(11, 1, 100)
    seen.vouch(11, 3, 120, [1, 2])
    assert (seen.last(11), seen.before(11, 4), seen.before(11, 3)) == (3, 120, 100)
    seen.counts(11, 2, 110)
    seen.counts(11, 1, 105)
    assert (seen.last(11), seen.before(11, 3)) == (3, 110), "late reports of older boots"
    assert seen.rows() == [(11, 3, 120, 110)]


def test_of_too_many_boots_the_counters_are_remembered():
    seen = Seen()
    for boot in range(1, BOOTS_KEPT_MAX + 3):
        (seen.note if boot == 2 else seen.counts)(11, boot, 1000 - boot)
    assert seen.before(11, 99) == 999
    assert seen.last(11) == BOOTS_KEPT_MAX + 2


def test_against_all_counters_by_boot():
    """A boot follows on another, and its messages come in their order."""
    for seed in range(100):
        luck = Random(seed)
        seen, counters, boot, counter = Seen(), [], 1, 0
        for _ in range(luck.randrange(1, 30)):
            if luck.random() < 0.3:
                boot += 1
                counter = luck.choice([counter, max(0, counter - 5)])
            counter += luck.choice([0, 1, 7])
            seen.counts(11, boot, counter)
            counters.append((boot, counter))
            if luck.random() < 0.2:
                kept, seen = seen.rows(), Seen()
                seen.restore(kept)
            for asks in (boot, boot + 1):
                earlier = [one for of, one in counters if of != asks]
                assert seen.before(11, asks) == max(earlier, default=0)
