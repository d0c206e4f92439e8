"""Whose clock counts: the lower median, which no single clock can move."""

from statistics import median_low

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.gossip.clocks import Clocks
from anabranch.storage.stamp import stamp_of

NOW = 1_700_000_000_000
OFFSETS = st.integers(-1_000_000, 1_000_000)


def clocks(*offsets, max_offset_ms=500):
    made = Clocks(max_offset_ms)
    for origin, offset in enumerate(offsets, 1):
        made.learn(origin, NOW + offset, NOW)
    return made


@given(st.lists(OFFSETS, max_size=6))
def test_the_median_is_the_lower_one_of_all_clocks_with_the_own(offsets):
    assert clocks(*offsets).median_ms(NOW) == NOW + median_low([0, *offsets])


@given(st.integers(-100, 100), OFFSETS)
def test_of_three_no_single_clock_moves_it_beyond_the_other_two(good, odd):
    low, high = sorted((0, good))
    assert NOW + low <= clocks(good, odd).median_ms(NOW) <= NOW + high


@given(st.lists(st.integers(-100, 100), min_size=2, max_size=2), st.lists(OFFSETS, max_size=2))
def test_of_five_no_two_clocks_move_it_beyond_the_other_three(good, odd):
    assert -100 <= clocks(*good, *odd).median_ms(NOW) - NOW <= 100


@pytest.mark.parametrize(("offset", "median"), [(-300, -300), (0, 0), (300, 0)])
def test_of_two_the_slower_one_counts(offset, median):
    assert clocks(offset).median_ms(NOW) == NOW + median


def test_a_node_alone_goes_by_its_own_clock():
    assert clocks().median_ms(NOW) == NOW
    assert clocks().limit_ms(NOW) == NOW + 500


def test_the_newest_word_of_a_peer_replaces_the_one_before():
    made = clocks(-700, -800)
    made.learn(1, NOW, NOW)
    made.learn(2, NOW + 5, NOW)
    assert made.median_ms(NOW) == NOW
    assert made.offset(2) == 5
    assert made.offset(3) is None


def test_offsets_are_kept_while_time_goes_on():
    assert clocks(-300, -300).median_ms(NOW + 10_000) == NOW + 9_700


@pytest.mark.parametrize(
    ("stamped", "ahead"), [(500, 0), (501, 1), (499, -1), (120_000, 119_500), (-5000, -5500)]
)
def test_a_stamp_is_ahead_by_what_it_has_beyond_median_and_bound(stamped, ahead):
    assert clocks(10, -10).ahead_ms(stamp_of(NOW + stamped), NOW) == ahead


def test_a_slow_node_does_not_hold_good_commits_back():
    slow = clocks(10_000, 10_000)  # the other two are ten seconds ahead of this one
    assert slow.ahead_ms(stamp_of(NOW + 10_000), NOW) <= 0


def test_a_fast_node_finds_its_own_stamps_ahead():
    fast = clocks(-10_000, -10_000)
    assert fast.ahead_ms(stamp_of(NOW), NOW) == 9_500
