"""Whatever part of a log is damaged, a node heals from its peers to what it was; never to less."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from anabranch.gossip.frontier import Frontier
from anabranch.node.fold import Held
from anabranch.node.repair import Repair
from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage.commit import receive
from anabranch.storage.errors import DamagedLog, Unavailable
from anabranch.storage.index import MemoryIndex
from anabranch.storage.record import HEADER_BYTES
from anabranch.storage.segment import Gap
from anabranch.storage.stamp import stamp_of

from .commits import SHARDS, body_of, folded
from .lives import MINE, WALL_MS, Life, picture, verdicts
from .test_recovery import Story

Log = tuple[int, int]


class Peers:
    """The other members: they hold everything, and say so when asked."""

    def __init__(self, bodies: dict[tuple[int, int, int], bytes]) -> None:
        self.bodies = bodies
        self.frontier = Frontier()
        self.disputes: list[int] = []
        for shard, origin, seq in sorted(bodies):
            self.frontier.advance((shard, origin), seq)

    def heard(self) -> list[Frontier]:
        return [self.frontier]

    def dispute(self, about: tuple[int, int], why: str, *, parted: bool) -> None:
        assert why and parted
        self.disputes.append(about[0])


class Wounded:
    """A life on a damaged disk, with its repair."""

    def __init__(self, disk: SimDisk, index: MemoryIndex, peers: Peers, segment_bytes: int) -> None:
        self.peers = peers
        self.life = Life(disk, index, segment_bytes=segment_bytes)
        self.repair = Repair(
            self.life.store,
            peers,  # type: ignore[arg-type]
            asyncio.get_running_loop().time,
            on_lost=lambda: None,
            on_sure=lambda: self.life.store.store_state(WALL_MS, everything=True),
            on_failure=self.life.failures.append,
        )

    async def heal(self) -> int:
        """Ask the peers until nothing is wanted; how many commits came."""
        life, came = self.life, 0
        for gap in life.log.gaps:
            self.repair.damaged(gap.position, gap.end)
        position = 0
        while (segment := life.log.segment_from(position)) is not None:  # as the scrub does
            for found in life.log.check(segment.base):
                if isinstance(found, Gap):
                    self.repair.damaged(found.position, found.end)
            position = segment.end
        await asyncio.sleep(0.01)
        self.repair.hear()
        while wanted := self.repair.lacking(22, self.peers.frontier):
            for shard, origin, after, until in wanted:
                for seq in range(after + 1, until + 1):
                    came += self.give((shard, origin), seq)
            await life.durable()
        await life.durable()
        await self.catch_up()
        return came

    def give(self, log: Log, seq: int) -> bool:
        body = self.peers.bodies[*log, seq]
        commit = receive(body, SHARDS)
        if self.repair.takes(commit, body):
            return True
        if seq == self.life.store.arrived(*log) + 1:
            self.life.store.receive(commit, body)
            return True
        return False

    async def catch_up(self) -> None:
        """What was at the end of other nodes' logs comes as what is new does."""
        for log, (own, theirs) in self.life.store.frontier.behind(self.peers.frontier).items():
            assert log[1] != MINE, "own commits are healed, not caught up with"
            for seq in range(own + 1, theirs + 1):
                self.give(log, seq)
        await self.life.durable()


def commit_bodies(story: Story, life: Life) -> dict[tuple[int, int, int], bytes]:
    return {
        (one.shard, one.key[2], one.seq): life.history.body(one.position, one.length)
        for one in story.held
    }


def flip(luck: Random, disk: SimDisk, held: list[Held], bases: list[tuple[str, int]]) -> None:
    """Damage the record of a commit, in its frame or its body."""
    one = luck.choice(held)
    name, base = next((name, base) for name, base in reversed(bases) if base <= one.position)
    disk.flip(name, one.position - base + luck.randrange(HEADER_BYTES + one.length))


async def damage_and_heal(seed: int, counts: dict[str, int]) -> None:
    luck, story = Random(seed), Story(seed)
    life = story.recover()
    await life.start()
    for _ in range(luck.randrange(5, 60)):
        await story.step(life)
    await life.durable()
    await life.note()
    peers = Peers(commit_bodies(story, life))
    whole = Life(story.disk.clone(), MemoryIndex())
    before, marks = picture(life.history), [life.history.mark(s) for s in range(SHARDS)]
    await life.log.abandon()
    if not story.held:
        return
    story.index.crash()
    index = story.index if luck.random() < 0.5 else MemoryIndex()
    bases = [(f"log/{name}", int(name[:16], 16)) for name in story.disk.list("log")]
    for _ in range(luck.randrange(1, 4)):
        flip(luck, story.disk, story.held, bases)
    for _ in range(3):  # the last two times the damage is older, and the index is gone
        wounded = Wounded(story.disk, index, peers, luck.choice([500, 3000]))
        life = wounded.life
        assert "changed" not in str(life.failures)
        await life.start()
        if life.store.holes.first is not None:
            counts["torn"] += 1
            await no_own_commits_in_the_dark(wounded, story)
        counts["healed"] += await wounded.heal()
        assert life.failures == []
        assert peers.disputes == []
        assert life.store.holes.first is None
        assert not life.store.holes.lost
        assert verdicts(life.history) == folded(story.held)
        for shard, mark in enumerate(marks):
            life.history.settle(shard, mark.watermark, 1 << 30)
            life.history.write_settled()
        after = picture(life.history)
        for key, body in peers.bodies.items():
            place = life.history.place_in_log(*key)
            assert place is not None
            assert life.history.body(*place) == body
        same(before, after)
        await life.note()
        await life.log.abandon()
        index = MemoryIndex()
    del whole


def same(before: Any, after: Any) -> None:
    """Equal but for where the records stand."""
    for name in ("names", "roots", "frontier", "tentative"):
        assert getattr(after, name) == getattr(before, name), name
    for one, other in zip(before.marks, after.marks, strict=True):
        assert (one.commits, one.running) == (other.commits, other.running)
    for place, other in zip(before.order, after.order, strict=True):
        assert place[2:] == other[2:]


async def no_own_commits_in_the_dark(wounded: Wounded, story: Story) -> None:
    """As long as own commits may be missing, none is numbered and nothing is promised."""
    store, held = wounded.life.store, story.held
    known = {(one.shard, one.key[2]): one.seq for one in held if one.key[2] == MINE}
    for shard in range(SHARDS):
        if store.arrived(shard, MINE) < known.get((shard, MINE), 0):
            assert store.promise(WALL_MS + 10_000) == 0
            with pytest.raises(Unavailable):
                wounded.repair.check_own(shard)


def test_damage_anywhere_is_healed_to_what_was_there() -> None:
    counts = {"torn": 0, "healed": 0}
    for seed in range(150):
        try:
            run(damage_and_heal(seed, counts))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
    assert counts["torn"] > 30
    assert counts["healed"] > 150


async def lived(commits: int) -> tuple[SimDisk, MemoryIndex, Peers, Life]:
    disk, index, story = SimDisk(Random(1)), MemoryIndex(), Story(1)
    life = Life(disk, index)
    await life.start()
    for number in range(commits):
        drafted = story.draft()
        story.held.append(life.receive(drafted, 22, stamp_of(WALL_MS) + number))
    await life.durable()
    return disk, index, Peers(commit_bodies(story, life)), life


def test_a_commit_with_another_hash_is_not_taken_for_a_lost_one() -> None:
    async def forged() -> None:
        disk, index, peers, life = await lived(5)
        life.settle(1 << 62)
        index.flush()
        await life.note()
        await life.log.abandon()
        place = life.history.place_in_log(*next(iter(peers.bodies)))
        assert place is not None
        disk.flip("log/0000000000000000.seg", place[0] + HEADER_BYTES + 3)
        wounded = Wounded(disk, index, peers, 3000)
        await wounded.life.start()
        log = next(iter(peers.bodies))
        wounded.repair.damaged(place[0], place[0] + 1)
        await asyncio.sleep(0.01)
        assert wounded.life.store.holes.is_lost(log[:2], log[2])
        other = body_of(Story(9).draft(), 22, log[2], 7)
        commit = receive(other, SHARDS)
        if commit.shard == log[0]:
            assert wounded.repair.takes(commit, other)
            assert peers.disputes == []
        assert wounded.life.store.holes.is_lost(log[:2], log[2])
        await wounded.life.log.abandon()

    run(forged())


def test_a_reader_gets_what_is_healed_in_time_and_else_the_range() -> None:
    async def read() -> None:
        disk, index, peers, life = await lived(5)
        life.settle(1 << 62)
        index.flush()
        await life.note()
        await life.log.abandon()
        key = next(iter(peers.bodies))
        place = life.history.place_in_log(*key)
        assert place is not None
        disk.flip("log/0000000000000000.seg", place[0] + HEADER_BYTES + 3)
        wounded = Wounded(disk, index, peers, 3000)
        await wounded.life.start()

        async def body() -> bytes:
            at = wounded.life.history.place_in_log(*key)
            assert at is not None
            return wounded.life.history.body(*at)

        with pytest.raises(DamagedLog) as caught:
            await wounded.repair.around(body)
        assert caught.value.position == place[0]
        reading = asyncio.get_running_loop().create_task(wounded.repair.around(body))
        await wounded.heal()
        wounded.repair.wake()
        assert await reading == peers.bodies[key]
        await wounded.life.log.abandon()

    run(read())
