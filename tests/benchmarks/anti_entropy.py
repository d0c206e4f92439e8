"""What comparing and healing costs: bytes of the frames in both directions, and seconds.

The frames go over no link: the seconds are those that both sides take on this machine. Only the
tail crosses a simulated link, so there are two times, and that of the simulation is one a user has.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import time
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Final

import zstandard

from anabranch.gossip.frontier import LogKey
from anabranch.gossip.messages import Body, Give, Message, Pull, Sender
from anabranch.gossip.session import Differs, Session, reply
from anabranch.gossip.wire import sum_of, to_frame
from anabranch.node.trees import Trees
from anabranch.simulations.world.loop import run
from anabranch.simulations.world.world import World
from anabranch.storage import keys
from anabranch.storage.index import MemoryIndex
from anabranch.storage.limits import BLOCK_BYTES, KIB, PULL_BYTES_MAX, SHARDS_DEFAULT
from anabranch.storage.record import HEADER_BYTES
from anabranch.storage.stamp import stamp_of
from anabranch.tests.benchmarks.recordings import BEGAN_MS, bodies, drafts, orders
from anabranch.tests.benchmarks.rows import Bench, Measured, Row

ORIGINS: Final = (11, 22, 33)
COMMITS: Final = 1_000_000
TAIL_COMMITS: Final = 100_000
HEAL_BYTES: Final = 64 * KIB
SENDER: Final = Sender(7, 1 << 63, 1 << 40, BEGAN_MS)  # as long as they get
GATHERED: Final = 200  # appends at once


class Shelf(MemoryIndex):
    """The settled commits of a node, each log's in order, as its index has them."""

    def __init__(self, leaves: dict[LogKey, list[bytes]]) -> None:
        super().__init__()
        self.leaves = leaves
        sizes = {log: len(of_log) for log, of_log in leaves.items()}
        self.trees = Trees(self, SHARDS_DEFAULT, self.leaf, sizes)
        for log, of_log in leaves.items():
            for seq, leaf in enumerate(of_log, 1):
                self.trees.append(log, seq, leaf)
            self.write(self.trees.take_unwritten())
        self.until = stamp_of(BEGAN_MS) + max(sizes.values())
        self.trees.settled_until = lambda: self.until

    def leaf(self, log: LogKey, seq: int) -> bytes:
        return self.leaves[log][seq - 1]

    def get(self, key: bytes) -> bytes | None:
        if key[:1] != b"q":
            return super().get(key)
        shard, origin, seq = keys.log_of(key)
        order = keys.order_key((stamp_of(BEGAN_MS) + seq, 0, origin))
        return keys.log_value(order, self.leaf((shard, origin), seq))


def leaves_of(count: int) -> dict[LogKey, list[bytes]]:
    logs = [(shard, origin) for shard in range(SHARDS_DEFAULT) for origin in ORIGINS]
    found: dict[LogKey, list[bytes]] = {log: [] for log in logs}
    for number in range(count):
        found[logs[number % len(logs)]].append(hashlib.sha256(b"%d" % number).digest())
    return found


class Wire:
    """A link that counts."""

    def __init__(self) -> None:
        self.sums = [0, 0]
        self.bytes = 0

    def send(self, body: Body, way: int) -> None:
        frame = to_frame(Message(SENDER, body), self.sums[way])
        self.sums[way] = sum_of(frame)
        self.bytes += len(frame)


def compared(mine: Shelf, theirs: Shelf, wire: Wire) -> Session:
    """A comparison of two nodes from beginning to end."""
    session = Session(mine.trees, mine.until)
    while (question := session.question()) is not None:
        answer = reply(theirs.trees, question)
        wire.send(question, 0)
        wire.send(answer, 1)
        session.learn(answer)
    return session


def idle(bench: Bench) -> Measured:
    """Bytes of a comparison of two nodes that hold the same."""
    bench.say("makes the trees")
    mine, theirs = (Shelf(leaves_of(10_000)) for _ in range(2))
    rounds = []
    for _ in range(bench.rounds):  # the last node of the trees is worked out in the first only
        wire, began = Wire(), time.perf_counter()
        session = compared(mine, theirs, wire)
        rounds.append(_costs(wire, began))
        assert not session.found
    sizes, seconds = [one["bytes"] for one in rounds], [one["seconds"] for one in rounds]
    detail = (
        f"{session.rounds} question and its answer, {wire.bytes} bytes: "
        f"{seconds[0] * 1000:.1f} ms the first time, then {seconds[-1] * 1000:.2f} ms"
    )
    return Measured(statistics.median(sizes), min(sizes), max(sizes), detail, rounds=rounds)


def _costs(wire: Wire, began: float) -> dict[str, float]:
    """What has gone over a wire, and the seconds since."""
    return {"bytes": float(wire.bytes), "seconds": time.perf_counter() - began}


def one(bench: Bench) -> Measured:
    """Bytes to find one commit that differs among many, and to heal it."""
    count = COMMITS // (10 if bench.quick else 1)
    bench.say(f"makes two trees of {count:,} commits")
    leaves = leaves_of(count)
    theirs, log, seq = Shelf(leaves), (17, 22), count // len(leaves) // 2
    wrong = {**leaves, log: [*leaves[log]]}
    wrong[log][seq - 1] = bytes(32)
    mine, wire = Shelf(wrong), Wire()
    began = time.perf_counter()
    session = compared(mine, theirs, wire)
    finding = _costs(wire, began)
    assert session.found == [Differs(*log, seq)]
    commits = list(bodies(orders(), 1))
    began = time.perf_counter() - finding["seconds"]
    heal(wire, [(*log, seq - 1, seq)], commits)
    both = _costs(wire, began)
    detail = (
        f"{count:,} commits in {len(leaves)} logs: {session.rounds} questions, "
        f"{finding['bytes']:,.0f} bytes and {finding['seconds'] * 1000:.1f} ms to find it; with "
        f"healing it {both['bytes']:,.0f} bytes and {both['seconds'] * 1000:.1f} ms"
    )
    size = both["bytes"]
    return Measured(size, size, size, detail, counts=not bench.quick, rounds=[both])


def block(_: Bench) -> Measured:
    """Bytes to heal what one flipped bit in a sealed segment takes; its node finds it alone."""
    commits, wire = list(_of_a_block(bodies(orders(), 2000))), Wire()
    began = time.perf_counter()
    heal(wire, [(17, 22, 0, len(commits))], commits)
    costs = _costs(wire, began)
    detail = (
        f"{len(commits):,} commits, one event each: {costs['bytes']:,.0f} bytes, "
        f"{costs['seconds'] * 1000:.1f} ms for the frames"
    )
    return Measured(*3 * (costs["bytes"],), detail, rounds=[costs])


def heal(wire: Wire, rows: list[tuple[int, int, int, int]], commits: list[bytes]) -> None:
    """A pull and what it is answered with."""
    wire.send(Pull(rows, PULL_BYTES_MAX), 0)
    wire.send(Give(commits), 1)


def _of_a_block(commits: list[bytes]) -> Iterator[bytes]:
    size = 0
    for body in commits:
        size += HEADER_BYTES + len(body)
        if size > BLOCK_BYTES:
            return
        yield body


def tail(bench: Bench) -> Measured:
    """Bytes to catch up with what another node has written, over their size compressed at once."""
    count = TAIL_COMMITS // (10 if bench.quick else 1)
    bench.say(f"appends {count:,} commits while the other node is down")
    return run(_caught_up(bench, count))


async def _caught_up(bench: Bench, count: int) -> Measured:
    world = World(1, [("ny", 1), ("lon", 1)], shards=SHARDS_DEFAULT)
    await world.start()
    await asyncio.sleep(1)
    await world.crash("lon1")
    node = world.nodes["ny1"]
    waiting = islice(drafts(cycle(list(orders()))), count)
    while gathered := list(islice(waiting, GATHERED)):
        await asyncio.gather(*(node.append(draft) for draft in gathered))
    commits = [
        node.history.body(position, length)
        for shard in range(SHARDS_DEFAULT)
        for _, position, length in node.history.log_entries(shard, node.store.origin, 0)
    ]
    packed = len(zstandard.ZstdCompressor(level=3).compress(b"".join(commits)))
    traffic = node.replication.traffic["lon1"]
    before = sum(traffic.sent.values()) + sum(traffic.received.values())
    bench.say("lets it catch up")
    loop = asyncio.get_running_loop()
    began, simulated = time.perf_counter(), loop.time()
    await world.start("lon1")
    await world.until_settled(600)
    seconds, simulated = time.perf_counter() - began, loop.time() - simulated
    size = sum(traffic.sent.values()) + sum(traffic.received.values()) - before
    raw = sum(map(len, commits))
    await world.stop()
    detail = (
        f"{count:,} commits, {raw:,} bytes, {packed:,} packed; {size:,} bytes sent; "
        f"{simulated:.1f} simulated seconds until all is settled, {seconds:.1f} s here "
        "for both nodes"
    )
    costs = {"bytes": float(size), "seconds": seconds, "simulated_seconds": simulated}
    return Measured(*3 * (size / packed,), detail, rounds=[costs])


ROWS: Final = (
    Row("session-idle", "a comparison of two equal nodes", "bytes", idle, below=200),
    Row("session-one", "one commit of 1,000,000 found, healed", "bytes", one, below=HEAL_BYTES),
    Row("session-block", "a damaged sealed block healed", "bytes", block, below=HEAL_BYTES),
    Row("session-tail", "100,000 commits caught up / compressed", "", tail, below=1.15),
)
