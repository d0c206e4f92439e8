"""What a node promises: no commit of its own comes up to a stamp any more, whatever happens."""

from __future__ import annotations

from random import Random

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage.index import MemoryIndex

from .commits import draft
from .lives import WALL_MS, Life

LATER_MS = WALL_MS + 3_600_000


def test_a_promise_goes_no_further_than_a_ceiling_that_is_on_the_disk():
    async def story() -> None:
        life = Life(SimDisk(Random(0)), MemoryIndex())
        await life.start()
        first = life.store.promise(LATER_MS)  # and a higher ceiling is on its way
        assert life.store.promise(LATER_MS) == first
        await life.durable()
        assert life.store.promise(LATER_MS) > first
        await life.log.close()

    run(story())


def test_what_was_promised_binds_a_node_that_died_and_whose_clock_went_back():
    async def story() -> None:
        disk = SimDisk(Random(0))
        life = Life(disk, MemoryIndex())
        await life.start()
        life.store.promise(LATER_MS)
        promised = life.store.promise(LATER_MS)
        await life.log.abandon()
        disk.crash()
        again = Life(disk, MemoryIndex())
        await again.start()
        held = await again.append(draft("a", 1))
        assert held.key[0] > promised
        await again.log.close()

    run(story())
