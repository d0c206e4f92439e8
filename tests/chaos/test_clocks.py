"""A faked clock is off by what was asked for, at once, and nothing but the time of day is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest

from anabranch.chaos.injection import clocks
from anabranch.chaos.injection.clocks import FakedClock, find_library, sweep
from anabranch.cli.demo_cluster import free_ports
from anabranch.storage.errors import ConfigError

needs_library = pytest.mark.skipif(
    find_library() is None, reason="libfaketime is not installed: apt-get install libfaketime"
)
TOLERANCE_SECONDS = 0.1
DEADLINE_SECONDS = 20.0
CHILD = """
import asyncio, sys, threading, time, uvloop
for line in sys.stdin:
    before = time.monotonic()
    if line == "wait\\n":
        threading.Event().wait(0.05)
        asyncio.run(asyncio.sleep(0.05))
        uvloop.run(asyncio.sleep(0.05))
    print(time.time(), time.monotonic(), time.monotonic() - before, flush=True)
"""


class Child:
    """A process that tells its time when it is asked."""

    def __init__(self, clock: FakedClock) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            env={**os.environ, **clock.environment()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tells(self, word: str = "tell") -> tuple[float, float, float]:
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return tuple(float(one) for one in self.process.stdout.readline().split())

    def off(self) -> float:
        """By how much its clock is ahead of ours."""
        before = time.time()
        told = self.tells()[0]
        return told - (before + time.time()) / 2

    def close(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)
        self.process.stdin.close()
        self.process.stdout.close()


@contextmanager
def living_by(clock: FakedClock) -> Iterator[Child]:
    child = Child(clock)
    try:
        child.tells()  # it has started
        yield child
    finally:
        child.close()


@pytest.fixture
def clock(tmp_path) -> Iterator[FakedClock]:
    yield FakedClock(tmp_path / "clock")
    sweep()


def about(seconds: float) -> object:
    return pytest.approx(seconds, abs=TOLERANCE_SECONDS)


@needs_library
def test_a_jump_is_seen_at_once_and_the_monotonic_clock_is_untouched(clock):
    with living_by(clock) as child:
        assert child.off() == about(0)
        for seconds, off in ((3600, 3600), (-7200, -3600), (3600.25, 0.25), (-0.25, 0)):
            clock.jump(seconds)
            assert child.off() == about(off) == about(clock.off_seconds())
            assert child.tells()[1] == about(time.monotonic())


@needs_library
def test_waiting_takes_as_long_as_ever(clock):
    clock.jump(-3600)
    clock.set_drift(1_000_000)
    with living_by(clock) as child:
        assert 0.15 <= child.tells("wait")[2] < 1.0


@needs_library
def test_a_clock_drifts_without_a_jump_and_outlives_its_process(clock):
    with living_by(clock) as child:
        clock.set_drift(2_000_000)  # three seconds a second
        began = time.monotonic()
        assert child.off() == about(0)
        while time.monotonic() < began + 0.4:
            child.tells()
        passed = time.monotonic() - began
        assert child.off() == about(2 * passed) == about(clock.off_seconds())
        clock.set_drift(0)
        off = clock.off_seconds()
        assert child.off() == about(off)
    with living_by(clock) as child:
        assert child.off() == about(off) == about(clock.off_seconds())
        clock.steady()
        assert child.off() == about(0)
        assert clock.off_seconds() == 0


@needs_library
def test_drift_is_counted_as_told(tmp_path):
    now = [1000.0]
    clock = FakedClock(tmp_path, now=lambda: now[0])
    clock.set_drift(50_000)
    now[0] += 100
    assert clock.off_seconds() == pytest.approx(5)
    clock.jump(10)
    clock.environment()
    now[0] += 100
    assert clock.off_seconds() == pytest.approx(20)
    clock.set_drift(-50_000)
    assert clock.off_seconds() == pytest.approx(20)
    now[0] += 100
    assert clock.off_seconds() == pytest.approx(15)
    with pytest.raises(ConfigError, match="drift by -1000000 ppm"):
        clock.set_drift(-1_000_000)


@needs_library
async def test_a_strobe_goes_forth_and_back_until_it_is_ended(clock):
    with living_by(clock) as child:
        clock.jump(100)
        clock.strobe(30, 0.02)
        seen = set()
        async with asyncio.timeout(5):
            while seen != {100, 130}:
                seen.add(round(await asyncio.to_thread(child.off)))
        clock.strobe(0, 0)
        assert child.off() == about(100)
        clock.strobe(30, 0.02)
        clock.steady()
        assert child.off() == about(0)


@needs_library
def test_what_a_killed_process_left_in_shared_memory_is_swept(clock):
    with living_by(clock) as child:
        pid = child.process.pid
        sweep()
        left = [path for path in Path("/dev/shm").iterdir() if path.name.endswith(f"_{pid}")]
    sweep()
    assert left
    assert not [path for path in left if path.exists()]


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch):
    assert find_library([f"{tmp_path}/"]) is None
    monkeypatch.setattr(clocks, "find_library", lambda: None)
    with pytest.raises(ConfigError, match="apt-get install libfaketime"):
        FakedClock(tmp_path)


# -- a real node -----------------------------------------------------------------------------------


def started(clock: FakedClock, directory: Path, url: str) -> subprocess.Popen[bytes]:
    """A cluster's only node."""
    config = directory / "cluster.toml"
    member = f'[[member]]\nname = "a"\nsite = "a"\nurl = "{url}"\n'
    config.write_text(f'[cluster]\nname = "test"\nshards = 4\n{member}')
    command = [sys.executable, "-m", "anabranch", "node", "a", "--config", str(config)]
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--data", str(directory / "a")],
            env={**os.environ, **clock.environment()},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


async def appended(session: aiohttp.ClientSession, url: str, events: int) -> float:
    """Append an event, the first once the node is there; when the node recorded it."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            with suppress(aiohttp.ClientConnectionError):
                body = {"type": "t", "data": events}
                async with session.post(f"{url}/v1/streams/x/events", json=body) as answer:
                    if answer.status < 300:
                        break
            await asyncio.sleep(0.02)
        while True:  # until it is settled
            async with session.get(f"{url}/v1/streams/x/events") as answer:
                found = (await answer.json())["events"] if answer.status == 200 else []
            if len(found) == events:
                return datetime.fromisoformat(found[-1]["recorded"]).timestamp()
            await asyncio.sleep(0.02)


@needs_library
async def test_a_node_with_a_faked_clock_serves_and_its_stamps_are_shifted(clock, tmp_path):
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    clock.jump(-3600)
    node = started(clock, tmp_path, url)
    try:
        async with aiohttp.ClientSession() as session:
            first = await appended(session, url, 1)
            assert -3605 < first - time.time() < -3595
            clock.jump(3610)
            second = await appended(session, url, 2)
            assert 5 < second - time.time() < 15
            node.terminate()
            assert await asyncio.to_thread(node.wait, DEADLINE_SECONDS) == 0, (
                tmp_path / "log"
            ).read_text()
    finally:
        node.kill()
        node.wait(DEADLINE_SECONDS)
