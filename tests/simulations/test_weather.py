"""Weather adds up; and three nodes under each kind of it are whole again when it ends."""

from __future__ import annotations

import asyncio
from itertools import permutations
from random import Random

import pytest

from anabranch.simulations.world.network import SimNetwork
from anabranch.simulations.world.weather import Conditions, Route, Weather, combine, flip_a_bit
from anabranch.simulations.world.world import World

from .stories import THREE, append, disputes, in_virtual_time, settled


@pytest.mark.parametrize(
    ("route", "weathers", "expected"),
    [
        (Route(0.1, jitter=0.5), [], {"opens": True, "passes": True, "steady": True}),
        (Route(0.1, jitter=0.5), [], {"shortest": 0.05, "spread": 0.1}),
        (Route(0.1), [Weather(slow=2), Weather(slow=5)], {"shortest": 0.5, "spread": 1.0}),
        (Route(), [Weather(), Weather(cut=True)], {"opens": False, "passes": False}),
        (Route(), [Weather(silent=True)], {"opens": True, "passes": False}),
        (Route(bandwidth=9.0), [Weather(bandwidth=7.0), Weather(bandwidth=8.0)], {"bandwidth": 7}),
        (Route(), [Weather(bandwidth=7.0)], {"bandwidth": 7.0}),
        (Route(loss=0.5), [Weather(loss=0.5), Weather(loss=0.5)], {"loss": 0.875}),
        (Route(), [Weather(duplicate=0.1)], {"duplicate": pytest.approx(0.1), "steady": False}),
        (Route(), [Weather(reorder=1.0), Weather(reorder=0.5)], {"reorder": 1.0}),
        (Route(garble=0.2), [Weather()], {"garble": pytest.approx(0.2), "steady": False}),
        (Route(tail=0.1), [Weather(slow=3)], {"tail": 0.1}),
    ],
)
def test_route_and_weather_add_up(route, weathers, expected):
    found: Conditions = combine(route, weathers)
    assert {name: getattr(found, name) for name in expected} == expected


def test_a_flipped_bit_can_be_any():
    luck, seen = Random(1), set()
    for _ in range(500):
        seen.add(flip_a_bit(b"\x00\xff", luck))
    assert len(seen) == 16


# -- the real node under weather -------------------------------------------------------------------


async def load(world: World, seconds: float) -> list[asyncio.Task[object]]:
    """Append at all nodes, fifty times a second at each."""
    loop, tasks = asyncio.get_running_loop(), []
    for number in range(int(seconds * 50)):
        for name in world.names:
            key = f"{name} {number}"
            tasks.append(loop.create_task(append(world, name, key, stream=f"s{number % 5}")))
        await asyncio.sleep(0.02)
    return tasks


@pytest.mark.parametrize(
    ("weather", "counted"),
    [
        (Weather(duplicate=0.2), "duplicated"),
        (Weather(loss=0.1), "lost"),
        (Weather(silent=True), "cut off"),
        (Weather(cut=True), "cut off"),
        (Weather(cut=True, reset=True), None),
        (Weather(bandwidth=2000.0), None),
        (Weather(slow=20.0), None),
        (Weather(reorder=0.5), "reordered"),
        (Weather(garble=0.1), "garbled"),
    ],
    ids=["duplicate", "loss", "silent", "cut", "reset", "drip", "slow", "reorder", "garble"],
)
@in_virtual_time
async def test_all_is_whole_again_after_the_weather(weather, counted):
    """Nothing is lost, nothing invented, no shard is disputed, and no node has failed."""
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    world.network.begin("weather", permutations(world.names, 2), weather)
    tasks = await load(world, 3.0)
    world.network.end("weather")
    receipts = await asyncio.gather(*tasks)
    assert counted is None or world.network.counts[counted] > 0
    await world.until_settled(20)
    assert sorted(world.nodes) == sorted(world.names)
    assert not any(disputes(world).values())
    first, *others = (settled(node) for node in world.nodes.values())
    assert all(rows == first for rows in others)
    assert sorted(row[1] for row in first) == sorted(receipt.commit for receipt in receipts)
    await asyncio.sleep(5)
    for node in world.nodes.values():
        assert node.failure is None and node.replication.stranger is None
        assert {d.state for d in node.replication.dialers.values()} == {"connected"}
    await world.stop()


@in_virtual_time
async def test_a_node_that_stood_still_catches_up():
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    world.pause("lon1")
    for number in range(100):
        await append(world, "ny1", str(number))
        await asyncio.sleep(0.1)
    assert len(settled(world.nodes["lon1"])) == 0
    world.resume("lon1")
    await world.until_settled(10)
    assert len(settled(world.nodes["lon1"])) == 100
    await world.stop()


@in_virtual_time
async def test_the_same_seed_gives_the_same_weather():
    def drawn() -> list[float]:
        network = SimNetwork("seed")
        return [network.delay(*pair) for pair in permutations("abc", 2)]

    assert drawn() == drawn()
