"""A node that crashes at any call of its disk while it heals, heals to the same when it is back.

The life that is cut short reads back a damaged log, heals it from peers, moves what the index says
of the damaged records, settles, appends, and seals. It is lived once for each call of the disk, and
the index that survives is as it was after any of its writes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from random import Random

import pytest

from anabranch.node.fold import Held
from anabranch.simulations.world.loop import run
from anabranch.storage.commit import receive, shard_of
from anabranch.storage.index import MemoryIndex
from anabranch.storage.sealer import Sealer
from anabranch.tests.storage.test_crash_points import Faulty

from .commits import SHARDS, STREAMS, body_of, draft, folded
from .lives import MINE, Life, verdicts
from .test_healing import Peers, Wounded, commit_bodies, flip
from .test_recovery import Story

SEEDS = range(6)
OWN = 1000  # numbers of the commits that the life makes itself


class Recorded(MemoryIndex):
    """An index that remembers how it was after each of its writes."""

    def __init__(self, states: Iterable[dict[bytes, bytes]] = ({},)) -> None:
        super().__init__()
        self.states = [*states]
        super().write(self.states[-1].items())

    def write(self, puts: Iterable[tuple[bytes, bytes]]) -> None:
        super().write(puts)
        self.states.append(dict(self._map))


class Ward:
    """A damaged directory, and what was in it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.disk = Faulty(seed, -2, "nothing")
        self.index = Recorded()
        self.held: list[Held] = []
        self.marks: list[int] = []

    async def live(self) -> None:
        """A life like any other, and damage after it."""
        luck, story = Random(self.seed), Story(self.seed)
        story.disk, story.index = self.disk, self.index
        life = Life(self.disk, self.index, segment_bytes=1500)
        await life.start()
        while len(story.held) < 20 or MINE not in {one.key[2] for one in story.held}:
            await story.step(life)
        await life.durable()
        await life.note()
        self.held = story.held
        self.peers = Peers(commit_bodies(story, life))
        self.marks = [life.history.mark(shard).watermark for shard in range(SHARDS)]
        self.roots = life.history.trees.roots(min(self.marks))
        await life.log.abandon()
        self.index.crash()
        bases = [(f"log/{name}", int(name[:16], 16)) for name in self.disk.list("log")]
        for _ in range(3):
            flip(luck, self.disk, self.held, bases)


class Healing:
    """The life that heals, on a copy of the directory."""

    def __init__(self, ward: Ward, at: int, what: str, state: dict[bytes, bytes]) -> None:
        self.ward = ward
        self.disk = ward.disk.clone()
        assert isinstance(self.disk, Faulty)
        self.disk.at, self.disk.what, self.disk.calls = at, what, []
        self.index = Recorded([state])
        self.own: list[Held] = []
        self.acknowledged = 0
        self.healed = False
        self.wounded: Wounded | None = None

    async def live(self) -> None:
        self.wounded = Wounded(self.disk, self.index, self.ward.peers, 1500)
        life = self.wounded.life
        await life.start()
        holes = life.store.holes
        self.settle({*range(SHARDS)} - holes.torn_shards() if not holes.unsure else ())
        await self.wounded.heal()
        self.healed = True
        for number in range(OWN, OWN + 3):
            held = life.store.stamp(draft("a", number), life.wall_ms)
            self.own.append(held)
            self.settle(range(SHARDS))  # while that is on its way to the disk
            await life.log.wait(held.position)
            self.acknowledged += 1
        await life.note()
        await Sealer(self.disk, life.log, bytes_per_second=1 << 40).seal_all()
        await life.log.close()

    def settle(self, shards: Iterable[int]) -> None:
        """Make final again what had been."""
        assert self.wounded is not None
        for shard in shards:
            self.wounded.life.history.settle(shard, self.ward.marks[shard], 1 << 30)
            self.wounded.life.history.write_settled()

    async def cut_short(self) -> None:
        """Live until the end, or until the power goes."""
        living = asyncio.get_running_loop().create_task(self.live())
        while not (living.done() or self.disk.dead):  # noqa: ASYNC110 - the disk has no event
            await asyncio.sleep(0.001)
        if not self.disk.dead:
            await living
            return
        parts = [living]
        if self.wounded is not None and self.wounded.life.log._writer is not None:
            parts.append(self.wounded.life.log._writer)
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        if self.wounded is not None:
            await self.wounded.repair.close()


async def heals_again(story: Healing, state: dict[bytes, bytes]) -> None:
    """What the next life finds, with the index in an earlier state."""
    ward, disk = story.ward, story.disk.clone()
    assert isinstance(disk, Faulty)
    disk.dead, disk.at = False, -2
    disk.crash()
    again = Wounded(disk, Recorded([state]), ward.peers, 1500)
    life = again.life
    await life.start()
    came = await again.heal()
    assert life.failures == []
    assert ward.peers.disputes == []
    assert life.store.holes.first is None
    assert not life.store.holes.lost
    if story.healed:
        assert came == 0, "the copies are on the disk"
    last = max((one.seq for one in ward.held if one.key[2] == MINE), default=0)
    there = [one for one in story.own if life.store.arrived(one.shard, MINE) >= one.seq]
    assert len(there) >= story.acknowledged, f"acknowledged after {last}, so it is there"
    assert verdicts(life.history) == folded([*ward.held, *there])
    for key, body in ward.peers.bodies.items():
        place = life.history.place_in_log(*key)
        assert place is not None
        assert life.history.body(*place) == body
    for shard, mark in enumerate(ward.marks):
        life.history.settle(shard, mark, 1 << 30)
        life.history.write_settled()
    assert life.history.trees.roots(min(ward.marks)) == ward.roots
    await life.log.abandon()
    await again.repair.close()


@pytest.fixture(scope="module")
def wards() -> list[Ward]:
    found = [Ward(seed) for seed in SEEDS]
    for ward in found:
        run(ward.live())
    return found


def calls_of(ward: Ward, state: dict[bytes, bytes]) -> list[str]:
    """The calls of a life in which nothing goes wrong."""
    story = Healing(ward, -2, "nothing", state)
    run(story.cut_short())
    assert story.acknowledged == 3
    return story.disk.calls


async def crashed(ward: Ward, at: int, what: str, state: dict[bytes, bytes]) -> int:
    story = Healing(ward, at, what, state)
    await story.cut_short()
    states = [*{tuple(one.items()): one for one in story.index.states}.values()]
    for one in states:
        await heals_again(story, one)
    return len(states)


@pytest.mark.parametrize("what", ["before", "half", "after"])
def test_a_crash_at_any_call_while_healing_is_healed_to_the_same(wards, what):
    counts: Counter[str] = Counter()
    for ward in wards:
        for state in (ward.index.states[-1], {}):
            for at, call in enumerate(calls_of(ward, state)):
                try:
                    counts["lives"] += run(crashed(ward, at, what, state))
                except BaseException as error:
                    raise AssertionError(f"seed {ward.seed}, {what} {call} {at}") from error
                counts[call] += 1
    assert {*counts} >= {"append", "sync", "sync_names", "rename", "remove"}
    assert counts["lives"] > 500
    assert counts["append"] > 100


def test_what_is_given_for_a_lost_commit_is_held_against_its_hash(wards):
    async def forged(ward: Ward) -> int:
        disk = ward.disk.clone()
        wounded = Wounded(disk, Recorded([ward.index.states[-1]]), ward.peers, 1500)
        life, repair = wounded.life, wounded.repair
        await life.start()
        for gap in life.log.gaps:
            repair.damaged(gap.position, gap.end)
        await asyncio.sleep(0.01)
        lost = [(log, seq) for log, seqs in life.store.holes.lost.items() for seq in sorted(seqs)]
        for (shard, origin), seq in lost:
            stream = next(one for one in STREAMS if shard_of(one, SHARDS) == shard)
            body = body_of(draft(stream, OWN), origin, seq, 7)
            end = life.log.end
            assert repair.takes(receive(body, SHARDS), body)
            assert life.store.holes.is_lost((shard, origin), seq)
            assert life.log.end == end, "nothing of it is kept"
            whole = ward.peers.bodies[shard, origin, seq]
            assert repair.takes(receive(whole, SHARDS), whole)
            await life.durable()
            assert not life.store.holes.is_lost((shard, origin), seq)
        await life.log.abandon()
        await repair.close()
        return len(lost)

    assert sum(run(forged(ward)) for ward in wards) > 1
