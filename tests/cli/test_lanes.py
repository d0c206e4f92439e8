"""Lanes: never more at once than there is room for, and a stream's jobs one after another."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from anabranch.cli.lanes import Lanes


async def test_streams_are_sequential_over_all_lanes_and_lanes_are_bounded():
    running: Counter[str] = Counter()
    done: list[tuple[str, int]] = []
    most: Counter[str] = Counter()

    def job(lane: str, stream: str, number: int):
        async def run() -> None:
            running[stream] += 1
            running[lane] += 1
            assert running[stream] == 1
            most[lane] = max(most[lane], running[lane])
            for _ in range(number % 4):
                await asyncio.sleep(0)
            running[stream] -= 1
            running[lane] -= 1
            done.append((stream, number))

        return run

    async with Lanes(["x", "y"], 3) as lanes:
        for number in range(300):
            lane, stream = "xy"[number % 2], f"s{number % 7}"
            await lanes.put(lane, stream, job(lane, stream, number))
    assert len(done) == 300
    assert most["x"] <= 3 >= most["y"]
    for stream in range(7):
        numbers = [number for name, number in done if name == f"s{stream}"]
        assert numbers == sorted(numbers)


async def test_a_failure_is_raised_and_stops_the_rest():
    begun = []

    async def fails() -> None:
        raise ValueError("no")

    async def works() -> None:
        begun.append(1)

    async def fill() -> None:
        async with Lanes(["x"], 1) as lanes:
            await lanes.put("x", "s", fails)
            for _ in range(5):
                await lanes.put("x", "s", works)

    with pytest.raises(ValueError, match="no"):
        await fill()
    assert not begun
