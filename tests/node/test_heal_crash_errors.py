"""Each error at each call of a running node's disk: what it acknowledged is kept, the rest told.

A node appends, receives, settles, is damaged, heals, and seals. Without room it drops what was on
its way, as if nobody had asked; any other error of its log ends it, and the next life goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from anabranch.node.config import Tuning
from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.simulations.world.world import World
from anabranch.storage.errors import AnabranchError, DiskFull
from anabranch.storage.record import HEADER_BYTES
from anabranch.storage.segment import segment_name
from anabranch.tests.simulations.stories import append, draft, settled
from anabranch.tests.storage.test_crash_points import Faulty

GOES_WRONG = {"full": ("append",), "error": ("append", "remove", "rename", "truncate")}
GOES_WRONG["unconfirmed"] = ("sync", "sync_names")
GOES_WRONG |= {"half, then an error": ("append",), "half, then full": ("append",)}
TUNING = Tuning(segment_bytes=1500, compare_seconds=1e6, scrub_seconds=1e6)
ME, OTHER = "ny1", "lon1"
THEIRS = draft("s", "theirs").commit_id


class Story:
    """Two nodes, and what the one with the bad disk has answered."""

    def __init__(self, disk: Faulty) -> None:
        self.world = World(1, [("ny", 1), ("lon", 1)], tuning=TUNING)
        self.disk = self.world.disks[ME] = disk
        self.acknowledged: list[bytes] = []
        self.refused: list[bytes] = []
        self.failed: list[AnabranchError] = []
        self.number = self.ended = 0
        self.world.on_change = self.changed

    def changed(self, text: str) -> None:
        self.ended += "can't go on" in text

    async def tell(self) -> None:
        world = self.world
        await world.start(OTHER)
        await self.start()
        await self.append(4)
        await world.nodes[OTHER].append(draft("s", "theirs"))
        await self.append(4)
        await self.quiet()
        self.spoil()
        await world.nodes[ME].scrub.read_all()
        await self.append(3)
        await self.quiet()
        self.calls = list(self.disk.calls)
        self.check()
        await world.stop()

    async def start(self) -> None:
        """A start that fails is tried again, as whoever looks after a process does."""
        try:
            await self.world.start(ME)
        except AnabranchError as error:
            self.failed.append(error)
            self.ended += 1
            await self.world.start(ME)

    async def append(self, count: int) -> None:
        for _ in range(count):
            key = f"event {self.number}"
            self.number += 1
            before = self.world.nodes[ME].history.tentative_commits
            try:
                receipt = await append(self.world, ME, key)
            except DiskFull:
                self.refused.append(draft("s", key).commit_id)
                assert self.world.nodes[ME].history.tentative_commits <= before
            except AnabranchError as error:
                self.failed.append(error)
                await self.again()
            else:
                self.acknowledged.append(receipt.commit)

    async def again(self) -> None:
        await self.world.failed_have_ended()
        if not self.world.is_up(ME):
            await self.start()

    async def quiet(self) -> None:
        """Wait until all is settled; the node may end meanwhile, and is started again."""
        for _ in range(2):
            await asyncio.sleep(0.5)
            await self.again()
        await self.world.until_settled()

    def spoil(self) -> None:
        """Damage a record of the first segment, and tell nobody."""
        name = segment_name(0)
        if name.removeprefix("log/") not in SimDisk.list(self.disk, "log"):
            name = name.replace(".seg", ".sealed")
        SimDisk.flip(self.disk, name, 2 * HEADER_BYTES + 150)

    def check(self) -> None:
        """Both show the same, and just what was acknowledged or may have been."""
        mine, others = ([row[1] for row in settled(self.world.nodes[n])] for n in (ME, OTHER))
        assert mine == others
        assert len(mine) == len(set(mine))
        assert {*self.acknowledged, THEIRS} <= {*mine}
        assert not {*mine} & {*self.refused}, "nothing was written"
        if not self.failed:
            assert {*mine} == {*self.acknowledged, THEIRS}


def told(at: int, what: str) -> Story:
    async def tell() -> Story:
        story = Story(Faulty(1, at, what))
        await story.tell()
        return story

    return run(tell())


@pytest.fixture(scope="module")
def calls() -> list[str]:
    """All calls when nothing goes wrong."""
    story = told(-2, "nothing")
    assert (story.failed, story.refused) == ([], [])
    assert any(name.endswith(".sealed") for name in story.disk.list("log"))
    return story.calls


@pytest.mark.parametrize("what", sorted(GOES_WRONG))
def test_an_error_of_any_call_loses_nothing_that_was_acknowledged(calls, what):
    counts: Counter[str] = Counter()
    for at, call in enumerate(calls):
        if call not in GOES_WRONG[what]:
            continue
        try:
            story = told(at, what)
        except BaseException as error:
            raise AssertionError(f"{what} in call {at}, {call}") from error
        counts["lives"] += 1
        counts["refused"] += len(story.refused)
        counts["failed"] += len(story.failed)
        counts["ended"] += story.ended
        assert "full" not in what or not at or not story.ended, "it goes on without room"
        assert what != "unconfirmed" or story.ended, "nothing can be trusted any more"
    assert counts["lives"] > 20
    assert counts["refused" if "full" in what else "failed"] > 5
