"""Damage on this node's disk, from the moment that it is noticed until it is healed.

Whoever meets a record that is not what was written says so: a reader, a peer that wants to be given
it, the scrub, the start. `Repair` finds out which commits lie in the damaged range, asks for them
where they are held, and lets in only what has the hash that this node remembers: a damaged node can
never overwrite a good one. Until then what is lost is not shown, not given on, and not guessed at.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from ..gossip.frontier import Frontier, LogKey
from ..storage.commit import Commit
from ..storage.errors import AnabranchError, DamagedIndex, DamagedLog, Unavailable
from ..storage.limits import DIFFERENCES_MAX, HEAL_WAIT_SECONDS
from .settler import Settler
from .store import Store

T = TypeVar("T")

_log = logging.getLogger(__name__)
_Stretch = tuple[int, int, int, int]  # shard, origin, after, until


class Repair:
    """What is being done about damage at one node.

    `on_lost` is called when there is something new to ask peers for; `on_sure` when this node knows
    again what it had made, to be remembered.
    """

    def __init__(
        self,
        store: Store,
        settler: Settler,
        monotonic: Callable[[], float],
        *,
        on_lost: Callable[[], None],
        on_sure: Callable[[], object],
        on_failure: Callable[[AnabranchError], None],
    ) -> None:
        self._store = store
        self._holes = store.holes
        self._settler = settler
        self._monotonic = monotonic
        self._on_lost = on_lost
        self._on_sure = on_sure
        self._on_failure = on_failure
        self._doubts: dict[tuple[LogKey, int], int] = {}  # by commit: who names another
        self._cleared: set[tuple[int | None, LogKey, int]] = set()  # doubts that were unfounded:
        # who named another hash has a wrong index, and finds that out by itself
        self._ranges: deque[tuple[int, int]] = deque()  # damaged, not looked at yet
        self._looking: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []  # for something to be healed
        self.found = 0  # damaged ranges, since the start

    # -- finding out what is damaged -------------------------------------------------------------

    def notice(self, error: DamagedLog) -> None:
        """Somebody could not read a record."""
        if error.end:
            self.damaged(error.position, error.end)
        else:  # nobody knows what
            self._on_failure(error)

    def damaged(self, position: int, end: int) -> None:
        """A range of the log is not what was written."""
        if (position, end) in self._ranges:
            return
        self._ranges.append((position, end))
        self.found += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
            self._looking.add_done_callback(self._looked)

    async def _look(self) -> None:
        while self._ranges:
            position, end = self._ranges[0]
            lost = 0
            for found in self._store.history.within(position, end):
                if found is None:
                    await asyncio.sleep(0)
                elif self._is_lost(*found):
                    lost += 1
            self._ranges.popleft()
            if lost:
                _log.error(
                    "the log is damaged from %#x to %#x: %d commits can't be read; they are asked "
                    "for at the other members",
                    position,
                    end,
                    lost,
                )
                self._on_lost()

    def _is_lost(self, log: LogKey, seq: int) -> bool:
        place = self._store.history.place_in_log(*log, seq)
        if place is None or self._holes.is_lost(log, seq):
            return False
        try:
            self._store.history.body(*place)
        except DamagedLog:
            self._holes.lose(log, seq)
            return True
        return False

    def _looked(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (problem := task.exception()) is not None:
            if not isinstance(problem, AnabranchError):
                problem = AnabranchError(f"a bug in the search for damage: {problem!r}")
            self._on_failure(problem)

    def readable(self, log: LogKey, seq: int, position: int) -> None:
        """A commit could be read at a position; if it was taken for lost, it was read wrong."""
        if not self._holes.is_lost(log, seq):
            return
        place = self._store.history.place_in_log(*log, seq)
        if place is not None and place[0] == position:
            self._holes.found(log, seq)
            self.wake()

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    # -- healing ---------------------------------------------------------------------------------

    def lacking(self, member: int, theirs: Frontier) -> list[_Stretch]:
        """What this node wants of a member with this frontier, besides what is new."""
        if not self._holes.lost and self._holes.first is None and not self._doubts:
            return []
        arrived = self._store.arrived
        wanted = [(*log, seq - 1, seq) for (log, seq), one in self._doubts.items() if one == member]
        for shard, origin, after, until in self._holes.stretches(lambda log: arrived(*log)):
            held = min(until, theirs[shard, origin])
            if held > after:
                wanted.append((shard, origin, after, held))
        return wanted

    def takes(self, commit: Commit, body: bytes) -> bool:
        """Take a commit that this node had lost, or that is in doubt; whether it was one."""
        log = (commit.shard, commit.origin)
        lost = self._holes.is_lost(log, commit.seq)
        doubt = self._doubts.pop((log, commit.seq), None)
        if not lost and doubt is None:
            return False
        history = self._store.history
        same = history.leaf(log, commit.seq) == commit.hash
        if lost and not same and history.trees.bears_out(log, commit.seq, commit.hash):
            history.mend_leaf(log, commit.seq, commit.hash)  # the index was wrong as well
            same = True
        if lost and same:
            self._store.receive_again(commit, body)
        elif lost:
            _log.error(
                "what a member gave for a lost commit is another one: sequence %d of shard %d and "
                "origin %016x. It was not taken",
                commit.seq,
                *log,
            )
        elif same:
            self._cleared.add((doubt, log, commit.seq))
        else:
            self._settler.dispute(
                log,
                f"two members hold different commits as sequence {commit.seq} of shard "
                f"{commit.shard} and origin {commit.origin:016x}: two processes ran on copies of "
                "one directory, or a disk is not what it was",
                parted=True,
            )
        return True

    def doubt(self, member: int, log: LogKey, seq: int) -> None:
        """A member names another hash for a commit than this node's log does: look at its commit.

        If that is the same after all, only its index is wrong, and it will find out by itself.
        """
        if len(self._doubts) < DIFFERENCES_MAX and (member, log, seq) not in self._cleared:
            self._doubts[log, seq] = member

    def own_is_wrong(self, log: LogKey, seq: int) -> bool:
        """Whether it is this node's own disk that is wrong about a commit; then it is seen to."""
        history = self._store.history
        place = history.place_in_log(*log, seq)
        if place is None:
            return True
        try:
            written = history.header(*place).hash
        except DamagedLog as error:
            self.damaged(error.position, error.end)
            return True
        if written == history.leaf(log, seq):
            return False
        _log.error(
            "the index names another hash than the log for sequence %d of shard %d and origin "
            "%016x; it was put right",
            seq,
            *log,
        )
        history.mend_leaf(log, seq, written)
        return True

    def mend_tree(self, log: LogKey, seq: int) -> None:
        """A member has another node in the tree of a log, above a commit, and the same below it."""
        if self._store.history.trees.mend(log, seq):
            _log.error(
                "the index had a wrong node in the tree of shard %d and origin %016x, above "
                "sequence %d; it was put right",
                *log,
                seq,
            )

    def in_doubt(self, log: LogKey) -> bool:
        """Whether a member names another hash for a commit of a log than is here."""
        return bool(self._doubts) and any(doubted == log for doubted, _ in self._doubts)

    def keep_doubts(self, members: Collection[int]) -> None:
        """Nobody else can be asked any more for what was in doubt."""
        self._doubts = {at: one for at, one in self._doubts.items() if one in members}

    def hear(self) -> None:
        """Once all members have said what they hold, this node knows what it had at most.

        Whatever was settled here they hold, a majority of them at least.
        """
        frontiers = self._settler.heard() if self._holes.unsure else None
        if frontiers is None:
            return
        for frontier in frontiers:
            for log, seq in frontier.items():
                self._holes.heard(log, seq, self._store.arrived(*log))
        self._holes.unsure = False
        self._store.history.hole = self._holes.first
        self._on_sure()
        _log.warning("all members have said what they hold of this node: it may append again")

    # -- what must wait --------------------------------------------------------------------------

    def check_own(self, shard: int) -> None:
        """Raise Unavailable if this node may not number a commit in a shard: some are missing."""
        if self._holes.hides(shard):
            raise Unavailable(
                "this node's disk has lost commits that it had made, and they are not healed yet; "
                "append at another node"
            )

    def check_whole(self, shard: int | None = None) -> None:
        """Raise DamagedLog if a shard, or any, lacks commits: its streams would look wrong."""
        torn = self._holes.torn_shards()
        if torn and (shard is None or shard in torn):
            first = self._holes.first or 0
            gaps = self._store.log.gaps
            end = next((gap.end for gap in gaps if gap.position <= first < gap.end), first + 1)
            raise DamagedLog(
                f"this node's disk has lost commits of shard {min(torn)}, damaged from {first:#x} "
                "on; they are being fetched from its peers. Read at another node, or here later",
                first,
                end,
            )

    async def around(self, read: Callable[[], Awaitable[T]]) -> T:
        """Read, and again once damage in the way has been healed, unless that takes too long.

        Raises DamagedLog.
        """
        until = self._monotonic() + HEAL_WAIT_SECONDS
        while True:
            try:
                return await read()
            except DamagedLog as error:
                self.notice(error)
                left = until - self._monotonic()
                if left <= 0 or not error.end or not await self.next_heal(left):
                    raise
            except DamagedIndex as error:
                self._on_failure(error)
                raise

    async def next_heal(self, seconds: float) -> bool:
        """Wait until something has been healed; whether that came in time."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return False
        return True

    def wake(self) -> None:
        """Something may have been healed."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()
