"""Damage is healed over real links: just what is lacking, from a mate first, and never spread."""

from __future__ import annotations

import asyncio

from anabranch.node.config import Tuning
from anabranch.node.metrics import metrics
from anabranch.node.node import Node
from anabranch.node.status import status
from anabranch.simulations.world.world import World
from anabranch.storage.record import HEADER_BYTES
from anabranch.tests.simulations.stories import append, in_virtual_time

MATES = [("ny", 2), ("lon", 1)]
SLOW_SCRUB = Tuning(scrub_seconds=1e9, compare_seconds=1e9)


async def world_of(commits: int, tuning: Tuning = SLOW_SCRUB) -> World:
    world = World(1, MATES, tuning=tuning)
    await world.start()
    for number in range(commits):
        await append(world, "lon1", f"k{number}", stream=f"s{number % 5}", size=300)
    await world.until_settled()
    await asyncio.sleep(3)
    return world


def lose(world: World, name: str, commits: int) -> list[tuple[int, int, int]]:
    """Damage the records of some settled commits of lon1 at a node; which they are."""
    node, origin = world.nodes[name], world.nodes["lon1"].store.origin
    logs = [log for log in sorted(node.history.settled) if log[1] == origin]
    shard, _ = max(logs, key=lambda log: node.history.settled[log])
    lost = []
    for seq in range(2, 2 + commits):
        position, _ = node.history.place_in_log(shard, origin, seq)
        segment = node.log.files.holding(position)
        world.disks[name].flip(segment.name, position - segment.base + HEADER_BYTES + 9)
        lost.append((shard, origin, seq))
    return lost


def given(node: Node, name: str) -> int:
    return node.replication.traffic[name].sent["pulls"]


@in_virtual_time
async def test_just_what_is_lost_comes_and_from_the_mate():
    world = await world_of(60)
    lost = lose(world, "ny1", 3)
    before = {name: given(world.nodes[name], "ny1") for name in ("ny2", "lon1")}
    asked = []
    mate = world.nodes["ny2"].replication
    give = mate.give

    async def noted(wanted, bytes_max, name):
        asked.extend(wanted)
        return await give(wanted, bytes_max, name)

    mate.give = noted
    ny1 = world.nodes["ny1"]
    await ny1.scrub.read_all()
    await asyncio.sleep(3)
    assert ny1.store.holes.healed == 3
    assert ny1.store.missing() == 0
    (shard, origin, first), last = lost[0], lost[-1][2]
    seqs = [seq for *_, after, until in asked for seq in range(after + 1, until + 1)]
    assert sorted(seqs) == [*range(first, last + 1)], "each once, and nothing else"
    assert {row[:2] for row in asked} == {(shard, origin)}
    assert 3 * 300 < given(world.nodes["ny2"], "ny1") - before["ny2"] < 6 * 300
    assert given(world.nodes["lon1"], "ny1") == before["lon1"], "nothing crossed"
    for shard, origin, seq in lost:
        place = ny1.history.place_in_log(shard, origin, seq)
        assert ny1.history.header(*place).seq == seq
    assert status(ny1)["repair"]["healed_commits"] == 3


@in_virtual_time
async def test_what_no_mate_holds_comes_from_another_site():
    world = await world_of(60)
    await world.crash("ny2")
    lose(world, "ny1", 2)
    ny1 = world.nodes["ny1"]
    await ny1.scrub.read_all()
    await asyncio.sleep(4)
    assert ny1.store.missing() == 0
    assert ny1.store.holes.healed == 2


@in_virtual_time
async def test_what_is_damaged_everywhere_stays_missing_and_is_said():
    world = await world_of(30)
    lost = {name: lose(world, name, 1) for name in world.names}
    assert len({tuple(rows) for rows in lost.values()}) == 1
    for node in world.nodes.values():
        await node.scrub.read_all()
    await asyncio.sleep(10)
    for node in world.nodes.values():
        said = status(node)
        assert node.failure is None
        assert said["repair"]["missing_commits"] == 1
        assert any("look at the disk" in need for need in said["needs"])
    await append(world, "ny1", "later")
    await asyncio.sleep(5)
    assert all(node.history.tentative_commits == 0 for node in world.nodes.values())


@in_virtual_time
async def test_a_comparison_ends_with_its_link_and_begins_again():
    world = await world_of(20, Tuning(compare_seconds=0.5, scrub_seconds=1e9))
    turn = world.nodes["ny1"].comparing.turns["lon1"]
    while turn.session is None:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.001)
    await world.crash("lon1")
    await asyncio.sleep(3)
    assert turn.session is None
    done = turn.done
    await world.start("lon1")
    await asyncio.sleep(10)
    assert turn.done > done


@in_virtual_time
async def test_bytes_are_counted_by_what_they_are_for():
    world = await world_of(20)
    await world.crash("ny2")
    for number in range(20):
        await append(world, "lon1", f"while{number}", size=1000)
    await world.start("ny2")
    await world.until_settled()
    await asyncio.sleep(3)
    rows = {
        (name, row["name"]): (row["bytes_sent"], row["bytes_received"])
        for name, node in world.nodes.items()
        for row in status(node)["peers"]
    }
    for (here, there), (sent, _) in rows.items():
        assert set(sent) == {"pushes", "pulls", "rest"}
        _, received = rows[there, here]
        if "ny2" not in (here, there):  # who counted in one life what another began
            for kind in sent:
                assert abs(sent[kind] - received[kind]) < 2000, (here, there, kind)
    to_ny = sum(rows["lon1", mate][0]["pushes"] for mate in ("ny1", "ny2"))
    assert to_ny > 20 * 100


@in_virtual_time
async def test_the_scrub_reads_the_segment_that_grows_once_in_a_pass():
    world = World(1, MATES, tuning=Tuning(scrub_seconds=60_000.0))
    await world.start()
    await append(world, "ny1", "k")
    await asyncio.sleep(600)
    scrub = world.nodes["ny1"].scrub
    assert scrub.passes >= 5
    assert scrub.bytes < (scrub.passes + 2) * world.nodes["ny1"].log.end


@in_virtual_time
async def test_what_was_read_wrong_for_a_while_is_found_again_by_the_scrub():
    world = World(1, [("ny", 1)], tuning=SLOW_SCRUB)
    await world.start()
    for number in range(5):
        await append(world, "ny1", f"k{number}", size=300)
    await world.until_settled()
    node = world.nodes["ny1"]
    ((shard, origin), _) = next(iter(node.history.settled.items()))
    position, _ = node.history.place_in_log(shard, origin, 1)
    segment = node.log.files.holding(position)
    offset = position - segment.base + HEADER_BYTES + 9
    for missing in (1, 0):
        world.disks["ny1"].flip(segment.name, offset)
        await node.scrub.read_all()
        await asyncio.sleep(1)
        assert node.store.missing() == missing


@in_virtual_time
async def test_the_end_of_a_sealed_segment_that_rots_is_found_and_said_and_made_anew():
    slow = Tuning(segment_bytes=1500, scrub_seconds=1e9, compare_seconds=1e9)
    world = await world_of(20, slow)
    node, disk = world.nodes["ny1"], world.disks["ny1"]
    segment = next(one for one in node.log.files.segments if one.sealed)
    whole = disk.read(segment.name, 0, disk.size(segment.name))
    disk.flip(segment.name, len(whole) - 1)
    await node.scrub.read_all()
    assert (node.scrub.found, node.repair.found) == (1, 1)
    assert status(node)["repair"]["damaged_ranges"] == [{"position": segment.end, "bytes": 0}]
    assert b"anabranch_damaged_ranges 1.0" in metrics(node)
    await asyncio.sleep(1)
    assert disk.read(segment.name, 0, len(whole)) == whole
    assert status(node)["repair"]["damaged_ranges"] == []
    assert node.store.missing() == node.store.holes.healed == 0
