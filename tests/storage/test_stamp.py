"""Stamps strictly grow whatever the wall clock does, and a promise is never broken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anabranch.storage.stamp import COUNTER_BITS, HybridClock, milliseconds, stamp_of

WALL = 1_764_043_200_000
walls = st.integers(WALL - 10, WALL + 10) | st.integers(0, 1 << 44)
stamps = st.builds(lambda wall, counter: stamp_of(wall) + counter, walls, st.integers(0, 65535))
steps = st.lists(
    st.tuples(st.just("now"), walls)
    | st.tuples(st.just("observe"), stamps)
    | st.tuples(st.just("promise"), walls, stamps),
    max_size=40,
)


@given(start=stamps, steps=steps)
def test_stamps_grow_and_promises_hold_whatever_the_wall_clock_does(start, steps):
    clock = HybridClock(start)
    issued, promised, observed = start, 0, 0
    for kind, *given_ in steps:
        last = clock.last
        if kind == "now":
            stamp = clock.now(given_[0])
            assert stamp > max(issued, promised, observed)
            assert stamp == max(last + 1, stamp_of(given_[0]))
            issued = stamp
        elif kind == "observe":
            clock.observe(given_[0])
            observed = max(observed, given_[0])
        else:
            stamp = clock.promise(*given_)
            assert stamp <= given_[1]
            promised = max(promised, stamp)
        assert clock.last >= max(last, issued, promised, observed)


@given(start=stamps, wall=walls, ceiling=stamps)
def test_a_promise_reaches_as_far_as_wall_clock_and_ceiling_allow(start, wall, ceiling):
    assert HybridClock(start).promise(wall, ceiling) == min(max(start, stamp_of(wall)), ceiling)


def test_a_promise_below_the_ceiling_moves_the_clock_no_further_than_itself():
    clock = HybridClock()
    assert clock.promise(WALL, stamp_of(WALL + 5)) == clock.last == stamp_of(WALL)


def test_a_promise_above_the_ceiling_stops_there():
    clock = HybridClock()
    assert clock.promise(WALL + 9, stamp_of(WALL)) == clock.last == stamp_of(WALL)


def test_a_wall_clock_that_stands_still_counts_on():
    clock = HybridClock()
    assert [clock.now(WALL) - stamp_of(WALL) for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_wall_clock_that_goes_back_does_not_take_stamps_along():
    clock = HybridClock()
    first = clock.now(WALL)
    assert clock.now(WALL - 3_600_000) == first + 1


def test_a_full_counter_carries_into_the_milliseconds():
    clock = HybridClock(stamp_of(WALL) + 65535)
    assert clock.now(WALL) == stamp_of(WALL + 1)
    assert milliseconds(clock.last) == WALL + 1


def test_the_parts_of_a_stamp():
    assert COUNTER_BITS == 16
    assert milliseconds(stamp_of(WALL) + 65535) == WALL
    assert stamp_of(WALL) < stamp_of(WALL) + 1 < stamp_of(WALL + 1)
