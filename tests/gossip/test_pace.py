"""How much goes at a time: what a link carries in half a second, half of what was lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.gossip.pace import Budget, Pace
from anabranch.storage.limits import BATCH_BYTES_FIRST, BATCH_SECONDS, SILENCE_SECONDS

SIZES = st.integers(1, 5000)


def lost_until_it_fits(pace, narrow):
    """How often a batch is lost on a link that lets no more bytes through."""
    losses = 0
    while pace.bytes > narrow:
        pace.lost(pace.bytes)
        losses += 1
    return losses


def test_it_begins_small():
    assert Pace(1000).bytes == 1000
    assert Pace(1 << 21).bytes == BATCH_BYTES_FIRST


@pytest.mark.parametrize("bytes_per_second", [50_000, 300_000, 1_000_000, 1 << 30])
def test_no_batch_takes_so_long_that_the_link_is_taken_for_dead(bytes_per_second):
    pace, carried = Pace(1 << 21), 0
    for _ in range(50):
        seconds = pace.bytes / bytes_per_second
        assert seconds < SILENCE_SECONDS
        carried = pace.bytes
        pace.arrived(pace.bytes, seconds)
    assert carried >= min(1 << 21, bytes_per_second * BATCH_SECONDS / 2)


def test_half_of_what_was_lost_goes_next():
    pace = Pace(1 << 21)
    pace.lost(60_000)
    assert pace.bytes == 30_000
    pace.lost(1 << 20)  # of which no more can have been under way than was allowed
    assert pace.bytes == 15_000


def test_what_came_through_allows_twice_as_much_and_no_more():
    pace = Pace(10_000)
    pace.lost(600)
    pace.arrived(100, 0.1)
    assert pace.bytes == 300
    pace.arrived(300, 0.1)
    assert pace.bytes == 600
    for _ in range(10):
        pace.arrived(pace.bytes, 0.1)
    assert pace.bytes == 10_000


@given(st.lists(st.tuples(st.none() | st.floats(0, 1e6), SIZES)))
def test_it_stays_within_one_byte_and_its_bound(course):
    pace = Pace(4096)
    for seconds, size in course:
        if seconds is None:
            pace.lost(size)
        else:
            pace.arrived(size, seconds)
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
