import asyncio
from contextlib import asynccontextmanager

import pytest

from anabranch.chaos.links.wires import Wires
from anabranch.simulations.world.weather import Route, Weather


@asynccontextmanager
async def cluster(*names):
    """Nodes that answer every line with their name and the line, and the wires between them."""
    servers = {}
    for name in names:

        async def answer(reader, writer, name=name):
            try:
                while line := await reader.readline():
                    writer.write(name.encode() + b" " + line)
            except ConnectionError:
                pass
            writer.close()

        servers[name] = await asyncio.start_server(answer, "127.0.0.1", 0)
    addresses = {name: s.sockets[0].getsockname() for name, s in servers.items()}
    wires = Wires(7, addresses)
    await wires.open()
    try:
        yield wires
    finally:
        await wires.close()
        for one in servers.values():
            one.close()
            await one.wait_closed()


async def ask(wires, here, there):
    host, port = wires.url(here, there).removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"hello\n")
        return await asyncio.wait_for(reader.readline(), 0.1)
    except TimeoutError:
        return None
    finally:
        writer.close()


async def test_each_url_leads_to_the_node():
    async with cluster("a", "b", "c") as wires:
        for here, there in (("a", "b"), ("b", "a"), ("c", "a")):
            assert await ask(wires, here, there) == there.encode() + b" hello\n"
        assert len({wires.url(x, y) for x in "abc" for y in "abc" if x != y}) == 6
        assert wires.bytes("a", "b") == 6 + 8  # one way of both proxies of the pair
        assert wires.bytes("b", "c") == 0
        assert not wires.counts
        with pytest.raises(KeyError):
            wires.url("a", "a")


async def test_a_cut_one_way_stops_links_of_both_and_no_other():
    async with cluster("a", "b", "c") as wires:
        wires.begin("cut", [("a", "b")], Weather(cut=True))
        assert not wires.passes("a", "b") and wires.passes("b", "a")
        assert await ask(wires, "a", "b") is None
        assert await ask(wires, "b", "a") is None
        assert await ask(wires, "a", "c") == b"c hello\n"
        wires.end("cut")
        assert wires.passes("a", "b")
        assert await ask(wires, "a", "b") == b"b hello\n"
        assert wires.counts == {"cut off": 2}


async def test_weathers_add_up():
    async with cluster("a", "b") as wires:
        wires.set_route("a", "b", Route(0.1, jitter=0.0))
        wires.begin("one", [("a", "b")], Weather(cut=True, slow=2.0))
        wires.begin("two", [("a", "b"), ("b", "a")], Weather(cut=True, bandwidth=100.0))
        wires.begin("three", [("a", "b")], Weather(slow=3.0, bandwidth=50.0))
        now = wires.lane("a", "b").now
        assert now.shortest == pytest.approx(0.6)
        assert now.bandwidth == 50.0
        wires.end("one")
        wires.end("unknown")
        assert not wires.passes("a", "b")
        wires.end("two")
        assert wires.passes("a", "b")
        assert wires.lane("a", "b").now.shortest == pytest.approx(0.3)
        wires.begin("reset", [("b", "a")], Weather(reset=True))
        assert not wires.passes("a", "b") and not wires.passes("b", "a")
        wires.heal()
        assert wires.lane("a", "b").now.shortest == pytest.approx(0.1)
        assert wires.lane("b", "a").perfect


async def test_the_same_seed_draws_the_same():
    addresses = dict.fromkeys("ab", ("127.0.0.1", 1))
    one, two, other = (Wires(seed, addresses) for seed in (1, 1, 2))
    drawn = [wires.lane("a", "b").luck.random() for wires in (one, two, other)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert one.lane("b", "a").luck.random() != drawn[0]
