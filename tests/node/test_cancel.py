"""A client that goes away at any moment of its append leaves a log that is whole, and no trace."""

from __future__ import annotations

import asyncio
import types
from collections import Counter
from collections.abc import Coroutine, Generator
from typing import Any

import pytest

from anabranch.node.node import Node
from anabranch.node.receipt import Receipt
from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.world import World
from anabranch.storage.errors import AnabranchError, DiskFull
from anabranch.tests.simulations.stories import THREE, append, draft, in_virtual_time, settled

SYNC_SECONDS = 0.01
MOMENTS = {
    "as it begins to wait": 0.0,
    "while the disk works": SYNC_SECONDS / 4,
    "as it is woken": None,
}
SUSPENSIONS = {"local": 1, "settled": 2}


@types.coroutine
def left(
    work: Coroutine[Any, Any, Receipt], at: int, after: float | None
) -> Generator[Any, Any, Receipt]:
    """Await an append whose caller goes away at its n-th suspension, so long after it began."""
    task, number = asyncio.current_task(), 0
    assert task is not None
    value, problem = None, None
    while True:
        try:
            waits_for = work.throw(problem) if problem is not None else work.send(value)
        except StopIteration as end:
            return end.value
        number, problem = number + 1, None
        if number == at and after is not None:
            asyncio.get_running_loop().call_later(after, task.cancel)
        try:
            value = yield waits_for
        except BaseException as error:  # noqa: BLE001 - it is handed on
            problem = error
        if number == at and after is None:
            problem = asyncio.CancelledError()


async def go_away(node: Node, key: str, ack: str, at: int, after: float | None) -> bool:
    """Append and go away; whether the append was still under way."""

    async def client() -> Receipt:
        return await left(node.append(draft("s", key), ack=ack), at, after)

    client_task = asyncio.create_task(client())
    await asyncio.wait([client_task])
    assert not node.appends.waiting, "nobody waits for it any more"
    return client_task.cancelled()


async def three(seed: int) -> World:
    world = World(seed, THREE)
    await world.start()
    await append(world, "ny1", "before", ack="settled")
    for disk in world.disks.values():
        disk.sync_seconds = SYNC_SECONDS
    return world


def tasks() -> Counter[str]:
    return Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks())


def ids(world: World, name: str) -> list[bytes]:
    return [row[1] for row in settled(world.nodes[name])]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("ack", SUSPENSIONS)
@in_virtual_time
async def test_what_a_client_left_is_whole_and_a_retry_is_a_duplicate(ack, moment):
    """At each suspension; and there is no other."""
    world, after = await three(1), MOMENTS[moment]
    node, at = world.nodes["ny1"], 1
    await asyncio.sleep(1)
    before = tasks()
    while await go_away(node, f"left {at}", ack, at, after):
        retry = await append(world, "ny1", f"left {at}", ack=ack)
        assert retry.duplicate
        assert retry.commit == draft("s", f"left {at}").commit_id
        later = await append(world, "ny1", f"later {at}", ack=ack)
        assert later.first_revision == retry.first_revision + 1
        assert not node.log._waiting
        at += 1
    assert at == SUSPENSIONS[ack] + 1
    await world.until_settled()
    await asyncio.sleep(1)
    assert tasks() == before, "nothing of it goes on by itself"
    shown = ids(world, "ny1")
    assert len(shown) == len(set(shown)) == 2 * at
    assert shown == ids(world, "lon1") == ids(world, "tok1")
    await world.stop()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("ack", SUSPENSIONS)
@in_virtual_time
async def test_what_a_client_left_before_a_crash_is_there_whole_or_not_at_all(ack, moment):
    there = 0
    for at in range(1, SUSPENSIONS[ack] + 1):
        for seed in range(4):
            world = await three(seed)
            assert await go_away(world.nodes["ny1"], "left", ack, at, MOMENTS[moment])
            await world.crash("ny1")
            await world.start("ny1")
            await asyncio.sleep(1)
            retry = await append(world, "ny1", "left", ack="settled")
            there += retry.duplicate
            assert retry.first_revision == 1
            assert retry.duplicate or (at, moment) != (1, "as it is woken"), "it was on disk"
            await world.until_settled()
            assert len(ids(world, "ny1")) == len(ids(world, "lon1")) == 2
            await world.stop()
    assert there or moment != "as it is woken"


def full_at_the_next_write(disk: SimDisk) -> None:
    """As if others had filled the disk for a moment."""

    def append(name: str, data: bytes) -> None:
        del disk.append  # type: ignore[method-assign]
        raise DiskFull(f"no room for {len(data)} bytes")

    disk.append = append  # type: ignore[method-assign]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("trouble", ["full", "failing"])
@in_virtual_time
async def test_a_client_that_left_a_disk_in_trouble_disturbs_nobody(trouble, moment):
    """Without room nothing was written; after a failed sync the node ends, as without a client."""
    world = await three(1)
    disk, node = world.disks["ny1"], world.nodes["ny1"]
    if trouble == "full":
        full_at_the_next_write(disk)
    else:
        disk.failing_syncs = True
    with_other = asyncio.create_task(append(world, "ny1", "other"))
    await go_away(node, "left", "local", 1, MOMENTS[moment])
    with pytest.raises(AnabranchError):
        await with_other
    if trouble == "full":
        assert world.is_up("ny1")
        assert not (await append(world, "ny1", "left", ack="settled")).duplicate
    else:
        await world.failed_have_ended()
        assert not world.is_up("ny1")
        disk.failing_syncs = False
        await world.start("ny1")
        await asyncio.sleep(1)
        await append(world, "ny1", "left", ack="settled")
    await world.until_settled()
    assert ids(world, "ny1") == ids(world, "lon1")
    await world.stop()
