"""Bugs about a restart: what a node believes when it has read back its log."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.node import recovery
from anabranch.node.history import History
from anabranch.node.store import Store

from .registry import edited, planted


@planted
def reuse_a_sequence_after_restart() -> AbstractContextManager[Any]:
    """The last sequence of an own log is given again."""
    return edited(
        Store.__init__,
        (
            "self.frontier.advance(key, seq)",
            "self.frontier.advance(key, seq); self._arrived[key] -= key[1] == self.origin",
        ),
    )


@planted
def forget_the_stamps_of_others_at_restart() -> AbstractContextManager[Any]:
    """The clock starts above this node's own stamps only."""
    return edited(
        Store.__init__, ("max(recovered.highest, recovered.observed)", "recovered.highest")
    )


@planted
def state_records_without_origins() -> AbstractContextManager[Any]:
    """Who the members are is forgotten in a restart."""
    return edited(
        Store.state,
        ("self.members.founders,", "[(*row[:3], 0) for row in self.members.founders],"),
    )


@planted
def read_back_from_the_middle_of_a_segment() -> AbstractContextManager[Any]:
    """From the oldest commit that is not settled, without the state record before it."""
    return edited(
        recovery.recover,
        ("start = log.segment_base(start)", "pass"),
        ("replay.take_state(read_state(state))", "pass"),
    )


@planted
def an_index_that_says_all_is_settled() -> AbstractContextManager[Any]:
    """The replay begins at the end of the log, whatever is not settled before it."""
    return edited(
        History.oldest_unsettled, ("min(oldest, unsettled[0].position)", "max(oldest, 0)")
    )


@planted
def an_index_that_knows_of_records_not_on_disk() -> AbstractContextManager[Any]:
    """The end of the log for its durable part: after a crash the log seems to have lost some."""
    return edited(History.write_settled, ("self._log.durable", "self._log.end"))
