"""Bugs about clocks that are wrong: whom they hurt, and who believes them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.gossip.clocks import Clocks, _Bounds
from anabranch.node.appends import Appends
from anabranch.node.replication import Replication
from anabranch.node.welcome import Welcome

from .registry import edited, planted


@planted
def take_the_upper_median() -> AbstractContextManager[Any]:
    """Of two clocks the faster one counts."""
    return edited(Clocks._look, ("(len(offsets) - 1) // 2", "len(offsets) // 2"))


@planted
def take_the_mean_of_all_clocks() -> AbstractContextManager[Any]:
    """One clock that is far off moves everybody's limit."""
    return edited(
        Clocks._look, ("offsets[(len(offsets) - 1) // 2]", "sum(offsets) // len(offsets)")
    )


@planted
def take_a_message_for_as_new_as_it_is_read() -> AbstractContextManager[Any]:
    """Where links are slow, every clock but the own one is behind."""
    return edited(_Bounds.offset, ("return min(high, 0)", "return low"))


@planted
def append_with_a_clock_that_is_ahead() -> AbstractContextManager[Any]:
    """A node stamps what the others will hold back."""
    return edited(
        Appends.check_ready,
        (
            "if node.clocks.ahead_ms(node.store.hlc.last, wall_ms) > 0 or node.clocks.is_ahead",
            "if False",
        ),
    )


@planted
def take_a_commit_that_is_ahead_of_time() -> AbstractContextManager[Any]:
    """Nothing is held back: one fast clock drags all others along."""
    return edited(Welcome.takes, ("ahead_ms(commit.hlc, wall) > 0", "ahead_ms(0, wall) > 0"))


@planted
def observe_a_commit_that_is_held_back() -> AbstractContextManager[Any]:
    """The clock moves past it before its time has come."""
    return edited(
        Welcome.takes,
        (
            "self._hold_back(commit, wall)",
            "self._hold_back(commit, wall)\n        self._store.hlc.observe(commit.hlc)",
        ),
    )


@planted
def observe_any_stamp_that_is_to_be_closed() -> AbstractContextManager[Any]:
    """A peer with a fast clock drags this one along when it asks for a promise."""
    return edited(
        Replication._observe,
        ("if self._clocks.ahead_ms(stamp, self._clock.wall_ms()) <= 0", "if stamp"),
    )
