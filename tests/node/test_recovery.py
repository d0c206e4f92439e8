"""A directory that is read back is what it was: with its index, with an old one, or with none."""

from __future__ import annotations

from random import Random

import pytest

from anabranch.gossip.epoch import Change, Epoch, Frozenness, successor
from anabranch.gossip.epoch import Member as Joined
from anabranch.gossip.epochs import Epochs
from anabranch.gossip.members import Members
from anabranch.node.fold import Held
from anabranch.node.history import History
from anabranch.node.recovery import recover
from anabranch.node.strays import Strays
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
from anabranch.storage.log import Log
from anabranch.storage.record import COMMIT, HEADER_BYTES, STATE
from anabranch.storage.stamp import stamp_of
from anabranch.storage.state import State, state_body

from .commits import ORIGINS, SHARDS, STREAMS, body_of, draft, folded
from .lives import MINE, TABLE, WALL_MS, Life, picture, verdicts

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


def log_of(disk: SimDisk) -> Log:
    return Log(
        disk,
        opening_state=lambda: state_body(state()),
        on_durable=lambda end: None,
        on_failure=lambda error: None,
    )


def state(**changes: object) -> State:
    rows = [(one.name, one.site, one.priority, int(one.name[1:])) for one in TABLE]
    parts: dict[str, object] = {
        "origin": MINE,
        "boot": 1,
        "shards": SHARDS,
        "cluster": "cluster",
        "node": f"n{MINE}",
        "ceiling": 0,
        "members": rows,
        "watermarks": {},
    }
    return State(**(parts | changes))  # type: ignore[arg-type]


def forming() -> list[tuple[str, str, int, int]]:
    """The members in a state of a cluster of which one origin is not known yet."""
    return [*state().members[:-1], (*state().members[-1][:3], 0)]


def directory(*records: tuple[int, bytes]) -> SimDisk:
    """A disk whose log has these records and no opening state of its own."""
    disk = SimDisk(Random(0))

    async def write() -> None:
        log = log_of(disk)
        list(log.replay(0))
        log.start()
        for kind, body in records:
            log._put(kind, body)
        log._wake.set()
        await log.wait(log.end - 1)
        await log.close()

    run(write())
    return disk


def recovered_from(disk: SimDisk) -> Life:
    return Life(disk, MemoryIndex())


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


def recover_only(disk: SimDisk) -> None:
    log = log_of(disk)
    history = History(MemoryIndex(), log, SHARDS)
    members = Members("cluster", SHARDS, f"n{MINE}", TABLE)
    recover(log, history, members, Strays(history))


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


# -- epochs, and what has no place ---------------------------------------------------------------

FIRST = Epoch.founded(Joined(one.name, one.site, one.priority, int(one.name[1:])) for one in TABLE)
SHARD = shard_of("a", SHARDS)
ASIDE = 99  # an origin under which this directory stamped without being a member


def kept(epoch: Epoch) -> bytes:
    return Epochs(MINE, epoch).state


def after(*held: tuple[int, int, int], join: tuple[Joined, ...] = (), gone: int = 33) -> Epoch:
    """The second epoch: one was removed, whose logs a majority held so far."""
    return successor(FIRST, Change(join, (gone,)), [Frozenness(5, held)])


def commits(origin: int, *numbers: int, stamp: int = 100) -> list[tuple[int, bytes]]:
    return [
        (COMMIT, body_of(draft("a", number), origin, seq, stamp + seq))
        for seq, number in enumerate(numbers, start=1)
    ]


def strays_of(life: Life) -> list[tuple[int, int]]:
    return sorted((held.key[2], held.seq) for held in life.strays)


def test_the_origin_of_the_last_state_is_this_nodes_own():
    first = (STATE, state_body(state()))
    life = recovered_from(directory(first, (STATE, state_body(state(origin=12, aside=[MINE])))))
    assert life.members.identity == 12
    assert life.members.name(12) == life.members.name(MINE) == f"n{MINE}"
    assert list(life.recovered.aside) == [MINE, 12]


def test_what_was_stamped_aside_is_a_stray_and_raises_the_clock():
    disk = directory(
        (STATE, state_body(state(ceiling=5, aside=[ASIDE]))),
        *commits(ASIDE, 1, 2, stamp=500),
        *commits(22, 3, stamp=900),
    )
    life = recovered_from(disk)
    assert life.recovered.frontier == {(SHARD, 22): 1}
    assert strays_of(life) == [(ASIDE, 1), (ASIDE, 2)]
    assert life.recovered.highest == 502
    assert len(verdicts(life.history)) == 3
    assert life.history.tentative_commits == 3


def test_a_stray_gives_way_to_a_commit_with_its_id_wherever_that_stands():
    before = commits(22, 1)
    aside = commits(ASIDE, 1, 2, stamp=500)
    again = commits(MINE, 2, stamp=600)
    disk = directory((STATE, state_body(state(aside=[ASIDE]))), *before, *aside, *again)
    life = recovered_from(disk)
    assert strays_of(life) == []
    assert sorted(key[2] for key in verdicts(life.history)) == [MINE, 22]


def test_what_finals_cut_off_is_a_stray_and_the_rest_keeps_its_place():
    disk = directory(
        (STATE, state_body(state())),
        *commits(33, 1, 2, 3, 4),
        *commits(22, 5),
        (STATE, state_body(state(members=[], epochs=kept(after((SHARD, 33, 2)))))),
        *commits(MINE, 6),
    )
    life = recovered_from(disk)
    assert life.members.number == 2
    assert life.recovered.epochs == kept(after((SHARD, 33, 2)))
    assert life.recovered.frontier == {(SHARD, 33): 2, (SHARD, 22): 1, (SHARD, MINE): 1}
    assert strays_of(life) == [(33, 3), (33, 4)]
    assert life.members.priority(33) == 1
    assert len(verdicts(life.history)) == 6
    assert [row[0] for row in life.history.log_entries(SHARD, 33, 0)] == [1, 2]


def test_what_comes_of_a_removed_origin_later_has_a_place_up_to_its_finals():
    removed = commits(33, 1, 2, 3)
    disk = directory(
        (STATE, state_body(state())),
        removed[0],
        (STATE, state_body(state(members=[], epochs=kept(after((SHARD, 33, 2)))))),
        *removed[1:],
    )
    life = recovered_from(disk)
    assert life.recovered.frontier == {(SHARD, 33): 2}
    assert strays_of(life) == [(33, 3)]


def test_what_was_appended_again_under_an_own_origin_takes_the_place_of_what_was_cut():
    disk = directory(
        (STATE, state_body(state())),
        *commits(33, 1, 2),
        (STATE, state_body(state(members=[], epochs=kept(after((SHARD, 33, 1)))))),
        *commits(MINE, 2, stamp=700),
    )
    life = recovered_from(disk)
    assert strays_of(life) == []
    assert sorted((key[2], key[0]) for key in verdicts(life.history)) == [(MINE, 701), (33, 101)]


def test_a_joiners_commits_have_a_place_from_its_epoch_on():
    joiner = Joined("par1", "par", 3, 44)
    disk = directory(
        (STATE, state_body(state())),
        (STATE, state_body(state(members=[], epochs=kept(after(join=(joiner,)))))),
        *commits(44, 1),
    )
    life = recovered_from(disk)
    assert life.recovered.frontier == {(SHARD, 44): 1}
    assert life.members.priority(44) == 3
    assert strays_of(life) == []


def test_only_a_newer_epoch_is_entered():
    second = after((SHARD, 33, 1))
    third = successor(second, Change(), [Frozenness(9, ())])
    disk = directory(
        (STATE, state_body(state())),
        *[
            (STATE, state_body(state(members=[], epochs=epochs)))
            for epochs in (kept(second), kept(third), b"", kept(third))
        ],
    )
    life = recovered_from(disk)
    assert (life.members.number, life.members.mark) == (3, third.mark)
    assert life.recovered.epochs == kept(third)


def test_a_shard_is_settled_no_further_than_its_first_stray():
    disk = directory(
        (STATE, state_body(state(aside=[ASIDE]))),
        *commits(22, 1, 2, 3, stamp=100),
        *commits(ASIDE, 4, stamp=101),
        (STATE, state_body(state(aside=[ASIDE], watermarks={SHARD: 103}))),
    )
    life = recovered_from(disk)
    assert strays_of(life) == [(ASIDE, 1)]
    assert life.history.mark(SHARD).commits == 1


def test_a_cut_leaves_what_a_hole_has_stranded_below_the_finals():
    """The first commit is damaged; of those behind it the finals leave two."""

    async def written() -> tuple[SimDisk, Life]:
        disk = SimDisk(Random(0))
        life = Life(disk, MemoryIndex())
        await life.start()
        for number in range(1, 5):
            life.receive(draft("a", number), 33, stamp_of(WALL_MS) + number)
            await life.durable()
        life.held = life.history.held(SHARD, 33, 1)
        await life.log.wait(life.store.keep_epochs(kept(after((SHARD, 33, 3))), WALL_MS))
        await life.log.close()
        return disk, life

    disk, life = run(written())
    (name,) = disk.list("log")
    data = bytearray(disk.read(f"log/{name}", 0, disk.size(f"log/{name}")))
    data[life.held.position + HEADER_BYTES + life.held.length // 2] ^= 1
    damaged = SimDisk(Random(0))
    damaged.append(f"log/{name}", bytes(data))
    again = Life(damaged, MemoryIndex())
    assert again.recovered.hole == life.held.position
    waiting = again.recovered.stranded[SHARD, 33]
    assert [one.seq for one in waiting] == [2, 3]
    assert strays_of(again) == [(33, 4)]
    assert len(verdicts(again.history)) == 1


def test_once_a_cluster_is_formed_the_file_is_only_an_address_book():
    """In epoch 1, all of whose members the state names, and in any later one."""
    moved = [("n11", "elsewhere", 0, 11), *state().members[1:]]
    for rows in (moved, state().members[:-1]):
        life = recovered_from(directory((STATE, state_body(state(members=rows)))))
        assert life.members.number == 1
        assert life.members.founders == sorted(rows)


def test_a_file_that_was_changed_in_a_later_epoch_is_fine_though_the_log_begins_in_the_first():
    """As when the index was thrown away: the first states still name the founders."""
    rows = [*state().members, ("n44", "site3", 3, 44)]
    first = Epoch.founded(Joined(*row) for row in rows)
    second = successor(first, Change((), (44,)), [Frozenness(5, ())])
    disk = directory(
        (STATE, state_body(state(members=rows))),
        (STATE, state_body(state(members=[], epochs=kept(second)))),
    )
    life = recovered_from(disk)
    assert life.members.number == 2
    assert sorted(life.members.origins) == [11, 22, 33]


def test_an_origin_aside_is_known_as_long_as_a_replay_can_meet_its_commits():
    """Also after what it stamped was appended again: something older may still be tentative."""

    async def story() -> None:
        disk, index = SimDisk(Random(0)), MemoryIndex()
        early, late = stamp_of(WALL_MS) - 100, stamp_of(WALL_MS + 60_000)
        for boot, provisional in enumerate([1001, 1002, 1003]):
            life = Life(disk, index, settled_in=boot > 0, provisional=provisional)
            await life.start()
            if boot == 0:
                life.receive(draft("a", 1), 22, late)  # nothing settles that far
                await life.append(draft("b", 2))
            for stray in life.strays.waiting() if boot else ():
                life.store.append_again(stray, WALL_MS)
            life.receive(draft("c", 10 + boot), 33, early + boot)
            await life.durable()
            life.settle(early + boot)
            await life.note()
            await life.log.close()
            assert strays_of(life) == ([] if boot else [(1001, 1)])
        again = Life(disk, index)
        assert strays_of(again) == []
        assert len(verdicts(again.history)) == 5

    run(story())


class Outsider(Story):
    """One seed: a node that is settled in now and then; what it stamps aside it appends again."""

    def named(self) -> tuple[str, int]:
        """An id is that of one stream."""
        number = self.luck.randrange(40)
        return STREAMS[number % len(STREAMS)], number

    def begin(self, segment_bytes: int, boot: int) -> Life:
        placed = self.luck.random() < 0.5
        life = Life(
            self.disk,
            self.index,
            segment_bytes=segment_bytes,
            settled_in=placed,
            provisional=1000 + boot,
        )
        rebuilt = Life(self.disk, MemoryIndex())
        assert strays_of(life) == strays_of(rebuilt)
        assert life.recovered.frontier == rebuilt.recovered.frontier
        assert {*life.recovered.aside} <= {*rebuilt.recovered.aside}
        end = life.log.end
        self.held = [one for one in self.held if one.position + HEADER_BYTES + one.length <= end]
        assert verdicts(life.history) == verdicts(rebuilt.history) == folded(self.shown(life))
        return life

    def shown(self, life: Life) -> list[Held]:
        """What is to be seen: a stray only where no commit of the same append has a place."""
        entries = {
            one.key: (one.id, life.history.header(one.position, one.length).entry)
            for one in self.held
            if one.position + HEADER_BYTES + one.length <= life.log.durable
        }
        placed = {entries.get(one.key) for one in self.held if one.key[2] in ORIGINS} - {None}
        return [
            one for one in self.held if one.key[2] in ORIGINS or entries.get(one.key) not in placed
        ]

    async def append_again(self, life: Life) -> None:
        for stray in life.strays.waiting():
            if not life.strays.give_way(stray):
                life.store.append_again(stray, life.wall_ms)
                self.held.append(life.store._on_its_way[-1][0])

    async def lives(self) -> None:
        for boot in range(5):
            life = self.begin(self.luck.choice([500, 3000]), boot)
            await life.start()
            for _ in range(self.luck.randrange(20)):
                await self.step(life)
                if life.store.settled_in and self.luck.random() < 0.3:
                    await self.append_again(life)
            if self.luck.random() < 0.5:
                await life.durable()
                for stray in life.strays.waiting():  # as whoever appends them again does first
                    life.strays.give_way(stray)
                assert verdicts(life.history) == folded(self.shown(life))
                self.strays = getattr(self, "strays", 0) + len(life.strays)
                if life.store.settled_in:
                    await self.append_again(life)
                    await life.durable()
                    assert strays_of(life) == []
                    assert verdicts(life.history) == folded(self.shown(life))
            await life.log.abandon()
            assert life.failures == []
            if self.luck.random() < 0.6:
                self.disk.crash()
            if self.luck.random() < 0.6:
                self.index.crash()
        self.begin(3000, 9)


def test_strays_are_read_back_and_appended_again_whatever_became_of_the_index():
    strays = 0
    for seed in range(80):
        story = Outsider(seed)
        try:
            run(story.lives())
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
        strays += getattr(story, "strays", 0)
    assert strays > 100


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
