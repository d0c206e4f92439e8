"""Bugs about the watermark: what is called settled, and when."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.gossip.counting import EpochSettlement
from anabranch.gossip.settlement import Settlement
from anabranch.node.fold import ShardFold
from anabranch.node.settler import Settler
from anabranch.node.store import Store
from anabranch.node.welcome import Welcome

from .fold import order_ties_by_arrival
from .promises import stamp_at_the_promise
from .registry import edited, planted, together


@planted
def settle_without_a_majority() -> AbstractContextManager[Any]:
    """It is enough that this node holds it."""
    return edited(
        EpochSettlement._held_by_majority, ("return holding >= enough", "return holding >= 0")
    )


@planted
def take_half_for_a_majority() -> AbstractContextManager[Any]:
    """`>=` for `>`."""
    return edited(
        EpochSettlement._held_by_majority,
        ("return holding >= enough", "return 2 * holding >= len(self._members)"),
    )


@planted
def count_oneself_twice() -> AbstractContextManager[Any]:
    """This node is among the members that are counted, and was counted already."""
    return edited(EpochSettlement._held_by_majority, ("int(self.counts_me)", "2 * self.counts_me"))


@planted
def settle_on_promises_that_are_not_usable() -> AbstractContextManager[Any]:
    """A majority holds what the promises name; whether this node does is not asked."""
    return together(
        edited(
            EpochSettlement._held_by_majority,
            ("if not self._covers(self._me, needs)", "if not needs"),
            ("int(self.counts_me)", "int(self.counts_me and self._covers(self._me, needs))"),
        ),
        edited(Settlement._candidate, ("if named.get(log, 0) > held(log, 0)", "if not log")),
    )


@planted
def take_the_promise_before_a_time() -> AbstractContextManager[Any]:
    """`<=` for `>=`: what the oldest promise named is not all that there is up to that time."""
    return edited(Settlement._least, ("if promised >= time", "if promised <= time"))


@planted
def keep_only_the_newest_promise() -> AbstractContextManager[Any]:
    """Under load the newest promise always names what is still on its way: nothing settles."""
    return edited(Settlement._keep, ("queue.insert(at, promise)", "queue[:] = []"))


@planted
def settle_one_stamp_too_far() -> AbstractContextManager[Any]:
    """`<=` the watermark plus one."""
    return edited(
        ShardFold.until,
        ("pending[0].key[0] > stamp", "pending[0].key[0] > stamp + 1"),
        ("<= stamp", "<= stamp + 1"),
    )


@planted
def settle_one_stamp_too_little() -> AbstractContextManager[Any]:
    """`<` the watermark: the newest commit of an idle cluster never settles with `close`."""
    return edited(
        ShardFold.until,
        ("pending[0].key[0] > stamp", "pending[0].key[0] >= stamp"),
        ("<= stamp", "< stamp"),
    )


@planted
def note_a_watermark_that_was_not_reached() -> AbstractContextManager[Any]:
    """State records say that more was settled than was."""
    return edited(Store.note_settled, ("= watermark", "= watermark + stamp_of(500)"))


@planted
def settle_up_to_a_commit_that_is_held_back() -> AbstractContextManager[Any]:
    """Its own stamp counts as known, not only what lies below it."""
    return edited(Settlement.seen_ahead, ("(stamp - 1, seq - 1)", "(stamp, seq - 1)"))


@planted
def a_held_back_commit_stops_all_from_settling() -> AbstractContextManager[Any]:
    """Was there: a promise named it, so everybody waited for a clock that is ahead."""
    return edited(
        Welcome._hold_back,
        ("settlement.seen_ahead(log, commit.seq, commit.hlc)", "settlement.watermark(log[0])"),
    )


@planted
def settle_differently_and_never_compare() -> AbstractContextManager[Any]:
    """The cross-check is off, so only an onlooker can tell that nodes differ."""
    return together(order_ties_by_arrival(), edited(Settler._compare, ("!= running", "is None")))


@planted
def break_a_promise_and_never_say_so() -> AbstractContextManager[Any]:
    """A commit at a time that is settled is taken without a word."""
    return together(
        stamp_at_the_promise(), edited(Welcome.takes, ("if broken is not None", "if False"))
    )
