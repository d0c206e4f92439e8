"""Bugs about appends: conditions, repetitions, and what a caller is told."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.node.appends import Appends

from .registry import edited, planted


@planted
def check_a_condition_against_what_is_settled() -> AbstractContextManager[Any]:
    """What is tentative here is not looked at, so appends are refused, or let through, wrongly."""
    return edited(
        Appends._append,
        (
            "self._node.history.last_revision(draft.stream, shard)",
            "self._node.history.stream(draft.stream).settled_revision",
        ),
    )


@planted
def check_a_condition_after_it_was_written() -> AbstractContextManager[Any]:
    """The caller is told of a conflict, and the commit is there."""
    return edited(
        Appends._append,
        ("if not fits(", "held = self._node.store.stamp(draft, wall_ms)\n    if not fits("),
        ("    held = self._node.store.stamp(draft, wall_ms)\n    await", "    await"),
    )


@planted
def answer_a_repetition_with_another_body() -> AbstractContextManager[Any]:
    """The body of a repeated append is not compared."""
    return edited(Appends._append_again, ("if first.entry != draft.entry", "if False"))


@planted
def answer_a_repetition_before_the_first_is_durable() -> AbstractContextManager[Any]:
    """The first is in the fold and not on disk yet."""
    return edited(Appends._append_again, ("await self._durable(known)", "pass"))


@planted
def tell_a_shadowed_one_its_own_place() -> AbstractContextManager[Any]:
    """The receipt of a repetition that is not shown is not that of the first."""
    return edited(
        Appends._receipt,
        ("if held.outcome == SHADOWED:\n        return", "if held.outcome == -1:\n        return"),
    )


@planted
def call_it_settled_as_it_stands() -> AbstractContextManager[Any]:
    """What the commit would be now is told as what it is for ever."""
    told = "held.outcome, held.first_revision = self._node.history.tentative_outcome(held)"
    return edited(
        Appends._receipt,
        ("await self._until_settled(held, timeout)", f"held\n        {told}"),
    )


@planted
def call_a_time_out_settled() -> AbstractContextManager[Any]:
    """A caller whose time is up is told that the level was reached."""
    return edited(
        Appends._receipt,
        ('duplicate=duplicate, reached=ack != "settled"', "duplicate=duplicate, reached=True"),
    )


@planted
def wake_a_waiting_caller_when_it_is_durable() -> AbstractContextManager[Any]:
    """`settled` is answered as `local`."""
    return edited(
        Appends._receipt,
        ('if ack == "settled" and', 'ack = "local"\n    if ack == "settled" and'),
    )


@planted
def forget_who_waits() -> AbstractContextManager[Any]:
    """A caller that waits for `settled` is never woken."""
    return edited(Appends.settled, ("future.set_result(None)", "pass"))
