"""Real nodes in a simulated world: one story a test, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from anabranch.node.config import Tuning
from anabranch.node.receipt import Receipt
from anabranch.simulations.loop import run
from anabranch.simulations.world import World
from anabranch.storage.commit import Draft, keyed_commit_id

THREE = [("ny", 1), ("lon", 1), ("tok", 1)]


def in_virtual_time(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test's coroutine on the loop of the simulation."""

    @wraps(story)
    def test(*args: Any, **kwargs: Any) -> None:
        run(story(*args, **kwargs))

    return test


def draft(stream: str, key: str, **options: int) -> Draft:
    return Draft(stream, ["t"], [key.encode()], commit_id=keyed_commit_id(stream, key), **options)


async def append(world: World, name: str, key: str, ack: str = "local", **options: int) -> Receipt:
    """Append one event to stream `s` (or another one) at a node."""
    stream = str(options.pop("stream", "s"))
    return await world.nodes[name].append(draft(stream, key, **options), ack=ack)


@in_virtual_time
async def test_a_report_that_comes_before_its_maker_is_known_is_not_lost():
    """tok1 tells ny1 of lon1, whom ny1 has not met: what it tells once it does not tell again."""
    world = World(1, THREE, tuning=Tuning(heartbeat_seconds=0.02))
    world.network.latency_seconds = 0.1
    for here, there in [("ny1", "lon1"), ("lon1", "ny1")]:
        world.network.cut(here, there)
    await world.start("ny1", "tok1")
    await asyncio.sleep(1)
    await world.start("lon1")
    await asyncio.sleep(1)
    await append(world, "lon1", "early")
    await asyncio.sleep(1)
    await append(world, "ny1", "later")
    world.network.heal()
    await asyncio.sleep(5)
    assert [node.settler.disputes for node in world.nodes.values()] == [{}, {}, {}]
    assert world.settled()


@in_virtual_time
async def test_a_disk_that_is_slow_when_members_meet_does_not_stop_settlement_for_ever():
    """What was learned of the others is durable long after the link's time-out."""
    world = World(1, THREE)
    await world.start()
    world.disks["lon1"].sync_seconds = 8
    await asyncio.sleep(20)
    world.disks["lon1"].sync_seconds = 0.001
    await append(world, "ny1", "a")
    await append(world, "lon1", "b")
    await world.until_settled()
