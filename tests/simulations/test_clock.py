"""The simulated wall clock: what it is off, and that time itself goes on."""

from __future__ import annotations

import asyncio

import pytest

from anabranch.simulations.world.clock import EPOCH_MS, SimClock

from .stories import in_virtual_time


def clock() -> SimClock:
    return SimClock(asyncio.get_running_loop())


@in_virtual_time
async def test_it_tells_true_time_and_its_offset():
    one = clock()
    await asyncio.sleep(1.5)
    assert one.wall_ms() == EPOCH_MS + 1500
    one.offset_ms = -200
    one.jump(50)
    assert one.off_ms() == -150
    assert one.wall_ms() == EPOCH_MS + 1350
    assert one.monotonic() == 1.5


@pytest.mark.parametrize("parts_per_million", [50_000, -200, 0])
@in_virtual_time
async def test_it_drifts_from_the_moment_on_when_that_is_set(parts_per_million):
    one = clock()
    await asyncio.sleep(100)
    one.set_drift(parts_per_million)
    assert one.off_ms() == 0
    await asyncio.sleep(100)
    assert one.off_ms() == parts_per_million / 10


@in_virtual_time
async def test_another_drift_leaves_the_wall_where_it_is():
    one, before = clock(), 0
    for drift in (100_000, -50_000, 0, 3):
        one.set_drift(drift)
        assert one.off_ms() == before
        await asyncio.sleep(10)
        before = one.off_ms()
    assert before == 1000 - 500


@in_virtual_time
async def test_it_strobes_between_right_and_wrong_and_each_half_lasts_as_long():
    one = clock()
    one.strobe(100, 0.2)
    await asyncio.sleep(1.05)
    seen = []
    for _ in range(6):
        seen.append(one.off_ms())
        await asyncio.sleep(0.1)
    assert seen == [0, 100, 0, 100, 0, 100]
    one.strobe(0, 0.2)
    assert {one.off_ms() for _ in range(3)} == {0}


@in_virtual_time
async def test_all_that_is_wrong_adds_up_until_it_is_steadied():
    one = clock()
    one.jump(1000)
    one.set_drift(10_000)
    one.strobe(7, 2.0)
    await asyncio.sleep(1.0)
    assert one.off_ms() == 1000 + 10 + 7
    one.steady()
    assert one.off_ms() == 0
    await asyncio.sleep(9)
    assert one.wall_ms() == EPOCH_MS + 10_000
