"""Bugs about damage: what a node believes of a hole, and how it comes to be whole again."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.gossip import session
from anabranch.gossip.session import Session
from anabranch.node.comparing import Comparing
from anabranch.node.history import History
from anabranch.node.recovery import _Replay
from anabranch.node.repair import Repair
from anabranch.node.store import Store
from anabranch.node.trees import Trees
from anabranch.storage.files import LogFiles
from anabranch.storage.log import Log

from .registry import edited, planted, together, unseen


@planted
def forget_what_is_stranded() -> AbstractContextManager[Any]:
    """What lies behind a hole is left to be pulled again, though others may not have it."""
    return edited(
        _Replay.end, ("of.unsure = of.blind", "of.unsure = of.blind; of.stranded.clear()")
    )


@planted
def promise_while_own_commits_are_missing() -> AbstractContextManager[Any]:
    """A torn log does not keep its node from promising."""
    return edited(Store.promise, ("if self.holes.mine", "if False"))


@planted
def number_commits_while_some_are_missing() -> AbstractContextManager[Any]:
    """A torn log does not keep its node from appending."""
    return edited(Repair.check_own, ("if self._holes.hides(shard)", "if False"))


@planted
def settle_while_blind() -> AbstractContextManager[Any]:
    """A start makes final what lies behind a hole, whatever was in the hole."""
    return edited(_Replay._settle, ("if of.blind", "if False"))


@planted
def scrub_all_but_the_last_segment() -> AbstractContextManager[Any]:
    """The scrub leaves alone what is being written."""
    return edited(
        Log.segment_from,
        ("if one.end > position", "if one.end > position and one is not self.files.segments[-1]"),
    )


@planted
def compare_the_wrong_child() -> AbstractContextManager[Any]:
    """A comparison goes down beside the place where the trees differ."""
    return edited(Session._descend, ("index * FANOUT + child", "index * FANOUT"))


@planted
def leave_a_node_that_differs_above_the_same() -> AbstractContextManager[Any]:
    """A comparison that finds no commit that differs has nothing to mend."""
    return edited(Comparing._differ, ("self._repair.mend_tree(log, seq)", "pass"))


@unseen(
    "a wrong hash of a commit, and a start that reads it, and completes the node above it with "
    "commits that are not settled",
    "node/test_trees.py::test_a_wrong_leaf_can_be_put_right",
)
def mend_a_tree_as_far_as_it_is_settled() -> AbstractContextManager[Any]:
    """A node that commits complete which are not settled stays as it is."""
    return edited(
        Trees.mend,
        (
            "self._leaf_of(log, (place + 1) * FANOUT**level) is not None",
            "(place + 1) * FANOUT**level <= self._settled[log]",
        ),
    )


@planted
def name_all_shards_where_one_hash_would_do() -> AbstractContextManager[Any]:
    """Whoever has the same is told the roots of all shards."""
    return edited(session.reply, ("[] if node_root(roots) == question.root else roots", "roots"))


@planted
def name_all_logs_where_nothing_differs() -> AbstractContextManager[Any]:
    """And goes on to the logs of all of them."""
    narrow = edited(Session._compare_shards, (" if root != theirs[shard]", ""))
    return together(name_all_shards_where_one_hash_would_do(), narrow)


@planted
def accept_a_log_that_lost_its_end() -> AbstractContextManager[Any]:
    """What the index knows of the end of the log is not looked at."""
    return edited(Log._check_end, ("if good < synced", "if False"))


@planted
def leave_the_index_at_the_damaged_record() -> AbstractContextManager[Any]:
    """A copy is on disk, and nobody finds it."""
    return edited(
        History.move,
        ("self._place(order)._replace(position=position, length=length)", "self._place(order)"),
    )


@planted
def keep_what_had_no_room() -> AbstractContextManager[Any]:
    """A group that was not written stays in the fold."""
    return edited(Store.dropped, ("self.history.remove(held)", "pass"))


@unseen(
    "reads that go wrong of a sealed block that rots later, and nobody reads it but the scrub",
    "storage/test_checked_again.py::test_what_was_read_wrong_once_is_found_when_it_is_damaged",
)
def know_damage_that_was_read_wrong() -> AbstractContextManager[Any]:
    """What was damaged only to a disk that read wrong stays known, and is not found any more."""
    return edited(LogFiles._reads_well, ("if self.gaps:", "if False:"))
