"""`tail` and what else runs until it is told to stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import aclosing

import pytest
from fake_cluster import FakeNode

from anabranch.cli import tail
from anabranch.cli.client import Client
from anabranch.cli.errors import NodeUnreachable


def write(world, number, stream="s"):
    world.append("ny", stream, f"c{number}", "any", [{"id": f"e{number}", "type": "t"}])


async def following(world, stream, level, *, beginning, then):
    """The ids that come: what is there, and after each page what `then` writes."""
    node = FakeNode(world, "ny")
    await node.server.start_server()
    found = []
    try:
        async with (
            Client(node.url) as client,
            aclosing(tail.arriving(client, stream, level, beginning)) as pages,
        ):
            async for events in pages:
                found += [event.id for event in events]
                if not then:
                    break
                then.pop(0)()
    finally:
        await node.server.close()
    return found


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(tail, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(tail, "RETRY_SECONDS", 0.001)


@pytest.mark.parametrize("stream", ["s", None])
@pytest.mark.parametrize("level", ["settled", "latest"])
async def test_what_is_there_and_what_comes(world, stream, level):
    for number in range(1200):  # more than a page
        write(world, number)
    more = [lambda: None, lambda: write(world, 1200)]
    found = await following(world, stream, level, beginning=True, then=more)
    assert found == [f"e{number}" for number in range(1201)]


async def test_only_what_is_new(world):
    write(world, 0)
    real = FakeNode._events

    async def growing(self, request):
        answer = await real(self, request)
        if len(world.commits["ny"]) < 3:
            write(world, len(world.commits["ny"]))
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeNode, "_events", growing)
        found = await following(world, None, "settled", beginning=False, then=[lambda: None])
    assert found == ["e1", "e2"]


async def test_a_node_that_is_not_there_from_the_start_is_an_error(world):
    async with Client("http://127.0.0.1:1") as client:
        pages = tail.arriving(client, None, "settled", beginning=True)
        with pytest.raises(NodeUnreachable):
            await anext(pages)


def started(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "anabranch", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_tail_with_status_0(alone, how):
    write(alone.world, 0)
    with started("tail", "s", "--url", alone.urls[0], "--beginning", "--json") as process:
        assert json.loads(process.stdout.readline())["id"] == "e0"
        process.send_signal(how)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_ctrl_c_ends_a_watched_status_with_status_0(alone):
    with started("status", "--watch", "--url", alone.urls[0]) as process:
        assert process.stdout.readline().startswith("ny1 in ny")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert "\x1b" not in out


def test_a_reader_that_goes_away_is_no_crash(alone):
    for number in range(3000):  # more than fits into a pipe
        write(alone.world, number)
    many = ["--limit", "3000", "--json"]
    with started("read", "s", "--url", alone.urls[0], *many) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_a_node_needs_no_tables():
    code = (
        "import sys, anabranch.__main__, anabranch.cli.node; "
        "print(sorted({'rich', 'anabranch.cli.client', 'anabranch.cli.demo'} & {*sys.modules}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
