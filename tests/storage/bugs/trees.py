"""Bugs of trees and sessions: differences that are not seen, or seen where there are none."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.gossip.session import Session
from anabranch.node.trees import Trees
from anabranch.storage import merkle
from anabranch.tests.simulations.bugs.registry import edited

from .registry import found_by

MERKLE = "storage/test_merkle.py"
SESSION = "gossip/test_session.py"
TREES = "node/test_trees.py"


@found_by(MERKLE, quick=True)
def hash_nodes_as_leaves_are() -> AbstractContextManager[Any]:
    """A commit could be made whose hash is that of a node."""
    return edited(merkle.inner, (r'b"\x01"', r'b"\x00"'))


@found_by(MERKLE)
def leave_the_size_out_of_the_root() -> AbstractContextManager[Any]:
    """A log of one commit and the commit's hash for a node look the same."""
    return edited(merkle.log_root, ('size.to_bytes(8, "big") + ', ""))


@found_by(MERKLE)
def leave_origins_out_of_the_root() -> AbstractContextManager[Any]:
    """Commits that changed their log are not noticed."""
    return edited(merkle.shard_root, ('origin.to_bytes(8, "big") + ', ""))


@found_by(MERKLE)
def forget_the_last_node_of_a_full_level() -> AbstractContextManager[Any]:
    """A tree that grows by a level is another than one that is made again."""
    return edited(merkle.Tree.append, ("row += above", "row += above[:-1] + bytes(1)"))


@found_by(SESSION)
def descend_into_the_wrong_child() -> AbstractContextManager[Any]:
    """The one beside the child that differs."""
    return edited(
        Session._descend, ("place = index * FANOUT + child", "place = index * FANOUT + child - 1")
    )


@found_by(SESSION)
def stop_at_the_first_child_that_differs() -> AbstractContextManager[Any]:
    """The others are never found while this one is not healed."""
    return edited(
        Session._descend,
        (
            "self._nodes.append((shard, origin, size, level - 1, place))",
            "self._nodes.append((shard, origin, size, level - 1, place)); break",
        ),
    )


@found_by(SESSION)
def compare_logs_of_one_length_only() -> AbstractContextManager[Any]:
    """Who lacks a tail is not looked at any further."""
    return edited(Session._compare_logs, ("if size and own != other", "if own[0] == other[0]"))


@found_by(TREES)
def compare_beyond_the_cut() -> AbstractContextManager[Any]:
    """What the other has not settled yet is a difference."""
    return edited(Trees._size_at, ("> cut:\n        low, high", "> cut + 1:\n        low, high"))


@found_by(TREES)
def keep_complete_nodes_in_memory_only() -> AbstractContextManager[Any]:
    """After a restart the index lacks them."""
    return edited(Trees.take_unwritten, ("[*self._unwritten.items()]", "[]"))


@found_by(TREES)
def mend_a_leaf_and_not_what_is_above_it() -> AbstractContextManager[Any]:
    """The root stays wrong, so the same is found again and again."""
    return edited(Trees.mend, ("while self._leaf_of(", "while False and self._leaf_of("))
