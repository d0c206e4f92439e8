"""Commits cross between two sites once, whichever way they come; worlds of several nodes a site."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from anabranch.node.config import Tuning
from anabranch.simulations.plans.bounds import Bounds, bounded
from anabranch.simulations.world.network import Route
from anabranch.simulations.world.world import World
from anabranch.storage.commit import read_header
from anabranch.storage.limits import PASS_ON_SECONDS, RELAY_GRACE_SECONDS
from anabranch.tests.simulations.stories import append, cut_pair, in_virtual_time

NINE = [("ny", 3), ("lon", 3), ("tok", 3)]
SITE_OF = {f"{site}{number + 1}": site for site, count in NINE for number in range(count)}


class Crossings:
    """Counts the commits that come from one site into another, and those that come again."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.between: Counter[tuple[str, str]] = Counter()
        self.near = 0
        self.again = 0
        for name in world.nodes:
            self.watch(name)

    def watch(self, name: str) -> None:
        replication = self.world.nodes[name].replication
        take, store = replication.take, self.world.nodes[name].store

        async def counting(commits, sender):
            for body in commits:
                commit = read_header(body)
                self.again += commit.seq <= store.arrived(commit.shard, commit.origin)
            if SITE_OF[sender] == SITE_OF[name]:
                self.near += len(commits)
            else:
                self.between[SITE_OF[sender], SITE_OF[name]] += len(commits)
            await take(commits, sender)

        replication.take = counting


async def nine(**tuning) -> World:
    """Three sites of three nodes, all up and acquainted; within a site everything is near."""
    world = World(7, NINE, shards=4, tuning=Tuning(**tuning))
    for here in world.names:
        for there in world.names:
            near = SITE_OF[here] == SITE_OF[there]
            world.network.set_route(here, there, Route(0.0005 if near else 0.03))
    await world.start()
    await asyncio.sleep(2)
    return world


async def append_many(world: World, names: list[str], count: int, *, label: str = "k") -> None:
    for number in range(count):
        key = f"{label}{number}"
        await append(world, names[number % len(names)], key, stream=key, size=200)
        await asyncio.sleep(0.002)


@in_virtual_time
async def test_a_new_commit_crosses_to_each_other_site_once():
    world = await nine()
    crossings = Crossings(world)
    await append_many(world, world.names, 270)
    await world.until_settled()
    assert set(crossings.between.values()) == {90}
    assert crossings.near == 270 * 6
    assert crossings.again == 0


@in_virtual_time
async def test_the_relays_of_nine_origins_are_not_all_the_same_node():
    world = await nine()
    taken = Counter()
    for name, node in world.nodes.items():
        node.replication._to_pass_on = Noting(taken, name)
    await append_many(world, world.names, 90)
    await world.until_settled()
    assert len(taken) >= 5


class Noting(set):
    def __init__(self, taken, name):
        super().__init__()
        self._taken, self._name = taken, name

    def add(self, one):
        self._taken[self._name] += 1
        super().add(one)


@pytest.mark.parametrize("window", [1 << 24, 4000], ids=["pushed", "pulled"])
@in_virtual_time
async def test_a_site_that_was_cut_off_fetches_each_commit_once(window):
    """From outboxes that reach back far enough, or by pulls: 600 commits for three nodes."""
    world = await nine(push_window_bytes=window)
    world.cut_off({"tok1", "tok2", "tok3"})
    await append_many(world, [name for name in world.names if SITE_OF[name] != "tok"], 600)
    await asyncio.sleep(3)
    crossings = Crossings(world)
    world.network.heal()
    await world.until_settled()
    into_tok = sum(count for (_, to), count in crossings.between.items() if to == "tok")
    assert 600 <= into_tok <= 600 * 1.05
    assert crossings.near <= 1200 * 1.05


@in_virtual_time
async def test_a_node_that_was_down_fetches_from_its_mates():
    world = await nine(push_window_bytes=4000)
    await world.crash("tok2")
    await append_many(world, [name for name in world.names if name != "tok2"], 400)
    await asyncio.sleep(2)
    crossings = Crossings(world)
    await world.start("tok2")
    crossings.watch("tok2")
    await world.until_settled()
    assert sum(crossings.between.values()) <= 400 * 0.05
    assert 400 <= crossings.near <= 400 * 1.05


@in_virtual_time
async def test_another_relay_takes_over_and_hands_back():
    """Nothing is lost, and little comes twice, while the relay goes and comes under load."""
    world = await nine()
    ny1 = world.nodes["ny1"]
    first, second, _ = ny1.replication._routes.rank(ny1.store.origin, "tok")
    crossings = Crossings(world)
    load = asyncio.get_running_loop().create_task(append_many(world, ["ny1"], 2000))
    await asyncio.sleep(0.5)
    assert ny1.replication.is_relay(first)
    await world.crash(first)
    await asyncio.sleep(1)
    assert ny1.replication.is_relay(second)
    assert ny1.replication.pushes_to(first)
    await world.start(first)
    crossings.watch(first)
    await asyncio.sleep(2)
    assert ny1.replication.is_relay(first)
    assert not load.done()
    await load
    await world.until_settled()
    assert crossings.between["ny", "tok"] <= 2000 * 1.05
    assert crossings.again <= 2000 * 0.02


@in_virtual_time
async def test_commits_come_around_when_the_relay_is_cut_off_from_its_mates():
    world = await nine()
    ny1 = world.nodes["ny1"]
    first, second, third = ny1.replication._routes.rank(ny1.store.origin, "tok")
    cut_pair(world, first, second)
    cut_pair(world, first, third)
    await asyncio.sleep(3)
    await append(world, "ny1", "around")
    await asyncio.sleep(PASS_ON_SECONDS + RELAY_GRACE_SECONDS + 1)
    shard = next(shard for shard in range(4) if ny1.store.frontier[shard, ny1.store.origin])
    for name in (first, second, third):
        assert world.nodes[name].store.frontier[shard, ny1.store.origin] == 1, name


@in_virtual_time
async def test_a_slow_link_is_gone_around_although_something_always_comes():
    """ny1 pushes 130 KB to tok1 at 8 KB a second, step by step; lon1 has it all, on a wide link."""
    seconds = asyncio.get_running_loop().time
    with bounded(Bounds(push_bytes=2000)):
        world = World(1, [("ny", 1), ("lon", 1), ("tok", 1)])
        await world.start()
        await asyncio.sleep(1)
        world.network.set_route("ny1", "tok1", Route(0.02, bandwidth=8000))
        await append_many(world, ["ny1"], 400)
        began = seconds()
        await world.until_settled()
    assert seconds() - began < 4


@in_virtual_time
async def test_pulls_keep_to_their_budget():
    world = World(
        1,
        [("ny", 1), ("lon", 1)],
        tuning=Tuning(push_window_bytes=1000, pull_bytes_per_second=50_000),
    )
    await world.start("ny1", "lon1")
    await asyncio.sleep(1)
    await world.crash("lon1")
    await append_many(world, ["ny1"], 1000)
    size = world.nodes["ny1"].log.end
    await world.start("lon1")
    seconds = asyncio.get_running_loop().time
    began = seconds()
    await world.until_settled(60)
    assert 0.6 * size / 50_000 < seconds() - began < 2 * size / 50_000
