"""What the log costs: sealing, reading back, opening, and the trees."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import shutil
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Final

from anabranch.node.trees import Trees
from anabranch.storage.commit import Draft
from anabranch.storage.disk import FileDisk
from anabranch.storage.index import Index, MemoryIndex
from anabranch.storage.index_rocks import RocksIndex
from anabranch.storage.limits import MIB
from anabranch.storage.log import Log
from anabranch.storage.record import COMMIT
from anabranch.storage.sealer import Sealer
from anabranch.tests.benchmarks.recordings import bodies, orders, rails
from anabranch.tests.benchmarks.rows import Bench, Measured, Row
from anabranch.tests.node.lives import Life

GROUP: Final = 64  # commits that are written at once: as many clients, one event each
NOTED_EVERY: Final = 500
EVENT: Final = b'{"side":"bid","price":"236.47","volume":200000000,"taken_ms":%d}'
UNPACED: Final = float(1 << 50)


@contextmanager
def room(bench: Bench) -> Iterator[Path]:
    """A directory of its own for one measurement."""
    directory = bench.directory / "storage"
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def summed(values: list[float], detail: str) -> Measured:
    return Measured(statistics.median(values), min(values), max(values), detail)


# -- sealing ---------------------------------------------------------------------------------------


def opened(disk: FileDisk, segment_bytes: int) -> Log:
    log = Log(
        disk,
        opening_state=lambda: b"state",
        on_durable=lambda _: None,
        on_failure=print,
        segment_bytes=segment_bytes,
    )
    list(log.replay(0))
    return log


async def filled(disk: FileDisk, commits: Iterable[bytes], segment_bytes: int) -> Log:
    """A log of these commits whose last segment alone can't be sealed, and is small."""
    log = opened(disk, segment_bytes)
    log.start()
    for number, body in enumerate(commits, 1):
        log.append(COMMIT, body)
        if number % 1000 == 0:
            await log.wait_all()
    await log.wait_all()
    await log.close()
    log = opened(disk, 1)  # so that the next group begins a segment
    log.start()
    for _ in range(2):
        await log.wait(log.append(COMMIT, b"last"))
    return log


def seal(bench: Bench) -> Measured:
    """MiB of the log sealed in a second of one core, and what of the loop's time it takes."""
    size = (8 if bench.quick else 32) * MIB
    commits = list(bodies(orders()))
    count = size // (sum(map(len, commits)) // len(commits) + 32)

    async def sealed(directory: Path, *, paced: bool) -> tuple[float, float]:
        disk = FileDisk(directory)
        log = await filled(disk, islice(cycle(commits), count), 4 * MIB)
        sealer = Sealer(disk, log) if paced else Sealer(disk, log, bytes_per_second=UNPACED)
        began, used = time.perf_counter(), time.thread_time()
        await sealer.seal_all()
        used, elapsed = time.thread_time() - used, time.perf_counter() - began
        await log.close()
        disk.close()
        return size / MIB / (elapsed if not paced else used), used / elapsed

    speeds, shares = [], []
    for number in range(bench.rounds):
        bench.say(f"round {number + 1} of {bench.rounds}")
        with room(bench) as directory:
            speeds.append(asyncio.run(sealed(directory / "fast", paced=False))[0])
            shares.append(asyncio.run(sealed(directory / "paced", paced=True))[1])
    share = statistics.median(shares)
    detail = f"{size // MIB} MiB, all steps; at its usual pace {share:.0%} of the loop's time"
    return summed(speeds, detail)


def sealed_size(bench: Bench) -> Measured:
    """Bytes of sealed segments over those of the JSON that came in, one event a commit."""

    async def ratio(directory: Path, events: list[tuple[str, bytes]]) -> float:
        disk = FileDisk(directory)
        log = await filled(disk, bodies(events), 64 * MIB)
        await Sealer(disk, log, bytes_per_second=UNPACED).seal_all()
        await log.close()
        names = [name for name in disk.list("log") if name.endswith(".sealed")]
        stored = sum(disk.size(f"log/{name}") for name in names)
        disk.close()
        return stored / sum(len(body) for _, body in events)

    found = {}
    for name, source in (("orders", orders), ("rails", rails)):
        bench.say(name)
        events = list(islice(source(), 10_000 if bench.quick else None))
        if events:
            with room(bench) as directory:
                found[name] = asyncio.run(ratio(directory / name, events))
    worst = max(found.values())
    detail = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    return Measured(worst, min(found.values()), worst, detail)


# -- reading back ----------------------------------------------------------------------------------


async def lived(disk: FileDisk, index: Index, commits: int, events: int) -> Life:
    """A node that has settled so many commits, and noted it."""
    life = Life(disk, index)
    await life.start()
    number = 0
    for at in range(commits):
        payloads = [EVENT % (number + one) for one in range(events)]
        number += events
        draft = Draft(f"order-{at % 1000}", ["created"], payloads, commit_id=os.urandom(16))
        life.wall_ms += 1
        life.store.stamp(draft, life.wall_ms)
        if at % NOTED_EVERY == NOTED_EVERY - 1 or at == commits - 1:
            await life.durable()
            life.settle(life.store.promise(life.wall_ms))
            await life.note()
    return life


async def written(directory: Path, commits: int, events: int) -> None:
    """The same, and no index is left."""
    disk = FileDisk(directory)
    life = await lived(disk, MemoryIndex(), commits, events)
    await life.log.close()
    disk.close()


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def rebuild(bench: Bench) -> Measured:
    """Records read back into a new index in a second: the whole log, nothing kept."""
    speeds, scans, events = [], [], 0.0
    for count, each in ((100_000, 1), (2000, 100)):
        commits = count // (5 if bench.quick else 1)
        with room(bench) as directory:
            bench.say(f"writes {commits:,} commits of {each}")
            asyncio.run(written(directory / "data", commits, each))
            for number in range(bench.rounds):
                bench.say(f"commits of {each}, round {number + 1} of {bench.rounds}")
                speed, scan = _rebuilt(directory / "data", commits)
                if each == 1:
                    speeds.append(speed)
                    scans.append(scan)
                events = max(events, speed * each)
    detail = (
        f"commits of one event; {events:,.0f} events/s where 100 are one commit. Reading and "
        f"checking alone: {statistics.median(scans):,.0f} records/s. The rest is Python that runs "
        "once for each commit: its place in the fold, its four entries in the index, RocksDB"
    )
    return summed(speeds, detail)


def _rebuilt(directory: Path, commits: int) -> tuple[float, float]:
    disk = FileDisk(directory)
    scan = timed(lambda: opened(disk, 64 * MIB))
    disk.close()
    shutil.rmtree(directory / "index", ignore_errors=True)
    disk, index = FileDisk(directory), RocksIndex(directory / "index")
    whole = timed(lambda: Life(disk, index))
    index.close()
    disk.close()
    return commits / whole, commits / scan


def _fill_and_die(directory: Path, commits: int) -> None:
    async def fill() -> None:
        index = RocksIndex(directory / "index")
        await lived(FileDisk(directory), index, commits, 1)
        index.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(fill())


def open_again(bench: Bench) -> Measured:
    """Seconds until a node knows all again after kill -9, its index just flushed."""
    commits = 20_000 if bench.quick else 200_000
    with room(bench) as directory:
        bench.say(f"writes {commits:,} commits, and is killed")
        data = directory / "data"
        data.mkdir()
        process = multiprocessing.get_context("spawn").Process(
            target=_fill_and_die, args=(data, commits)
        )
        process.start()
        process.join()
        found, records = [], 0
        for _ in range(bench.rounds):
            began = time.perf_counter()
            disk, index = FileDisk(data), RocksIndex(data / "index")
            life = Life(disk, index)
            found.append(time.perf_counter() - began)
            records = life.recovered.records
            index.close()
            disk.close()
        size = sum(path.stat().st_size for path in (data / "log").iterdir()) / MIB
    return summed(found, f"{commits:,} commits, {size:.0f} MiB; {records:,} records read again")


# -- trees -----------------------------------------------------------------------------------------


def tree(bench: Bench) -> Measured:
    """Upkeep of the trees, as a share of an append through Store and Log on the disk."""
    commits = 10_000 if bench.quick else 50_000

    async def appended(directory: Path) -> float:
        disk, index = FileDisk(directory), RocksIndex(directory / "index")
        life = Life(disk, index)
        await life.start()
        drafts = [
            Draft(f"order-{at % 1000}", ["created"], [EVENT % at], commit_id=os.urandom(16))
            for at in range(commits)
        ]
        began = time.perf_counter()
        for number, draft in enumerate(drafts, 1):
            life.store.stamp(draft, life.wall_ms)
            if number % GROUP == 0:
                await life.durable()
        await life.durable()
        elapsed = time.perf_counter() - began
        await life.log.close()
        index.close()
        disk.close()
        return elapsed

    def kept(directory: Path) -> float:
        index = RocksIndex(directory / "index")
        trees = Trees(index, 2, lambda _, seq: None, {})
        leaves = [hashlib.sha256(b"%d" % at).digest() for at in range(commits)]
        began = time.perf_counter()
        for seq, leaf in enumerate(leaves, 1):
            trees.append((0, 1), seq, leaf)
            if seq % NOTED_EVERY == 0:
                index.write(trees.take_unwritten())
        elapsed = time.perf_counter() - began
        index.close()
        return elapsed

    shares, costs = [], []
    for number in range(bench.rounds):
        bench.say(f"round {number + 1} of {bench.rounds}")
        with room(bench) as directory:
            (directory / "trees").mkdir()
            upkeep = kept(directory / "trees")
            shares.append(upkeep / asyncio.run(appended(directory / "data")))
            costs.append(upkeep / commits * 1e6)
    cost = statistics.median(costs)
    detail = f"{cost:.1f} us a commit, entries in the index included; {GROUP} commits a sync"
    return summed(shares, detail)


ROWS: Final = (
    Row("seal", "segments sealed in the background", "MiB/s", seal),
    Row("sealed-size", "sealed segments / JSON that came in", "", sealed_size, below=0.35),
    Row("rebuild", "index rebuilt from the log", "records/s", rebuild, at_least=500_000),
    Row("open", "open after kill -9, index just flushed", "s", open_again),
    Row("tree", "upkeep of the trees / an append", "", tree, below=0.05),
)
