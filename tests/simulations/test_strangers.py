"""Who does not belong is refused with a sentence that says why, and changes nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from anabranch.gossip.members import Cause
from anabranch.gossip.messages import (
    PROTOCOL,
    Ack,
    Agree,
    Give,
    Hello,
    Join,
    Pull,
    Push,
    Refuse,
    ReportMessage,
)
from anabranch.gossip.reports import Report
from anabranch.gossip.transport import Link
from anabranch.node.config import ClusterConfig
from anabranch.node.node import Node
from anabranch.simulations.world.clock import EPOCH_MS, SimRandom
from anabranch.simulations.world.network import SimPort
from anabranch.simulations.world.world import World
from anabranch.storage.errors import LinkLost, Unavailable
from anabranch.storage.stamp import stamp_of

from .stories import THREE, append, draft, in_virtual_time
from .strangers import (
    BOOT,
    SHARD,
    STRANGE,
    bindings,
    dial,
    hear,
    hello_as,
    made_commit,
    now,
    speak,
    state_of,
    two_founders,
    two_of_three,
    until_lost,
)

# -- who is refused --------------------------------------------------------------------------------


async def is_refused(world: World, hello: Hello, cause: str, says: str, **sender: int) -> None:
    """Whether ny1 answers a hello with this reason, hangs up, and is as it was."""
    before = state_of(world.nodes["ny1"])
    link, answer = await dial(world, hello, **sender)
    assert isinstance(answer, Refuse)
    assert answer.cause == cause
    assert says in answer.reason
    with pytest.raises(LinkLost):
        await link.receive()
    assert state_of(world.nodes["ny1"]) == before


@pytest.mark.parametrize(
    ("changes", "cause", "says"),
    [
        ({"cluster": "another"}, Cause.CLUSTER, "'another'"),
        ({"shards": 8}, Cause.SHARDS, "8 shards"),
        ({"protocol": PROTOCOL + 1}, Cause.PROTOCOL, f"protocol {PROTOCOL + 1}"),
        ({"name": "ny1"}, Cause.MEMBERS, "also calls itself ny1"),
        ({"mark": 99}, Cause.FORK, "different epochs 1: the cluster was forced apart"),
        ({"mark": 0}, Cause.FORK, "different epochs 1: the cluster was forced apart"),
    ],
    ids=str,
)
@in_virtual_time
async def test_a_hello_that_does_not_fit_is_answered_with_the_reason(changes, cause, says):
    world = await two_of_three()
    await is_refused(world, hello_as(world, **changes), cause, says)
    origin = world.nodes["ny1"].members.origin("tok1")
    await is_refused(world, hello_as(world, origin=origin, **changes), cause, says)


@pytest.mark.parametrize(
    ("changes", "cause", "says"),
    [
        ({"cluster": "another"}, Cause.CLUSTER, "'another'"),
        ({"shards": 8}, Cause.SHARDS, "8 shards"),
        ({"protocol": PROTOCOL + 1}, Cause.PROTOCOL, f"protocol {PROTOCOL + 1}"),
        ({"members": [("tok1", "tok", 2, STRANGE, "")]}, Cause.MEMBERS, "lon1, ny1"),
        ({"members": [("ny1", "ny", 1, 0, "")]}, Cause.MEMBERS, "lon1, ny1, tok1"),
        ({"name": "osa1"}, Cause.MEMBERS, "osa1"),
        ({"name": "ny1"}, Cause.MEMBERS, "also calls itself ny1"),
        ({"name": "lon1"}, Cause.ORIGIN, "wiped or replaced"),
        ({"mark": 99}, Cause.FORK, "different epochs 0"),
    ],
    ids=str,
)
@in_virtual_time
async def test_a_hello_that_does_not_fit_is_refused_while_the_cluster_forms(changes, cause, says):
    world = await two_founders()
    await is_refused(world, hello_as(world, **changes), cause, says, epoch=0)
    assert bindings(world.nodes["ny1"]).keys() == {"ny1", "lon1"}


@in_virtual_time
async def test_a_founder_that_others_know_under_another_origin_is_refused():
    world = await two_founders()
    hello = hello_as(world)
    rows = [(*row[:3], STRANGE, row[4]) for row in hello.members]
    rows[0] = (*rows[0][:3], world.nodes["ny1"].store.origin, rows[0][4])
    hello = replace(hello, members=rows)  # lon1 has another origin there
    await is_refused(world, hello, Cause.MEMBERS, "knows lon1 as 0000000000000bad", epoch=0)


@in_virtual_time
async def test_who_is_told_that_it_was_known_as_another_takes_no_appends():
    world = await two_founders()
    hello = hello_as(world)
    rows = [(*row[:3], STRANGE if row[0] == "ny1" else 0, row[4]) for row in hello.members]
    before = state_of(world.nodes["ny1"])[0]
    _, answer = await dial(world, replace(hello, members=rows), epoch=0)
    assert isinstance(answer, Refuse)
    assert answer.cause == Cause.KNOWN_AS
    assert "knows ny1 as 0000000000000bad" in answer.reason
    with pytest.raises(Unavailable, match="old directory"):
        await append(world, "ny1", "another")
    assert state_of(world.nodes["ny1"])[0] == before


@in_virtual_time
async def test_an_older_start_is_refused_once_a_newer_one_was_there():
    world = await two_of_three()
    origin = world.nodes["ny1"].members.origin("tok1")
    hello = hello_as(world, origin=origin)
    for boot in (BOOT, BOOT + 1):
        link, answer = await dial(world, hello, boot=boot)
        assert isinstance(answer, Hello)
        await link.close()
    await is_refused(world, hello, Cause.COPIED, "a newer start of tok1", boot=BOOT)


@in_virtual_time
async def test_an_older_start_is_hung_up_on_once_a_newer_one_says_hello():
    world = await two_of_three()
    node, origin = world.nodes["ny1"], world.nodes["ny1"].members.origin("tok1")
    hello = hello_as(world, origin=origin)
    older, _ = await dial(world, hello, boot=BOOT)
    await dial(world, hello, boot=BOOT + 1)
    before = dict(node.store.frontier.items())
    with suppress(LinkLost):
        await speak(older, Push([made_commit(world, origin, 2, now(world))]))
    with pytest.raises(LinkLost):
        await hear(older)
    assert dict(node.store.frontier.items()) == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cluster": "another"}, "'another'"),
        ({"shards": 8}, "8 shards"),
        ({"protocol": PROTOCOL + 1}, f"protocol {PROTOCOL + 1}"),
        ({"name": "osa1"}, "osa1 answers at sim://tok1, where tok1 should be"),
        ({"mark": 99}, "different epochs 1"),
    ],
    ids=str,
)
@in_virtual_time
async def test_who_answers_is_checked_as_well(changes, says):
    await who_answers(await two_of_three(), changes, says, epoch=1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cluster": "another"}, "'another'"),
        ({"members": [("tok1", "tok", 2, STRANGE, "")]}, "lon1, ny1"),
        ({"name": "osa1"}, "osa1 answers at sim://tok1, where tok1 should be"),
        ({"lon1": STRANGE}, "knows lon1 as 0000000000000bad"),
    ],
    ids=str,
)
@in_virtual_time
async def test_who_answers_is_checked_while_the_cluster_forms(changes, says):
    await who_answers(await two_founders(), changes, says, epoch=0)


async def who_answers(world: World, changes: dict[str, Any], says: str, epoch: int) -> None:
    heard = []
    hello = hello_as(world)
    if "lon1" in changes:
        origins = {"ny1": 0, "tok1": STRANGE, **changes}
        hello.members = [(*row[:3], origins[row[0]], row[4]) for row in hello.members]
    else:
        hello = replace(hello, **changes)

    async def answer(link: Link) -> None:
        await hear(link)
        await speak(link, hello, epoch=epoch)
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
        Agree([b"x"]),
        Join("tok1", "tok", 2, STRANGE, "sim://tok1", asks=True),
        Refuse("cluster", "go away"),
    ],
    ids=lambda body: type(body).__name__,
)
@in_virtual_time
async def test_a_link_begins_with_a_hello_and_nothing_else_is_heard(body):
    world = await two_of_three()
    node = world.nodes["ny1"]
    before = state_of(node)
    last = node.store.hlc.last
    link = await world.network.connect("tok1", "ny1")
    mark = node.members.mark
    await speak(link, body, (Report(STRANGE, 1, mark, 1, 1, 1 << 60, None, [(0, STRANGE, 9)]),))
    with pytest.raises(LinkLost):
        await link.receive()
    assert state_of(node) == before
    assert node.store.hlc.last < last + stamp_of(10_000)


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


# -- who is let talk, and is no member -------------------------------------------------------------


async def a_link_of_nobody(world: World, name: str = "osa1") -> Link:
    """A link to ny1 of a node that is in its cluster's epoch, and that nobody has let in."""
    link, answer = await dial(world, hello_as(world, name=name) if name == "tok1" else osa(world))
    assert isinstance(answer, Hello)
    return link


def osa(world: World) -> Hello:
    return replace(hello_as(world), name="osa1")


@pytest.mark.parametrize("name", ["osa1", "tok1"])
@in_virtual_time
async def test_who_is_no_member_may_say_hello_and_changes_nothing(name):
    world = await two_of_three()
    before = state_of(world.nodes["ny1"])
    link = await a_link_of_nobody(world, name)
    assert state_of(world.nodes["ny1"]) == before
    await speak(link, ReportMessage(0, live=True))
    assert isinstance(await hear(link), ReportMessage)
    assert state_of(world.nodes["ny1"]) == before


@pytest.mark.parametrize("name", ["osa1", "tok1"])
@in_virtual_time
async def test_what_is_said_of_nobody_counts_nowhere(name):
    """Its commits are not taken; its reports settle nothing, its clock is not believed."""
    world = await two_of_three()
    node = world.nodes["ny1"]
    receipt = await node.append(draft("s", "new"))
    link = await a_link_of_nobody(world, name)
    before, mark, clock = state_of(node), node.members.mark, node.clocks.median_ms(0)
    rows = [(shard, origin, 9) for shard in range(4) for origin in (STRANGE, node.store.origin)]
    report = Report(STRANGE, 1, mark, BOOT, 1, 1 << 60, (SHARD, 1, bytes(32)), rows)
    for _ in range(3):
        await speak(link, Push([made_commit(world, STRANGE, 1, now(world))]), (report,))
        assert isinstance(await hear(link), Ack)
    await asyncio.sleep(1)
    assert state_of(node) == before
    assert node.clocks.median_ms(0) == clock
    assert node.settler.settlement.watermark(SHARD) < receipt.key[0]


@pytest.mark.parametrize(
    "body",
    [
        Agree([b"x"]),
        Agree([b""]),
        Join("lon1", "lon", 1, STRANGE, "", asks=True),
        Join("osa1", "osa", 9, STRANGE + 1, "", asks=True),
        Give([]),
        Ack(),
        Refuse("cluster", "go away"),
    ],
    ids=str,
)
@in_virtual_time
async def test_what_is_not_for_who_answers_ends_the_link(body):
    world = await two_of_three()
    before = state_of(world.nodes["ny1"])
    link = await a_link_of_nobody(world)
    await speak(link, body)
    with pytest.raises(LinkLost):
        await hear(link)
    assert state_of(world.nodes["ny1"]) == before
    assert world.nodes["ny1"].failure is None


@in_virtual_time
async def test_who_only_says_that_it_is_there_waits_for_an_operator_and_not_for_ever():
    world = await two_of_three()
    node = world.nodes["ny1"]
    before = state_of(node)
    link = await a_link_of_nobody(world)
    await speak(link, Join("osa1", "osa", 9, STRANGE, "sim://osa1", asks=False))
    assert await hear(link) == Agree([])
    assert node.membership.waiting.keys() == {"osa1"}
    await link.close()
    await asyncio.sleep(120)
    assert state_of(node)[:2] == before[:2]
    assert node.membership.waiting == {}


# -- nodes with another file -----------------------------------------------------------------------


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
    assert [*bindings(odd)] == ["tok1"]
    assert odd.replication.stranger is None
    for node in world.nodes.values():
        assert [*bindings(node)] == ["ny1", "lon1"]
        assert node.settler.settlement is None
    await odd.stop()


# -- what a member may not do ----------------------------------------------------------------------


async def a_link_of_tok1(world: World) -> tuple[Link, int]:
    """A link to ny1 that is taken for tok1's; and tok1's origin."""
    origin = world.nodes["ny1"].members.origin("tok1")
    assert origin is not None
    link, answer = await dial(world, hello_as(world, origin=origin))
    assert isinstance(answer, Hello)
    return link, origin


@in_virtual_time
async def test_a_commit_out_of_its_turn_is_left_out_and_nothing_else():
    world = await two_of_three()
    node = world.nodes["ny1"]
    link, origin = await a_link_of_tok1(world)
    await speak(link, Push([made_commit(world, origin, 3, now(world))]))
    assert isinstance(await hear(link), Ack)
    assert node.store.frontier[SHARD, origin] == 1
    await speak(link, Push([made_commit(world, origin, seq, now(world) + seq) for seq in (2, 3)]))
    assert isinstance(await hear(link), Ack)
    assert node.store.frontier[SHARD, origin] == 3


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
    watermark = node.settler.settlement.watermark(SHARD)
    assert watermark > 0
    await speak(link, Push([made_commit(world, origin, 2, watermark)]))
    assert isinstance(await hear(link), Ack)
    assert node.store.frontier[SHARD, origin] == 1
    assert list(node.settler.disputes) == [SHARD]
    assert "tok1" in node.settler.disputes[SHARD]
    assert "broke its promise" in node.settler.disputes[SHARD]


@in_virtual_time
async def test_a_commit_just_above_the_watermark_is_taken():
    world = await two_of_three()
    node = world.nodes["ny1"]
    link, origin = await a_link_of_tok1(world)
    await speak(
        link, Push([made_commit(world, origin, 2, node.settler.settlement.watermark(SHARD) + 1)])
    )
    assert isinstance(await hear(link), Ack)
    assert node.store.frontier[SHARD, origin] == 2
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
