"""Bugs to plant: each is a line or two that somebody might write, and none may stay unseen.

Each function returns a context in which the bug is there.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from anabranch.gossip.reports import Report, Told
from anabranch.gossip.settlement import Settlement
from anabranch.node import recovery
from anabranch.node.fold import Held, ShardFold, StreamFold
from anabranch.node.history import History
from anabranch.node.node import Node
from anabranch.node.settler import Settler
from anabranch.node.store import Store
from anabranch.storage.log import Log
from anabranch.storage.stamp import HybridClock, stamp_of

Bug = Callable[[], AbstractContextManager[Any]]
BUGS: dict[str, Bug] = {}


def planted(bug: Bug) -> Bug:
    """Add a bug to the list, under the name of its function."""
    BUGS[bug.__name__.replace("_", " ")] = bug
    return bug


# -- promises ------------------------------------------------------------------------------------


@planted
def promise_before_fsync() -> AbstractContextManager[Any]:
    """A promise forgets the commits that are on their way to the disk."""
    promise = Store.promise

    def planted_promise(self: Store, wall_ms: int) -> int:
        on_their_way, self._own_stamps = self._own_stamps, type(self._own_stamps)()
        try:
            return promise(self, wall_ms)
        finally:
            self._own_stamps = on_their_way

    return patch.object(Store, "promise", planted_promise)


@planted
def promise_the_stamp_that_is_on_its_way() -> AbstractContextManager[Any]:
    """`own_stamps[0]` for `own_stamps[0] - 1`."""
    promise = Store.promise

    def planted_promise(self: Store, wall_ms: int) -> int:
        promised = promise(self, wall_ms)
        if self._own_stamps:
            promised = max(promised, min(self._own_stamps[0], self._durable_ceiling))
            self._promised = promised
        return promised

    return patch.object(Store, "promise", planted_promise)


@planted
def stamp_at_the_promise() -> AbstractContextManager[Any]:
    """The clock is not moved past what was promised."""

    def planted_promise(self: HybridClock, wall_ms: int, ceiling: int) -> int:
        return min(max(self.last, stamp_of(wall_ms)), ceiling)

    return patch.object(HybridClock, "promise", planted_promise)


@planted
def no_ceiling_after_restart() -> AbstractContextManager[Any]:
    """The clock starts from the commits alone, not from the stored ceiling."""
    take_state = recovery._take_state

    def planted_take(found: Any, history: Any, recovered: Any, members: Any) -> None:
        before = recovered.highest
        take_state(found, history, recovered, members)
        recovered.highest = before

    return patch.object(recovery, "_take_state", planted_take)


@planted
def tell_a_promise_without_all_its_sequences() -> AbstractContextManager[Any]:
    """A report leaves out one of the logs that moved."""
    tell = Told.tell

    def planted_tell(self: Told, origin: int, standing: Any) -> Report | None:
        report = tell(self, origin, standing)
        if report is not None and len(report.moved) > 1:
            report.moved.pop()
        return report

    return patch.object(Told, "tell", planted_tell)


@planted
def forget_reports_of_who_is_not_known_yet() -> AbstractContextManager[Any]:
    """Was there: what a link tells once was dropped before its maker's origin was known."""
    learn = Settler.learn

    def planted_learn(self: Settler, report: Report) -> None:
        if self._members.name(report.origin) is not None:
            learn(self, report)

    return patch.object(Settler, "learn", planted_learn)


# -- settlement ----------------------------------------------------------------------------------


@planted
def settle_without_a_majority() -> AbstractContextManager[Any]:
    """It is enough that this node holds it."""

    def planted_held(self: Settlement, shard: int, time: int) -> bool:
        return self._covers(self._me, self._needs(shard, time))

    return patch.object(Settlement, "_held_by_majority", planted_held)


@planted
def take_half_for_a_majority() -> AbstractContextManager[Any]:
    """`>=` for `>`."""

    def planted_held(self: Settlement, shard: int, time: int) -> bool:
        needs = self._needs(shard, time)
        holding = sum(self._covers(member, needs) for member in self._members)
        return 2 * holding >= len(self._members) and self._covers(self._me, needs)

    return patch.object(Settlement, "_held_by_majority", planted_held)


@planted
def settle_on_promises_that_are_not_usable() -> AbstractContextManager[Any]:
    """A majority holds what the promises name; whether this node does is not asked."""

    def planted_held(self: Settlement, shard: int, time: int) -> bool:
        needs = self._needs(shard, time)
        return 2 * sum(self._covers(member, needs) for member in self._members) > len(self._members)

    def planted_candidate(self: Settlement, shard: int) -> int:
        return min(self._promised.values())

    return _all(
        patch.object(Settlement, "_held_by_majority", planted_held),
        patch.object(Settlement, "_candidate", planted_candidate),
    )


@planted
def settle_one_stamp_too_far() -> AbstractContextManager[Any]:
    """`<=` the watermark plus one."""
    until = ShardFold.until

    def planted_until(self: ShardFold, stamp: int) -> int:
        return until(self, stamp + 1)

    return patch.object(ShardFold, "until", planted_until)


@planted
def settle_one_stamp_too_little() -> AbstractContextManager[Any]:
    """`<` the watermark: the newest commit of an idle cluster never settles with `close`."""
    until = ShardFold.until

    def planted_until(self: ShardFold, stamp: int) -> int:
        return until(self, stamp - 1)

    return patch.object(ShardFold, "until", planted_until)


@planted
def note_a_watermark_that_was_not_reached() -> AbstractContextManager[Any]:
    """State records say that more was settled than was."""
    note = Store.note_settled

    def planted_note(self: Store, shard: int, watermark: int) -> None:
        note(self, shard, watermark + stamp_of(500))

    return patch.object(Store, "note_settled", planted_note)


# -- durability ----------------------------------------------------------------------------------


@planted
def answer_before_fsync() -> AbstractContextManager[Any]:
    """An append does not wait for the log."""
    append = Node.append

    class Hasty:
        def __init__(self, log: Log) -> None:
            self._log = log

        def __getattr__(self, name: str) -> Any:
            return getattr(self._log, name)

        async def wait(self, position: int) -> None:
            pass

    async def planted_append(self: Node, draft: Any, **options: Any) -> Any:
        log, self.log = self.log, Hasty(self.log)  # type: ignore[assignment]
        try:
            return await append(self, draft, **options)
        finally:
            self.log = log

    return patch.object(Node, "append", planted_append)


@planted
def push_before_fsync() -> AbstractContextManager[Any]:
    """A commit goes into the outbox when it is stamped."""
    stamp, on_group = Store.stamp, Node._on_group

    def planted_stamp(self: Store, draft: Any, wall_ms: int) -> Held:
        held = stamp(self, draft, wall_ms)
        node: Node = self._on_group.__self__  # type: ignore[attr-defined]
        node.outbox.add(held.shard, held.seq, self._on_its_way[-1][1])
        return held

    def planted_group(self: Node, group: Any) -> None:
        with patch.object(self.outbox, "add", lambda *_: None):
            on_group(self, group)

    return _all(
        patch.object(Store, "stamp", planted_stamp), patch.object(Node, "_on_group", planted_group)
    )


@planted
def report_before_fsync() -> AbstractContextManager[Any]:
    """The frontier counts commits that are on their way to the disk."""
    receive = Store.receive

    def planted_receive(self: Store, commit: Any, body: bytes) -> None:
        receive(self, commit, body)
        self.frontier.advance((commit.shard, commit.origin), commit.seq)

    return patch.object(Store, "receive", planted_receive)


@planted
def lose_one_commit_in_32() -> AbstractContextManager[Any]:
    """A received commit is counted and not kept."""
    receive = Store.receive

    def planted_receive(self: Store, commit: Any, body: bytes) -> None:
        if commit.hash[0] < 8:
            self._arrived[commit.shard, commit.origin] = commit.seq
        else:
            receive(self, commit, body)

    return patch.object(Store, "receive", planted_receive)


@planted
def reuse_a_sequence_after_restart() -> AbstractContextManager[Any]:
    """The last sequence of an own log is given again."""
    init = Store.__init__

    def planted_init(self: Store, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        for log, seq in list(self._arrived.items()):
            if log[1] == self.origin:
                self._arrived[log] = seq - 1

    return patch.object(Store, "__init__", planted_init)


# -- the fold ------------------------------------------------------------------------------------


@planted
def forget_which_ids_are_settled() -> AbstractContextManager[Any]:
    """A commit that arrives is not looked up in the index."""

    def planted_insert(self: History, held: Held) -> None:
        held.known_before = False
        self.insert_new(held)

    return patch.object(History, "insert", planted_insert)


@planted
def keep_a_stale_fold() -> AbstractContextManager[Any]:
    """A commit that arrives in between does not throw away the folding after its place."""

    def planted_insert(self: StreamFold, held: Held) -> None:
        insort(self.pending, held)

    return patch.object(StreamFold, "insert", planted_insert)


@planted
def forget_to_refold_what_was_overtaken() -> AbstractContextManager[Any]:
    """A commit that becomes a repetition keeps the outcome that it had."""
    return patch.object(StreamFold, "refold_from", lambda *_: None)


@planted
def forget_the_sites_priority() -> AbstractContextManager[Any]:
    """Commits of others are ordered as if all sites had priority 0."""
    held_of = recovery.held_of

    def planted_held_of(commit: Any, _: int, position: int, length: int) -> Held:
        return held_of(commit, 0, position, length)

    return _all(
        patch("anabranch.node.store.held_of", planted_held_of),
        patch("anabranch.node.recovery.held_of", planted_held_of),
    )


@planted
def never_observe() -> AbstractContextManager[Any]:
    """A commit that arrives does not move the clock."""
    receive = Store.receive

    def planted_receive(self: Store, commit: Any, body: bytes) -> None:
        before = self.hlc.last
        receive(self, commit, body)
        self.hlc.last = before

    return patch.object(Store, "receive", planted_receive)


@contextmanager
def _all(*contexts: AbstractContextManager[Any]) -> Any:
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield
