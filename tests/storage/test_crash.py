"""After crashes the log is a prefix of what was appended, and holds what was confirmed.

Power cuts lose any part of what was not synced; killed processes lose only what was not written.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage.errors import AnabranchError
from anabranch.storage.record import COMMIT

from .logs import Watched, bodies_of, files_of

LIVES = 6


class Story:
    """One seed: lives that each end in a crash, and what must be true after each."""

    def __init__(self, seed: int) -> None:
        self.luck = Random(seed)
        self.disk = SimDisk(self.luck)
        self.appended: list[tuple[int, bytes]] = []
        self.confirmed = 0  # how many of them
        self.torn = 0

    def recover(self) -> Watched:
        watched = Watched(self.disk, segment_bytes=self.luck.choice([1, 600, 5000]))
        files = files_of(self.disk)
        again = Watched(self.disk)
        assert files_of(self.disk) == files
        assert (again.found, again.log.end) == (watched.found, watched.log.end)
        assert again.log.torn is None
        self.torn += watched.log.torn is not None
        found = [(one.position, one.body) for one in watched.found if one.kind == COMMIT]
        assert found == self.appended[: len(found)], "a prefix, in order"
        assert len(found) >= self.confirmed, "and all that was confirmed"
        self.appended = found
        return watched

    def confirm(self, number: int) -> None:
        self.confirmed = max(self.confirmed, number)

    async def life(self) -> None:
        watched = self.recover()
        watched.log.start()
        waiters: list[asyncio.Task[None]] = []

        async def wait(position: int, number: int) -> None:
            await watched.log.wait(position)
            self.confirm(number)

        for _ in range(self.luck.randrange(12)):
            for _ in range(self.luck.choice([1, 1, 2, 9])):
                body = self.luck.randbytes(self.luck.choice([0, 10, 200, 1500]))
                position = watched.log.append(COMMIT, body)
                self.appended.append((position, body))
                waiter = asyncio.create_task(wait(position, len(self.appended)))
                waiters.append(waiter)
                if self.luck.random() < 0.1:
                    waiter.cancel()
            await asyncio.sleep(self.luck.choice([0, 0, 0.0003, 0.001]))
        if self.luck.random() < 0.2:
            await watched.log.close()
            if waiters:  # else nothing was asked of the disk
                self.confirm(len(self.appended))
        await watched.log.abandon()
        assert watched.failures == []
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
        if self.luck.random() < 0.7:
            self.disk.crash()

    async def lives(self) -> None:
        for _ in range(LIVES):
            await self.life()
        self.recover()


def test_a_log_that_crashed_is_a_prefix_that_holds_what_was_confirmed():
    torn = recovered = 0
    for seed in range(250):
        story = Story(seed)
        try:
            run(story.lives())
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
        torn += story.torn
        recovered += len(story.appended)
    assert torn > 100, "these stories should tear tails"
    assert recovered > 5000


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_confirmed_after_a_failed_sync_and_all_before_it_is_kept(seed):
    async def story() -> None:
        luck = Random(seed)
        disk = SimDisk(luck)
        watched = Watched(disk, segment_bytes=luck.choice([1, 600, 5000]))
        watched.log.start()
        confirmed: list[bytes] = []
        failing_from = luck.randrange(10)
        for number in range(10):
            disk.failing_syncs = number == failing_from  # and works again after that
            bodies = [b"%d-%d" % (number, part) for part in range(luck.randrange(1, 5))]
            futures = [watched.log.wait(watched.log.append(COMMIT, body)) for body in bodies]
            results = await asyncio.gather(*futures, return_exceptions=True)
            failed = [isinstance(result, AnabranchError) for result in results]
            assert failed == [number >= failing_from] * len(bodies)
            confirmed += [body for body, no in zip(bodies, failed, strict=True) if not no]
        assert len(watched.failures) == 1
        await watched.log.close()
        disk.crash()
        disk.failing_syncs = False
        assert bodies_of(Watched(disk).found)[: len(confirmed)] == confirmed

    run(story())
