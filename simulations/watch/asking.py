"""What clients ask of nodes in a watched world, and what nodes have to answer whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from ...node.node import Node
from ...storage.commit import EXPECT_ANY, Draft, shard_of
from ...storage.errors import AnabranchError, DamagedLog, Unavailable, Unconfirmed
from ...storage.limits import DISK_RESERVE_BYTES
from ..history import Append, History, Probe
from ..world.clock import EPOCH_MS
from ..world.disk import SimDisk
from ..world.loop import VirtualLoop
from ..world.world import World
from .onlooker import Life, WatchedClock
from .trace import Trace

FULL_NOTICED_SECONDS = 0.6  # nodes look twice a second
LATE_SECONDS = 0.25  # after the time is up
SYNC_SECONDS_MAX = 0.1  # of a disk that has no excuse
_FOR_A_WHILE = frozenset({"DiskFull", "Overloaded", "Unavailable"})


class Asker:
    """Sends appends and probes, and writes down the answers."""

    def __init__(
        self,
        world: World,
        history: History,
        trace: Trace,
        lives: Mapping[str, Life],
        clocks: dict[str, WatchedClock],
        reason: Callable[[str], str | None],
    ) -> None:
        self._world = world
        self._history = history
        self._trace = trace
        self._lives = lives
        self._clocks = clocks
        self._reason = reason  # why a node is about to end
        self._loop = asyncio.get_running_loop()

    # -- appends ---------------------------------------------------------------------------------

    def append(self, name: str, draft: Draft, ack: str, timeout: float) -> asyncio.Task[None]:
        """Let a client append at a node; what comes of it goes into the history."""
        life = self._lives[name]
        done = Append(name, draft, ack, self._loop.time())
        self._history.appends.append(done)
        context = self._world.contexts[name].copy()  # a node that stands still answers nobody
        task = self._loop.create_task(self._append(life, done, timeout), context=context)
        life.appends[task] = done
        self._expect(life, task, timeout + LATE_SECONDS, 2)
        task.add_done_callback(lambda task: life.appends.pop(task, None))
        return task

    async def _append(self, life: Life, done: Append, timeout: float) -> None:
        done.revision = _revision_before(life.node, done.draft)
        try:
            done.receipt = await life.node.append(done.draft, ack=done.ack, timeout=timeout)
            self._judge_room(done)
        except asyncio.CancelledError:
            done.lost = done.lost or self._reason(life.name) or "cancelled"
            return
        except Unconfirmed:
            done.lost = "Unconfirmed"
            return
        except AnabranchError as error:
            done.error = type(error).__name__
            if isinstance(error, Unavailable) and life.node.ahead_text() is not None:
                self._history.marks.reach("the clock was ahead")
        except Exception as error:  # noqa: BLE001 - nothing else may come out of a node
            done.lost = f"raised {error!r}"
        done.ended = self._loop.time()
        self._trace.add(done.ended, done.node, done.receipt, done.error)

    def _judge_room(self, done: Append) -> None:
        """A disk that had no room for long when an append came can't have taken it."""
        disk = self._world.disks[done.node]
        full = disk.full_since is not None and done.began - disk.full_since > FULL_NOTICED_SECONDS
        full = full and disk.free() < DISK_RESERVE_BYTES  # a segment that was sealed makes room
        if done.receipt is not None and not done.receipt.duplicate:
            self._history.marks.always(not full, f"{done} was taken on a disk without room")

    def _expect(self, life: Life, task: asyncio.Task[None], seconds: float, times: int) -> None:
        """Look whether an append ends in time; what waits for its disk or stands still may not.

        Twice, since the time runs from when the commit is on disk.
        """

        def look() -> None:
            excused = life.node.log.backlog_bytes > 0 or is_paused(life.name)
            if excused or times > 1:
                self._expect(life, task, seconds, times if excused else times - 1)
            elif task in life.appends:
                life.appends[task].late = True

        timer = self._loop.call_later(seconds, look)
        task.add_done_callback(lambda _: timer.cancel())

    # -- probes ----------------------------------------------------------------------------------

    async def probe(self, name: str, draft: Draft, seconds: float) -> None:
        """Append and read at a node that has no excuse not to serve that within so many seconds."""
        if self._has_to_serve(name):
            await self._probe_read(name, draft.stream, 10 * seconds)
        if self._has_to_serve(name):
            await self._probe_append(name, draft, seconds)

    async def _probe_read(self, name: str, stream: str, timeout: float) -> None:
        probe, node = Probe(name, "read", self._loop.time()), self._world.nodes[name]
        self._history.probes.append(probe)
        try:
            async with asyncio.timeout(timeout):
                await node.durable_before_read()
            node.history.last_revision(stream, shard_of(stream, node.config.shards))
            probe.ended = self._loop.time()
        except (AnabranchError, TimeoutError) as error:
            probe.error = type(error).__name__
            if self._world.nodes.get(name) is not node or is_paused(name):
                self._history.probes.remove(probe)  # it could answer when it was asked

    async def _probe_append(self, name: str, draft: Draft, seconds: float) -> None:
        """A node may look only now and then whether what was wrong is over: so try again."""
        probe = Probe(name, "append", self._loop.time())
        self._history.probes.append(probe)
        while self._world.is_up(name):
            task = self.append(name, draft, "local", seconds)
            append = self._history.appends[-1]
            await asyncio.wait([task], timeout=10 * seconds)
            probe.ended, probe.error = append.ended, append.error or append.lost
            over = self._loop.time() - probe.at > seconds
            if over or append.error not in _FOR_A_WHILE:
                break
            await asyncio.sleep(seconds / 10)
        if not self._world.is_up(name) or append.lost in ("crash", "stop"):
            self._history.probes.remove(probe)  # it was up a moment ago
        elif probe.error == "Unavailable" and not self._has_to_serve(name):
            self._history.probes.remove(probe)  # it was about to learn what is its excuse

    def _has_to_serve(self, name: str) -> bool:
        """Whether a node is up, whole, has room, and all clocks are such that its own is fine."""
        world, now = self._world, self._loop.time()
        disk, clocks = world.disks[name], self._clocks.values()
        true_ms = EPOCH_MS + int(now * 1000)
        latest = max(max(clock.latest_ms, true_ms + clock.off_ms()) for clock in clocks)
        slowest = true_ms + min(clock.lowest_ms for clock in clocks)
        return (
            world.is_up(name)
            and world.nodes[name].replication.stranger is None
            and not world.nodes[name].membership.leaving
            and not world.nodes[name].store.left
            and not is_paused(name)
            and not world.nodes[name].store.holes.mine
            and _is_well(disk, now)
            and disk.free() >= 2 * DISK_RESERVE_BYTES
            and latest - slowest <= world.config.tuning.max_clock_offset_ms
        )


def _revision_before(node: Node, draft: Draft) -> int | None:
    """The revision that a condition is checked against, if one is, as of now."""
    shard = shard_of(draft.stream, node.config.shards)
    try:
        if draft.expected == EXPECT_ANY or node.history.find(draft.commit_id, shard) is not None:
            return None
        return node.history.last_revision(draft.stream, shard)
    except DamagedLog:
        return None


def is_paused(name: str) -> bool:
    """Whether a node stands still."""
    loop = asyncio.get_running_loop()
    return isinstance(loop, VirtualLoop) and name in loop.paused


def _is_well(disk: SimDisk, now: float) -> bool:
    """Whether a disk does all that it should, in time."""
    stalled = disk._stalled_until > now  # noqa: SLF001 - looking inside is the point
    slow = disk.slow * disk.sync_seconds > SYNC_SECONDS_MAX
    return not (stalled or slow or disk.failing_syncs or disk.failing_writes)
