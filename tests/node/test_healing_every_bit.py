"""A bit of a node's log is flipped: the node heals to what it was, and gives nobody what is bad.

What readers and peers are given goes through `log_entries` and `body`, so these are asked before
anything is healed, and after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from random import Random

import pytest

from anabranch.node.history import History
from anabranch.simulations.world.loop import run
from anabranch.storage.errors import DamagedLog
from anabranch.storage.index import MemoryIndex
from anabranch.storage.record import HEADER_BYTES

from .commits import ORIGINS, SHARDS, folded
from .lives import MINE, Life, picture, verdicts
from .test_healing import Peers, Wounded, commit_bodies, same
from .test_recovery import Story

LOG = "log/0000000000000000.seg"
LOG_BYTES = 4096


class Ward:
    """A directory whose log is one file of 4 KiB or a little more, and what is in it."""

    def __init__(self) -> None:
        self.story = Story(8)
        self.indexes = [MemoryIndex() for _ in range(3)]  # lost, old, and as it should be
        run(self.live())
        self.size = self.story.disk.size(LOG)

    async def live(self) -> None:
        story = self.story
        life = Life(story.disk, story.index)
        await life.start()
        while life.log.end < LOG_BYTES - 500:
            await story.step(life)
            if life.log.end < LOG_BYTES // 2:
                self.indexes[1] = deepcopy(story.index)
        await life.durable()
        while life.log.end < LOG_BYTES:
            await life.note()
        self.indexes[2] = deepcopy(story.index)
        self.peers = Peers(commit_bodies(story, life))
        self.marks = [life.history.mark(shard).watermark for shard in range(SHARDS)]
        self.before = picture(life.history)
        await life.log.abandon()

    async def with_flipped(self, bit: int) -> str:
        """A life with a bit flipped, now and then another one after it: what became of the bit."""
        disk = self.story.disk.clone()
        disk.flip(LOG, bit // 8, 1 << bit % 8)
        index = deepcopy(self.indexes[(bit + bit // 8) % 3])
        wounded = Wounded(disk, index, self.peers, 1 << 20)
        torn = wounded.life.log.torn is not None
        came = await self.heals(wounded)
        if bit % 4 == 0:  # what came is on the disk
            assert await self.heals(Wounded(disk, MemoryIndex(), self.peers, 1 << 20)) == 0
        return "cut" if torn else "healed" if came else "no commit was in it"

    async def heals(self, wounded: Wounded) -> int:
        """Live until all is as it was; how many commits that took."""
        life, peers = wounded.life, self.peers
        assert self.given(life.history) <= len(peers.bodies)
        await life.start()
        came = await wounded.heal()
        assert (life.failures, peers.disputes) == ([], [])
        assert life.store.holes.first is None
        assert not life.store.holes.lost
        assert self.given(life.history) == len(peers.bodies), "all of it can be given again"
        assert verdicts(life.history) == folded(self.story.held)
        for shard, mark in enumerate(self.marks):
            life.history.settle(shard, mark, 1 << 30)
            life.history.write_settled()
        same(self.before, picture(life.history))
        await life.note()
        await life.log.abandon()
        await wounded.repair.close()
        return came

    def given(self, history: History) -> int:
        """How many commits a peer or a reader can be given; none is another than it was."""
        count = 0
        for shard in range(SHARDS):
            for origin in ORIGINS:
                for seq, position, length in history.log_entries(shard, origin, 0):
                    try:
                        body = history.body(position, length)
                    except DamagedLog:
                        continue
                    assert body == self.peers.bodies[shard, origin, seq]
                    count += 1
        return count


@pytest.fixture(scope="module")
def ward() -> Ward:
    return Ward()


def flip_each(ward: Ward, bits: Iterable[int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for bit in bits:
        try:
            counts[run(ward.with_flipped(bit))] += 1
        except BaseException as error:
            raise AssertionError(f"bit {bit}") from error
    return counts


def test_any_bit_that_is_flipped_in_the_frame_of_an_own_commit_is_healed(ward):
    own = [one for one in ward.story.held if one.key[2] == MINE]
    begin = 8 * own[len(own) // 2].position
    assert flip_each(ward, range(begin, begin + 8 * HEADER_BYTES)) == {"healed": 8 * HEADER_BYTES}


def test_a_bit_that_is_flipped_anywhere_is_healed(ward):
    counts = flip_each(ward, Random(2).sample(range(8 * ward.size), 200))
    assert counts["healed"] > 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_single_bit_that_is_flipped_is_healed(ward):
    counts = flip_each(ward, range(8 * ward.size))
    commits = sum(HEADER_BYTES + one.length for one in ward.story.held)
    assert counts["healed"] == 8 * commits
    assert counts.total() == 8 * ward.size >= 32_768
