import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from anabranch.chaos.links.lanes import Lane
from anabranch.chaos.links.proxy import Proxy
from anabranch.chaos.links.stream import HELD_BYTES_MAX
from anabranch.simulations.world.weather import Route, Weather

GRANTS = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
ASKS = b"GET /v1/link HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
CUT = Weather(cut=True)


def frame(payload):
    assert len(payload) < 65_536
    return b"\x82\x7e" + len(payload).to_bytes(2, "big") + payload


@asynccontextmanager
async def server(answer):
    running = set()

    async def run(reader, writer):
        running.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        writer.close()

    listening = await asyncio.start_server(run, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await listening.wait_closed()
        await asyncio.wait_for(asyncio.gather(*running), 5)


@asynccontextmanager
async def proxied(port):
    proxy = Proxy(
        "a", "b", target=("127.0.0.1", port), forward=Lane("a", "b", 1), backward=Lane("b", "a", 1)
    )
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
        assert not proxy.connections
        assert not proxy.forward.traffic and not proxy.backward.traffic
        coros = (task.get_coro().__qualname__ for task in asyncio.all_tasks())
        assert not [coro for coro in coros if coro.startswith("Connection.")]


@asynccontextmanager
async def dialled(proxy):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def echo(reader, writer):
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def nothing_comes(reader):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.05)


async def until(holds):
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what it asks for tells nobody
            await asyncio.sleep(0.005)


# -- what passes ---------------------------------------------------------------------------------


async def test_an_echo_passes_unchanged():
    async with server(echo) as port, proxied(port) as proxy:
        async with dialled(proxy) as (reader, writer):
            for part in (b"hello", ASKS, frame(b"x"), frame(b"y")[:3], frame(b"y")[3:]):
                writer.write(part)
                assert await reader.readexactly(len(part)) == part
            writer.write_eof()
            assert await reader.read() == b""
        await until(lambda: not proxy.connections)
        assert proxy.forward.bytes == proxy.backward.bytes > 0
        assert (proxy.forward.connections, proxy.backward.connections) == (1, 0)
        assert not proxy.forward.counts and not proxy.backward.counts


@pytest.mark.parametrize("route", [Route(0.0), Route(0.001, bandwidth=4e7, loss=0.001)])
async def test_a_large_transfer_with_a_slow_reader(route):
    size, got, go_on = 32 * 1024 * 1024, bytearray(), asyncio.Event()
    block = frame(bytes(range(256)) * 100)

    async def slow(reader, writer):
        await go_on.wait()
        while data := await reader.read(1 << 20):
            got.extend(data)
        writer.write(b"done")

    async with server(slow) as port, proxied(port) as proxy, dialled(proxy) as (reader, writer):
        proxy.forward.set_route(route)
        writer.write(ASKS)
        sent = 0

        async def send():
            nonlocal sent
            while sent < size:
                writer.write(block)
                sent += len(block)
                await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        stalled = -1
        while stalled != sent:  # the kernel's buffers are full, and so is the proxy
            stalled = sent
            await asyncio.sleep(0.05)
        (one,) = proxy.connections
        assert one.forward.held_bytes <= HELD_BYTES_MAX + 2**18
        go_on.set()
        await sending
        assert await reader.read() == b"done"
        assert bytes(got) == ASKS + block * (sent // len(block))
        assert proxy.forward.frames == sent // len(block)


async def test_a_closed_target_closes_the_dialler():
    async def leave(reader, writer):
        await reader.readexactly(2)
        writer.write(b"bye")

    async with server(leave) as port, proxied(port) as proxy, dialled(proxy) as (reader, writer):
        writer.write(b"hi")
        assert await reader.read() == b"bye"


async def test_nobody_at_the_target():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with proxied(unused.getsockname()[1]) as proxy, dialled(proxy) as (reader, _):
            with pytest.raises(ConnectionResetError):
                await reader.read()


async def test_a_broken_dialler_breaks_the_target():
    broken = asyncio.get_running_loop().create_future()

    async def wait(reader, writer):
        await reader.readexactly(2)
        writer.write(b"ok")
        try:
            await reader.read()
        except ConnectionResetError:
            broken.set_result(None)

    async with server(wait) as port, proxied(port) as proxy:
        async with dialled(proxy) as (reader, writer):
            writer.write(b"hi")
            await reader.readexactly(2)
            linger = b"\1\0\0\0\0\0\0\0"
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        await asyncio.wait_for(broken, 5)


# -- cuts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weather", [CUT, Weather(silent=True)])
async def test_one_way_is_cut_and_the_other_passes(weather):
    heard, say = bytearray(), asyncio.Queue()

    async def talk(reader, writer):
        async def listen():
            while data := await reader.read(1000):
                heard.extend(data)

        listening = asyncio.create_task(listen())
        while said := await say.get():
            writer.write(said)
        await listening

    async with server(talk) as port, proxied(port) as proxy, dialled(proxy) as (reader, writer):
        writer.write(ASKS + frame(b"one") + frame(b"two")[:3])
        await until(lambda: heard.endswith(frame(b"two")[:3]))
        proxy.forward.begin("cut", weather)
        writer.write(frame(b"two")[3:] + frame(b"three"))
        writer.write_eof()
        say.put_nowait(GRANTS + frame(b"back"))
        assert await reader.readexactly(len(GRANTS) + 8) == GRANTS + frame(b"back")
        await until(lambda: proxy.forward.counts == {"cut off": 1})
        assert heard.endswith(frame(b"two")[:3])
        proxy.forward.end("cut")
        say.put_nowait(b"")
        assert await reader.read() == b""  # the end passed too, and came back
        assert heard == ASKS + frame(b"one") + frame(b"two") + frame(b"three")


@pytest.mark.parametrize("way", ["forward", "backward"])
async def test_what_is_opened_in_a_cut_stays_half_open_until_it_ends(way):
    async with server(echo) as port, proxied(port) as proxy, dialled(proxy) as first:
        first[1].write(b"x")
        assert await first[0].readexactly(1) == b"x"
        lane = getattr(proxy, way)
        lane.begin("cut", CUT)
        async with dialled(proxy) as gave_up:
            gave_up[1].write(b"never")
        async with dialled(proxy) as (reader, writer):
            writer.write(b"later")
            await nothing_comes(reader)
            assert proxy.forward.bytes == 1
            lane.heal()
            assert await reader.readexactly(5) == b"later"
        assert proxy.forward.bytes == 6
        assert lane.counts == {"cut off": 2}


async def test_a_cut_holds_so_much_and_then_reads_no_more():
    got, size = 0, 24 * 1024 * 1024

    async def count(reader, writer):
        nonlocal got
        while data := await reader.read(1 << 20):
            got += len(data)

    async with server(count) as port, proxied(port) as proxy, dialled(proxy) as (reader, writer):
        writer.write(ASKS)
        await until(lambda: got == len(ASKS))
        proxy.forward.begin("cut", CUT)
        writer.write(frame(bytes(50_000)) * (size // 50_004))
        writer.write_eof()
        (one,) = proxy.connections
        await until(lambda: one.forward.held_bytes > HELD_BYTES_MAX)
        await nothing_comes(reader)
        assert one.forward.held_bytes <= HELD_BYTES_MAX + 2**18
        assert got == len(ASKS)
        proxy.forward.end("cut")
        assert await reader.read() == b""
        assert got == len(ASKS) + size // 50_004 * 50_004


async def test_under_a_cut_nobody_hears_that_the_other_has_gone():
    async with server(echo) as port, proxied(port) as proxy, dialled(proxy) as (reader, writer):
        writer.write(b"x")
        await reader.readexactly(1)
        proxy.backward.begin("cut", CUT)
        writer.write_eof()  # which the server answers by closing
        await nothing_comes(reader)
        proxy.backward.end("cut")
        assert await reader.read() == b""


async def test_on_a_silent_lane_the_head_passes():
    async with server(echo) as port, proxied(port) as proxy, dialled(proxy) as (reader, writer):
        proxy.forward.begin("hush", Weather(silent=True))
        writer.write(ASKS + frame(b"x"))
        assert await reader.readexactly(len(ASKS)) == ASKS
        await nothing_comes(reader)
        proxy.forward.end("hush")
        assert await reader.readexactly(5) == frame(b"x")


# -- resets --------------------------------------------------------------------------------------


class Raw(asyncio.Protocol):
    """Keeps all that came before the end; the streams of asyncio forget it."""

    def __init__(self):
        self.got = b""
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.got += data

    def connection_lost(self, exc):
        self.lost.set_result(exc)


@pytest.mark.parametrize("held", [False, True])
async def test_a_reset_tears_a_frame_in_two(held):
    async with server(echo) as port, proxied(port) as proxy:
        loop = asyncio.get_running_loop()
        transport, raw = await loop.create_connection(Raw, "127.0.0.1", proxy.port)
        transport.write(ASKS)
        await until(lambda: raw.got == ASKS)
        whole = frame(b"x" * 1000)
        if held:
            proxy.backward.set_route(Route(60.0))
            transport.write(whole)
            await until(lambda: proxy.backward.frames == 1)
        else:
            (one,) = proxy.connections
            one.backward.take(whole[:-1])
        proxy.backward.begin("reset", Weather(reset=True))
        error = await asyncio.wait_for(raw.lost, 5)
        assert isinstance(error, ConnectionResetError)
        assert len(ASKS) < len(raw.got) < len(ASKS) + len(whole)
        assert (ASKS + whole).startswith(raw.got)
        assert proxy.backward.counts == {"reset": 1}


async def test_a_reset_reads_what_is_there_to_tear_it():
    connected = asyncio.Queue()

    async def hand_out(reader, writer):
        connected.put_nowait(writer)
        await reader.read()

    async with server(hand_out) as port, proxied(port) as proxy:
        loop = asyncio.get_running_loop()
        transport, raw = await loop.create_connection(Raw, "127.0.0.1", proxy.port)
        writer = await connected.get()
        transport.write(ASKS)
        writer.write(GRANTS)
        await until(lambda: raw.got == GRANTS)
        writer.write(frame(b"x" * 1000))  # into the kernel, and no turn of the loop from there
        proxy.forward.begin("reset", Weather(reset=True))
        assert isinstance(await asyncio.wait_for(raw.lost, 5), ConnectionResetError)
        assert len(GRANTS) < len(raw.got) < len(GRANTS) + 1004


async def test_while_it_lasts_a_reset_refuses():
    async with server(echo) as port, proxied(port) as proxy:
        proxy.backward.begin("reset", Weather(reset=True))
        async with dialled(proxy) as (reader, _):
            with pytest.raises(ConnectionResetError):
                await reader.read()
        proxy.backward.end("reset")
        async with dialled(proxy) as (reader, writer):
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        assert proxy.backward.counts == {"reset": 1}


# -- slow ways -----------------------------------------------------------------------------------


async def test_a_narrow_lane_drips():
    async with server(echo) as port, proxied(port) as proxy, dialled(proxy) as (reader, writer):
        proxy.backward.set_route(Route(0.0, bandwidth=20_000))
        loop = asyncio.get_running_loop()
        began, pieces, size = loop.time(), [], 0
        whole = ASKS + frame(b"x" * 10_000)
        writer.write(whole)
        while size < len(whole):
            pieces.append(len(await reader.read(100_000)))
            size += pieces[-1]
        assert len(whole) / 20_000 - 0.06 < loop.time() - began < len(whole) / 20_000 + 0.3
        assert len(pieces) >= 5 and max(pieces[:3]) <= 2000


async def test_two_links_share_a_narrow_lane():
    async with (
        server(echo) as port,
        proxied(port) as proxy,
        dialled(proxy) as one,
        dialled(proxy) as two,
    ):
        for reader, writer in (one, two):
            writer.write(b"x")
            await reader.readexactly(1)
        proxy.backward.set_route(Route(0.0, bandwidth=20_000))
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _, writer in (one, two):
            writer.write(bytes(3000))
        await asyncio.gather(*(reader.readexactly(3000) for reader, _ in (one, two)))
        assert 0.2 < loop.time() - began < 0.6


async def test_latency_counts_both_ways():
    async with server(echo) as port, proxied(port) as proxy, dialled(proxy) as (reader, writer):
        writer.write(b"x")
        await reader.readexactly(1)
        proxy.forward.set_route(Route(0.03, jitter=0.0))
        proxy.backward.begin("slow", Weather(slow=100.0))  # of nothing
        began = asyncio.get_running_loop().time()
        writer.write(b"y")
        await reader.readexactly(1)
        assert asyncio.get_running_loop().time() - began >= 0.029


async def test_a_lost_frame_stalls_all_behind_it():
    async with server(echo) as port, proxied(port) as proxy, dialled(proxy) as (reader, writer):
        writer.write(ASKS)
        await reader.readexactly(len(ASKS))
        proxy.forward.begin("loss", Weather(loss=0.999))
        writer.write(frame(b"x"))
        await until(lambda: proxy.forward.counts["lost"])
        proxy.forward.end("loss")
        writer.write(frame(b"y"))
        await nothing_comes(reader)


# -- real WebSockets -----------------------------------------------------------------------------


@asynccontextmanager
async def websockets():
    """A proxy, the client's end and the server's end of a WebSocket through it."""
    ends = asyncio.Queue()

    async def answer(request):
        end = web.WebSocketResponse(compress=False, timeout=0.1)
        await end.prepare(request)
        done = asyncio.Event()
        ends.put_nowait((end, done))
        await done.wait()
        return end

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    async with proxied(port) as proxy, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{proxy.port}/v1/link"
        timeout = aiohttp.ClientWSTimeout(ws_close=0.1)
        async with session.ws_connect(url, timeout=timeout) as client:
            end, done = await ends.get()
            yield proxy, client, end
            proxy.forward.heal()
            proxy.backward.heal()
            done.set()
    await runner.cleanup()


async def numbers(end, count):
    return [int.from_bytes(await end.receive_bytes(timeout=5), "big") for _ in range(count)]


async def say(end, count, size=4):
    for number in range(count):
        await end.send_bytes(number.to_bytes(size, "big"))


async def test_order_is_kept_under_jitter_tail_and_loss():
    async with websockets() as (proxy, client, end):
        route = Route(0.002, jitter=1.0, tail=0.05)
        proxy.forward.set_route(route)
        proxy.backward.set_route(route)
        forth = asyncio.create_task(say(client, 300))
        back = asyncio.create_task(say(end, 300, 300))
        assert await numbers(end, 300) == list(range(300))
        assert await numbers(client, 300) == list(range(300))
        await forth
        await back
        assert proxy.forward.frames == proxy.backward.frames == 300


async def test_weather_that_comes_and_goes_loses_nothing():
    async with websockets() as (proxy, client, end):
        sending = asyncio.create_task(say(client, 2000, 2000))
        coming = asyncio.create_task(numbers(end, 2000))
        for turn in range(12):
            weather = (CUT, Weather(bandwidth=2e7), Weather(silent=True), Weather(slow=2.0))
            proxy.forward.begin("turn", weather[turn % 4])
            proxy.forward.set_route(Route(0.001 * (turn % 3)))
            await asyncio.sleep(0.005)
            proxy.forward.end("turn")
            await asyncio.sleep(0.001)
        assert await coming == list(range(2000))
        await sending


async def test_frames_come_twice():
    async with websockets() as (proxy, client, end):
        proxy.forward.begin("twice", Weather(duplicate=1.0))
        await say(client, 5)
        assert await numbers(end, 10) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        await say(end, 2)
        assert await numbers(client, 2) == [0, 1]
        assert proxy.forward.counts == {"duplicated": 5}


async def test_a_frame_overtakes_the_one_before():
    async with websockets() as (proxy, client, end):
        proxy.backward.begin("order", Weather(reorder=1.0))
        await say(end, 4)
        assert await numbers(client, 4) == [1, 0, 3, 2]
        assert proxy.backward.counts == {"reordered": 2}
        await end.send_bytes(b"\x07")  # with none behind it, it comes all the same
        assert await numbers(client, 1) == [7]


async def test_overtaking_loses_nothing():
    async with websockets() as (proxy, client, end):
        proxy.backward.begin("order", Weather(reorder=0.5))
        await say(end, 50)
        got = await numbers(client, 50)
        assert got != list(range(50)) and sorted(got) == list(range(50))
        assert proxy.backward.counts["reordered"] > 5


async def test_frames_are_garbled():
    async with server(echo) as port, proxied(port) as proxy, dialled(proxy) as (reader, writer):
        writer.write(ASKS)
        await reader.readexactly(len(ASKS))
        proxy.backward.begin("noise", Weather(garble=1.0))
        whole = frame(b"x" * 200)
        in_payload = 0
        for _ in range(60):
            writer.write(whole)
            got = await reader.readexactly(len(whole))
            wrong = [
                (at, a ^ b) for at, (a, b) in enumerate(zip(got, whole, strict=True)) if a != b
            ]
            ((at, bits),) = wrong
            assert bits.bit_count() == 1
            in_payload += at >= 4
        assert 30 <= in_payload <= 60
        assert proxy.backward.counts == {"garbled": 60}


async def test_a_garbled_message_differs_or_ends_the_websocket():
    async with websockets() as (proxy, client, end):
        proxy.forward.begin("noise", Weather(garble=1.0))
        await client.send_bytes(bytes(5000))
        message = await end.receive(timeout=5)
        assert message.type is not aiohttp.WSMsgType.BINARY or message.data != bytes(5000)


# -- the end -------------------------------------------------------------------------------------


async def test_close_ends_everything():
    async with server(echo) as port:
        proxy = Proxy(
            "a",
            "b",
            target=("127.0.0.1", port),
            forward=Lane("a", "b", 1),
            backward=Lane("b", "a", 1),
        )
        await proxy.open()
        async with dialled(proxy) as (reader, writer):
            writer.write(b"x")
            await reader.readexactly(1)
            proxy.forward.begin("cut", CUT)
            async with dialled(proxy) as half_open:
                half_open[1].write(b"x")
                await proxy.close()
                for side in (reader, half_open[0]):
                    with pytest.raises(ConnectionResetError):
                        await side.read()
        assert not proxy.connections
    assert asyncio.all_tasks() == {asyncio.current_task()}
