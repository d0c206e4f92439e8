"""Who alone saw that a disk went back, and is away, or no member, when its node asks."""

from __future__ import annotations

import asyncio

import pytest

from anabranch.node.config import Tuning
from anabranch.node.status import state_of
from anabranch.simulations.world.world import World

from .membership import Chronicle, origin_of, until_members
from .stories import THREE, cut_pair, in_virtual_time


@pytest.mark.parametrize("away", [False, True])
@in_virtual_time
async def test_who_was_away_when_a_majority_confirmed_is_asked_once_it_is_back(away):
    world = World(1, THREE, tuning=Tuning(evict_after_seconds=None))
    await world.start()
    await asyncio.sleep(3)
    chronicle = Chronicle(world)
    async with chronicle.looking_on():
        before = origin_of(world, "lon1")
        await chronicle.write("lon1", 3)
        await world.until_settled()
        await world.stop_one("lon1")
        snapshot = world.snapshot("lon1")
        for other in ("lon1", "tok1"):
            cut_pair(world, "ny1", other)
        await world.start("lon1")
        await asyncio.sleep(4)
        await chronicle.write("lon1", 5)
        await asyncio.sleep(1)
        await world.crash("lon1")
        world.network.heal()
        world.cut_off({"tok1"})
        world.restore("lon1", snapshot)
        await world.start("lon1")
        await asyncio.sleep(4 if away else 1)
        assert state_of(world.nodes["lon1"]) == ("ready" if away else "unsure")
        world.network.heal()
        await until_members(world, world.names)
        await chronicle.ends(world.names)
    assert before not in world.nodes["ny1"].members.joined
