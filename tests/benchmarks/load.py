"""The load: one process that sends ready-made requests and measures how long answers take.

It must never be the limit, so it speaks HTTP/1.1 over a bare Protocol and reads of an answer only
the status and the length. Each connection has one request outstanding (a closed loop), and takes
the next from a list that all share. What it reports of itself, `cpu`, says whether it had air left.

    python tests/benchmarks/load.py append --port 7101 --connections 64 --seconds 5
    python tests/benchmarks/load.py append --port 7101 --events 1000 --requests 100 --streams 1
    python tests/benchmarks/load.py read --port 7101 --stream s0 --events 100000 --seconds 5

It prints one JSON object. An answer with another status than was expected ends the run.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from typing import Final, cast

import msgspec

from anabranch.tests.benchmarks.workload import appends, pages

HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = b"content-length: "
CHUNKED: Final = b"transfer-encoding: chunked"
LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
HEAD_BYTES_MAX: Final = 64 << 10
SHOWN_BYTES: Final = 500  # of an answer that was not expected
DRAIN_SECONDS: Final = 30.0
_now = time.perf_counter


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from the last byte of a request to the last of its answer."""

    p50: float
    p90: float
    p99: float
    p999: float
    max: float


class Result(msgspec.Struct, frozen=True):
    """What a run of the load found."""

    answers: int
    in_all: int  # with those of the warm-up and of the end
    events: int
    seconds: float
    answers_per_second: float
    events_per_second: float
    mib_per_second: float  # received
    ms: Latency
    histogram: list[tuple[float, int]]  # answers up to so many ms (powers of the root of 2)
    cpu: float  # of this process; near 1 it was the limit


class Unexpected(Exception):
    """The server did not answer as it should."""


class Load:
    """What all connections share: the requests to come and the answers so far."""

    def __init__(self, requests: list[bytes], status: int, *, requests_max: int | None) -> None:
        self._requests = requests
        self._next = 0
        self._left = requests_max if requests_max is not None else sys.maxsize
        self.status = b"%d" % status
        self.open = 0
        self.answers: list[float] = []  # seconds
        self.in_all = self.lines = self.bytes = 0
        self.counting = True  # false while it warms up
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self) -> bytes | None:
        """The next request, or None when there are enough."""
        if self._left <= 0:
            return None
        self._left -= 1
        request = self._requests[self._next]
        self._next = (self._next + 1) % len(self._requests)
        return request

    def stop(self) -> None:
        """Send no more."""
        self._left = 0

    def fail(self, why: str) -> None:
        self.stop()
        if not self.done.done():
            self.done.set_exception(Unexpected(why))

    def closed(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.done.done():
            self.done.set_result(None)


class Connection(asyncio.Protocol):
    """One connection with one request outstanding."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._head = b""
        self._missing = 0  # of the body
        self._bytes = self._lines = 0  # of this answer so far
        self._chunked = False
        self._sent = 0.0
        self._waiting = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._load.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._load.fail(f"the server closed a connection before it had answered ({exc})")
        self._load.closed()

    def send(self) -> None:
        transport = self._transport
        assert transport is not None
        request = self._load.take()
        self._waiting = request is not None
        if request is None:
            transport.close()
            return
        self._sent = _now()
        transport.write(request)

    def data_received(self, data: bytes) -> None:
        load = self._load
        self._bytes += len(data)
        self._lines += data.count(b"\n")
        if self._chunked:
            self._more_chunks(data)
            return
        if self._missing:
            self._missing -= len(data)
        else:
            data = self._head + data
            end = data.find(HEAD_END)
            if end < 0:
                self._head = data
                if len(data) > HEAD_BYTES_MAX:
                    load.fail("the head of an answer does not end")
                return
            self._head = b""
            if not self._begin(data, end + len(HEAD_END)):
                return
        if self._missing == 0:
            self._answered()
        elif self._missing < 0:
            load.fail("the server sent more than it was asked for")

    def _begin(self, data: bytes, body: int) -> bool:
        """Read a head; false if nothing more is to be done with this data."""
        load = self._load
        head = data[:body].lower()
        self._lines -= head.count(b"\n")
        if head[9:12] != load.status:
            load.fail(data[:SHOWN_BYTES].decode("utf-8", "replace"))
            return False
        at = head.find(LENGTH)
        if at < 0 and CHUNKED in head:
            self._chunked = True
            self._more_chunks(data)
            return False
        self._missing = body - len(data)
        if at >= 0:
            at += len(LENGTH)
            self._missing += int(head[at : head.index(b"\r", at)])
        return True

    def _more_chunks(self, data: bytes) -> None:
        # JSON has no line end of its own inside, so only the last chunk can look like this.
        self._head = (self._head + data)[-len(LAST_CHUNK) :]
        if self._head == LAST_CHUNK:
            self._head = b""
            self._chunked = False
            self._answered()

    def _answered(self) -> None:
        load = self._load
        load.in_all += 1
        if load.counting:
            load.answers.append(_now() - self._sent)
            load.bytes += self._bytes
            load.lines += self._lines
        self._bytes = self._lines = 0
        self.send()


async def run(load: Load, port: int, connections: int, warmup: float, seconds: float) -> Result:
    """Send for `seconds` after a warm-up, or until all requests are answered."""
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Connection(load), "127.0.0.1", port)
        for _ in range(connections)
    ]
    load.counting = warmup == 0
    start, used = _now(), time.process_time()
    for _, connection in opened:
        connection.send()
    if warmup:
        await asyncio.wait([load.done], timeout=warmup)
        load.counting = True
        start, used = _now(), time.process_time()
    await asyncio.wait([load.done], timeout=seconds)
    end, used = _now(), time.process_time() - used
    answers, lines, received = load.answers[:], load.lines, load.bytes
    load.stop()
    await asyncio.wait([load.done], timeout=DRAIN_SECONDS)
    if not load.done.done():
        raise Unexpected(f"an answer took more than {DRAIN_SECONDS:.0f} s")
    load.done.result()
    if not answers:
        raise Unexpected(f"no answer within {seconds:.0f} s")
    found = result(answers, lines, received, end - start, used)
    return msgspec.structs.replace(found, in_all=load.in_all)


def result(answers: list[float], lines: int, received: int, seconds: float, used: float) -> Result:
    """Sum up the seconds that answers took; `lines` are the line ends in all bodies."""
    times = sorted(taken * 1e3 for taken in answers)
    return Result(
        answers=len(answers),
        in_all=len(answers),
        events=lines,
        seconds=seconds,
        answers_per_second=len(answers) / seconds,
        events_per_second=lines / seconds,
        mib_per_second=received / seconds / (1 << 20),
        ms=Latency(
            p50=quantile(times, 0.5),
            p90=quantile(times, 0.9),
            p99=quantile(times, 0.99),
            p999=quantile(times, 0.999),
            max=times[-1],
        ),
        histogram=histogram(times),
        cpu=used / seconds,
    )


def quantile(ordered: list[float], part: float) -> float:
    """The smallest value that so many of the values do not exceed."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def histogram(times: list[float]) -> list[tuple[float, int]]:
    """How many of the times lie at or below each bound and above the one before."""
    counts: dict[int, int] = {}
    for taken in times:
        step = math.ceil(2 * math.log2(max(taken, 1e-3)))
        counts[step] = counts.get(step, 0) + 1
    return [(round(2 ** (step / 2), 4), counts[step]) for step in sorted(counts)]


async def measure(given: argparse.Namespace) -> Result:
    if given.what == "append":
        streams = [f"{given.stream}{number}" for number in range(given.streams)]
        requests = appends(
            events=given.events, data_bytes=given.data_bytes, streams=streams, ack=given.ack
        )
        status = 201
    else:
        requests = pages(given.stream, events=given.events, limit=given.limit)
        status = 200
    load = Load(requests, status, requests_max=given.requests)
    found = await run(load, given.port, given.connections, given.warmup, given.seconds)
    if given.what == "append":
        events = found.answers * given.events
        found = msgspec.structs.replace(
            found, events=events, events_per_second=events / found.seconds
        )
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The load generator.")
    parser.add_argument("what", choices=["append", "read"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--warmup", type=float, default=0.0, help="seconds that do not count")
    parser.add_argument("--seconds", type=float, default=600.0, help="stop after so long")
    parser.add_argument("--requests", type=int, help="stop after so many answers")
    parser.add_argument("--events", type=int, default=1, help="of a commit, or of the stream")
    parser.add_argument("--data-bytes", type=int, default=256, help="of JSON in each event")
    parser.add_argument("--stream", default="s", help="a stream, or how their names begin")
    parser.add_argument("--streams", type=int, default=256, help="how many streams are written to")
    parser.add_argument("--ack", default="", help="the level to ask for")
    parser.add_argument("--limit", type=int, default=1000, help="events a page")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    start = asyncio.run
    if sys.platform != "win32":
        import uvloop

        start = uvloop.run
    try:
        found = start(measure(given))
    except (Unexpected, OSError) as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    print(msgspec.json.encode(found).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
