"""What the tests have in common in which a node is met by hand, frame by frame."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from anabranch.gossip.members import Members
from anabranch.gossip.messages import (
    Body,
    Hello,
    Message,
    Sender,
)
from anabranch.gossip.reports import Report
from anabranch.gossip.transport import Link
from anabranch.gossip.wire import from_frame, sum_of, to_frame
from anabranch.node.fold import ACCEPTED
from anabranch.node.node import Node
from anabranch.simulations.world.clock import EPOCH_MS
from anabranch.simulations.world.world import World
from anabranch.storage.commit import read_payloads, shard_of, stamped
from anabranch.storage.errors import LinkLost
from anabranch.storage.stamp import stamp_of

from .stories import THREE, append, draft, settled

STRANGE = 0xBAD
SHARD = shard_of("s", 4)
BOOT = 7


def state_of(node: Node) -> tuple[Any, ...]:
    """All of a node that a stranger could change."""
    members, membership = node.members, node.membership
    return (
        bindings(node),
        (members.number, members.mark, members.identity, members.table),
        dict(node.store.frontier.items()),
        node.history.tentative_commits,
        len(node.store.strays),
        settled(node),
        node.replication.stranger,
        node.replication.welcome.held_back,
        node.settler.disputes,
        (dict(membership.waiting), list(membership.wanted), membership.fork, membership.asks),
        [*node.replication.dialers],
    )


def bindings(node: Node) -> dict[str, int]:
    """The origins that a node knows, by name."""
    members = node.members
    known = {member.name: members.origin(member.name) for member in members.table}
    return {name: origin for name, origin in known.items() if origin is not None}


SUMS: WeakKeyDictionary[Link, list[int]] = WeakKeyDictionary()  # of the last frames, either way


async def speak(
    link: Link, body: Body, reports: tuple[Report, ...] = (), *, epoch: int = 1, boot: int = BOOT
) -> None:
    sums = SUMS.setdefault(link, [0, 0])
    frame = to_frame(Message(Sender(epoch, boot, 0, EPOCH_MS), body, list(reports)), sums[0])
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


async def dial(world: World, hello: Hello, there: str = "ny1", **sender: int) -> tuple[Link, Body]:
    """Dial a node by hand, as tok1; the link, and what was answered to a hello."""
    link = await world.network.connect("tok1", there)
    await speak(link, hello, **sender)
    return link, await hear(link)


def hello_as(world: World, name: str = "tok1", origin: int = STRANGE, **changes: Any) -> Hello:
    """The hello of a node with the right file, which is in the epoch in which ny1 is."""
    members = Members(world.config.name, world.config.shards, name, world.config.members)
    members.identify(origin)
    mark = world.nodes["ny1"].members.mark if "ny1" in world.nodes else 0
    return replace(members.hello(), **{"mark": mark, **changes})


async def two_of_three() -> World:
    """A world of three in which ny1 and lon1 are up, and have met tok1 before."""
    world = World(1, THREE)
    await world.start()
    await asyncio.sleep(1)
    await append(world, "tok1", "old")
    await world.until_settled()
    await world.crash("tok1")
    return world


async def two_founders() -> World:
    """A world of three in which ny1 and lon1 have met, and nobody has seen tok1 yet."""
    world = World(1, THREE)
    await world.start("ny1", "lon1")
    await asyncio.sleep(1)
    for node in world.nodes.values():
        assert bindings(node).keys() == {"ny1", "lon1"}
        assert node.members.number == 0
    return world


def shown(node: Node) -> list[bytes]:
    """What a node shows as settled: the idempotency keys, in order."""
    keys = []
    for place in node.history.settled_order((0, 0, 0), 1 << 62):
        if place.outcome == ACCEPTED:
            keys += read_payloads(node.history.body(place.position, place.length))[1]
    return keys


def made_commit(world: World, origin: int, seq: int, hlc: int, stream: str = "s") -> bytes:
    one = draft(stream, f"made {seq}")
    _, body = stamped(one, shard_of(stream, world.config.shards), origin, seq, hlc)
    return body


def now(world: World) -> int:
    return stamp_of(world.clocks["ny1"].wall_ms())
