"""Bugs of a damaged node: what it forgets, and what it believes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.node.history import History
from anabranch.node.holes import Holes
from anabranch.node.recovery import _Replay
from anabranch.node.repair import Repair
from anabranch.node.store import Store
from anabranch.tests.simulations.bugs.registry import edited

from .registry import found_by, unseen

HEALING = "node/test_healing.py"
CRASHES = "node/test_heal_crash.py"
ANYWHERE = f"{HEALING}::test_damage_anywhere_is_healed_to_what_was_there"


@found_by(CRASHES)
def take_any_commit_for_a_lost_one() -> AbstractContextManager[Any]:
    """What a peer sends is not held against the hash that this node remembers."""
    return edited(
        Repair.takes,
        ("same = history.leaf(log, commit.seq) == commit.hash", "same = True"),
    )


@found_by(ANYWHERE)
def forget_what_is_stranded() -> AbstractContextManager[Any]:
    """Commits behind a hole are never joined to their log."""
    return edited(
        _Replay._strand,
        ("waiting.append(Stranded(commit.seq, found.position, len(found.body)))", "pass"),
        ("setdefault(log, deque())", "get(log, deque())"),
    )


@found_by(ANYWHERE)
def leave_stranded_commits_where_they_are() -> AbstractContextManager[Any]:
    """A copy that closed the hole is read back, and what follows it is not."""
    return edited(_Replay._take_commit, ("self._join(log)", "pass"))


@found_by(ANYWHERE, quick=True)
def point_at_the_damaged_record_still() -> AbstractContextManager[Any]:
    """A copy is written, and the index never told."""
    return edited(Store.durable, ("self.history.move(", "len(("), (", position, length)", ", 0))"))


@found_by(CRASHES)
def read_copies_back_for_nothing() -> AbstractContextManager[Any]:
    """After a restart the index names the damaged record again."""
    return edited(_Replay._take_copy, ("place[0] < found.position", "place[0] > found.position"))


@found_by(ANYWHERE)
def promise_while_own_commits_are_missing() -> AbstractContextManager[Any]:
    """The promise names sequences that somebody else holds other commits for."""
    return edited(Store.promise, ("if self.holes.mine", "if False"))


@found_by(ANYWHERE)
def number_commits_in_the_dark() -> AbstractContextManager[Any]:
    """Sequences that were given away are given again."""
    return edited(Holes.hides, ("self.unsure or", "False and"))


@found_by(ANYWHERE)
def settle_what_a_hole_is_in() -> AbstractContextManager[Any]:
    """What was settled is settled again without the commits that are missing."""
    return edited(
        _Replay._settle, ("if of.blind", "if False"), ("if of.hole is not None", "if False")
    )


@unseen("a crash after one shard was settled while another is torn")
def read_back_from_behind_a_hole() -> AbstractContextManager[Any]:
    """Once something was settled, a restart does not see what is stranded."""
    return edited(
        History.oldest_unsettled,
        ("(self.hole, self.oldest_stray())", "(None, self.oldest_stray())"),
    )


@found_by(CRASHES)
def read_back_from_behind_what_is_not_settled() -> AbstractContextManager[Any]:
    """Was there: a copy stands at the end of the log, and what follows it in the middle."""
    return edited(History.oldest_unsettled, ("if log in self._healed", "if False"))


@found_by(CRASHES)
def an_index_that_knows_of_records_not_on_disk() -> AbstractContextManager[Any]:
    """The end of the log for its durable part: after a crash the log seems to have lost some."""
    return edited(History.write_settled, ("self._log.durable", "self._log.end"))
