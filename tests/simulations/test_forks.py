"""Two commits for one place of a log: nobody mixes them, and everybody is told."""

from __future__ import annotations

import asyncio

from anabranch.simulations.world.world import World
from anabranch.storage.commit import Draft, keyed_commit_id, shard_of, stamped

from .stories import in_virtual_time


def draft(key: str, data: bytes = b"x") -> Draft:
    return Draft("s", ["t"], [data], commit_id=keyed_commit_id("s", key))


async def parted(commits: int) -> tuple[World, tuple[int, int]]:
    """ny1 has made commits that lon1 has others for, as a second process would make them."""
    world = World(3, [("ny", 1), ("lon", 1), ("tok", 1)])
    await world.start()
    await asyncio.sleep(1)
    ny1, lon1 = world.nodes["ny1"], world.nodes["lon1"]
    await ny1.append(draft("before"), ack="settled")
    world.cut_off({"lon1"})
    log = (shard_of("s", 4), ny1.store.origin)
    for number in range(commits):
        await ny1.append(draft(f"one {number}"))
        hlc = lon1.store.hlc.now(lon1.clock.wall_ms())
        _, body = stamped(draft(f"other {number}"), *log, 2 + number, hlc)
        await lon1.replication.take([body], "ny1")
    assert lon1.store.frontier[log] == ny1.store.frontier[log] == 1 + commits
    world.network.heal()
    return world, log


@in_virtual_time
async def test_who_goes_on_from_another_commit_is_not_followed():
    world, log = await parted(1)
    ny1, lon1 = world.nodes["ny1"], world.nodes["lon1"]
    await asyncio.sleep(3)
    await ny1.append(draft("after"))
    await asyncio.sleep(3)
    assert lon1.store.frontier[log] == 2, "what follows on another commit is not taken"
    (why,) = lon1.settler.disputes.values()
    assert "two processes ran on copies of one directory" in why
    assert list(lon1.settler.disputes) == [log[0]]
    mine = lon1.history.leaf(log, 2)
    assert mine == lon1.history.header(*lon1.history.place_in_log(*log, 2)).hash, "all data is kept"
    assert mine != ny1.history.leaf(log, 2)
    await world.stop()


@in_virtual_time
async def test_other_shards_go_on():
    world, log = await parted(2)
    await asyncio.sleep(3)
    await world.nodes["ny1"].append(draft("after"))
    other = next(f"o{number}" for number in range(9) if shard_of(f"o{number}", 4) != log[0])
    made = Draft(other, ["t"], [b"x"], commit_id=keyed_commit_id(other, "k"))
    receipt = await world.nodes["lon1"].append(made, ack="settled")
    assert receipt.settled
    await world.stop()


@in_virtual_time
async def test_a_hash_that_is_only_wrong_in_an_index_is_no_fork():
    world = World(3, [("ny", 1), ("lon", 1), ("tok", 1)])
    await world.start()
    await asyncio.sleep(1)
    ny1, lon1 = world.nodes["ny1"], world.nodes["lon1"]
    await ny1.append(draft("one"), ack="settled")
    log = (shard_of("s", 4), ny1.store.origin)
    lon1.replication.forks.heard(ny1.store.origin, [(*log, 1, bytes(32))])
    assert lon1.repair.in_doubt(log)
    await ny1.append(draft("two"))
    await world.until_settled()
    assert not lon1.repair.in_doubt(log)
    assert [node.settler.disputes for node in world.nodes.values()] == [{}, {}, {}]
    await world.stop()
