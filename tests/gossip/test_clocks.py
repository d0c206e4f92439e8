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
        made.learn(origin, NOW + offset, NOW, round_trip_ms=0)
    return made


def heard(there, back, offset=0, at=0.0):
    """What is known of a peer that answered once, over a link with these milliseconds each way."""
    made = Clocks()
    ask(made, 1, there, back, offset, at)
    return made


def ask(made, origin, there, back, offset=0, at=0.0):
    now = NOW + round(at * 1000)
    made.learn(origin, now + offset - back, now, round_trip_ms=there + back, at_seconds=at)


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
    made.learn(1, NOW, NOW, 0)
    made.learn(2, NOW + 5, NOW, 0)
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


# -- what the network does to it -----------------------------------------------------------------

DELAYS = st.integers(0, 20_000)


@given(st.lists(st.tuples(DELAYS, DELAYS, st.booleans()), max_size=20))
def test_the_network_alone_makes_no_clock_wrong(messages):
    """However slow it is, and however different both ways are."""
    made = Clocks()
    for number, (there, back, answers) in enumerate(messages):
        if answers:
            ask(made, number % 2, there, back, at=number / 3)
        else:
            now = NOW + round(number / 3 * 1000)
            made.learn(number % 2, now - back, now, at_seconds=number / 3)
    assert made.median_ms(NOW) == NOW
    assert not made.is_ahead


@given(st.lists(st.tuples(DELAYS, DELAYS), min_size=1, max_size=20), OFFSETS)
def test_an_offset_is_never_taken_for_more_than_it_is_but_by_half_a_round_trip(delays, offset):
    made = Clocks()
    for there, back in delays:
        ask(made, 1, there, back, offset)
    guess, shortest = made.offset(1), min(there + back for there, back in delays)
    if offset <= 0:
        assert offset <= guess <= 0
        assert guess - offset <= shortest
    else:
        assert guess <= min(offset + shortest / 2, 2 * offset)
        assert offset - guess <= max(back for _, back in delays)


@pytest.mark.parametrize(
    ("there", "back"), [(20, 20), (150, 150), (600, 600), (1000, 0), (0, 1000)]
)
def test_a_fast_node_is_sure_of_it_by_as_much_as_an_answer_leaves(there, back):
    assert heard(there, back, -10_000).offset(1) == -10_000 + there
    assert heard(there, back, -10_000).is_ahead
    assert not heard(there, back, -500 - there).is_ahead
    assert heard(there, back, -501 - there).is_ahead


def test_a_slow_node_does_not_refuse_who_is_near_because_another_is_far():
    slow = Clocks()
    ask(slow, 1, 5, 5, 10_000)
    ask(slow, 2, 700, 700, 10_000)
    assert slow.ahead_ms(stamp_of(NOW + 10_000 - 5), NOW) <= 0


@pytest.mark.parametrize("good", [-10, 0, 10])
def test_a_fast_clock_drags_nobody_while_the_way_to_another_is_jammed(good):
    made = Clocks()
    ask(made, 1, 5000, 5, good)
    ask(made, 2, 5, 5, 2000)
    assert made.limit_ms(NOW) <= NOW + 500 + 2 * max(0, good)


def test_a_wait_at_the_disk_does_not_count_where_another_answer_was_quick():
    made = heard(5, 5, -700)
    ask(made, 1, 1500, 5, -700)
    assert made.is_ahead


def test_what_was_told_unasked_says_that_a_clock_is_ahead_but_never_that_it_is_behind():
    made = Clocks()
    made.learn(1, NOW - 10_000, NOW)
    assert made.offset(1) == 0
    made.learn(1, NOW + 10_000, NOW)
    assert made.offset(1) == 10_000


def test_it_goes_on_counting_while_nothing_better_comes():
    made = heard(5, 5, -10_000)
    for seconds in range(60):
        now = NOW + 1000 * seconds
        made.learn(1, now - 10_600, now, at_seconds=seconds)
    assert made.is_ahead


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize(("before", "after"), [(0, 9000), (9000, 12_000), (-9000, 0)])
def test_a_clock_that_is_set_forth_is_noticed_at_once(before, after, answers):
    made = heard(5, 5, before)
    made.learn(1, NOW + 1000 + after - 5, NOW + 1000, 10 if answers else None, at_seconds=1)
    assert abs(made.offset(1) - after) <= 5


@pytest.mark.parametrize(("before", "after"), [(0, -9000), (9000, 0), (-9000, -12_000)])
def test_a_clock_that_is_set_back_is_noticed_at_the_next_answer(before, after):
    made = heard(5, 5, before)
    ask(made, 1, 5, 5, after, at=1)
    assert abs(made.offset(1) - after) <= 5


def test_bounds_are_forgotten_after_two_windows():
    made = heard(5, 5, -700)
    for seconds in range(1, 5):
        ask(made, 1, 400, 5, -700, at=seconds)
        assert made.is_ahead is (seconds < 4)


# -- the own clock is set --------------------------------------------------------------------------


def test_an_own_clock_that_jumps_ahead_is_noticed_before_anybody_answers():
    made = clocks(0, 3)
    made.tell(NOW + 100, 0.1)
    assert not made.is_ahead
    made.tell(NOW + 3_600_200, 0.2)
    assert made.is_ahead
    assert abs(made.median_ms(NOW + 3_600_200) - (NOW + 200)) <= 3


@given(st.integers(-10_000_000, 10_000_000), st.floats(0, 1.9))
def test_a_jump_moves_all_others_by_as_much(jump, later):
    made = clocks(7, -5, 20)
    at = round(later * 1000)
    made.tell(NOW + at + jump, at / 1000)
    by = jump if abs(jump) >= 50 else 0
    assert [made.offset(origin) for origin in (1, 2, 3)] == [7 - by, -5 - by, 20 - by]


def test_who_is_alone_goes_by_its_own_clock_after_a_while():
    made = clocks(0, 0)
    made.tell(NOW + 3_600_000, 0.0)
    assert made.is_ahead
    made.tell(NOW + 3_602_000, 2.0)
    assert made.is_ahead
    made.tell(NOW + 3_602_100, 2.1)
    assert not made.is_ahead and made.median_ms(NOW + 3_602_100) == NOW + 3_602_100


def test_an_answer_ends_the_doubt():
    made = clocks(0, 0)
    made.tell(NOW + 3_600_000, 0.0)
    made.learn(1, NOW + 100, NOW + 3_600_100, round_trip_ms=0, at_seconds=0.1)
    made.learn(2, NOW + 100, NOW + 3_600_100, round_trip_ms=0, at_seconds=0.1)
    made.tell(NOW + 3_610_000, 10.0)
    assert made.is_ahead


def test_drift_is_no_jump():
    made = clocks(0, 0)
    for step in range(1, 100):
        made.tell(NOW + 105 * step, step / 10)
        made.learn(1, NOW + 100 * step, NOW + 105 * step, round_trip_ms=2, at_seconds=step / 10)
        made.learn(2, NOW + 100 * step, NOW + 105 * step, round_trip_ms=2, at_seconds=step / 10)
    assert -520 < made.offset(1) < -400
