"""Random schedules: what clients ask for and what goes wrong meanwhile, all from one seed.

Each seed draws its own profile first: how many nodes, how slow the network and the disks, how
small the bounds, and which kinds of trouble there are. Then steps are drawn until the trouble ends,
everything is healed and started, and all has to settle within a bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random as Generator
from unittest.mock import patch

from anabranch.gossip.outbox import Outbox
from anabranch.node.config import Tuning
from anabranch.simulations.loop import run
from anabranch.storage.commit import (
    EXPECT_ANY,
    EXPECT_EXISTS,
    EXPECT_NONE,
    KEEP,
    REJECT,
    Draft,
    keyed_commit_id,
    listed_commit_id,
    shard_of,
)
from anabranch.storage.limits import DISK_RESERVE_BYTES

from .checkers import violations
from .history import History
from .watched import WatchedWorld

SHAPES: dict[int, list[tuple[str, int]]] = {
    1: [("ny", 1)],
    2: [("ny", 1), ("lon", 1)],
    3: [("ny", 1), ("lon", 1), ("tok", 1)],
    4: [("ny", 2), ("lon", 1), ("tok", 1)],
    5: [("ny", 2), ("lon", 2), ("tok", 1)],
}
CONVERGE_SECONDS = 25.0  # after the heal: connecting, pulling in small steps, settling
ACK_SECONDS = 4.0
ROOM_BYTES = 1 << 40


@dataclass(frozen=True)
class Bounds:
    """Numbers that production has large; small ones bring their edges into reach."""

    push_bytes: int
    pull_bytes: int
    pull_logs: int
    promises: int
    settle_batch: int
    roots: int
    streams: int
    compress_above_bytes: int


@dataclass(frozen=True)
class Profile:
    """What one seed is like."""

    nodes: int
    shards: int
    tuning: Tuning
    bounds: Bounds
    latency_seconds: float
    sync_seconds: float
    clock_ms: int  # no clock is further off than this; up to 150 all is within bounds
    ragged_start: bool
    steps: int
    pause_seconds: float
    weights: dict[str, int]


def profile_of(seed: int) -> Profile:
    """The profile that a seed draws."""
    luck = Generator(f"profile {seed}")
    troubles = {
        "cut_group": luck.choice([0, 1, 2]),
        "cut_pair": luck.choice([0, 1, 2]),
        "cut_one_way": luck.choice([0, 1]),
        "heal": 2,
        "drill": luck.choice([0, 0, 1]),
        "crash": luck.choice([0, 1, 3]),
        "write_and_crash": luck.choice([0, 1, 2]),
        "fail_disk": luck.choice([0, 0, 1]),
        "fill_disk": luck.choice([0, 0, 1]),
        "stop": luck.choice([0, 0, 1]),
        "start": 3,
        "flush": luck.choice([0, 1, 3]),
        "set_clock": luck.choice([0, 1]),
        "read": 1,
    }
    return Profile(
        nodes=luck.choice([1, 2, 3, 3, 3, 3, 3, 4, 5]),
        shards=luck.choice([1, 2, 4]),
        tuning=Tuning(
            heartbeat_seconds=luck.choice([0.05, 0.1, 0.3]),
            segment_bytes=luck.choice([700, 3_000, 20_000]),
            push_window_bytes=luck.choice([600, 4_000, 100_000]),
        ),
        bounds=Bounds(
            push_bytes=luck.choice([300, 2_000, 100_000]),
            pull_bytes=luck.choice([300, 2_000, 100_000]),
            pull_logs=luck.choice([1, 3, 256]),
            promises=luck.choice([2, 5, 64]),
            settle_batch=luck.choice([1, 3, 512]),
            roots=luck.choice([2, 256]),
            streams=luck.choice([1, 1000]),
            compress_above_bytes=luck.choice([100, 4096]),
        ),
        latency_seconds=luck.choice([0.001, 0.01, 0.03, 0.08]),
        sync_seconds=luck.choice([0.0003, 0.003, 0.02]),
        clock_ms=luck.choice([0, 20, 150, 150, 3000]),
        ragged_start=luck.random() < 0.3,
        steps=luck.randint(15, 60),
        pause_seconds=luck.choice([0.01, 0.05, 0.2]),
        weights={"write": luck.choice([5, 10, 20]), **troubles},
    )


@contextmanager
def small(bounds: Bounds) -> Iterator[None]:
    """Run with other bounds than those of storage/limits.py."""
    with ExitStack() as patches:
        for name, value in {
            "gossip.peer.PULL_BYTES_MAX": bounds.pull_bytes,
            "gossip.peer.PULL_LOGS_MAX": bounds.pull_logs,
            "gossip.settlement.PROMISES_KEPT_MAX": bounds.promises,
            "gossip.wire.COMPRESS_ABOVE_BYTES": bounds.compress_above_bytes,
            "node.history.SETTLED_ROOTS_KEPT": bounds.roots,
            "node.history.STREAMS_CACHED_MAX": bounds.streams,
            "node.recovery._SETTLED_AT_ONCE": bounds.settle_batch,
            "node.settler.SETTLE_BATCH_COMMITS": bounds.settle_batch,
        }.items():
            patches.enter_context(patch(f"anabranch.{name}", value))
        patches.enter_context(patch.object(Outbox.batch, "__defaults__", (bounds.push_bytes,)))
        yield


class Workload:
    """One run of one seed."""

    def __init__(self, seed: int, profile: Profile) -> None:
        self.profile = profile
        self.luck = Generator(f"workload {seed}")
        self.world = WatchedWorld(
            seed, SHAPES[profile.nodes], shards=profile.shards, tuning=profile.tuning
        )
        self.world.network.latency_seconds = profile.latency_seconds
        for disk in self.world.disks.values():
            disk.sync_seconds = profile.sync_seconds
            disk.capacity_bytes = ROOM_BYTES
        self.waiting: list[asyncio.Task[None]] = []
        self.drafts: list[Draft] = []
        self.number = 0

    async def run(self) -> History:
        """Trouble, then peace; what happened."""
        world, history = self.world, self.world.history
        for name in world.names:
            self._set_clock(name)
        if self.profile.ragged_start:
            await self._start_in_trouble()
        else:
            await world.start()
        for _ in range(self.profile.steps):
            await self._step()
            await asyncio.sleep(self.luck.expovariate(1 / self.profile.pause_seconds))
        await self._heal_everything()
        await asyncio.gather(*self.waiting)
        try:
            await world.until_settled(CONVERGE_SECONDS + 2 * self.profile.clock_ms / 1000)
        except TimeoutError as error:
            history.unsettled = str(error)
        world.finish()
        await world.stop()
        return history

    async def _start_in_trouble(self) -> None:
        """Let nodes meet one after the other, and not all of them."""
        for name in self.luck.sample(self.world.names, len(self.world.names)):
            await self.luck.choice([self.cut_pair, self.cut_one_way, self.cut_group, self.heal])()
            await self.world.start(name)
            await self.write()
            await asyncio.sleep(self.luck.expovariate(1 / self.profile.pause_seconds))

    async def _heal_everything(self) -> None:
        world = self.world
        world.network.heal()
        for disk in world.disks.values():
            disk.capacity_bytes = ROOM_BYTES
        for name in world.names:
            if name not in world.nodes:
                await self._start(name)
        if self.profile.clock_ms > 150:
            for clock in world.clocks.values():
                clock.offset_ms = 0

    async def _step(self) -> None:
        actions: dict[str, Callable[[], Awaitable[None]]] = {
            "write": self.write,
            "cut_group": self.cut_group,
            "cut_pair": self.cut_pair,
            "cut_one_way": self.cut_one_way,
            "drill": self.drill,
            "heal": self.heal,
            "crash": self.crash,
            "write_and_crash": self.write_and_crash,
            "fail_disk": self.fail_disk,
            "fill_disk": self.fill_disk,
            "stop": self.stop,
            "start": self.start,
            "flush": self.flush,
            "set_clock": self.set_clock,
            "read": self.read,
        }
        weights = self.profile.weights
        (action,) = self.luck.choices(list(weights), list(weights.values()))
        await actions[action]()

    # -- clients ---------------------------------------------------------------------------------

    async def write(self) -> None:
        """Some appends at once, at any nodes that are up."""
        for _ in range(self.luck.choice([1, 1, 2, 4, 8])):
            self._append(self._draft())
        if self.luck.random() < 0.3:
            self._contest()

    def _append(self, draft: Draft, name: str | None = None) -> None:
        up = sorted(self.world.nodes)
        if up:
            name = name or self.luck.choice(up)
            ack = self.luck.choice(["local", "local", "settled"])
            self.drafts.append(draft)
            self.waiting.append(self.world.append(name, draft, ack, ACK_SECONDS))

    def _draft(self) -> Draft:
        kinds = [self._plain, self._plain, self._keyed, self._listed, self._conditional]
        if self.luck.random() < 0.06:
            kinds = [self._astray]
        if self.drafts and self.luck.random() < 0.25:
            return self.luck.choice(self.drafts)  # a retry, most likely at another node
        return self.luck.choice(kinds)()

    def _make(self, stream: str, body: str, commit_id: bytes, **options: int) -> Draft:
        size = self.luck.choice([0, 10, 10, 100, 1000])
        count = self.luck.choice([1, 1, 1, 3])
        payloads = [f"{body} {n} ".encode() + bytes(size) for n in range(count)]
        return Draft(stream, ["t"], payloads, commit_id=commit_id, **options)

    def _stream(self) -> str:
        return f"s{self.luck.randrange(4)}"

    def _unique(self) -> str:
        self.number += 1
        return str(self.number)

    def _plain(self) -> Draft:
        return self._make(self._stream(), self._unique(), self.luck.randbytes(16))

    def _keyed(self) -> Draft:
        """An idempotency key out of few, so that it comes at several nodes, with one body."""
        stream, key = self._stream(), f"key {self.luck.randrange(12)}"
        body = key if self.luck.random() < 0.9 else f"{key}, another body {self._unique()}"
        draft_id = keyed_commit_id(stream, key)
        return Draft(stream, ["t"], [body.encode()], commit_id=draft_id)

    def _listed(self) -> Draft:
        """Events with their own ids, out of few."""
        stream, number = self._stream(), self.luck.randrange(8)
        ids = number.to_bytes(16, "big") + (number + 100).to_bytes(16, "big")
        bodies = [b"listed %d" % number, b"and more"]
        draft_id = listed_commit_id(stream, ids)
        return Draft(stream, ["a", "b"], bodies, commit_id=draft_id, ids=ids)

    def _astray(self) -> Draft:
        """A commit id that comes again for another stream of the same shard."""
        stream = f"{{astray}} {self.luck.randrange(3)}"
        commit_id = self.luck.randrange(4).to_bytes(16, "big")
        return Draft(stream, ["t"], [f"astray {stream}".encode()], commit_id=commit_id)

    def _conditional(self) -> Draft:
        stream = f"c{self.luck.randrange(3)}"
        up = sorted(self.world.nodes)
        if not up:
            return self._plain()
        node = self.world.nodes[self.luck.choice(up)]
        seen = node.history.last_revision(stream, shard_of(stream, self.profile.shards))
        expected = self.luck.choice([seen, seen, seen, EXPECT_EXISTS, EXPECT_ANY, EXPECT_NONE])
        return self._make(
            stream,
            self._unique(),
            self.luck.randbytes(16),
            expected=expected,
            policy=self.luck.choice([REJECT, KEEP]),
        )

    def _contest(self) -> None:
        """Several appends that expect the same of a new stream, each at a node of its own."""
        stream = f"contest {self._unique()}"
        for name in sorted(self.world.nodes):
            if self.luck.random() < 0.7:
                draft = self._make(
                    stream,
                    f"by {name}",
                    self.luck.randbytes(16),
                    expected=EXPECT_NONE,
                    policy=self.luck.choice([REJECT, KEEP]),
                )
                self._append(draft, name)

    async def read(self) -> None:
        """Note all that some node shows as settled."""
        if self.world.nodes:
            self.world.note_prefixes(self.luck.choice(sorted(self.world.nodes)), "read")

    # -- trouble ---------------------------------------------------------------------------------

    async def cut_group(self) -> None:
        """Cut some nodes off from all others."""
        count = self.luck.randint(0, len(self.world.names) - 1)
        side = set(self.luck.sample(self.world.names, count))
        self.world.cut_off(side, reset=self.luck.random() < 0.5)

    async def cut_pair(self) -> None:
        """Cut the links between two nodes; others still reach both."""
        if len(self.world.names) > 1:
            here, there = self.luck.sample(self.world.names, 2)
            reset = self.luck.random() < 0.5
            self.world.network.cut(here, there, reset=reset)
            self.world.network.cut(there, here, reset=reset)

    async def cut_one_way(self) -> None:
        """Let one node's frames to another vanish."""
        if len(self.world.names) > 1:
            here, there = self.luck.sample(self.world.names, 2)
            self.world.network.cut(here, there)

    async def drill(self) -> None:
        """Let a node break its own links for a while."""
        if self.world.nodes:
            name = self.luck.choice(sorted(self.world.nodes))
            others = [other for other in self.world.names if other != name]
            cut = self.luck.sample(others, self.luck.randint(0, len(others)))
            self.world.nodes[name].replication.cut(cut, self.luck.choice([0.0, 0.5, 2.0]))

    async def heal(self) -> None:
        """Let all frames pass again."""
        self.world.network.heal()

    async def crash(self) -> None:
        """Lose a node's memory and what its disk had not confirmed."""
        if self.world.nodes:
            await self.world.crash(self.luck.choice(sorted(self.world.nodes)))

    async def write_and_crash(self) -> None:
        """Crash a node that has just been given something to write."""
        if self.world.nodes:
            name = self.luck.choice(sorted(self.world.nodes))
            for _ in range(self.luck.choice([1, 3])):
                self._append(self._draft(), name)
            disk, latency = self.profile.sync_seconds, self.profile.latency_seconds
            await asyncio.sleep(self.luck.uniform(0, 2) * self.luck.choice([disk, disk + latency]))
            await self.world.crash(name)
            if self.luck.random() < 0.5:
                await self._start(name)
                self._append(self._draft(), name)

    async def fail_disk(self) -> None:
        """Let a disk confirm nothing any more: its node has to end, and comes back with it."""
        if self.world.nodes:
            name = self.luck.choice(sorted(self.world.nodes))
            disk = self.world.disks[name]
            disk.failing_syncs = True
            self._append(self._draft(), name)
            await asyncio.sleep(self.luck.uniform(0, 3) * self.profile.sync_seconds)
            await self.world.crash(name)
            disk.failing_syncs = False

    async def fill_disk(self) -> None:
        """Leave a disk no room but what is kept for promises, or give it room again."""
        disk = self.world.disks[self.luck.choice(self.world.names)]
        if disk.capacity_bytes == ROOM_BYTES:
            disk.capacity_bytes = ROOM_BYTES - disk.free() + DISK_RESERVE_BYTES - 1
        else:
            disk.capacity_bytes = ROOM_BYTES

    async def stop(self) -> None:
        """End a node in order."""
        if self.world.nodes:
            await self.world.stop_one(self.luck.choice(sorted(self.world.nodes)))

    async def start(self) -> None:
        """Start a node that is down."""
        down = sorted(set(self.world.names) - set(self.world.nodes))
        if down:
            await self._start(self.luck.choice(down))

    async def _start(self, name: str) -> None:
        if self.luck.random() < 0.2:
            self.world.lose_index(name)
        if self.luck.random() < 0.5:
            self._set_clock(name)
        await self.world.start(name)

    async def flush(self) -> None:
        """Let a node's index survive the next crash as it is now."""
        if self.world.nodes:
            self.world.flush_index(self.luck.choice(sorted(self.world.nodes)))

    async def set_clock(self) -> None:
        """Set a node's wall clock, forwards or back."""
        self._set_clock(self.luck.choice(self.world.names))

    def _set_clock(self, name: str) -> None:
        bound = self.profile.clock_ms
        self.world.clocks[name].offset_ms = self.luck.randint(-bound, bound)


@dataclass(frozen=True)
class Outcome:
    """What came of one seed."""

    seed: int
    profile: Profile
    history: History
    trace: str
    violations: list[str]


def run_seed(seed: int, profile: Profile | None = None) -> Outcome:
    """Run a seed and check all that happened."""
    profile = profile or profile_of(seed)

    async def main() -> tuple[History, str]:
        workload = Workload(seed, profile)
        history = await workload.run()
        return history, workload.world.trace.hex

    with small(profile.bounds):
        history, trace = run(main())
    return Outcome(seed, profile, history, trace, violations(history))
