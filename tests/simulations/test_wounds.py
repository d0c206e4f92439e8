"""Damage that is done to a simulated disk can be healed by the others."""

from __future__ import annotations

import asyncio
import logging
from random import Random
from unittest.mock import patch

import pytest

from anabranch.gossip.frontier import Frontier
from anabranch.node.config import Tuning
from anabranch.simulations.plans.bounds import Bounds, bounded
from anabranch.simulations.plans.plan import Client, Fault, Plan, Site
from anabranch.simulations.runner import run_plan
from anabranch.simulations.watch.watched import WatchedWorld
from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.simulations.wounds import IN_PLACE, Wounds, commits_on, is_safe
from anabranch.storage.commit import Draft
from anabranch.storage.merkle import FANOUT


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def frontier(**logs: int) -> Frontier:
    found = Frontier()
    for name, seq in logs.items():
        found.advance((0, int(name[1:])), seq)
    return found


@pytest.mark.parametrize(
    ("lost", "safe"),
    [
        ([], True),
        ([(0, 1, 3)], True),
        ([(0, 1, 3), (0, 2, 5)], True),  # each at another node
        ([(0, 1, 4)], False),
        ([(0, 3, 1)], False),
    ],
)
def test_only_what_another_disk_holds_may_be_damaged(lost, safe):
    assert is_safe(lost, [frontier(o1=3), frontier(o1=1, o2=5)]) is safe


async def written(commits: int, sites=("ny", "lon", "tok"), **tuning) -> WatchedWorld:
    world = WatchedWorld(1, [(site, 1) for site in sites], shards=1, tuning=Tuning(**tuning))
    await world.start()
    for number in range(commits):
        draft = Draft("s", ["t"], [b"x"], commit_id=number.to_bytes(16, "big"))
        await world.append("ny1", draft, "local", 5.0)
        await asyncio.sleep(0.2)  # so that each is proven by the next
    await world.until_settled()
    return world


def test_an_index_is_hurt_also_where_every_log_ends_with_a_whole_node_of_its_tree():
    """Seed 2582: no entry was bare, and one of them was to be chosen."""

    async def main() -> None:
        world = await written(FANOUT)
        wounds = Wounds(world)
        for seed in range(20):
            assert wounds.hurt_index("lon1", Random(seed)) is not None
            await world.scrub_all()
            assert wounds.healed("lon1")
        assert wounds.wrong_indexes() == []
        await world.stop()

    run(main())


def test_a_wrong_hash_is_not_made_right_by_hurting_it_again():
    """Seed 2000264: the same bit of the same entry was flipped twice."""

    async def main() -> None:
        world = await written(FANOUT // 2, segment_bytes=700)
        wounds = Wounds(world)
        entries = dict(world.indexes["lon1"].scan(b"q", b"r"))
        assert wounds.hurt_index("lon1", Random(3)) is not None
        assert wounds.hurt_index("lon1", Random(3)) is None
        assert dict(world.indexes["lon1"].scan(b"q", b"r")) != entries
        assert wounds.wrong_indexes() == []  # what a node remembers is right
        await world.stop_one("lon1")
        await world.start("lon1")
        assert wounds.wrong_indexes() == ["lon1"]
        await world.stop()

    with bounded(Bounds(scrub_bytes=10)):  # the scrub comes too late
        run(main())


def test_who_is_alone_has_nobody_to_compare_with():
    """Seed 2741733: only a start, or the scrub after it, can find what no memory is right about."""

    async def main() -> None:
        world = await written(FANOUT // 2, sites=("ny",), segment_bytes=700)
        wounds = Wounds(world)
        assert wounds.hurt_index("ny1", Random(3)) is not None
        await world.stop_one("ny1")
        await world.start("ny1")
        assert wounds.wrong_indexes() == []
        await world.scrub_all()
        assert wounds.healed("ny1")
        await world.stop()

    with bounded(Bounds(scrub_bytes=10)):  # the scrub comes too late
        run(main())


def test_no_damage_is_done_that_looks_like_a_newer_version():
    """Seed 2778705: a second bit of a frame was wrong, that of its version; no start takes that."""

    async def main() -> None:
        world = await written(20)
        disk, wounds = world.disks["lon1"], Wounds(world)
        name = f"log/{disk.list('log')[0]}"
        disk.flip(name, 5)

        def damage(self, *_):
            self.flip(name, 1, 32)
            return "the version"

        with patch.object(SimDisk, "damage", damage):
            assert wounds.hurt("lon1", Random(1), ("flip",)) is None
        await world.stop()

    run(main())


@pytest.mark.parametrize(
    ("sites", "is_done"), [(("ny", "lon"), False), (("ny", "lon", "tok"), True)]
)
def test_one_of_two_nodes_keeps_what_tells_of_its_starts(sites, is_done):
    """Else it joins anew, as if it had gone back, and one member of two lets nobody in."""

    async def main() -> None:
        world = await written(20, sites=sites, segment_bytes=700)
        await world.stop_one("lon1")
        last = f"log/{world.disks['lon1'].list('log')[-1]}"
        size = world.disks["lon1"].size(last)
        await world.start("lon1")

        def damage(self, *_):
            self.truncate(last, size)
            return "what is new"

        with patch.object(SimDisk, "damage", damage):
            done = Wounds(world).hurt("lon1", Random(1), ("missing",))
        assert done == ("what is new" if is_done else None)
        await world.stop()

    run(main())


def test_a_crash_makes_no_hash_wrong_again_that_counts_as_healed():
    """Else the record of the commit might be damaged as well. Found by plans full of damage."""

    async def main() -> None:
        world = await written(FANOUT // 2, segment_bytes=700)
        wounds, index = Wounds(world), world.indexes["lon1"]
        right = dict(index.scan(b"q", b"r"))
        assert wounds.hurt_index("lon1", Random(3)) is not None
        index.flush()
        index.write([*right.items()])
        assert wounds.healed("lon1")
        with patch.object(index._generator, "choice", return_value=0):  # it keeps no later write
            index.crash()
        assert dict(index.scan(b"q", b"r")) == right
        await world.stop()

    run(main())


def test_one_node_at_a_time_is_hurt_until_it_is_healed():
    async def main() -> None:
        world = await written(20)
        wounds, luck = Wounds(world), Random(1)
        before = commits_on(world.disks["lon1"])
        assert len(before) == 20
        for _ in range(20):
            wounds.hurt("lon1", luck, IN_PLACE)
        assert not wounds.healed("lon1")
        assert wounds.hurt("tok1", luck, IN_PLACE) is None
        assert wounds.hurt_index("tok1", luck) is None
        await world.scrub_all()
        await world.until_settled()
        assert wounds.healed("lon1")
        assert wounds.hurt_index("tok1", luck) is not None
        assert not wounds.healed("tok1")
        await world.scrub_all()
        assert wounds.healed("tok1")
        await world.stop()

    run(main())


def test_a_disk_that_has_the_only_copy_is_not_hurt():
    async def main() -> None:
        world = await written(5)
        world.network.heal()
        world.cut_off({"ny1"})
        for number in range(5, 40):
            draft = Draft("s", ["t"], [b"x" * 50], commit_id=number.to_bytes(16, "big"))
            await world.append("ny1", draft, "local", 5.0)
        others = world.holders.beside("ny1")
        before = commits_on(world.disks["ny1"])
        for seed in range(30):
            Wounds(world).hurt("ny1", Random(seed), IN_PLACE)
        assert is_safe(before.keys() - commits_on(world.disks["ny1"]).keys(), others)
        await world.stop()

    run(main())


def plan(*faults: Fault, **of) -> Plan:
    return Plan(
        1,
        (Site("ny"), Site("lon"), Site("tok")),
        tuning=Tuning(segment_bytes=2000),
        clients=(Client("c1", rate=20), Client("c2", rate=20, at=("lon",))),
        faults=faults,
        trouble=2.0,
        **of,
    )


def test_damage_stays_until_the_node_has_healed_it():
    outcome = run_plan(plan(Fault("lose-segment", 2.0, None, ("lon",))))
    assert outcome.violations == []
    assert outcome.history.healing.damaged > 0
    assert outcome.history.healing.healed >= outcome.history.healing.damaged
    assert outcome.marks["damage was healed"]


def test_a_disk_fills_up_in_the_middle_of_a_write():
    outcome = run_plan(plan(Fault("no-room", 1.5, 1.0, ("lon",))))
    assert outcome.violations == []
    assert outcome.marks["the disk had no room in the middle of a write"]
    assert outcome.marks["the disk was full"]
