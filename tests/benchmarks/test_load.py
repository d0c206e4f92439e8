"""The load counts what it should, however its bytes arrive; and floor and load fit together."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from anabranch.tests.benchmarks.load import (
    Connection,
    Load,
    Result,
    Unexpected,
    histogram,
    quantile,
)
from anabranch.tests.benchmarks.machine import Cores
from anabranch.tests.benchmarks.servers import CannotMeasure, floor, load
from anabranch.tests.benchmarks.workload import appends, event, pages

BODY = b'{"a":1}\n{"a":2}\n'
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX: y\r\n\r\n%s" % (len(BODY), BODY)
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
    (b'8\r\n{"a":1}\n\r\n', b'8\r\n{"a":2}\n\r\n', b"0\r\n\r\n")
)


class Transport:
    """Notes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True


def connected(requests_max: int | None) -> tuple[Load, Connection, Transport]:
    shared = Load([b"one", b"two"], 200, requests_max=requests_max)
    connection, transport = Connection(shared), Transport()
    connection.connection_made(cast("asyncio.Transport", transport))
    connection.send()
    return shared, connection, transport


@pytest.mark.parametrize("step", [1, 2, 7, 50, 10_000])
@pytest.mark.parametrize("answer", [PLAIN, CHUNKED])
async def test_an_answer_is_counted_once_however_it_arrives(answer: bytes, step: int) -> None:
    shared, connection, transport = connected(2)
    for _ in range(2):
        for at in range(0, len(answer), step):
            connection.data_received(answer[at : at + step])
    assert transport.written == [b"one", b"two"]
    assert transport.closed
    assert len(shared.answers) == shared.in_all == 2
    assert shared.bytes == 2 * len(answer)
    if answer is PLAIN:
        assert shared.lines == 4


async def test_an_answer_without_a_body_is_one() -> None:
    shared, connection, _ = connected(None)
    connection.data_received(EMPTY)
    connection.data_received(EMPTY)
    assert (shared.in_all, shared.lines) == (2, 0)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n", PLAIN + b"x"]
)
async def test_what_was_not_expected_ends_the_run(answer: bytes) -> None:
    shared, connection, _ = connected(None)
    connection.data_received(answer)
    with pytest.raises(Unexpected):
        await shared.done


async def test_a_connection_that_ends_early_ends_the_run() -> None:
    shared, connection, _ = connected(None)
    connection.connection_lost(None)
    with pytest.raises(Unexpected):
        await shared.done


def test_quantiles_and_histogram() -> None:
    times = [float(number) for number in range(1, 101)]
    assert [quantile(times, part) for part in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    counts = histogram(times)
    assert sum(count for _, count in counts) == 100
    assert counts[0] == (1.0, 1)
    assert [bound for bound, _ in counts] == sorted(bound for bound, _ in counts)


def test_events_have_the_size_that_was_asked_for() -> None:
    luck = random.Random(1)
    for size in (60, 256):
        whole = event(size, luck)
        assert set(json.loads(whole)) == {"type", "data"}
        front, back = b'{"type":"order","data":', b"}"
        assert len(whole) == len(front) + size + len(back)


def test_requests_go_to_the_streams_in_turn() -> None:
    made = appends(events=2, data_bytes=60, streams=["a", "b"], ack="settled")
    assert made[0].startswith(b"POST /v1/streams/a/events?ack=settled HTTP/1.1\r\n")
    assert made[1].startswith(b"POST /v1/streams/b/events?ack=settled HTTP/1.1\r\n")
    head, _, body = made[0].partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert len(body.splitlines()) == 2
    assert len(pages("a", events=2500, limit=1000)) == 3


@pytest.mark.parametrize("parse", [False, True])
def test_floor_and_load_fit_together(tmp_path: Path, parse: bool) -> None:
    given: dict[str, Any] = {"connections": 4, "events": 10, "requests": 40, "seconds": 20}
    with floor(tmp_path, None, parse=parse) as server:
        server.ready("/", 201)
        found = load(server, Cores(), "append", **given)
        assert isinstance(found, Result)
        assert (found.answers, found.in_all, found.events) == (40, 40, 400)
        assert found.ms.p50 <= found.ms.p99 <= found.ms.max
        with pytest.raises(CannotMeasure, match="201"):
            load(server, Cores(), "read", stream="s", **given)
    written = sum(path.stat().st_size for path in tmp_path.rglob("*.floor"))
    assert written > 40 * 10 * 256


def test_wrong_use_is_told_apart() -> None:
    command = [sys.executable, str(Path(__file__).parent / "run.py"), "nothing"]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=30)
    assert done.returncode == 2
    assert "singles" in done.stderr
