"""Members compare what they have settled: they agree, or the one that is wrong finds out."""

from __future__ import annotations

import asyncio

from anabranch.gossip.messages import Compare
from anabranch.node.config import Tuning
from anabranch.node.node import Node
from anabranch.simulations.world.world import World
from anabranch.storage import keys
from anabranch.tests.simulations.stories import THREE, append, in_virtual_time

QUICK = Tuning(compare_seconds=1.0)


async def settled_world(commits: int = 40) -> World:
    world = World(1, THREE, tuning=QUICK)
    await world.start()
    for number in range(commits):
        await append(world, world.names[number % 3], f"{number}", stream=f"s{number % 7}")
    await world.until_settled()
    await asyncio.sleep(2)
    return world


def compared(node: Node) -> int:
    return sum(turn.done for turn in node.comparing.turns.values())


def differences(node: Node) -> int:
    return sum(turn.differences for turn in node.comparing.turns.values())


def spoil(world: World, name: str) -> tuple[tuple[int, int], int, bytes]:
    """Give a settled commit another hash in a node's index."""
    index = world.indexes[name]
    key, value = next(iter(index.scan(b"q", b"r")))
    index.write([(key, keys.log_value(keys.order_in(value), bytes(32)))])
    shard, origin, seq = keys.log_of(key)
    trees = world.nodes[name].history.trees
    trees.mend((shard, origin), seq)
    return (shard, origin), seq, keys.leaf_in(value)


@in_virtual_time
async def test_members_that_hold_the_same_agree_again_and_again():
    world = await settled_world()
    await asyncio.sleep(30)
    for node in world.nodes.values():
        assert compared(node) >= 6
        assert differences(node) == 0
        assert node.settler.disputes == {}
    roots = {tuple(node.history.trees.roots(1 << 62)) for node in world.nodes.values()}
    assert len(roots) == 1


@in_virtual_time
async def test_a_hash_that_is_wrong_in_one_index_is_put_right_there():
    world = await settled_world()
    for node in world.nodes.values():
        node.scrub.position = 1 << 60  # it would find it as well
        node.scrub._seconds = 1e9
    log, seq, leaf = spoil(world, "lon1")
    assert world.nodes["lon1"].history.leaf(log, seq) != leaf
    await asyncio.sleep(20)
    assert world.nodes["lon1"].history.leaf(log, seq) == leaf
    assert [node.settler.disputes for node in world.nodes.values()] == [{}, {}, {}]
    assert sum(differences(node) for node in world.nodes.values()) > 0
    await append(world, "ny1", "later")
    await world.until_settled()


@in_virtual_time
async def test_a_node_of_a_tree_that_is_wrong_in_one_index_is_put_right_there():
    world = await settled_world(160)
    index = world.indexes["lon1"]
    key, node = next(iter(index.scan(b"t", b"u")))
    index.write([(key, bytes(32))])
    await world.crash("lon1")  # what it knows of its trees it reads anew
    await world.start("lon1")
    await asyncio.sleep(20)
    assert world.indexes["lon1"].get(key) == node
    roots = {tuple(one.history.trees.roots(1 << 62)) for one in world.nodes.values()}
    assert len(roots) == 1
    assert [one.settler.disputes for one in world.nodes.values()] == [{}, {}, {}]


@in_virtual_time
async def test_two_commits_in_one_place_are_a_dispute_and_no_guess():
    """lon1's log says what its index says, and it is not what the others have."""
    world = await settled_world()
    node = world.nodes["lon1"]
    log, seq, _ = spoil(world, "lon1")
    node.history.header = _as_spoiled(node, log, seq)  # type: ignore[method-assign]
    for other in world.nodes.values():
        other.scrub.position = 1 << 60
        other.scrub._seconds = 1e9
    await asyncio.sleep(30)
    assert log[0] in node.settler.disputes
    assert "different commits" in node.settler.disputes[log[0]]


def _as_spoiled(node: Node, log: tuple[int, int], seq: int):
    header, place = node.history.header, node.history.place_in_log(*log, seq)

    class Forged:
        hash = bytes(32)

    return lambda *at: Forged() if at == place else header(*at)


@in_virtual_time
async def test_only_one_of_two_compares_at_a_time():
    world = await settled_world()
    node = world.nodes["ny1"]
    turn = node.comparing.turns["lon1"]
    turn.due, turn.session = 0.0, None
    question = node.comparing.question("lon1")
    assert question is not None
    busy = node.comparing.compare(question, "lon1")
    assert (busy.cut, busy.roots) == (0, [])
    free = node.comparing.compare(question, "tok1")
    assert free.cut == question.cut
    node.comparing.answered("lon1", busy)
    assert turn.session is None
    assert node.comparing.compare(question, "lon1").cut == question.cut


@in_virtual_time
async def test_who_has_settled_less_says_how_far():
    world = await settled_world()
    node = world.nodes["ny1"]
    final = node.settler.final_until()
    answer = node.comparing.compare(Compare(final + 1, bytes(32), [], []), "lon1")
    assert (answer.cut, answer.roots) == (final, [])
