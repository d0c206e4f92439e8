"""The driver of one node: it joins the parts and carries out what they say.

The path of an append: `append` checks it against what is here, `Store.stamp` gives it its place,
the log makes it durable, `_on_group` hands it to the outbox (so to every peer), and `_settle`
makes it final once the reports allow. Whoever waits is woken at the step that it asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from ..gossip.clocks import Clocks
from ..gossip.members import Members
from ..gossip.outbox import Outbox
from ..gossip.sureness import Sureness
from ..gossip.transport import Link, Network
from ..storage.commit import Draft
from ..storage.disk import Disk
from ..storage.errors import (
    AnabranchError,
    DamagedIndex,
    DiskFull,
)
from ..storage.index import Index
from ..storage.limits import (
    CEILING_AHEAD_MS,
    SETTLE_PAUSE_SECONDS,
)
from ..storage.log import Log
from ..storage.sealer import Sealer
from ..storage.stamp import milliseconds, stamp_of
from ..storage.state import State
from .appends import Appends
from .clock import Clock, Random
from .comparing import Comparing
from .config import ClusterConfig
from .fold import Held
from .history import History
from .membership import Membership
from .receipt import Receipt
from .recovery import Recovered, recover
from .reorigination import Reorigination
from .repair import Repair
from .replication import Replication
from .room import Room
from .scrub import Scrub
from .settler import Settler
from .store import Store
from .strays import Strays
from .suspects import Suspects

_log = logging.getLogger(__name__)


class Node:
    """One node, from an opened directory to its end.

    All that is not determined comes in by the constructor: disk, index, clock, luck and network.
    `on_failure` is called once if the node can't go on.
    """

    def __init__(
        self,
        config: ClusterConfig,
        name: str,
        *,
        disk: Disk,
        index: Index,
        clock: Clock,
        random: Random,
        network: Network,
        on_failure: Callable[[AnabranchError], None] = lambda _: None,
    ) -> None:
        self.config = config
        self.me = config.member(name)
        self.members = Members(config.name, config.shards, name, config.members)
        self.clock = clock
        self.random = random
        self.clocks = Clocks(config.tuning.max_clock_offset_ms)
        self.failure: AnabranchError | None = None
        self._disk = disk
        self._index = index
        self._network = network
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()
        self.appends = Appends(self)
        self._settling = False  # before long
        self._settling_now = False
        self._ended = False
        self._stirred = asyncio.Event()  # there is something tentative
        self.room = Room(disk, clock.monotonic)
        self.started = clock.monotonic()

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read the directory back, and begin to serve. Raises DiskError, ConfigError."""
        self._join(self._read_back())
        self.log.start()
        if self.store.holes.unsure:  # what it promised may be lost: it was not above this
            self.store.hlc.observe(stamp_of(self.clock.wall_ms() + CEILING_AHEAD_MS))
        try:
            await self.log.wait(self.store.store_state(self.clock.wall_ms(), everything=True))
        except DiskFull:  # it serves what it has, and tries again
            if not self.log.durable:  # but nobody may hear of an origin that is not stored
                await self.kill()
                raise
        parts = [self._beat(), self.scrub.run(), Sealer(self._disk, self.log).run()]
        after = self.config.tuning.evict_after_seconds
        parts += [Suspects(self.members, self.membership, after, self.clock).tell()]
        for part in [*parts, self.membership.run(), self.membership.reorigination.run()]:
            self._spawn(part)
        self.replication.start(self._spawn)
        self.membership.look()
        for gap in self.log.gaps:
            self.repair.damaged(gap.position, gap.end)

    def _spawn(self, part: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(part)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _read_back(self) -> Recovered:
        """Open log and history."""
        self.log = Log(
            self._disk,
            opening_state=self._opening_state,
            on_durable=self._on_durable,
            on_failure=self.fail,
            on_dropped=self._on_dropped,
            segment_bytes=self.config.tuning.segment_bytes,
        )
        try:
            self.history = History(self._index, self.log, self.config.shards)
            self.strays = Strays(self.history, self.appends.settled)
            recovered = recover(self.log, self.history, self.members, self.strays)
        except DamagedIndex:
            self._index.condemn()
            raise
        self.boot = self.random.word()
        self._fresh = recovered.state is None
        if recovered.state is None:
            recovered.state = self._first_state()
            self.members.identify(recovered.state.origin)
        _log.info(
            "%s starts: origin %016x, boot %016x, %d records read back, %d commits tentative",
            self.me.name,
            recovered.state.origin,
            self.boot,
            recovered.records,
            self.history.tentative_commits,
        )
        return recovered

    def _join(self, recovered: Recovered) -> None:
        """Make the parts of the node from what was read back."""
        tuning = self.config.tuning
        self.outbox = Outbox(self.members.identity, tuning.push_window_bytes)
        self.store = self._open_store(recovered)
        self.store.believed = self._believed
        self.settler = Settler(self.store, self.members)
        self.membership = self._open_membership()
        self.repair = Repair(
            self.store,
            self.settler,
            self.clock.monotonic,
            on_lost=lambda: self.replication.wake(),  # noqa: PLW0108 - made after this
            on_sure=lambda: self.store.store_state(self.clock.wall_ms(), everything=True),
            on_failure=self.fail,
        )
        self.scrub = Scrub(self.log, self.history, self.repair, tuning.scrub_seconds)
        self.comparing = Comparing(
            self.store,
            self.settler,
            self.repair,
            self.random,
            self.clock.monotonic,
            tuning.compare_seconds,
        )
        self.replication = Replication(
            self.store,
            self.settler,
            self.outbox,
            membership=self.membership,
            repair=self.repair,
            comparing=self.comparing,
            room=self.room,
            clock=self.clock,
            clocks=self.clocks,
            random=self.random,
            network=self._network,
            heartbeat_seconds=tuning.heartbeat_seconds,
            pull_bytes_per_second=tuning.pull_bytes_per_second,
            renew_report=self.renew_report,
            on_learned=self.settle_soon,
            on_failure=self.fail,
        )
        self.membership.begin(recovered.epochs)

    def _open_membership(self) -> Membership:
        now = self.clock.monotonic()
        tuning = self.config.tuning
        sureness = Sureness(self.log.end, now, all_confirm=tuning.all_confirm, sure=self._fresh)
        return Membership(
            self.store,
            self.settler,
            sureness=sureness,
            clock=self.clock,
            random=self.random,
            tuning=tuning,
            on_entered=self._on_entered,
            on_posted=lambda: self.replication.wake(),  # noqa: PLW0108 - made after this
            linked=lambda: self.replication.linked,
            told=lambda: self.replication.has_told,
            reorigination=Reorigination(
                self.store,
                lambda: self.appends.check_ready(self.clock.wall_ms(), again=True),
                self.clock.wall_ms,
            ),
        )

    def _on_entered(self) -> None:
        """This node is in another epoch, or has another origin."""
        self.replication.look()
        self.outbox = self.replication.outbox
        self.renew_report()
        self.settle_soon()

    def _first_state(self) -> State:
        origin = self.random.word()
        rows = [(m.name, m.site, m.priority, 0) for m in self.members.table]
        return State(
            origin, self.boot, self.config.shards, self.config.name, self.me.name, 0, rows, {}
        )

    def _opening_state(self) -> bytes:
        return self.store.state(everything=True)

    def _open_store(self, recovered: Recovered) -> Store:
        store = Store(
            self.log,
            self.history,
            self.members,
            recovered,
            self.strays,
            boot=self.boot,
            provisional=self.random.word(),
            on_group=self._on_group,
        )
        store.on_rejoined = lambda log: self.outbox.skip(log[0], store.frontier[log])
        for (shard, origin), seq in recovered.frontier.items():
            if origin == store.origin:
                self.outbox.skip(shard, seq)
        return store

    async def stop(self) -> None:
        """Write what waits, and let go of everything."""
        await self._end_tasks()
        if self.failure is None:
            self.store.store_state(self.clock.wall_ms())
        await self.log.close()
        await self._network.close()
        self._index.close()
        self._disk.close()

    async def kill(self) -> None:
        """Stop at once, as a crash does: nothing is written any more."""
        await self._end_tasks()
        await self.log.abandon()

    async def end_links(self) -> None:
        """Dial and answer nobody any more."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.replication.close()
        await self.repair.close()

    async def _end_tasks(self) -> None:
        self._ended = True
        await self.end_links()
        self.appends.cancel()

    def fail(self, error: AnabranchError) -> None:
        """End because of an error that nothing can be trusted after."""
        if self.failure is None:
            self.failure = error
            if isinstance(error, DamagedIndex):
                self._index.condemn()
            _log.critical("%s", error)
            self._on_failure(error)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("a part of the node ended by itself", exc_info=error)
            self.fail(
                error if isinstance(error, AnabranchError) else AnabranchError(f"a bug: {error!r}")
            )

    # -- append ---------------------------------------------------------------------------------

    async def append(self, draft: Draft, *, ack: str = "local", timeout: float = 10.0) -> Receipt:
        """Append a draft; return once it is as durable as `ack` asks, or the time is up.

        Raises CallerError, Unavailable, DiskFull: then nothing was written; and Unconfirmed.
        """
        return await self.appends.append(draft, ack, timeout)

    def _believed(self, wall_ms: int) -> int:
        """The own clock as far as others would believe it: what is promised is never beyond that.

        A promise moves all later stamps behind it, so one by a clock that was set an hour ahead
        would keep this node from appending for an hour.
        """
        self.clocks.tell(wall_ms, self.clock.monotonic())
        return min(wall_ms, self.clocks.limit_ms(wall_ms))

    def ahead_text(self) -> str | None:
        """Why this node's stamps would be held back by the others; None if they are fine."""
        wall = self.clock.wall_ms()
        self.clocks.tell(wall, self.clock.monotonic())
        if self.clocks.ahead_ms(max(self.store.hlc.last, stamp_of(wall)), wall) <= 0:
            return None
        off = wall - self.clocks.median_ms(wall)
        if off > self.clocks.max_offset_ms:
            return (
                f"this node's clock is {off} ms ahead of the members', so they would hold its "
                "commits back: correct its clock; until then append at another node"
            )
        left = milliseconds(self.store.hlc.last) - self.clocks.limit_ms(wall)
        return (
            "this node's clock was ahead of the members', and its last stamp still is: it takes "
            f"appends again in {max(1, left) / 1000:.1f} s; until then append at another node"
        )

    # -- what the log says ----------------------------------------------------------------------

    def _on_durable(self, end: int) -> None:
        self.store.durable(end)
        self.repair.wake()

    def _on_dropped(self, end: int) -> None:
        self.store.dropped(end)

    def _on_group(self, group: list[tuple[Held, bytes]]) -> None:
        if group:
            self.replication.publish(group)
        self.renew_report()
        if self.history.tentative_commits:
            self._stirred.set()
            self.replication.wake()
            self.settle_soon()

    # -- settling -------------------------------------------------------------------------------

    def renew_report(self) -> None:
        """Promise as much as is true now."""
        self.settler.own_report(self.store.promise(self.clock.wall_ms()))

    def settle_soon(self) -> None:
        """Settle at the end of this turn of the loop if somebody waits for it, else before long."""
        loop = asyncio.get_running_loop()
        if self.appends.waiting:
            if not self._settling_now:
                self._settling_now = True
                loop.call_soon(self._settle)
        elif not self._settling:
            self._settling = True
            loop.call_later(SETTLE_PAUSE_SECONDS, self._settle)

    def _settle(self) -> None:
        self._settling = self._settling_now = False
        if self.failure is not None or self._ended or not self.room.can_settle:
            return
        done = self.settler.round()
        if self.appends.waiting:
            for held in done.settled:
                self.appends.settled(held)
        if done.more:
            self._settling_now = True
            asyncio.get_running_loop().call_soon(self._settle)

    async def _beat(self) -> None:
        while True:
            await self._until_next_beat()
            self.settler.next_claim()
            self.membership.beat()
            self.renew_report()
            self.settle_soon()
            self.repair.hear()
            self.room.see_to_reserve(self.log)

    async def _until_next_beat(self) -> None:
        """Sleep; for longer while nothing is tentative, but not once something is."""
        seconds = self.replication.heartbeat_seconds
        if seconds <= self.config.tuning.heartbeat_seconds:
            await asyncio.sleep(seconds)
            return
        self._stirred.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stirred.wait()

    # -- links ----------------------------------------------------------------------------------

    async def answer(self, link: Link) -> None:
        """Serve a link that another node has dialled, until it ends."""
        await self.replication.answer(link)

    # -- reading --------------------------------------------------------------------------------

    async def durable_before_read(self) -> None:
        """Return when all that is in the fold now is on disk: a reader sees nothing that may go."""
        await self.log.wait_all()
