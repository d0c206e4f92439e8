"""How much goes at a time: at most twice what came through, half of what was lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.gossip.pace import Budget, Pace

SIZES = st.integers(1, 5000)


def lost_until_it_fits(pace, narrow):
    """How often a batch is lost on a link that lets no more bytes through."""
    losses = 0
    while pace.bytes > narrow:
        pace.lost(pace.bytes)
        losses += 1
    return losses


def test_it_begins_with_all_that_may_go():
    assert Pace(1000).bytes == 1000


def test_half_of_what_was_lost_goes_next():
    pace = Pace(1 << 21)
    pace.lost(60_000)
    assert pace.bytes == 30_000
    pace.lost(1 << 20)  # of which no more can have been under way than was allowed
    assert pace.bytes == 15_000


def test_what_came_through_allows_twice_as_much_and_no_more():
    pace = Pace(10_000)
    pace.lost(600)
    pace.arrived(100)
    assert pace.bytes == 300
    pace.arrived(300)
    assert pace.bytes == 600
    for _ in range(10):
        pace.arrived(pace.bytes)
    assert pace.bytes == 10_000


@given(st.lists(st.tuples(st.booleans(), SIZES)))
def test_it_stays_within_one_byte_and_its_bound(course):
    pace = Pace(4096)
    for arrives, size in course:
        (pace.arrived if arrives else pace.lost)(size)
        assert 1 <= pace.bytes <= 4096


@given(st.integers(1, 1 << 21))
def test_what_fits_is_found_after_a_few_losses(narrow):
    assert lost_until_it_fits(Pace(1 << 21), narrow) <= 21


def test_a_budget_allows_its_rate_and_one_short_burst():
    budget, now, taken = Budget(1000, 0.0), 0.0, 0
    while now < 10:
        wait = budget.wait(now)
        if wait:
            now += wait
        else:
            budget.spend(100, now)
            taken += 100
    assert 10_000 <= taken <= 10_000 + budget.most + 100


def test_what_overdraws_a_budget_is_paid_off_before_more_is_asked_for():
    budget = Budget(1000, 0.0)
    budget.spend(5000 + budget.most, 0.0)
    assert budget.wait(0.0) == pytest.approx(5, abs=0.01)
    assert budget.wait(4.9) > 0
    assert budget.wait(5.1) == 0


def test_a_budget_saves_up_no_more_than_a_burst():
    budget = Budget(1000, 0.0)
    budget.spend(budget.most, 100.0)
    assert budget.wait(100.0) > 0
