"""A node whose disk does not answer: peers have what it can't read, and it loses nothing itself.

The story of test_heal_crash_errors, told once for each call that only asks: it fails once, or until
the node starts again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest

from anabranch.node.node import Node
from anabranch.node.pages import Page, stream_page
from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.simulations.world.world import World
from anabranch.storage.errors import AnabranchError, DamagedLog
from anabranch.storage.keys import Place
from anabranch.tests.simulations.stories import append, in_virtual_time, settled
from anabranch.tests.storage.test_read_errors import ASKS, Silent

from .test_heal_crash_errors import ME, OTHER, TUNING, Story


class Asking(Story):
    """The story on such a disk; somebody looks at it before the node starts once more."""

    def __init__(self, disk: Silent) -> None:
        super().__init__(disk)
        self.silent = disk
        self.healed = 0  # commits that came from the peer

    async def start(self) -> None:
        try:
            await self.world.start(ME)
        except AnabranchError as error:
            self.failed.append(error)
            self.silent.answers()
            await self.world.start(ME)

    async def again(self) -> None:
        await self.world.failed_have_ended()
        if not self.world.is_up(ME):
            self.silent.answers()
            await self.start()

    async def quiet(self) -> None:
        """Wait until all is settled, and what could not be read has come from the peer."""
        if self.silent.failing == ("free",):
            self.silent.answers()  # settlement waits for a node that can't tell its room
        await super().quiet()
        if self.silent.failing is not None:
            await self.world.nodes[ME].scrub.read_all()
            await super().quiet()
        self.healed = max(self.healed, self.world.nodes[ME].store.holes.healed)


def told(at: int, *, lasting: bool) -> Asking:
    async def tell() -> Asking:
        story = Asking(Silent(at, lasting=lasting))
        await story.tell()
        return story

    return run(tell())


@pytest.fixture(scope="module")
def good() -> Asking:
    """The story in which nothing goes wrong."""
    story = told(-2, lasting=False)
    assert (story.failed, story.refused) == ([], [])
    assert set(story.calls) == set(ASKS)
    return story


@pytest.mark.parametrize("lasting", [False, True])
def test_an_error_of_any_call_that_asks_loses_nothing_that_was_acknowledged(good, lasting):
    counts: Counter[str] = Counter()
    for at, call in enumerate(good.calls):
        if call == "read" and not lasting and at % 4:
            continue  # the log has seen to it: tests/storage/test_read_errors.py
        try:
            story = told(at, lasting=lasting)
        except BaseException as error:
            raise AssertionError(f"call {at}, {call}") from error
        counts[call] += 1
        counts["told"] += bool(story.failed or story.refused)
        counts["healed"] += story.healed > good.healed  # what is damaged on purpose comes as well
    assert min(counts[call] for call in ASKS) > 2
    assert counts["told"] > 0
    assert (counts["healed"] > 0) is lasting, "a read that fails once is tried again"


# -- a block of a sealed segment -------------------------------------------------------------------


class BadBlocks(SimDisk):
    """A disk that can't read the first block of some of its files."""

    bad: frozenset[str] = frozenset()

    def read(self, name: str, offset: int, length: int) -> bytes:
        if name in self.bad and offset == 0:
            raise DamagedLog(f"{name} can't be read at offset {offset}: input/output error")
        return super().read(name, offset, length)


async def with_a_bad_block() -> tuple[World, int]:
    """Two nodes, of which one can't read a sealed segment any more; how many commits are in it."""
    world = World(1, [("ny", 1), ("lon", 1)], tuning=TUNING)
    disk = world.disks[ME] = BadBlocks(Random(1))
    await world.start()
    for number in range(20):
        await append(world, OTHER, f"event {number}", size=100)
        await world.until_settled()
    await asyncio.sleep(5)
    files = world.nodes[ME].log.files
    segment = next(one for one in files.segments if one.sealed)
    inside = [place for place in places(world.nodes[ME]) if place.position < segment.end]
    disk.bad = frozenset({segment.name})
    files.exchange(segment)  # so nothing of it is in memory
    return world, len(inside)


def places(node: Node) -> list[Place]:
    return [*node.history.settled_places("s", 0)]


async def shown(node: Node) -> list[bytes]:
    """What a reader of the stream gets."""

    async def read() -> Page:
        return stream_page(
            node.history,
            "s",
            node.config.shards,
            start=0,
            limit=100,
            backward=False,
            before=0,
            types=frozenset(),
        )

    page = await node.repair.around(read)
    return [payload for one in page.slices for payload in one.payloads]


@in_virtual_time
async def test_a_block_that_can_not_be_read_is_fetched_from_a_peer_while_a_reader_waits():
    world, inside = await with_a_bad_block()
    node, peer = world.nodes[ME], world.nodes[OTHER]
    assert inside > 2
    with pytest.raises(DamagedLog):
        node.history.header(places(node)[0].position, places(node)[0].length)
    assert await shown(node) == await shown(peer)
    assert node.store.holes.healed == inside
    assert node.failure is None
    assert settled(node) == settled(peer)
    await world.crash(ME)
    await world.start(ME)
    assert await shown(world.nodes[ME]) == await shown(peer), "the copies are on the disk"
    await world.stop()


@in_virtual_time
async def test_while_no_peer_is_there_the_reader_is_told_what_can_not_be_read():
    world, inside = await with_a_bad_block()
    await world.crash(OTHER)
    node = world.nodes[ME]
    with pytest.raises(DamagedLog, match="can't be read at offset") as caught:
        await shown(node)
    assert caught.value.position < caught.value.end <= places(node)[inside].position
    assert node.store.missing() == inside
    await world.start(OTHER)
    await world.until_settled()
    assert node.store.missing() == 0
    assert len(await shown(node)) == 20
    await world.stop()
