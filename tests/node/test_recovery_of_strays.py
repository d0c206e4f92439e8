"""What is read back of epochs: who is a member, what has a place, and what is astray."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from anabranch.gossip.epoch import Change, Epoch, Frozenness, successor
from anabranch.gossip.epoch import Member as Joined
from anabranch.gossip.epochs import Epochs
from anabranch.node.fold import Held
from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage import keys
from anabranch.storage.commit import shard_of
from anabranch.storage.index import MemoryIndex
from anabranch.storage.record import COMMIT, HEADER_BYTES, STATE
from anabranch.storage.stamp import stamp_of
from anabranch.storage.state import state_body

from .commits import ACCEPTED, ORIGINS, SHARDS, STREAMS, body_of, draft, folded
from .directories import directory, forming, recovered_from, state
from .lives import MINE, TABLE, WALL_MS, Life, verdicts
from .test_recovery import Story

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


def test_what_only_a_damaged_state_names_is_a_stray():
    """The last start was not sure of the directory, and the record that tells of it is damaged.

    What it had acknowledged was taken for nobody's. Found by hunting in plans full of damage.
    """
    disk = SimDisk(Random(0))

    async def story() -> None:
        life = Life(disk, MemoryIndex())
        await life.start()
        await life.append(draft("a", 1))
        await life.log.close()
        life = Life(disk, MemoryIndex(), settled_in=False, provisional=ASIDE)
        begin = life.log.end
        await life.start()
        for number in (2, 3):
            await life.append(draft("a", number))
        await life.log.close()
        disk.flip(f"log/{disk.list('log')[0]}", begin + HEADER_BYTES + 9)
        for _ in range(2):
            life = Life(disk, MemoryIndex())
            assert life.recovered.hole == begin
            assert strays_of(life) == [(ASIDE, 1), (ASIDE, 2)]
            assert life.history.tentative_commits == 3
            await life.start()  # the record that it writes names them
            await life.log.close()

    run(story())


def test_an_epoch_that_only_its_founders_tell_of_cuts_as_well():
    """The record with the epoch is damaged; one after it names all founders, and not this node."""
    others = [("n22", "site2", 2, 22), ("n33", "site3", 3, 33)]
    disk = directory(
        (STATE, state_body(state(members=forming()))),
        *commits(MINE, 1, 2),
        (STATE, state_body(state(origin=12, members=others, aside=[MINE]))),
        *commits(22, 3),
    )
    life = recovered_from(disk)
    assert strays_of(life) == [(MINE, 1), (MINE, 2)]
    assert life.recovered.frontier == {(SHARD, 22): 1}


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


def test_what_came_of_a_founder_before_both_met_a_cluster_is_a_stray():
    """Several nodes began anew and found each other first; one of them may not have got to enter.

    It did not start again. Found by hunting in plans in which all but one lose their disks.
    """
    rows = [Joined(one.name, one.site, one.priority, int(one.name[1:])) for one in TABLE]
    others = Epoch.founded(replace(row, origin=row.origin + 100) for row in rows)
    late = (COMMIT, body_of(draft("a", 3), 33, 3, 103))
    disk = directory(
        (STATE, state_body(state())),
        *commits(33, 1, 2),
        (STATE, state_body(state(members=[], epochs=kept(others)))),
        late,
    )
    index = MemoryIndex()
    for _ in range(2):
        life = Life(disk, index)
        assert strays_of(life) == [(33, 1), (33, 2), (33, 3)]
        assert len(verdicts(life.history)) == 3
        index.write([(keys.MEMBERSHIP, kept(others))])  # as once something is settled


def test_a_stray_holds_its_place_until_its_copy_is_on_the_disk():
    """A crash may take the copy: what was settled past the stray would move."""
    disk = directory((STATE, state_body(state(aside=[ASIDE]))), *commits(ASIDE, 1, stamp=500))

    async def story() -> None:
        life = Life(disk, MemoryIndex())
        await life.start()
        (stray,) = life.strays.waiting()
        life.store.append_again(stray, WALL_MS)
        assert strays_of(life) == [(ASIDE, 1)]
        assert life.strays.limit(SHARD, stray.key[0]) < stray.key[0]
        await life.durable()
        assert strays_of(life) == []
        await life.log.close()

    run(story())


@pytest.mark.parametrize("damaged", [False, True])
def test_what_has_its_place_back_is_no_stray_whatever_became_of_what_was_set_aside(damaged):
    """The members had it, and sent it again: it is the same commit, and needs no comparing."""
    disk = directory((STATE, state_body(state())), *commits(MINE, 1))

    async def story() -> None:
        life = Life(disk, MemoryIndex())
        await life.start()
        life.store.doubt()
        assert strays_of(life) == [(MINE, 1)]
        if damaged:
            (stray,) = life.strays
            segment = life.log.files.holding(stray.position)
            disk.flip(segment.name, stray.position - segment.base + HEADER_BYTES + 9)
        life.receive(draft("a", 1), MINE, 101)
        await life.durable()
        assert strays_of(life) == []
        assert life.history.tentative_commits == 1
        assert verdicts(life.history) == {(101, life.members.priority(MINE), MINE): (ACCEPTED, 0)}
        await life.log.close()

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
