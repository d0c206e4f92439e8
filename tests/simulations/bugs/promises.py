"""Bugs about promises: what a node said that it will never stamp again, and what was told of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.gossip.counting import EpochSettlement
from anabranch.gossip.reports import Standings, Told
from anabranch.node import recovery
from anabranch.node.replication import Replication
from anabranch.node.settler import Settler
from anabranch.node.store import Store
from anabranch.storage.stamp import HybridClock

from .registry import edited, planted, unseen


@planted
def promise_before_fsync() -> AbstractContextManager[Any]:
    """A promise forgets the commits that are on their way to the disk."""
    return edited(Store.promise, ("if self._own_stamps:", "if False:"))


@planted
def promise_the_stamp_that_is_on_its_way() -> AbstractContextManager[Any]:
    """`own_stamps[0]` for `own_stamps[0] - 1`."""
    return edited(Store.promise, ("self._own_stamps[0] - 1", "self._own_stamps[0]"))


@planted
def stamp_at_the_promise() -> AbstractContextManager[Any]:
    """The clock is not moved past what was promised."""
    return edited(HybridClock.promise, ("self.last = stamp", "pass"))


@unseen(
    "a restart within the sync of a ceiling, with a clock that is set back, after a promise",
    "node/test_promises.py::test_a_promise_goes_no_further_than_a_ceiling_that_is_on_the_disk",
)
def promise_up_to_a_ceiling_that_is_not_stored_yet() -> AbstractContextManager[Any]:
    """A ceiling counts when it is written, not when it is on disk."""
    return edited(
        Store.promise,
        ("promise(now_ms, self._durable_ceiling)", "promise(now_ms, self._ceiling)"),
    )


@planted
def no_ceiling_after_restart() -> AbstractContextManager[Any]:
    """The clock starts from the commits alone, not from the stored ceiling."""
    return edited(recovery._Replay.take_state, ("max(of.highest, state.ceiling)", "of.highest"))


@planted
def tell_a_promise_without_all_its_sequences() -> AbstractContextManager[Any]:
    """A report leaves out one of the logs that moved."""
    return edited(
        Told.tell,
        ("since(frontier_version)", "since(frontier_version)\n    moved = moved[:-1] or moved"),
    )


@planted
def forget_reports_of_who_is_not_known_yet() -> AbstractContextManager[Any]:
    """Was there: what a link tells once was dropped before its maker's origin was known."""
    return edited(
        Settler.learn,
        (
            "if report.origin == self._store.origin",
            "if report.origin not in {*self._members.joined} - {self._store.origin}",
        ),
    )


@planted
def take_what_a_member_holds_of_others_for_its_own() -> AbstractContextManager[Any]:
    """A promise names its maker's own sequences; here it names those of all logs of the shard."""
    return edited(
        EpochSettlement.heard,
        ("for shard, of, seq in rows if of == origin]", "for shard, of, seq in rows]"),
    )


@planted
def merge_all_logs_of_a_shard_into_one() -> AbstractContextManager[Any]:
    """What a member holds of anybody counts as if it held so much of itself."""
    return edited(
        Standings.learn, ("advance((shard, origin), seq)", "advance((shard, report.origin), seq)")
    )


@planted
def ask_only_one_member_to_close() -> AbstractContextManager[Any]:
    """`return` within the loop: the others promise with their next heartbeat only."""
    return edited(
        Replication.ask_to_close,
        ("dialer.ask_to_close(stamp)", "return dialer.ask_to_close(stamp)"),
    )
