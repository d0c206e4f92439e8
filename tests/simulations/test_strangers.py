"""Who does not belong is refused with a sentence that says why, and changes nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from anabranch.gossip.members import Cause, Members
from anabranch.gossip.messages import (
    PROTOCOL,
    Ack,
    Body,
    Give,
    Hello,
    Message,
    Pull,
    Push,
    Refuse,
    ReportMessage,
    Sender,
)
from anabranch.gossip.reports import Report
from anabranch.gossip.transport import Link
from anabranch.gossip.wire import from_frame, sum_of, to_frame
from anabranch.node.config import ClusterConfig
from anabranch.node.node import Node
from anabranch.simulations.world.clock import EPOCH_MS, SimRandom
from anabranch.simulations.world.network import SimPort
from anabranch.simulations.world.world import World
from anabranch.storage.commit import shard_of, stamped
from anabranch.storage.errors import LinkLost, Unavailable
from anabranch.storage.index import MemoryIndex
from anabranch.storage.stamp import stamp_of

from .stories import THREE, append, disputes, draft, in_virtual_time, settled

STRANGE = 0xBAD


def state_of(node: Node) -> tuple[Any, ...]:
    """All of a node that a stranger could change."""
    return (
        node.members.bindings,
        node.members.mark,
        dict(node.store.frontier.items()),
        node.history.tentative_commits,
        settled(node),
        node.replication.stranger,
        node.replication.held_back,
        node.settler.disputes,
    )


SUMS: WeakKeyDictionary[Link, list[int]] = WeakKeyDictionary()  # of the last frames, either way


async def speak(link: Link, body: Body, reports: tuple[Report, ...] = ()) -> None:
    sums = SUMS.setdefault(link, [0, 0])
    frame = to_frame(Message(Sender(1, 7, 0, EPOCH_MS), body, list(reports)), sums[0])
    sums[0] = sum_of(frame)
    await link.send(frame)


async def hear(link: Link) -> Body:
    sums = SUMS.setdefault(link, [0, 0])
    frame = await link.receive()
    before, sums[1] = sums[1], sum_of(frame)
    return from_frame(frame, before=before).body


async def until_lost(link: Link) -> None:
    with suppress(LinkLost):
        while True:
            await hear(link)


async def dial(world: World, hello: Hello, there: str = "ny1") -> tuple[Link, Body]:
    """Dial a node by hand, as tok1; the link, and what was answered to a hello."""
    link = await world.network.connect("tok1", there)
    await speak(link, hello)
    return link, await hear(link)


def hello_as(world: World, name: str = "tok1", origin: int = STRANGE, **changes: Any) -> Hello:
    members = Members(world.config.name, world.config.shards, name, world.config.members)
    members.bind(name, origin)
    return replace(members.hello(), **changes)


async def two_of_three() -> World:
    """A world of three in which ny1 and lon1 are up, and have met tok1 before."""
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    await append(world, "tok1", "old")
    await world.until_settled()
    await world.crash("tok1")
    return world


# -- who is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "cause", "says"),
    [
        ({"cluster": "another"}, Cause.CLUSTER, "'another'"),
        ({"shards": 8}, Cause.SHARDS, "8 shards"),
        ({"protocol": PROTOCOL + 1}, Cause.PROTOCOL, f"protocol {PROTOCOL + 1}"),
        ({"members": [("tok1", "tok", 2, STRANGE)]}, Cause.MEMBERS, "lon1, ny1"),
        ({"name": "osa1"}, Cause.MEMBERS, "osa1"),
        ({"name": "ny1"}, Cause.MEMBERS, "also calls itself ny1"),
        ({}, Cause.ORIGIN, "wiped or replaced"),
    ],
    ids=str,
)
@in_virtual_time
async def test_a_hello_that_does_not_fit_is_answered_with_the_reason(changes, cause, says):
    world = await two_of_three()
    before = state_of(world.nodes["ny1"])
    link, answer = await dial(world, hello_as(world, **changes))
    assert isinstance(answer, Refuse)
    assert answer.cause == cause
    assert says in answer.reason
    with pytest.raises(LinkLost):
        await link.receive()
    assert state_of(world.nodes["ny1"]) == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cluster": "another"}, "'another'"),
        ({"shards": 8}, "8 shards"),
        ({"protocol": PROTOCOL + 1}, f"protocol {PROTOCOL + 1}"),
        ({"name": "osa1"}, "osa1 answers at sim://tok1, where tok1 should be"),
        ({}, "wiped or replaced"),
    ],
    ids=str,
)
@in_virtual_time
async def test_who_answers_is_checked_as_well(changes, says):
    world = await two_of_three()
    heard = []

    async def answer(link: Link) -> None:
        await hear(link)
        await speak(link, hello_as(world, **changes))
        with suppress(LinkLost):
            heard.append(await hear(link))

    world.network.listen("tok1", answer)
    before = state_of(world.nodes["ny1"])
    await asyncio.sleep(5)
    dialer = world.nodes["ny1"].replication.dialers["tok1"]
    assert dialer.state == "refused"
    assert says in dialer.error
    assert heard == []
    assert state_of(world.nodes["ny1"]) == before


@pytest.mark.parametrize(
    "body",
    [
        Push([b"x"]),
        Pull([(0, 1, 0, 0)], 1000),
        ReportMessage(stamp_of(EPOCH_MS + 100_000), live=True),
        Give([]),
        Ack(),
        Refuse("cluster", "go away"),
    ],
    ids=lambda body: type(body).__name__,
)
@in_virtual_time
async def test_a_link_begins_with_a_hello_and_nothing_else_is_heard(body):
    world = await two_of_three()
    before = state_of(world.nodes["ny1"])
    last = world.nodes["ny1"].store.hlc.last
    link = await world.network.connect("tok1", "ny1")
    await speak(link, body, (Report(STRANGE, 1, 1, 1, 1, 1 << 60, None, [(0, STRANGE, 9)]),))
    with pytest.raises(LinkLost):
        await link.receive()
    assert state_of(world.nodes["ny1"]) == before
    assert world.nodes["ny1"].store.hlc.last < last + stamp_of(10_000)


@pytest.mark.parametrize("frame", [b"", b"\x00", b"\x01", b"\x07hello", b"\x00" + bytes(100_000)])
@in_virtual_time
async def test_bytes_that_are_no_message_end_the_link_and_nothing_else(frame):
    world = await two_of_three()
    before = state_of(world.nodes["ny1"])
    link = await world.network.connect("tok1", "ny1")
    await link.send(frame)
    with pytest.raises(LinkLost):
        await link.receive()
    assert world.nodes["ny1"].failure is None
    assert state_of(world.nodes["ny1"]) == before


@in_virtual_time
async def test_who_says_nothing_is_hung_up_on():
    world = await two_of_three()
    link = await world.network.connect("tok1", "ny1")
    began = asyncio.get_running_loop().time()
    with pytest.raises(LinkLost):
        await link.receive()
    assert 2.5 < asyncio.get_running_loop().time() - began < 3.5


# -- nodes with another file ---------------------------------------------------------------------


async def start_with(world: World, name: str, config: ClusterConfig) -> Node:
    """Start a node of the world with a file of its own."""
    node = Node(
        config,
        name,
        disk=world.disks[name],
        index=world.indexes[name],
        clock=world.clocks[name],
        random=SimRandom(world.generator),
        network=SimPort(world.network, name, world._name_of_url),
    )
    await node.start()
    world.network.listen(name, node.answer)
    return node


@pytest.mark.parametrize(
    ("change", "says"),
    [({"name": "another"}, "belongs to cluster"), ({"shards": 8}, "shards, ")],
    ids=str,
)
@in_virtual_time
async def test_nodes_with_different_files_refuse_each_other(change, says):
    world = World(1, THREE)
    await world.start("ny1", "lon1")
    odd = await start_with(world, "tok1", replace(world.config, **change))
    await asyncio.sleep(3)
    for node in (*world.nodes.values(), odd):
        for name, dialer in node.replication.dialers.items():
            if (node is odd) or name == "tok1":
                assert (dialer.state, says in dialer.error) == ("refused", True)
            else:
                assert dialer.state == "connected"
    assert [name for name, _ in odd.members.bindings] == ["tok1"]
    assert odd.replication.stranger is None
    for node in world.nodes.values():
        assert [name for name, _ in node.members.bindings] == ["ny1", "lon1"]
        assert node.settler.settlement is None
    await odd.stop()


# -- a node that lost its directory --------------------------------------------------------------


async def with_a_wiped_node() -> tuple[World, Node, int]:
    """tok1 comes back with an empty directory, and takes an append before it hears of it."""
    world = await two_of_three()
    origin = world.nodes["ny1"].members.origin("tok1")
    assert origin is not None
    world.disks["tok1"].wipe()
    world.indexes["tok1"] = MemoryIndex()
    await world.start("tok1")
    await append(world, "tok1", "by the stranger")
    await asyncio.sleep(3)
    return world, world.nodes["tok1"], origin


@in_virtual_time
async def test_a_wiped_node_knows_that_it_is_a_stranger_and_refuses_appends():
    _, wiped, origin = await with_a_wiped_node()
    assert wiped.store.origin != origin
    assert wiped.replication.stranger is not None
    assert "does not take this node for tok1" in wiped.replication.stranger
    assert f"{origin:016x}" in wiped.replication.stranger
    with pytest.raises(Unavailable, match="old directory"):
        await wiped.append(draft("s", "another"))


@in_virtual_time
async def test_the_others_refuse_a_wiped_node_and_mix_nothing_of_it_in():
    world, wiped, origin = await with_a_wiped_node()
    for name in ("ny1", "lon1"):
        node = world.nodes[name]
        assert node.replication.stranger is None
        assert node.members.origin("tok1") == origin
        assert node.replication.dialers["tok1"].state == "refused"
        assert "wiped or replaced" in str(node.replication.dialers["tok1"].error)
        assert wiped.store.origin not in {log[1] for log, _ in node.store.frontier.items()}
        assert len(settled(node)) == 1
    assert settled(wiped) == []
    assert disputes(world) == {"ny1": [], "lon1": [], "tok1": []}


@in_virtual_time
async def test_settlement_waits_for_the_old_directory_and_says_so():
    world, _, origin = await with_a_wiped_node()
    node = world.nodes["ny1"]
    receipt = await node.append(draft("s", "new"), ack="settled", timeout=2)
    assert not receipt.reached
    holders = node.settler.settlement.holders(range(4), receipt.key[0])
    assert [holder.origin for holder in holders] == [origin]


@in_virtual_time
async def test_a_wiped_node_does_not_become_a_member_by_meeting_one_who_is_new():
    """lon1 was wiped too: the two strangers and ny1 still do not make a cluster."""
    world, wiped, _ = await with_a_wiped_node()
    await world.crash("lon1")
    world.disks["lon1"].wipe()
    world.indexes["lon1"] = MemoryIndex()
    await world.start("lon1")
    await asyncio.sleep(5)
    assert world.nodes["lon1"].replication.stranger is not None
    assert wiped.replication.stranger is not None
    receipt = await world.nodes["ny1"].append(draft("s", "new"), ack="settled", timeout=2)
    assert not receipt.reached
    assert len(settled(world.nodes["ny1"])) == 1


# -- what a member may not do --------------------------------------------------------------------


def made_commit(world: World, origin: int, seq: int, hlc: int, stream: str = "s") -> bytes:
    one = draft(stream, f"made {seq}")
    _, body = stamped(one, shard_of(stream, world.config.shards), origin, seq, hlc)
    return body


async def a_link_of_tok1(world: World) -> tuple[Link, int]:
    """A link to ny1 that is taken for tok1's; and tok1's origin."""
    origin = world.nodes["ny1"].members.origin("tok1")
    assert origin is not None
    link, answer = await dial(world, hello_as(world, origin=origin))
    assert isinstance(answer, Hello)
    return link, origin


def now(world: World) -> int:
    return stamp_of(world.clocks["ny1"].wall_ms())


@in_virtual_time
async def test_a_commit_out_of_its_turn_is_left_out_and_nothing_else():
    world = await two_of_three()
    node = world.nodes["ny1"]
    link, origin = await a_link_of_tok1(world)
    shard = shard_of("s", 4)
    await speak(link, Push([made_commit(world, origin, 3, now(world))]))
    assert isinstance(await hear(link), Ack)
    assert node.store.frontier[shard, origin] == 1
    await speak(link, Push([made_commit(world, origin, seq, now(world) + seq) for seq in (2, 3)]))
    assert isinstance(await hear(link), Ack)
    assert node.store.frontier[shard, origin] == 3


@pytest.mark.parametrize("mine", [True, False])
@in_virtual_time
async def test_a_commit_of_nobody_or_of_the_node_itself_is_not_taken(mine):
    world = await two_of_three()
    node = world.nodes["ny1"]
    link, _ = await a_link_of_tok1(world)
    origin = node.store.origin if mine else STRANGE
    before = dict(node.store.frontier.items())
    await speak(link, Push([made_commit(world, origin, 1, now(world))]))
    assert isinstance(await hear(link), Ack)
    assert dict(node.store.frontier.items()) == before


@pytest.mark.parametrize(
    "body",
    [b"", b"\x92", b"\xc0", bytes(1000), b"\x92\xc4\x00\x90"],
    ids=lambda body: body.hex()[:8],
)
@in_virtual_time
async def test_a_commit_that_is_none_ends_the_link(body):
    world = await two_of_three()
    before = state_of(world.nodes["ny1"])
    link, _ = await a_link_of_tok1(world)
    await speak(link, Push([body]))
    with pytest.raises(LinkLost):
        await link.receive()
    assert state_of(world.nodes["ny1"]) == before
    assert world.nodes["ny1"].failure is None


@in_virtual_time
async def test_a_commit_below_the_watermark_is_refused_and_disputed():
    world = await two_of_three()
    node = world.nodes["ny1"]
    link, origin = await a_link_of_tok1(world)
    shard = shard_of("s", 4)
    watermark = node.settler.settlement.watermark(shard)
    assert watermark > 0
    await speak(link, Push([made_commit(world, origin, 2, watermark)]))
    assert isinstance(await hear(link), Ack)
    assert node.store.frontier[shard, origin] == 1
    assert list(node.settler.disputes) == [shard]
    assert "tok1" in node.settler.disputes[shard]
    assert "broke its promise" in node.settler.disputes[shard]


@in_virtual_time
async def test_a_commit_just_above_the_watermark_is_taken():
    world = await two_of_three()
    node = world.nodes["ny1"]
    link, origin = await a_link_of_tok1(world)
    shard = shard_of("s", 4)
    await speak(
        link, Push([made_commit(world, origin, 2, node.settler.settlement.watermark(shard) + 1)])
    )
    assert isinstance(await hear(link), Ack)
    assert node.store.frontier[shard, origin] == 2
    assert node.settler.disputes == {}


@in_virtual_time
async def test_an_answer_that_nobody_asked_for_ends_the_link():
    world = await two_of_three()
    origin = world.nodes["ny1"].members.origin("tok1")
    assert origin is not None
    met = []

    async def answer(link: Link) -> None:
        await hear(link)
        await speak(link, hello_as(world, origin=origin))
        await hear(link)
        await speak(link, ReportMessage(0, live=True))
        await speak(link, Give([made_commit(world, origin, 2, now(world))]))
        met.append(link)
        await until_lost(link)
        met.append("lost")

    world.network.listen("tok1", answer)
    before = dict(world.nodes["ny1"].store.frontier.items())
    await asyncio.sleep(3)
    assert "lost" in met
    assert dict(world.nodes["ny1"].store.frontier.items()) == before
