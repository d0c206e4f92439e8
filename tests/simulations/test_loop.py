"""The event loop in virtual time: it never waits, never hides a failure, never starts a thread."""

import asyncio
import time
from contextlib import suppress

import pytest

from anabranch.simulations.loop import Stalled, run


def test_time_jumps_to_the_next_timer():
    async def story():
        loop = asyncio.get_running_loop()
        seen = []
        loop.call_later(5_000, lambda: seen.append(("later", loop.time())))
        loop.call_later(10, lambda: seen.append(("sooner", loop.time())))
        await asyncio.sleep(1_000_000)
        return [*seen, ("end", loop.time())]

    began = time.monotonic()
    assert run(story()) == [("sooner", 10.0), ("later", 5_000.0), ("end", 1_000_000.0)]
    assert time.monotonic() - began < 5


def test_time_stands_still_while_there_is_something_to_do():
    async def story():
        for _ in range(1000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run(story()) == 0.0


def test_many_small_steps_arrive_where_one_large_step_does():
    async def story():
        for _ in range(10_000):
            await asyncio.sleep(0.001)
        return asyncio.get_running_loop().time()

    assert run(story()) == pytest.approx(10.0, abs=1e-6)


def test_a_timeout_comes_in_virtual_time():
    async def story():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run(story()) == 3600.0


def test_what_will_never_come_is_not_waited_for():
    async def story():
        await asyncio.Event().wait()

    with pytest.raises(Stalled):
        run(story())


def test_a_thread_is_refused():
    async def story():
        await asyncio.to_thread(time.time)

    with pytest.raises(RuntimeError, match="thread"):
        run(story())


def test_what_is_raised_comes_out():
    async def story():
        await asyncio.sleep(1)
        raise ValueError("this")

    with pytest.raises(ValueError, match="this"):
        run(story())


def test_a_callback_that_fails_unnoticed_fails_the_run():
    async def story():
        asyncio.get_running_loop().call_later(1, lambda: 1 / 0)
        await asyncio.sleep(2)

    with pytest.raises(RuntimeError, match="unhandled") as caught:
        run(story())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_task_that_fails_unnoticed_fails_the_run():
    async def fail():
        raise ValueError("nobody looks")

    async def story():
        asyncio.get_running_loop().create_task(fail())
        await asyncio.sleep(1)

    with pytest.raises(RuntimeError, match="never retrieved"):
        run(story())


@pytest.mark.parametrize("fails", [False, True])
def test_what_still_runs_at_the_end_is_cancelled_and_cleans_up(fails):
    cleaned = []

    async def service():
        try:
            await asyncio.sleep(1_000_000)
        finally:
            await asyncio.sleep(1)
            cleaned.append(asyncio.get_running_loop().time())

    async def story():
        task = asyncio.get_running_loop().create_task(service())
        await asyncio.sleep(5)
        assert not task.done()
        if fails:
            raise ValueError

    with suppress(ValueError):
        run(story())
    assert cleaned == [6.0]
