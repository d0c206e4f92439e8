"""The driver of one node: it joins the parts and carries out what they say.

The path of an append: `append` checks it against what is here, `Store.stamp` gives it its place,
the log makes it durable, `_on_group` hands it to the outbox (so to every peer), and `_settle`
makes it final once the reports allow. Whoever waits is woken at the step that it asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from ..gossip.clocks import Clocks
from ..gossip.members import Members
from ..gossip.outbox import Outbox
from ..gossip.transport import Link, Network
from ..storage.commit import Draft, shard_of
from ..storage.disk import Disk
from ..storage.errors import (
    AnabranchError,
    DamagedIndex,
    DamagedLog,
    DiskFull,
    Overloaded,
    RevisionConflict,
    SyncFailed,
    Unavailable,
    Unconfirmed,
    Unprocessable,
)
from ..storage.index import Index
from ..storage.keys import Place
from ..storage.limits import (
    CEILING_AHEAD_MS,
    SETTLE_PAUSE_SECONDS,
)
from ..storage.log import Log
from ..storage.sealer import Sealer
from ..storage.stamp import milliseconds, stamp_of
from ..storage.state import State
from .clock import Clock, Random
from .comparing import Comparing
from .config import ClusterConfig
from .fold import SHADOWED, TENTATIVE, Held, OrderKey, fits
from .history import History
from .receipt import Receipt, place_receipt, settled_receipt, tentative_receipt
from .recovery import Recovered, recover
from .repair import Repair
from .replication import Replication
from .room import Room
from .scrub import Scrub
from .settler import Settler
from .store import Store

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
        self._tasks: list[asyncio.Task[None]] = []
        self._final: dict[OrderKey, list[asyncio.Future[None]]] = {}
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
        dialers = self.replication.dialers.values()
        parts = [self._beat(), self.scrub.run(), Sealer(self._disk, self.log).run()]
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(part) for part in [one.run() for one in dialers] + parts]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)
        for gap in self.log.gaps:
            self.repair.damaged(gap.position, gap.end)

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
        self.history = History(self._index, self.log, self.config.shards)
        try:
            recovered = recover(self.log, self.history, self.members)
        except DamagedIndex:
            self._index.condemn()
            raise
        self.boot = self.random.word()
        if recovered.state is None:
            recovered.state = self._first_state()
        self.members.bind(self.me.name, recovered.state.origin)
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
        self.outbox = Outbox(self.members.origin(self.me.name) or 0, tuning.push_window_bytes)
        self.store = self._open_store(recovered)
        self.settler = Settler(self.store, self.members)
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

    def _first_state(self) -> State:
        origin = self.random.word()
        rows = [(m.name, m.site, m.priority, 0) for m in self.members.table]
        return State(
            origin, self.boot, self.config.shards, self.config.name, self.me.name, 0, rows, {}
        )

    def _opening_state(self) -> bytes:
        return self.store.state(everything=True)

    def _open_store(self, recovered: Recovered) -> Store:
        store = Store(self.log, self.history, self.members, recovered, self.boot, self._on_group)
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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self.replication.close()
        await self.repair.close()

    async def _end_tasks(self) -> None:
        self._ended = True
        await self.end_links()
        for futures in self._final.values():
            for future in futures:
                future.cancel()

    def fail(self, error: AnabranchError) -> None:
        """End because of an error that nothing can be trusted after."""
        if self.failure is None:
            self.failure = error
            if isinstance(error, DamagedIndex):
                self._index.condemn()
            _log.critical("%s", error)
            self._on_failure(error)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
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
        try:
            return await self._append(draft, ack, timeout)
        except DamagedLog as error:  # found while looking up what is here; it may be written by now
            self.repair.notice(error)
            raise _unconfirmed(error) from error

    async def _append(self, draft: Draft, ack: str, timeout: float) -> Receipt:
        wall_ms = self.clock.wall_ms()
        self._ready_to_append(wall_ms)
        shard = shard_of(draft.stream, self.config.shards)
        self.repair.check_own(shard)
        known = self.history.find(draft.commit_id, shard) if draft.named else None
        if known is not None:
            return await self._append_again(draft, known, ack, timeout)
        revision = self.history.last_revision(draft.stream, shard)
        if not fits(draft.expected, revision):
            raise RevisionConflict(
                _conflict_text(draft.stream, draft.expected, revision),
                draft.stream,
                draft.expected,
                revision,
            )
        held = self.store.stamp(draft, wall_ms)
        await self._durable(held)
        return await self._receipt(held, ack, timeout, duplicate=False)

    async def _durable(self, held: Held) -> None:
        """Return when a commit of this node is on disk."""
        try:
            await self.log.wait(held.position)
        except SyncFailed as error:
            raise _unconfirmed(error) from error

    async def _append_again(
        self, draft: Draft, known: Held | Place, ack: str, timeout: float
    ) -> Receipt:
        """Answer a repeated append as the first time."""
        if isinstance(known, Held):
            await self._durable(known)
        first = self.history.header(known.position, known.length)
        if first.entry != draft.entry:
            raise Unprocessable(
                f"commit {draft.commit_id.hex()} of stream {draft.stream!r} is here already with "
                "another body: the same Idempotency-Key, or the same event ids, name the same "
                "append. Use a new key for a new append"
            )
        if isinstance(known, Place):
            return place_receipt(known, first, duplicate=True)
        return await self._receipt(known, ack, timeout, duplicate=True)

    async def _receipt(self, held: Held, ack: str, timeout: float, *, duplicate: bool) -> Receipt:
        if ack == "settled" and held.outcome == TENTATIVE:
            await self._until_settled(held, timeout)
        if held.outcome == SHADOWED:
            return self._first_of_its_id(held)
        if held.outcome != TENTATIVE:
            return settled_receipt(held, duplicate=duplicate)
        outcome, revision = self.history.tentative_outcome(held)
        if outcome == SHADOWED:  # a copy that came by another node stands before it
            return self._first_of_its_id(held, reached=ack != "settled")
        return tentative_receipt(
            held, outcome, revision, duplicate=duplicate, reached=ack != "settled"
        )

    async def _until_settled(self, held: Held, timeout: float) -> None:
        """Return when a commit is settled, or the time is up."""
        future = asyncio.get_running_loop().create_future()
        waiting = self._final.setdefault(held.key, [])
        waiting.append(future)
        self.replication.ask_to_close(held.key[0])
        self.settle_soon()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await future
        finally:
            waiting.remove(future)
            if not waiting:
                self._final.pop(held.key, None)

    def _first_of_its_id(self, held: Held, *, reached: bool = True) -> Receipt:
        """The receipt of the commit that a shadowed one repeats."""
        first = self.history.find(held.id, held.shard)
        if first is None:
            raise TypeError("a shadowed commit has one before it")
        header = self.history.header(first.position, first.length)
        if header.entry != self.history.header(held.position, held.length).entry:
            raise Unprocessable(
                f"another append with the id {held.id.hex()} and another body comes first in the "
                "order; this one is not shown. Use a new Idempotency-Key"
            )
        if isinstance(first, Place):
            return place_receipt(first, header, duplicate=True)
        outcome, revision = self.history.tentative_outcome(first)
        return tentative_receipt(first, outcome, revision, duplicate=True, reached=reached)

    def _ready_to_append(self, wall_ms: int) -> None:
        if self.failure is not None:
            raise Unavailable(f"this node is about to end: {self.failure}")
        needs = self.replication.stranger
        if needs is not None:
            raise Unavailable(needs)
        if self.clocks.ahead_ms(self.store.hlc.last, wall_ms) > 0 or self.clocks.is_ahead:
            raise Unavailable(self.ahead_text() or "this node's clock was ahead; try again")
        if self.log.full:
            raise Overloaded("more is waiting for the disk than fits; try again in a moment")
        self.room.check()

    def ahead_text(self) -> str | None:
        """Why this node's stamps would be held back by the others; None if they are fine."""
        wall = self.clock.wall_ms()
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
        if group and self.replication.dialers:
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
        if self._final:
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
        if self._final:
            for held in done.settled:
                for future in self._final.pop(held.key, ()):
                    if not future.done():  # its caller may have gone
                        future.set_result(None)
        if done.more:
            self._settling_now = True
            asyncio.get_running_loop().call_soon(self._settle)

    async def _beat(self) -> None:
        while True:
            await self._until_next_beat()
            self.settler.next_claim()
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


def _unconfirmed(error: AnabranchError) -> Unconfirmed:
    return Unconfirmed(
        f"this append may survive or not: {error}. Send it again with the same Idempotency-Key, at "
        "another node or here when it is up again"
    )


def _conflict_text(stream: str, expected: int, revision: int) -> str:
    wanted = {-1: "an empty stream", -3: "a stream with events"}.get(
        expected, f"revision {expected}"
    )
    there = "is empty" if revision < 0 else f"is at revision {revision}"
    return f"{wanted} was expected, but stream {stream!r} {there}; read it and decide again"
