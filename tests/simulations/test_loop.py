"""The event loop in virtual time: it never waits, never hides a failure, never starts a thread."""

import asyncio
import time
from contextlib import suppress
from contextvars import Context, copy_context
from heapq import nsmallest
from random import Random

import pytest

from anabranch.simulations.world import loop as loop_module
from anabranch.simulations.world.loop import OWNER, Stalled, VirtualLoop, run


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


# -- the order of callbacks ------------------------------------------------------------------------


class _NoEvents:
    """What asyncio's own loop asks; here only time passes."""

    def __init__(self, loop):
        self._loop = loop

    def select(self, timeout):
        self._loop.now += timeout
        return []


class AsyncioLoop(asyncio.BaseEventLoop):
    """Virtual time on asyncio's own way to run callbacks, which is the one to follow."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self._selector = _NoEvents(self)

    def time(self):
        return self.now

    def _process_events(self, event_list):
        pass

    def _write_to_self(self):
        pass


def busy(loop, seed):
    """Callbacks that set and cancel others, at random; no two timers are due at one moment."""
    luck, seen, handles = Random(seed), [], []

    def work(number):
        seen.append((number, round(loop.time(), 9)))
        for _ in range(luck.randrange(4) if len(seen) < 3000 else 0):
            number = len(handles)
            if luck.random() < 0.5:
                handles.append(loop.call_soon(work, number))
            else:
                handles.append(loop.call_later(luck.random(), work, number))
        if luck.random() < 0.3:
            luck.choice(handles).cancel()
        if len(seen) == 3000:
            loop.stop()

    handles += [loop.call_later(luck.random(), work, number) for number in range(10)]
    loop.run_forever()
    loop.close()
    return seen[:3000]


@pytest.mark.parametrize("seed", range(10))
def test_callbacks_run_in_the_order_of_asyncio(seed):
    assert busy(VirtualLoop(), seed) == busy(AsyncioLoop(), seed)


def test_timers_of_one_moment_run_in_the_order_in_which_they_were_set():
    async def story():
        loop, seen = asyncio.get_running_loop(), []
        for number in range(100):
            loop.call_at(1.0, seen.append, number)
        await asyncio.sleep(2)
        return seen

    assert run(story()) == list(range(100))


def test_cancelled_timers_are_swept_away(monkeypatch):
    monkeypatch.setattr(loop_module, "TIMERS_UNSWEPT_MAX", 10)

    async def story():
        loop, seen = asyncio.get_running_loop(), []
        for number in range(10_000):
            timer = loop.call_later(1_000 - number / 1000, seen.append, number)
            if number % 1000:
                timer.cancel()
        await asyncio.sleep(0.1)
        assert len(loop._timers) < 100
        await asyncio.sleep(1_000)
        return seen

    assert run(story()) == nsmallest(10, range(0, 10_000, 1000))[::-1]


# -- looking on ------------------------------------------------------------------------------------


async def looked_at(look, until):
    """Timers that are due nearly together, and somebody who looks on; what ran when."""
    loop, ran = asyncio.get_running_loop(), []
    for when in (1.0, 1.0 + 5e-10, 2.0 + 5e-10, 3.0):
        loop.call_at(when, lambda: ran.append(loop.time()))
    loop.look_on(look)
    await asyncio.sleep(until)
    return ran


def test_who_looks_on_sees_each_moment_when_all_of_it_is_done():
    seen = []

    def look():
        seen.append(asyncio.get_running_loop().time())
        return seen[-1] + 0.5

    run(looked_at(look, 2.75))
    assert seen == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_nothing_runs_at_another_time_because_somebody_looks_on():
    times = iter([1.0 - 4e-10, 2.0, 3.0 - 1e-13, float("inf")])
    assert (
        run(looked_at(lambda: next(times), 4))
        == run(looked_at(lambda: float("inf"), 4))
        == [1.0, 1.0, 2.0 + 5e-10, 3.0]
    )


@pytest.mark.parametrize("call", ["call_soon", "call_later"])
def test_who_looks_on_may_set_nothing(call):
    def look():
        loop = asyncio.get_running_loop()
        getattr(loop, call)(*[1.0] * (call == "call_later"), lambda: None)
        return loop.time() + 1

    with pytest.raises(AssertionError, match="who looks on"):
        run(looked_at(look, 4))


def test_who_fails_when_looking_on_ends_the_run():
    with pytest.raises(ZeroDivisionError):
        run(looked_at(lambda: 1 / 0, 4))


def test_what_will_never_come_is_not_waited_for_by_who_looks_on():
    async def story():
        loop = asyncio.get_running_loop()
        loop.look_on(lambda: loop.time() + 1)
        await asyncio.Event().wait()

    with pytest.raises(Stalled):
        run(story())


# -- pausing ---------------------------------------------------------------------------------------


def owned(owner):
    context = copy_context()
    context.run(OWNER.set, owner)
    return context


async def ticks(seen, name):
    while True:
        await asyncio.sleep(1)
        seen.append((name, asyncio.get_running_loop().time()))


def test_a_paused_owner_stands_still_and_others_go_on():
    async def story():
        loop, seen = asyncio.get_running_loop(), []
        for name in "ab":
            loop.create_task(ticks(seen, name), context=owned(name))
        await asyncio.sleep(2.5)
        loop.pause("a")
        assert loop.paused == ["a"]
        await asyncio.sleep(3)
        loop.resume("a")
        await asyncio.sleep(1.25)
        return seen

    assert run(story()) == [
        *[("a", 1.0), ("b", 1.0), ("a", 2.0), ("b", 2.0)],
        *[("b", 3.0), ("b", 4.0), ("b", 5.0)],
        *[("a", 5.5), ("b", 6.0), ("a", 6.5)],  # late, and a second later again
    ]


def test_what_was_put_aside_runs_in_its_order_after_the_resume():
    async def story():
        loop, seen, context = asyncio.get_running_loop(), [], owned("a")
        loop.call_later(3, seen.append, "timer 3", context=context)
        loop.call_later(2, seen.append, "timer 2", context=context)
        cancelled = loop.call_later(1, seen.append, "cancelled", context=context)
        loop.pause("a")
        loop.pause("a")  # once is enough
        loop.call_soon(seen.append, "soon", context=context)
        await asyncio.sleep(5)
        cancelled.cancel()
        assert seen == []
        loop.resume("a")
        loop.resume("a")
        await asyncio.sleep(0)
        return seen

    assert run(story()) == ["soon", "timer 2", "timer 3"]


def test_a_pause_holds_from_the_next_callback_on():
    async def story():
        loop, seen = asyncio.get_running_loop(), []
        loop.call_soon(loop.pause, "a", context=Context())
        loop.call_soon(seen.append, "a", context=owned("a"))
        await asyncio.sleep(1)
        assert seen == []
        loop.resume("a")
        await asyncio.sleep(0)
        return seen

    assert run(story()) == ["a"]


def test_a_time_out_that_comes_due_while_paused_strikes_at_the_resume():
    async def waits(ended):
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(2):
                await asyncio.Event().wait()
        except TimeoutError:
            ended.append(loop.time())

    async def story():
        loop, ended = asyncio.get_running_loop(), []
        loop.create_task(waits(ended), context=owned("a"))
        await asyncio.sleep(1)
        loop.pause("a")
        await asyncio.sleep(10)
        loop.resume("a")
        await asyncio.sleep(0.001)
        return ended

    assert run(story()) == [11.0]


def test_who_is_paused_at_the_end_is_cancelled_like_others():
    async def story():
        loop = asyncio.get_running_loop()
        task = loop.create_task(ticks([], "a"), context=owned("a"))
        await asyncio.sleep(0.5)
        loop.pause("a")
        return task

    assert run(story()).cancelled()
