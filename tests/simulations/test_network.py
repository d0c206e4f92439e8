"""The simulated network: in order, whole, late or not at all; and never with a hole."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from anabranch.gossip.transport import Link
from anabranch.simulations.network import SimLink, SimNetwork
from anabranch.storage.errors import LinkLost

from .stories import in_virtual_time


class Ends:
    """Two ends of a link, and what came out at the far one."""

    def __init__(self, network: SimNetwork) -> None:
        self.network = network
        self.near: Link
        self.far: SimLink
        self.came: list[bytes | str] = []
        self.times: list[float] = []


async def connected(seed: int = 1, latency_seconds: float = 0.02) -> Ends:
    ends = Ends(SimNetwork(Random(seed), latency_seconds=latency_seconds))

    async def answer(link: Link) -> None:
        assert isinstance(link, SimLink)
        ends.far = link
        try:
            while True:
                ends.came.append(await link.receive())
                ends.times.append(asyncio.get_running_loop().time())
        except LinkLost:
            ends.came.append("lost")

    ends.network.listen("b", answer)
    ends.near = await ends.network.connect("a", "b")
    await asyncio.sleep(0)
    return ends


FRAMES = [bytes([number]) for number in range(50)]


@pytest.mark.parametrize("seed", range(20))
@in_virtual_time
async def test_frames_arrive_whole_in_order_and_once(seed):
    """Also those that are late and then arrive at one moment."""
    ends = await connected(seed)
    for frame in FRAMES:
        await ends.near.send(frame)
        if seed % 2:
            await asyncio.sleep(0.003)
    await asyncio.sleep(1)
    assert ends.came == FRAMES


@in_virtual_time
async def test_a_frame_takes_half_to_one_and_a_half_of_the_latency():
    ends = await connected(latency_seconds=0.1)
    for frame in FRAMES:
        sent = asyncio.get_running_loop().time()
        await ends.near.send(frame)
        await asyncio.sleep(0.2)
        assert 0.05 <= ends.times[-1] - sent <= 0.15


@in_virtual_time
async def test_both_ends_talk():
    ends = await connected()
    await ends.far.send(b"back")
    assert await ends.near.receive() == b"back"


@in_virtual_time
async def test_a_cut_is_a_black_hole_in_its_direction_only():
    ends = await connected()
    ends.network.cut("a", "b")
    await ends.near.send(b"lost")
    await ends.far.send(b"back")
    assert await ends.near.receive() == b"back"
    await asyncio.sleep(10)
    assert ends.came == []


@in_virtual_time
async def test_a_link_that_lost_a_frame_never_delivers_another_one():
    ends = await connected()
    await ends.near.send(b"1")
    await asyncio.sleep(1)
    ends.network.cut("a", "b")
    await ends.near.send(b"2")
    await asyncio.sleep(1)
    ends.network.heal()
    for frame in FRAMES:
        await ends.near.send(frame)
    await asyncio.sleep(1)
    assert ends.came == [b"1"]


@in_virtual_time
async def test_what_is_on_its_way_when_the_cut_comes_is_lost():
    ends = await connected(latency_seconds=0.1)
    await ends.near.send(b"1")
    ends.network.cut("a", "b")
    await asyncio.sleep(0.2)
    ends.network.heal("a", "b")
    await ends.near.send(b"2")
    await asyncio.sleep(1)
    assert ends.came == []


@in_virtual_time
async def test_a_cut_that_no_frame_met_leaves_no_trace():
    ends = await connected()
    ends.network.cut("a", "b")
    await asyncio.sleep(5)
    ends.network.heal("a", "b")
    await ends.near.send(b"1")
    await asyncio.sleep(1)
    assert ends.came == [b"1"]


@in_virtual_time
async def test_a_reset_is_noticed_at_once_by_both():
    ends = await connected()
    ends.network.cut("a", "b", reset=True)
    with pytest.raises(LinkLost):
        async with asyncio.timeout(0.001):
            await ends.near.receive()
    await asyncio.sleep(0)
    assert ends.came == ["lost"]


@in_virtual_time
async def test_a_close_is_heard_after_what_was_sent_before_it():
    ends = await connected()
    for frame in FRAMES:
        await ends.near.send(frame)
    await ends.near.close()
    await asyncio.sleep(1)
    assert ends.came == [*FRAMES, "lost"]
    with pytest.raises(LinkLost):
        await ends.near.send(b"more")
    with pytest.raises(LinkLost):
        await ends.near.receive()


@in_virtual_time
async def test_a_close_does_not_get_through_a_cut():
    ends = await connected()
    ends.network.cut("a", "b")
    await ends.near.close()
    await asyncio.sleep(10)
    assert ends.came == []


@in_virtual_time
async def test_a_close_wakes_who_waits_on_its_own_side():
    ends = await connected()
    waiting = asyncio.get_running_loop().create_task(ends.near.receive())
    await asyncio.sleep(1)
    await ends.near.close()
    with pytest.raises(LinkLost):
        await waiting


@in_virtual_time
async def test_a_dead_node_breaks_its_links_and_refuses_new_ones():
    ends = await connected()
    ends.network.down("b")
    with pytest.raises(LinkLost):
        async with asyncio.timeout(0.001):
            await ends.near.receive()
    with pytest.raises(LinkLost, match="refused"):
        await ends.network.connect("a", "b")


@pytest.mark.parametrize(("here", "there"), [("a", "b"), ("b", "a")])
@in_virtual_time
async def test_nobody_connects_through_a_cut_in_either_direction(here, there):
    ends = await connected()
    ends.network.cut(here, there)
    began = asyncio.get_running_loop().time()
    with pytest.raises(LinkLost, match="no answer"):
        await ends.network.connect("a", "b")
    assert asyncio.get_running_loop().time() - began >= 3.0
