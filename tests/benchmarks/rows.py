"""The measurements. Each starts what it needs, and ends and removes it.

Where a row compares, floor and node take turns within the row, so that what else the machine does
meets both; the ratio is taken for each pair, and the row is the median of the ratios.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from anabranch.tests.benchmarks.load import Result
from anabranch.tests.benchmarks.machine import Cores
from anabranch.tests.benchmarks.servers import (
    POLL_SECONDS,
    CannotMeasure,
    Server,
    ask,
    floor,
    load,
    nodes,
)

COMMIT_EVENTS: Final = 1000
DATA_BYTES: Final = 256
SMALL_BYTES: Final = 60
WARMUP_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 3.0
SETTLE_SECONDS: Final = 120.0
SITES: Final = ("north", "south", "west")
BUSY: Final = 0.9  # of a core: the load may have been the limit


class Bench(msgspec.Struct, frozen=True):
    """How to measure."""

    directory: Path
    cores: Cores
    seconds: float  # one round
    rounds: int
    quick: bool
    say: Callable[[str], None]


class Measured(msgspec.Struct, frozen=True):
    """What a row found: the median, least and most of its rounds."""

    value: float
    low: float
    high: float
    detail: str
    counts: bool = True  # false if it was too small to be held against the target
    rounds: list[dict[str, float]] = []


class Row(msgspec.Struct, frozen=True):
    """One line of the table."""

    name: str
    title: str
    unit: str
    run: Callable[[Bench], Measured]
    at_least: float | None = None
    below: float | None = None

    @property
    def target(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:,g}"
        return f"< {self.below:,g}" if self.below is not None else ""

    def met(self, found: Measured) -> bool | None:
        """Whether the target is met; None where there is none."""
        if not found.counts:
            return None
        if self.at_least is not None:
            return found.value >= self.at_least
        return found.value < self.below if self.below is not None else None


# -- appends ---------------------------------------------------------------------------------------


def singles(bench: Bench) -> Measured:
    return _against_floor(bench, connections=64, events=1, data_bytes=DATA_BYTES, streams=256)


def commits(bench: Bench) -> Measured:
    return _against_floor(
        bench, connections=4, events=COMMIT_EVENTS, data_bytes=DATA_BYTES, streams=4
    )


def commits_parsed(bench: Bench) -> Measured:
    return _against_floor(
        bench,
        parse=True,
        connections=4,
        events=COMMIT_EVENTS,
        data_bytes=DATA_BYTES,
        streams=4,
    )


class _Round(msgspec.Struct, frozen=True):
    """One round at one server."""

    result: Result
    cpu_us: float  # of the server's processor time for each event; 0 if that can't be read


def _against_floor(bench: Bench, *, parse: bool = False, **shape: Any) -> Measured:
    with _room(bench) as directory, ExitStack() as stack:
        low = stack.enter_context(floor(directory, bench.cores.server, parse=parse))
        low.ready("/", 201)
        node = stack.enter_context(nodes(directory, ["north"], bench.cores.server)[0]).ready()
        floors: list[_Round] = []
        mine: list[_Round] = []
        for number in _counted(bench, "floor and node"):
            turns = [(low, floors), (node, mine)]
            for server, rounds in turns if number % 2 == 0 else reversed(turns):
                rounds.append(_round(bench, server, shape))
    pairs = list(zip(floors, mine, strict=True))
    ratios = [
        of_node.result.events_per_second / of_floor.result.events_per_second
        for of_floor, of_node in pairs
    ]
    return Measured(
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        f"floor {_middle(floors)}; node {_middle(mine)}"
        + _load_busy([one.result for one in floors + mine]),
        rounds=[
            {
                "floor_events_per_second": of_floor.result.events_per_second,
                "floor_p50_ms": of_floor.result.ms.p50,
                "floor_cpu_us": of_floor.cpu_us,
                "node_events_per_second": of_node.result.events_per_second,
                "node_p50_ms": of_node.result.ms.p50,
                "node_p99_ms": of_node.result.ms.p99,
                "node_cpu_us": of_node.cpu_us,
            }
            for of_floor, of_node in pairs
        ],
    )


def _round(bench: Bench, server: Server, shape: dict[str, Any]) -> _Round:
    before = server.cpu_seconds()
    found = load(
        server, bench.cores, "append", warmup=WARMUP_SECONDS, seconds=bench.seconds, **shape
    )
    used = server.cpu_seconds() - before
    return _Round(found, used * 1e6 / (found.in_all * found.events / found.answers))


def _middle(rounds: Sequence[_Round]) -> str:
    per_second = statistics.median(one.result.events_per_second for one in rounds)
    p50 = statistics.median(one.result.ms.p50 for one in rounds)
    p99 = statistics.median(one.result.ms.p99 for one in rounds)
    cpu = statistics.median(one.cpu_us for one in rounds)
    times = f"p50 {p50:.1f}, p99 {p99:.1f} ms"
    return f"{per_second:,.0f} events/s ({times}, processor {cpu:.3g} us an event)"


def _load_busy(results: Sequence[Result]) -> str:
    busiest = max(result.cpu for result in results)
    return f"; the load used {busiest:.0%} of its core: a lower bound" if busiest > BUSY else ""


# -- reads -----------------------------------------------------------------------------------------


def read_commits(bench: Bench) -> Measured:
    return _read(bench, commit_events=COMMIT_EVENTS, events=100_000)


def read_commits_4(bench: Bench) -> Measured:
    return _read(bench, commit_events=COMMIT_EVENTS, events=100_000, connections=4)


def read_singles(bench: Bench) -> Measured:
    return _read(bench, commit_events=1, events=20_000 if bench.quick else 100_000)


def _read(bench: Bench, *, commit_events: int, events: int, connections: int = 1) -> Measured:
    with _room(bench) as directory, nodes(directory, ["north"], bench.cores.server)[0] as node:
        node.ready()
        bench.say(f"writes {events:,} events")
        _fill(bench, node, commits=events // commit_events, events=commit_events)
        wait_settled(node, "s0", events)
        results = []
        for number in _counted(bench, "reads", extra=1):
            found = load(
                node,
                bench.cores,
                "read",
                stream="s0",
                events=events,
                connections=connections,
                seconds=bench.seconds,
            )
            if found.events != found.answers * COMMIT_EVENTS:
                raise CannotMeasure(
                    f"{found.answers} pages had {found.events} lines instead of "
                    f"{COMMIT_EVENTS} each"
                )
            if number > 0:  # the first fills the caches
                results.append(found)
    speeds = [result.events_per_second for result in results]
    mib = statistics.median(result.mib_per_second for result in results)
    page = statistics.median(result.ms.p50 for result in results)
    return Measured(
        statistics.median(speeds),
        min(speeds),
        max(speeds),
        f"{events:,} events, {mib:.0f} MiB/s, a page in {page:.1f} ms" + _load_busy(results),
        rounds=[
            {"events_per_second": one.events_per_second, "page_p50_ms": one.ms.p50, "cpu": one.cpu}
            for one in results
        ],
    )


def _fill(
    bench: Bench,
    node: Server,
    *,
    commits: int,
    events: int,
    data_bytes: int = DATA_BYTES,
    streams: int = 1,
) -> Result:
    found = load(
        node,
        bench.cores,
        "append",
        requests=commits,
        events=events,
        data_bytes=data_bytes,
        streams=streams,
        connections=64 if events == 1 else 4,
    )
    if found.answers != commits:
        raise CannotMeasure(f"{found.answers} of {commits} commits were answered")
    return found


class _Event(msgspec.Struct):
    revision: int
    settled: bool


class _Page(msgspec.Struct):
    events: list[_Event]


def wait_settled(node: Server, stream: str, events: int) -> None:
    """Wait until the last event of a stream is settled."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        path = f"/v1/streams/{stream}/events?from={events - 1}&limit=2&read=settled"
        status, body = ask(node.port, path)
        if status == 200:
            page = msgspec.json.decode(body, type=_Page)
            if len(page.events) == 1 and page.events[0].revision == events - 1:
                return
        node.check()
        time.sleep(POLL_SECONDS)
    raise CannotMeasure(f"{stream} has not settled within {SETTLE_SECONDS:.0f} s")


# -- memory ----------------------------------------------------------------------------------------


def idle_memory(bench: Bench) -> Measured:
    with _room(bench) as directory, nodes(directory, ["north"], bench.cores.server)[0] as node:
        node.ready()
        found = []
        for _ in _counted(bench, "looks at the memory"):
            time.sleep(IDLE_SECONDS / bench.rounds)
            found.append(node.rss_mib())
    return Measured(
        found[-1], min(found), max(found), f"{IDLE_SECONDS:.0f} s after it was ready, empty"
    )


def memory(bench: Bench) -> Measured:
    """RSS while 5 million events are written, in commits of 1000, and after."""
    many = 500 if bench.quick else 5000
    streams = 100
    steps = 10
    with _room(bench) as directory, nodes(directory, ["north"], bench.cores.server)[0] as node:
        node.ready()
        found, results = [node.rss_mib()], []
        for step in range(steps):
            bench.say(f"writes, {step + 1} of {steps}")
            results.append(
                _fill(
                    bench,
                    node,
                    commits=many // steps,
                    events=COMMIT_EVENTS,
                    data_bytes=SMALL_BYTES,
                    streams=streams,
                )
            )
            found.append(node.rss_mib())
        # Each step writes to the streams in turn, from the first on.
        commits_of_first = steps * -(-(many // steps) // streams)
        wait_settled(node, "s0", commits_of_first * COMMIT_EVENTS)
        time.sleep(IDLE_SECONDS)
        found.append(node.rss_mib())
        size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    speed = statistics.median(result.events_per_second for result in results)
    return Measured(
        found[-1],
        min(found),
        max(found),
        f"{many:,} commits of {COMMIT_EVENTS:,} events with {SMALL_BYTES} bytes of data in "
        f"{streams} streams at {speed:,.0f} events/s; {size / (1 << 20):,.0f} MiB on disk"
        + ("; a tenth of what the target says" if bench.quick else ""),
        counts=not bench.quick,
        rounds=[{"rss_mib": each} for each in found],
    )


# -- three nodes -----------------------------------------------------------------------------------


def settled(bench: Bench) -> Measured:
    return _settled(bench, connections=1)


def settled_16(bench: Bench) -> Measured:
    return _settled(bench, connections=16)


def _settled(bench: Bench, *, connections: int) -> Measured:
    with _room(bench) as directory, ExitStack() as stack:
        cluster = [stack.enter_context(node) for node in nodes(directory, SITES)]
        for node in cluster:
            node.ready()
        bench.say("waits until the three settle")
        _until_it_settles(bench, cluster[0])
        results = [
            load(
                cluster[number % len(cluster)],
                bench.cores,
                "append",
                spread=True,
                ack="settled",
                connections=connections,
                warmup=WARMUP_SECONDS,
                seconds=bench.seconds,
                data_bytes=DATA_BYTES,
            )
            for number in _counted(bench, "appends at each node in turn")
        ]
    p50 = [result.ms.p50 for result in results]
    p99 = [result.ms.p99 for result in results]
    speed = statistics.median(result.answers_per_second for result in results)
    return Measured(
        statistics.median(p50),
        min(p50),
        max(p50),
        f"p99 {statistics.median(p99):.1f} ms ({min(p99):.1f} to {max(p99):.1f}), "
        f"{speed:,.0f} appends/s; nodes and load share all cores",
        rounds=[
            {
                "p50_ms": result.ms.p50,
                "p99_ms": result.ms.p99,
                "max_ms": result.ms.max,
                "appends_per_second": result.answers_per_second,
            }
            for result in results
        ],
    )


def _until_it_settles(bench: Bench, node: Server) -> None:
    """Append until an append is answered as settled: the links are up by then."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            load(node, bench.cores, "append", spread=True, ack="settled", requests=1)
        except CannotMeasure:
            node.check()
            if time.monotonic() > deadline:
                raise
        else:
            return


# -- helpers of all --------------------------------------------------------------------------------


@contextmanager
def _room(bench: Bench) -> Iterator[Path]:
    """A directory of its own for one row."""
    directory = bench.directory / "row"
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _counted(bench: Bench, what: str, *, extra: int = 0) -> Iterator[int]:
    for number in range(bench.rounds + extra):
        bench.say(f"{what}, round {number + 1} of {bench.rounds + extra}")
        yield number


ROWS: Final = (
    Row(
        "singles",
        "single-event appends (256 bytes), 64 connections: node / floor",
        "of the floor",
        singles,
        at_least=0.4,
    ),
    Row(
        "commits",
        "1000-event NDJSON commits, 4 connections: node / floor",
        "of the floor",
        commits,
        at_least=0.3,
    ),
    Row(
        "commits-parsed",
        "the same against a floor that also parses every line",
        "of the floor",
        commits_parsed,
    ),
    Row(
        "read",
        "settled stream as NDJSON, written in commits of 1000, 1 reader",
        "events/s",
        read_commits,
        at_least=300_000,
    ),
    Row("read-4", "the same with 4 readers", "events/s", read_commits_4),
    Row(
        "read-singles",
        "the same, 1 reader, written one event a commit",
        "events/s",
        read_singles,
    ),
    Row("idle-memory", "memory of an idle node", "MiB", idle_memory, below=80),
    Row("memory", "memory after 5 million events", "MiB", memory, below=300),
    Row(
        "settled",
        "three nodes, ack=settled, 1 connection: p50",
        "ms",
        settled,
        below=10,
    ),
    Row("settled-16", "the same with 16 connections: p50", "ms", settled_16),
)
