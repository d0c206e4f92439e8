"""This node's part in who belongs to the cluster: it carries out what gossip.epochs says.

One worker takes everything that may change the epoch, one thing after the other, and carries each
outcome out in its order: keep it on the disk, enter the epoch, send. What enters an epoch besides
this is told by `on_entered`.

From here also follows under which origin this node stamps. It is *settled in* once it is sure of
its directory and its origin is a member's (or the cluster is still forming). Before that it stamps
under a provisional origin, and afterwards appends again whatever has no place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from ..gossip.agreeing import packed, unpacked
from ..gossip.epoch import Change, Epoch
from ..gossip.epochs import Ask, Epochs, Here, Learn, Message, Outcome
from ..gossip.members import Members
from ..gossip.messages import Agree, Join, Recall, Recalled
from ..gossip.sureness import Sureness
from ..storage.errors import DiskFull
from ..storage.limits import (
    APPEND_AGAIN_COMMITS,
    ASK_AGAIN_SECONDS,
    STALLED_SECONDS,
    STALLED_SECONDS_MAX,
    TWIN_SECONDS,
)
from .clock import Clock, Random
from .config import Tuning
from .eviction import Eviction
from .recalls import is_more, recalled
from .reorigination import Reorigination
from .settler import Settler
from .store import Store
from .waiting import Waiting, joined

_log = logging.getLogger(__name__)
_POSTED_MAX = 16  # messages kept for a member that can't be reached; they are asked for again


class _Task(NamedTuple):
    """Something that may change the epoch."""

    work: Callable[[], Outcome]
    asker: int  # whose link waits for the answer; 0 if none does
    done: asyncio.Future[list[bytes]]


class Membership:
    """The epochs of one node, and its place among the members.

    `on_entered` is called when this node is in another epoch, or has another origin; `on_posted`
    when there is something to say to a member; `linked` names those that can be reached;
    `told` says whether a majority is in this node's epoch.
    """

    def __init__(  # noqa: PLR0913 - what it needs of its node, part by part
        self,
        store: Store,
        settler: Settler,
        *,
        sureness: Sureness,
        clock: Clock,
        random: Random,
        tuning: Tuning,
        on_entered: Callable[[], None],
        on_posted: Callable[[], None],
        linked: Callable[[], Iterable[str]],
        told: Callable[[], bool],
        reorigination: Reorigination,
    ) -> None:
        self._store = store
        self._settler = settler
        self._members: Members = store.members
        self._clock = clock
        self._random = random
        self._on_entered = on_entered
        self._on_posted = on_posted
        self._linked = linked
        self._told = told
        self.reorigination = reorigination
        self._tuning = tuning
        self.sureness = sureness
        self.eviction = Eviction(store, tuning.evict_after_seconds, clock.monotonic())
        self.epochs: Epochs | None = None
        self.fork: str | None = None
        self._waits = Waiting()
        self._evict: Change | None = None  # what this node wants by itself
        self.wanted: list[Change] = []  # that this node wants to be decided
        self.asks = False  # whether to be let in without an operator
        self._gives_way = False  # to a newer process on a copy of this directory
        self.leaving = False
        self._carrying = False  # an outcome is being carried out
        self._inbox: asyncio.Queue[_Task] = asyncio.Queue()
        self._posted: dict[str, list[bytes]] = {}
        self._recalls: set[str] = set()  # who was asked on the link that is up now
        self._next_try = 0.0
        self._pause = STALLED_SECONDS  # between own ballots, in this epoch
        self._frozen_since: float | None = None
        self._asked_at: dict[str, float] = {}
        self._entered = asyncio.Event()
        settler.counts = lambda: self.counts

    # -- what this node is ---------------------------------------------------------------------

    @property
    def here(self) -> Here:
        """What this node can say of itself."""
        store = self._store
        return Here(store.frontier, store.promised, self.sureness.sure, store.disputes.parted)

    @property
    def counts(self) -> bool:
        """Whether what this node reports may be used for settlement."""
        return (
            self.epochs is not None
            and not self._carrying
            and self.epochs.epoch.mark == self._members.mark
            and self.epochs.may_report(self.here)
        )

    @property
    def number(self) -> int:
        """The number of the epoch that this node is in."""
        return self._members.number

    @property
    def has_a_vote(self) -> bool:
        """Whether this node can take part in a change now."""
        return self.epochs is not None and self.epochs.hindrance(self.here) is None

    @property
    def is_outside(self) -> bool:
        """Whether this node is no member of the epoch that it knows."""
        return not self._members.is_member

    @property
    def copied(self) -> tuple[int, int] | None:
        """How much of all that members hold is here: (commits here, commits in all)."""
        return self._settler.copied()

    # -- life ------------------------------------------------------------------------------------

    def begin(self, kept: bytes) -> None:
        """Go on where the directory ended; `kept` is what the epochs kept last."""
        if kept:
            self.epochs = Epochs.restored(self._store.origin, kept)
        elif self._members.epoch is not None:
            self.epochs = Epochs(self._store.origin, self._members.epoch)
        self.sureness.witnesses = {member.name: member for member in self._members.gone}
        if self._members.epoch is not None:
            self._take_stand(self._members.epoch)
        self._settle_in()

    def founded(self) -> None:
        """All founders are known: this is epoch 1."""
        if self.epochs is None and self._members.epoch is not None:
            self.epochs = Epochs(self._store.origin, self._members.epoch)
            self._take_stand(self._members.epoch)

    async def run(self) -> None:
        """Carry out whatever may change the epoch, one after the other."""
        while True:
            task = await self._inbox.get()
            replies: list[bytes] = []
            await self._carry_out(task.work(), task.asker, replies)
            if not task.done.done():
                task.done.set_result(replies)

    async def _do(self, work: Callable[[], Outcome], asker: int = 0) -> list[bytes]:
        done: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(_Task(work, asker, done))
        return await done

    # -- the law: keep, enter, send ----------------------------------------------------------------

    async def _carry_out(self, outcome: Outcome, asker: int, replies: list[bytes]) -> None:
        if outcome.fork is not None and self.fork is None:
            self.fork = outcome.fork
            _log.critical("%s", outcome.fork)
        if outcome.keep is not None:
            self._carrying = True
            self._settler.own_report(0)  # nothing of it counts until this is through
            await self._keep(outcome.keep)
            if outcome.entered is not None:
                self._enter(outcome.entered[1])
            self._carrying = False
        mine: list[Message] = []
        for to, message in outcome.send:
            if to == self._store.origin:
                mine.append(message)
            elif to == asker:
                replies.append(packed(message))
            else:
                self._post(to, message)
        for message in mine:
            if self.epochs is not None:
                again = self.epochs.receive(self._store.origin, message, self.here)
                await self._carry_out(again, asker, replies)

    async def _keep(self, kept: bytes) -> None:
        """Return once it is on the disk, however long there is no room."""
        while True:
            try:
                await self._store.log.wait(self._store.keep_epochs(kept, self._clock.wall_ms()))
            except DiskFull:
                await asyncio.sleep(STALLED_SECONDS)
            else:
                return

    def _enter(self, epoch: Epoch) -> None:
        _log.warning(
            "epoch %d: %s", epoch.number, ", ".join(member.name for member in epoch.members)
        )
        if not self.sureness.sure:
            self.sureness.witnesses |= {member.name: member for member in self._members.others}
        self._members.enter(epoch)
        self._pause = STALLED_SECONDS
        self._take_stand(epoch)
        self.wanted = [change for change in self.wanted if not change.is_done(epoch)]
        self._waits.admit(epoch)
        self._entered.set()
        self._entered = asyncio.Event()

    def _take_stand(self, epoch: Epoch) -> None:
        """Find out what this node is in an epoch."""
        if self._gives_way and self._store.origin in epoch.joined:
            self._store.doubt()
            self._go_on_as(self._random.word())
        if self._store.origin not in epoch.joined:
            mine = self._store.origin
            used = mine in epoch.finals or self._store.has_made(mine)
            was_one = any(one.member.name == self._members.me for one in epoch.removed)
            back = (was_one or self._members.me in self._members) and not self._store.left
            self.asks = self.asks or back
            if used:
                self._go_on_as(self._random.word())
        else:
            self._store.left = False
        self._store.cut()
        self._settler.enter(epoch)
        self._settle_in()
        self._on_entered()

    def _go_on_as(self, origin: int) -> None:
        """Be another origin from now on: nobody can have seen anything of it."""
        _log.warning("this node goes on as origin %016x, and asks to be a member", origin)
        self._store.identify(origin)
        self._settler.identify()
        self.sureness.begin_anew()
        if self.epochs is not None:
            self.epochs.me = origin
        self._store.store_state(self._clock.wall_ms())

    def give_way(self) -> None:
        """A newer process has a copy of this directory: don't ask for its place in this boot."""
        self._gives_way = True
        if self._members.epoch is not None:
            self.start_anew()
        else:  # the other one is a founder, this one waits for the epoch
            self.sureness.sure = False
            self._settle_in()

    def start_anew(self) -> None:
        """Be another origin: the log of the old one may have gone on elsewhere."""
        self._store.doubt()
        self._go_on_as(self._random.word())
        if self._members.epoch is not None:
            self._take_stand(self._members.epoch)

    def _settle_in(self) -> None:
        settled_in = self.sureness.sure and self._members.is_member
        if settled_in != self._store.settled_in:
            self._store.take_place(settled_in=settled_in)
        self.reorigination.wake()

    @property
    def waiting(self) -> dict[str, Join]:
        """Who is no member, and says that it is there; by name."""
        return self._waits.by_name

    @property
    def missed(self) -> list[tuple[int, int]]:
        """(origin, seconds) of members that were not heard of for long."""
        return self.eviction.missed

    # -- what others say ---------------------------------------------------------------------------

    async def agree(self, origin: int, agree: Agree) -> Agree:
        """Take what another node says about epochs; the answer. Raises BadFrame."""
        replies: list[bytes] = []
        for message in [unpacked(part) for part in agree.parts]:
            replies += await self._do(partial(self._receive, origin, message), origin)
        return Agree(replies)

    def _receive(self, origin: int, message: Message) -> Outcome:
        if self.epochs is None:
            if not isinstance(message, Learn):
                return Outcome()
            self.epochs = Epochs(self._store.origin, message.value)
            return Outcome(self.epochs.state, entered=(message.value, message.value))
        return self.epochs.receive(origin, message, self.here)

    def _post(self, origin: int, message: Message) -> None:
        name = self._members.name(origin)
        if name is not None and name != self._members.me:
            queue = self._posted.setdefault(name, [])
            queue.append(packed(message))
            del queue[:-_POSTED_MAX]
            self._on_posted()

    def linked(self, name: str) -> None:
        """A link to a node has come up."""
        self._recalls.discard(name)

    def to_say(self, name: str, origin: int, epoch: int) -> Agree | Recall | Join | None:
        """What to say to a node, which is in this epoch, before anything else."""
        if self._store.left and self.is_outside:
            return None
        mine = self._members.number
        if epoch > mine:
            return Agree([packed(Ask(mine))])
        if epoch < mine and self._members.epoch is not None:
            return Agree([packed(Learn(self._members.epoch))])
        if parts := self._posted.pop(name, None):
            return Agree(parts)
        if name not in self._recalls and self.sureness.asks(name) and self._is_kept():
            self._recalls.add(name)
            return Recall(self._store.origin, self.sureness.begun_at)
        return self._join(name)

    def _join(self, name: str) -> Join | None:
        now = self._clock.monotonic()
        may_ask = self.is_outside and self.sureness.sure and not self._gives_way and self._is_kept()
        if not may_ask or now < self._asked_at.get(name, 0.0):
            return None
        self._asked_at[name] = now + ASK_AGAIN_SECONDS
        me = self._members.member(self._members.me)
        asks = self.asks and self._has_copied()
        return Join(me.name, me.site, me.priority, self._store.origin, me.url, asks)

    def _has_copied(self) -> bool:
        """Whether nearly all is here: a member that still copies holds settlement up."""
        copied = self.copied
        return copied is None or copied[1] - copied[0] <= APPEND_AGAIN_COMMITS

    def joins(self, join: Join) -> None:
        """A node says that it is there, and no member."""
        if self._members.epoch is None or join.origin in self._members.epoch.joined:
            return
        now = self._clock.monotonic()
        priority = self._members.priority_of(join.site, join.priority)
        join = replace(join, priority=priority)
        if self._waits.heard(join, now):
            self._on_entered()  # it is dialled: it may hold what members lack
        old = self._members.origin(join.name)
        silent = old is None or self.eviction.suspicion.silent_seconds(old, now) > TWIN_SECONDS
        if join.asks and silent:  # else the one whose place it wants is there as well
            self.wanted = [one for one in self.wanted if not one.is_about(join.name)]
            self.want(Change(join=(joined(join),)))

    async def recall(self, recall: Recall, boot: int, before: list[int]) -> Recalled:
        """What this node saw of another one before a boot of it."""
        return await recalled(self._store, recall, boot, before, self._clock.wall_ms())

    def recalled(self, name: str, answer: Recalled) -> None:
        """A member has said what it saw of this node."""
        if answer.origin != self._store.origin or not self._members.others:
            return
        self.sureness.told(name, answer.counter, more=is_more(self._store, answer))
        self.look()

    def look(self) -> None:
        """See whether this node can be sure of its directory by now, or no more."""
        if self._gives_way:
            return
        others = [member.name for member in self._members.others]
        if self.sureness.went_back is not None:
            _log.critical(
                "%s saw more of this node than its data directory has: it was restored, or copied. "
                "What is missing is fetched from the members",
                self.sureness.went_back,
            )
            self.asks = True
            self.start_anew()
        elif self.sureness.sure:
            return
        elif self._is_kept() and self.sureness.decide(others, self._clock.monotonic()):
            self._settle_in()
            self._settler.own_report(0)
            if self.sureness.witnesses:
                self._on_entered()  # they are dialled no more

    def _is_kept(self) -> bool:
        return self._store.keep_start(self._clock.wall_ms())

    # -- changes ---------------------------------------------------------------------------------

    def want(self, change: Change) -> None:
        """Have a change decided as soon as that can be."""
        epochs = self.epochs
        if epochs is None or change in self.wanted or change.is_done(epochs.epoch):
            return
        self.wanted.append(change)

    async def until(self, change: Change, seconds: float, *, after: int = 0) -> bool:
        """Wait until a change is in force here, in an epoch after one; False if that takes long."""
        self.want(change)
        self.beat()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                epoch = self._members.epoch
                while epoch is None or epoch.number <= after or not change.is_done(epoch):
                    await self._entered.wait()
                    epoch = self._members.epoch
                return True
        return False

    async def leave(self, seconds: float) -> bool:
        """Leave for good: take no more appends, hand over all that is here, and go.

        Whether that was done in time; if not it still takes none, and can be asked again.
        """
        self.leaving = True
        change = Change(remove=(self._store.origin,))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                held = dict(self._store.frontier.items())
                while not self._settler.is_handed_over(held):  # noqa: ASYNC110 - a few times
                    await asyncio.sleep(self._tuning.heartbeat_seconds)
                self._store.left = True
                self._store.store_state(self._clock.wall_ms())
                done = await self.until(change, seconds)
                while done and not self._told():  # noqa: ASYNC110 - who is left has to know it
                    await asyncio.sleep(self._tuning.heartbeat_seconds)
                return done
        return False

    def come_back(self) -> None:
        """Be a member again, after it has left or was about to."""
        self.leaving = self._store.left = False
        self.asks = True
        self._store.store_state(self._clock.wall_ms())

    def withdraw(self, change: Change) -> None:
        """Have a change decided no longer."""
        if change in self.wanted:
            self.wanted.remove(change)

    async def force(self, change: Change) -> None:
        """Decide a change with those alone who are left by it."""
        epochs = self.epochs
        if epochs is not None:
            await self._do(lambda: epochs.force(change, self.here))

    def beat(self) -> None:
        """Time has passed: go on with what waits for it."""
        now = self._clock.monotonic()
        self.look()
        self.reorigination.wake()
        epochs = self.epochs
        if epochs is None or self._members.epoch is None:
            return
        for gone_again in self._waits.forget(now):
            self.withdraw(Change(join=(joined(gone_again),)))
        gone = self.eviction.look(now, may_act=self.counts)
        evict = None if gone is None else Change(remove=(gone.origin,))
        if evict != self._evict and self._evict is not None:
            self.withdraw(self._evict)  # it is back
        self._evict = evict
        if evict is not None:
            self.want(evict)
        if not epochs.frozen:
            self._frozen_since = None
        elif self._frozen_since is None:
            self._frozen_since = now
        stalled = self._frozen_since is not None and now - self._frozen_since > STALLED_SECONDS
        if (self.wanted or stalled) and now >= self._next_try and self._can_propose():
            self._next_try = now + self._pause + self._random.uniform(self._pause)
            self._pause = min(2 * self._pause, STALLED_SECONDS_MAX)
            change = self.wanted[0] if self.wanted else Change()
            done: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
            self._inbox.put_nowait(_Task(lambda: epochs.propose(change, self.here), 0, done))

    def _can_propose(self) -> bool:
        epochs, members = self.epochs, self._members
        if epochs is None or self._carrying or not self.has_a_vote:
            return False
        reached = {name for name in self._linked() if name in members}
        return len(reached) + 1 >= epochs.epoch.majority
