"""The simulated network: in order, whole, late or not at all; and never with a hole."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from random import Random

import pytest

from anabranch.gossip.transport import Link
from anabranch.simulations.world.loop import OWNER, VirtualLoop
from anabranch.simulations.world.network import Route, SimLink, SimNetwork, Weather
from anabranch.simulations.world.world import World
from anabranch.storage.commit import Draft
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
    return await linked(SimNetwork(Random(seed), latency_seconds=latency_seconds))


async def linked(network: SimNetwork) -> Ends:
    ends = Ends(network)

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


@in_virtual_time
async def test_who_goes_down_in_the_moment_of_the_connection_answers_nothing():
    network, answered = SimNetwork(1), []

    async def answer(link: Link) -> None:
        answered.append(link)

    network.listen("b", answer)
    link = await network.connect("a", "b")
    network.down("b")
    with pytest.raises(LinkLost):
        await link.receive()
    assert answered == []


@pytest.mark.parametrize(("here", "there"), [("a", "b"), ("b", "a")])
@in_virtual_time
async def test_nobody_connects_through_a_cut_in_either_direction(here, there):
    ends = await connected()
    ends.network.cut(here, there)
    began = asyncio.get_running_loop().time()
    with pytest.raises(LinkLost, match="no answer"):
        await ends.network.connect("a", "b")
    assert asyncio.get_running_loop().time() - began >= 3.0


# -- routes ----------------------------------------------------------------------------------------


async def sent(ends: Ends, frames: list[bytes], pause: float = 0.0, wait: float = 60.0) -> None:
    """Send frames, and wait for what comes of them."""
    for frame in frames:
        await ends.near.send(frame)
        if pause:
            await asyncio.sleep(pause)
    await asyncio.sleep(wait)


async def routed(route: Route, seed: int | str = 1) -> Ends:
    network = SimNetwork(seed)
    network.set_route("a", "b", route)
    return await linked(network)


async def flights(ends: Ends, count: int) -> list[float]:
    """How long each of some frames takes, one after the other."""
    loop, took = asyncio.get_running_loop(), []
    for _ in range(count):
        began = loop.time()
        await sent(ends, [b"."], wait=10)
        took.append(ends.times[-1] - began)
    return took


@in_virtual_time
async def test_a_route_says_how_long_a_frame_takes_in_its_direction():
    ends = await routed(Route(0.3, jitter=0.1))
    took = await flights(ends, 100)
    assert 0.27 <= min(took) < 0.28
    assert 0.32 < max(took) <= 0.33
    began = asyncio.get_running_loop().time()
    await ends.far.send(b"back")
    await ends.near.receive()
    assert asyncio.get_running_loop().time() - began <= 0.03


@in_virtual_time
async def test_some_frames_take_a_multiple_but_not_for_ever():
    ends = await routed(Route(0.01, jitter=0.0, tail=0.5))
    took = await flights(ends, 1000)
    late = sorted(seconds for seconds in took if seconds > 0.0101)
    assert 400 < len(late) < 600
    assert late[len(late) // 2] == pytest.approx(0.01 * 2 ** (1 / 1.5), rel=0.1)
    assert late[-1] <= 0.5 + 1e-9


@in_virtual_time
async def test_frames_of_all_links_queue_where_the_bandwidth_is_small():
    ends = await routed(Route(0.01, jitter=0.0, bandwidth=1000))
    other = await linked(ends.network)
    began = asyncio.get_running_loop().time()
    for _ in range(3):
        await ends.near.send(bytes(500))
        await other.near.send(bytes(250))
    await asyncio.sleep(10)
    assert [at - began for at in ends.times] == pytest.approx([0.51, 1.26, 2.01])
    assert [at - began for at in other.times] == pytest.approx([0.76, 1.51, 2.26])


@in_virtual_time
async def test_a_frame_of_a_link_that_is_gone_takes_no_bandwidth():
    ends = await routed(Route(0.01, jitter=0.0, bandwidth=1000))
    other = await linked(ends.network)
    began = asyncio.get_running_loop().time()
    await other.near.send(bytes(100))
    for _ in range(100):
        await ends.near.send(bytes(1000))
    await other.near.send(bytes(100))
    await ends.far.close()
    await asyncio.sleep(10)
    assert other.times[-1] - began == pytest.approx(0.21)


@pytest.mark.parametrize("seed", [5, "five", Random(5)])
@in_virtual_time
async def test_each_way_has_its_own_luck(seed):
    """Who talks besides changes nothing for the others."""
    network = SimNetwork(seed)
    same = SimNetwork(network._seed)
    alone = [network.delay("a", "b") for _ in range(20)]
    amid = []
    for _ in range(20):
        same.delay("b", "a")
        amid.append(same.delay("a", "b"))
        same.delay("c", "b")
    assert alone == amid
    assert alone != [network.delay("b", "a") for _ in range(20)]


@in_virtual_time
async def test_a_new_usual_latency_counts_where_no_route_is_set():
    network = SimNetwork(1)
    network.set_route("a", "b", Route(5.0, jitter=0.0))
    network.delay("b", "a")
    network.latency_seconds = 1.0
    assert network.delay("a", "b") == 5.0
    assert 0.5 <= network.delay("b", "a") <= 1.5
    assert 0.5 <= network.delay("b", "c") <= 1.5


# -- weather ---------------------------------------------------------------------------------------

FORTH = [("a", "b")]


async def under(weather: Weather, seed: int = 1) -> Ends:
    ends = await connected(seed)
    ends.network.begin("weather", FORTH, weather)
    return ends


@in_virtual_time
async def test_what_is_lost_comes_later_and_all_behind_it_too():
    ends = await under(Weather(loss=0.3))
    await sent(ends, FRAMES, pause=0.01)
    assert ends.came == FRAMES
    assert ends.times == sorted(ends.times)
    assert ends.network.counts["lost"] > 5
    assert max(b - a for a, b in zip(ends.times, ends.times[1:], strict=False)) > 0.15


@in_virtual_time
async def test_where_all_is_lost_it_takes_long_and_ends():
    ends = await under(Weather(loss=1.0))
    began = asyncio.get_running_loop().time()
    await sent(ends, [b"."], wait=100)
    assert 50 < ends.times[0] - began < 52
    assert ends.network.counts == {"lost": 8}


@in_virtual_time
async def test_a_frame_is_duplicated():
    ends = await under(Weather(duplicate=1.0))
    await sent(ends, FRAMES, pause=0.2)
    assert ends.came == [frame for frame in FRAMES for _ in range(2)]
    assert ends.network.counts == {"duplicated": 50}


@in_virtual_time
async def test_a_frame_overtakes_those_that_still_fly():
    ends = await under(Weather(reorder=1.0))
    await sent(ends, FRAMES)
    assert ends.came == FRAMES[::-1]
    assert ends.network.counts == {"reordered": 49}
    await sent(ends, FRAMES, pause=0.2)
    assert ends.came[50:] == FRAMES  # there was nothing to overtake


@in_virtual_time
async def test_one_bit_of_a_frame_is_flipped():
    ends = await under(Weather(garble=1.0))
    await sent(ends, [bytes(10)] * 100)
    flipped = [int.from_bytes(frame, "big") for frame in ends.came]
    assert len(flipped) == 100
    assert all(one.bit_count() == 1 for one in flipped)
    assert len(set(flipped)) > 50
    assert ends.network.counts == {"garbled": 100}


@pytest.mark.parametrize("kind", ["loss", "duplicate", "reorder", "garble"])
@in_virtual_time
async def test_a_close_is_heard_last_and_once_whatever_the_weather(kind):
    ends = await under(Weather(**{kind: 0.5}))
    for _ in range(100):
        await ends.near.send(b".")
    await ends.near.close()
    await asyncio.sleep(100)
    assert len(ends.came) >= 101
    assert ends.came.index("lost") == len(ends.came) - 1


@in_virtual_time
async def test_where_it_is_silent_links_open_and_carry_nothing():
    network = SimNetwork(1)
    network.begin("weather", FORTH, Weather(silent=True))
    ends = await linked(network)
    await ends.far.send(b"back")
    assert await ends.near.receive() == b"back"
    await sent(ends, FRAMES)
    assert ends.came == []
    assert network.counts == {"cut off": 1}
    network.end("weather")
    await sent(ends, FRAMES)
    assert ends.came == []  # the link lost a frame: it is dead
    ends = await linked(network)
    await sent(ends, FRAMES)
    assert ends.came == FRAMES


@in_virtual_time
async def test_weather_with_a_reset_breaks_links_when_it_begins():
    ends = await under(Weather(reset=True))
    await asyncio.sleep(0)
    assert ends.came == ["lost"]
    again = await linked(ends.network)  # as it is no cut
    await sent(again, FRAMES)
    assert again.came == FRAMES


@in_virtual_time
async def test_what_drips_flows_again_when_the_weather_ends():
    ends = await under(Weather(bandwidth=1.0))
    await sent(ends, FRAMES, wait=10)
    assert 8 <= len(ends.came) <= 10
    ends.network.end("weather")
    await asyncio.sleep(0.1)
    assert ends.came == FRAMES


@in_virtual_time
async def test_one_weather_ends_and_another_goes_on():
    network = SimNetwork(1)
    network.begin("one", [("a", "b"), ("b", "c")], Weather(cut=True))
    network.begin("two", [("a", "b")], Weather(cut=True))
    network.end("one")
    assert not network.passes("a", "b")
    assert network.passes("b", "c")
    network.end("two")
    network.end("two")
    assert network.passes("a", "b")
    network.begin("three", [("a", "c")], Weather(cut=True))
    network.cut("a", "b")
    network.heal("a", "c")  # which was not cut as such
    assert not network.passes("a", "c")
    network.heal()
    assert network.passes("a", "b") and network.passes("a", "c")


@in_virtual_time
async def test_what_flies_arrives_though_its_sender_stands_still():
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    ends = await connected()
    context = copy_context()
    context.run(OWNER.set, "a")
    await loop.create_task(ends.near.send(b"1"), context=context)
    loop.pause("a")
    await asyncio.sleep(1)
    assert ends.came == [b"1"]


# -- nodes on it -----------------------------------------------------------------------------------

BOTH_WAYS = [("ny1", "lon1"), ("lon1", "ny1")]


async def with_much_waiting(seed: int) -> World:
    """Two nodes, each with 60 KB for the other that no packing makes smaller."""
    world = World(seed, [("ny", 1), ("lon", 1)])
    await world.start()
    await asyncio.sleep(1)
    world.network.begin("cut", BOTH_WAYS, Weather(cut=True))
    luck = Random(seed)
    for number in range(200):
        for name in world.names:
            body, commit_id = luck.randbytes(200), luck.randbytes(16)
            await world.nodes[name].append(
                Draft(f"s{number % 7}", ["t"], [body], commit_id=commit_id)
            )
    await asyncio.sleep(5)
    return world


@pytest.mark.parametrize("seed", range(3))
@in_virtual_time
async def test_a_link_carries_what_waits_however_narrow_it_is(seed):
    """No push may take longer than the silence after which a link is dead, for ever."""
    world = await with_much_waiting(seed)
    world.network.begin("narrow", BOTH_WAYS, Weather(bandwidth=4096))
    world.network.end("cut")
    await world.until_settled(120)
    await world.stop()
