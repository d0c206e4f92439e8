"""The index knows nodes of trees before their commits are settled: the log has these commits."""

from __future__ import annotations

from anabranch.node.node import Node
from anabranch.node.verify import IndexCheck
from anabranch.simulations.world.world import World
from anabranch.storage import keys
from anabranch.storage.files import LogFiles
from anabranch.tests.simulations.stories import append, in_virtual_time

Ahead = list[tuple[bytes, bytes]]


async def with_nodes_ahead() -> tuple[World, Node, Ahead]:
    """A node with many unsettled commits, whose complete nodes are in its index."""
    world = World(1, [("ny", 1), ("lon", 1)])
    await world.start()
    for number in range(20):
        await append(world, "ny1", f"settled {number}", stream="s")
    await world.until_settled()
    await world.crash("lon1")
    for number in range(300):
        await append(world, "ny1", f"alone {number}", stream="s")
    node = world.nodes["ny1"]
    ahead = node.history.trees.take_unwritten()
    assert {(keys.node_of(key) or (0, 0, 0, 0))[2] for key, _ in ahead} == {1, 2}
    world.indexes["ny1"].write(ahead)
    return world, node, ahead


def found(world: World) -> list[str]:
    check = IndexCheck(world.indexes["ny1"], LogFiles(world.disks["ny1"]))
    return [line for line in check.run() if line is not None]


@in_virtual_time
async def test_nodes_over_commits_that_are_not_settled_are_explained_by_the_log():
    world, node, ahead = await with_nodes_ahead()
    assert node.history.tentative_commits == 300
    assert found(world) == []
    for key, value in ahead:
        world.indexes["ny1"].write([(key, bytes(32))])
        assert found(world) == [f"the node of a Merkle tree with key {key.hex()} is wrong"]
        world.indexes["ny1"].write([(key, value)])
    shard, origin, *_ = keys.node_of(ahead[0][0]) or (0, 0)
    behind = keys.tree_key(shard, origin, 1, 320 // 16)
    world.indexes["ny1"].write([(behind, bytes(32))])
    (line,) = found(world)
    assert f"with key {behind.hex()}: nothing in the log explains it" in line
    await world.stop()


@in_virtual_time
async def test_nodes_over_what_a_log_has_lost_at_its_end_are_not_called_wrong():
    world, node, _ = await with_nodes_ahead()
    disk, index = world.disks["ny1"], world.indexes["ny1"]
    index.write([(keys.SYNCED, keys.number_value(node.log.durable))])
    files = LogFiles(disk)
    disk.truncate(files.segments[-1].name, files.segments[-1].size // 2)
    assert found(world) == []
    index.write([(keys.SYNCED, keys.number_value(0))])
    lines = found(world)
    assert lines
    assert all("nothing in the log explains it" in line for line in lines)
    await world.stop()
