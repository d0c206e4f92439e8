"""A directory that is read back is what it was: with its index, with an old one, or with none."""

from __future__ import annotations

from random import Random

import pytest

from anabranch.node.fold import Held
from anabranch.node.history import History
from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage.commit import (
    EXPECT_ANY,
    EXPECT_EXISTS,
    EXPECT_NONE,
    KEEP,
    REJECT,
    Draft,
    shard_of,
)
from anabranch.storage.errors import ConfigError, DamagedLog
from anabranch.storage.index import MemoryIndex
from anabranch.storage.record import COMMIT, HEADER_BYTES, STATE
from anabranch.storage.stamp import stamp_of
from anabranch.storage.state import state_body

from .commits import ORIGINS, SHARDS, STREAMS, body_of, draft, folded
from .directories import directory, forming, recover_only, recovered_from, state
from .lives import MINE, WALL_MS, Life, picture, verdicts

OTHERS = [origin for origin in ORIGINS if origin != MINE]


class Story:
    """One seed: a node that appends, receives, settles and crashes, life after life."""

    def __init__(self, seed: int) -> None:
        self.luck = Random(seed)
        self.disk = SimDisk(self.luck)
        self.index = MemoryIndex()
        self.held: list[Held] = []
        self.clocks = dict.fromkeys(OTHERS, stamp_of(WALL_MS))
        self.wall_ms = WALL_MS
        self.noted = True  # whether the log tells all that was settled
        self.settled = 0

    def named(self) -> tuple[str, int]:
        """The stream of the next append, and its number."""
        return self.luck.choice(STREAMS), self.luck.randrange(40)

    def draft(self) -> Draft:
        return draft(
            *self.named(),
            count=self.luck.choice([1, 1, 3]),
            expected=self.luck.choice([EXPECT_ANY] * 4 + [EXPECT_EXISTS, EXPECT_NONE, 0, 1, 3]),
            policy=self.luck.choice([REJECT, KEEP]),
        )

    def shown(self, life: Life) -> list[Held]:
        """What is to be seen of all that was taken."""
        return self.held

    def recover(self) -> Life:
        """Recover with the index as it is, and without any: the same comes out."""
        before = self.index.get(b"z")
        rebuilt = Life(self.disk, MemoryIndex())
        life = Life(self.disk, self.index, segment_bytes=self.luck.choice([500, 3000]))
        end = life.log.end
        assert before is None or int.from_bytes(before, "big") <= end
        self.held = [one for one in self.held if one.position + HEADER_BYTES + one.length <= end]
        for one in (life, rebuilt):
            assert verdicts(one.history) == folded(self.held)
            assert one.history.tentative_commits == len(picture(one.history).tentative)
        last = {(one.shard, one.key[2]): one.seq for one in self.held}
        assert life.recovered.frontier == rebuilt.recovered.frontier == last
        own = [one.key[0] for one in self.held if one.key[2] == MINE]
        assert min(life.recovered.highest, rebuilt.recovered.highest) >= max(own, default=0)
        self.compare(life, rebuilt)
        return life

    def compare(self, life: Life, rebuilt: Life) -> None:
        watermarks = [life.history.mark(shard).watermark for shard in range(SHARDS)]
        if self.noted:
            assert picture(rebuilt.history) == picture(life.history)
        for shard, watermark in enumerate(watermarks):
            rebuilt.history.settle(shard, watermark, 1 << 30)
            rebuilt.history.write_settled()
        ours, theirs = picture(life.history), picture(rebuilt.history)
        assert [mark.commits for mark in theirs.marks] == [mark.commits for mark in ours.marks]
        assert [mark.running for mark in theirs.marks] == [mark.running for mark in ours.marks]
        theirs.marks = ours.marks
        assert theirs == ours

    async def step(self, life: Life) -> None:
        life.wall_ms = self.wall_ms = self.wall_ms + self.luck.choice([0, 0, 1, 50])
        kind = self.luck.randrange(10)
        if kind < 3:
            drafted = self.draft()
            if life.history.find(drafted.commit_id, shard_of(drafted.stream, SHARDS)) is None:
                self.held.append(await life.append(drafted))
        elif kind < 6:
            origin = self.luck.choice(OTHERS)
            self.clocks[origin] += self.luck.choice([1, 2, 70_000])
            self.held.append(life.receive(self.draft(), origin, self.clocks[origin]))
        elif kind < 8:
            await life.durable()
            watermark = min(life.store.promise(self.wall_ms), *self.clocks.values())
            life.settle(
                watermark - self.luck.choice([0, 0, 3]), commits_max=self.luck.choice([1, 3, 1000])
            )
            self.noted = False
        elif kind == 8:
            await life.note()
            self.noted = True
        else:
            self.index.flush()
        if self.luck.random() < 0.3:
            await life.durable()
            self.settled += len(picture(life.history).order)
            for stray in life.strays.waiting():  # as whoever appends them again does first
                life.strays.give_way(stray)
            assert verdicts(life.history) == folded(self.shown(life))

    async def lives(self) -> None:
        for _ in range(4):
            life = self.recover()
            await life.start()
            self.noted = True  # the first state record names the watermarks of all shards
            for _ in range(self.luck.randrange(25)):
                await self.step(life)
            if self.luck.random() < 0.3:
                await life.durable()
            await life.log.abandon()
            assert life.failures == []
            if self.luck.random() < 0.6:
                self.disk.crash()
            if self.luck.random() < 0.6:
                self.index.crash()
            if self.luck.random() < 0.1:
                self.index = MemoryIndex()
        self.recover()


def test_what_is_read_back_is_what_was_there_whatever_became_of_the_index():
    settled = 0
    for seed in range(120):
        story = Story(seed)
        try:
            run(story.lives())
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
        settled += story.settled
    assert settled > 2000


# -- what a directory tells ----------------------------------------------------------------------


def test_an_empty_directory_tells_nothing():
    life = recovered_from(SimDisk(Random(0)))
    assert life.recovered.frontier == {}
    assert life.recovered.highest == 0
    assert life.recovered.records == 0


def test_the_last_state_tells_the_members_the_ceiling_and_how_far_all_is_settled():
    stamps = [stamp_of(WALL_MS) + number for number in range(4)]
    commits = [
        (COMMIT, body_of(draft("a", number), 22, number + 1, stamp))
        for number, stamp in enumerate(stamps)
    ]
    shard = shard_of("a", SHARDS)
    disk = directory(
        (STATE, state_body(state(ceiling=5))),
        *commits[:3],
        (STATE, state_body(state(ceiling=9, watermarks={shard: stamps[1]}))),
        commits[3],
    )
    life = recovered_from(disk)
    assert life.members.origin("n22") == 22
    assert life.recovered.highest == 9
    assert life.recovered.records == 6
    assert life.history.mark(shard).watermark == stamps[1]
    assert life.history.mark(shard).commits == 2
    assert life.history.tentative_commits == 2
    assert life.recovered.frontier == {(shard, 22): 4}


def test_own_commits_raise_the_clock_and_those_of_others_do_not():
    disk = directory(
        (STATE, state_body(state(ceiling=5))),
        (COMMIT, body_of(draft("a", 1), MINE, 1, 40)),
        (COMMIT, body_of(draft("a", 2), 22, 1, 90)),
    )
    assert recovered_from(disk).recovered.highest == 40


def test_a_torn_tail_is_said(caplog):
    disk = directory((STATE, state_body(state())), (COMMIT, body_of(draft("a", 1), MINE, 1, 40)))
    name = f"log/{disk.list('log')[0]}"
    disk.truncate(name, disk.size(name) - 1)
    life = recovered_from(disk)
    assert life.recovered.frontier == {}
    assert "cut short by a crash" in caplog.text


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([(COMMIT, body_of(draft("a", 1), MINE, 1, 40))], "before any state record"),
        ([(STATE, state_body(state())), (3, b"")], "kind 3 .* newer version"),
        ([(STATE, state_body(state())), (COMMIT, b"rubbish")], "an array of header and payloads"),
        (
            [
                (STATE, state_body(state(members=[(*row[:3], 0) for row in state().members]))),
                (COMMIT, body_of(draft("a", 1), 22, 1, 40)),
            ],
            "origin 0000000000000016, which no state record before it names",
        ),
        ([(STATE, b"\x92\x02\x00")], "of format 2"),
        (
            [(STATE, state_body(state())), (COMMIT, body_of(draft("a", 1), 22, 2, 40))],
            "sequence 2 .* follows 0",
        ),
    ],
)
def test_what_makes_no_sense_stops_the_node(records, message):
    with pytest.raises(DamagedLog, match=message):
        recover_only(directory(*records))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cluster": "other"}, "belongs to node 'n11' of cluster 'other'"),
        ({"node": "n22"}, "belongs to node 'n22'"),
        ({"shards": SHARDS + 1}, "made with 3 shards, the file says 2"),
        ({"members": [(*row[:3], 0) for row in forming()[:-1]]}, "they differ in: n33"),
        ({"members": [("n11", "elsewhere", 0, 11), *forming()[1:]]}, "they differ in: n11"),
        ({"members": [("n11", "site0", 5, 11), *forming()[1:]]}, "they differ in: n11"),
    ],
)
def test_a_directory_of_somebody_else_is_refused(changes, message):
    disk = directory((STATE, state_body(state(**changes))))
    with pytest.raises(ConfigError, match=message):
        recovered_from(disk)


# -- how much is read ----------------------------------------------------------------------------


def test_with_its_index_a_long_log_is_not_read_whole():
    async def story() -> tuple[int, int]:
        disk, index = SimDisk(Random(0)), MemoryIndex()
        life = Life(disk, index, segment_bytes=2000)
        await life.start()
        for number in range(200):
            await life.append(draft("a", number))
            life.settle(life.store.promise(life.wall_ms))
        await life.log.close()
        segments = life.log.segments
        again = Life(disk, index)
        assert len(verdicts(again.history)) == 200
        return segments, again.recovered.records

    segments, records = run(story())
    assert segments > 10
    assert records < 60


def test_a_replay_never_begins_behind_what_is_on_disk():
    """What is on its way to the disk when the index is written is read again after a crash."""

    async def story() -> None:
        disk, index = SimDisk(Random(0)), MemoryIndex()
        life = Life(disk, index, segment_bytes=300)
        await life.start()
        stamp = stamp_of(WALL_MS) + 1000
        life.receive(draft("a", 1), 22, stamp)
        await life.durable()
        for number in range(2, 6):  # these arrive, and are not on disk yet
            life.receive(draft("a", number), 22, stamp + number)
        life.settle(stamp)
        index.flush()
        assert life.history.replay_from() <= life.log.durable
        for number in range(6, 40):
            await life.durable()
            life.receive(draft("a", number), 22, stamp + number)
        await life.durable()
        await life.log.abandon()
        index.crash()
        again = Life(disk, index)
        assert len(verdicts(again.history)) == 39

    run(story())


@pytest.mark.parametrize("lost", [1, 100, 10_000])
def test_a_log_that_lost_what_the_index_knows_is_damage_though_something_early_is_tentative(lost):
    async def story() -> None:
        disk, index = SimDisk(Random(0)), MemoryIndex()
        life = Life(disk, index)
        await life.start()
        life.receive(draft("a", 1), 22, stamp_of(WALL_MS + 100))
        await life.durable()
        for number in range(2, 8):
            life.receive(draft("a", number), 33, stamp_of(WALL_MS) + number)
        await life.durable()
        assert len(life.settle(stamp_of(WALL_MS) + 9)) == 6
        await life.log.close()
        (name,) = disk.list("log")
        disk.truncate(f"log/{name}", max(0, disk.size(f"log/{name}") - lost))
        left = disk.size(f"log/{name}")
        for _ in range(2):
            with pytest.raises(DamagedLog, match="the log has lost its end"):
                Life(disk, index)
        assert disk.size(f"log/{name}") == left

    run(story())


def test_reading_back_does_not_forget_where_the_next_replay_may_begin():
    async def story() -> None:
        disk, index = SimDisk(Random(0)), MemoryIndex()
        life = Life(disk, index)
        await life.start()
        for number in range(1, 9):
            life.receive(draft("a", number), 22, stamp_of(WALL_MS) + number)
            await life.durable()
            if number == 4:
                life.settle(stamp_of(WALL_MS) + 4)
                index.flush()
        life.settle(stamp_of(WALL_MS) + 6)
        await life.note()
        await life.log.close()
        index.crash()
        before = History(index, life.log, SHARDS)
        known = (before.replay_from(), before.synced())
        assert min(known) > 0
        again = Life(disk, index)
        assert again.history.tentative_commits == 2
        assert (again.history.replay_from(), again.history.synced()) == known

    run(story())


def test_recovering_twice_is_recovering_once():
    story = Story(7)
    run(story.lives())
    once, twice = (Life(story.disk, story.index) for _ in range(2))
    assert picture(once.history) == picture(twice.history)
