"""Bugs about the fold: which commits count, in which order, with which revisions."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.node import fold
from anabranch.node.fold import Held, ShardFold, StreamFold, held_of
from anabranch.node.history import History
from anabranch.node.store import Store

from .registry import edited, planted, unseen


@planted
def forget_which_ids_are_settled() -> AbstractContextManager[Any]:
    """A commit that arrives is not looked up in the index."""
    return edited(
        History.insert,
        ("self._index.get(keys.commit_key(held.id, held.shard)) is not None", "False"),
    )


@planted
def forget_that_an_id_was_just_settled() -> AbstractContextManager[Any]:
    """Copies that wait are not told when the first of them is settled."""
    return edited(ShardFold.remove_first, ("later.known_before = True", "pass"))


@planted
def keep_a_stale_fold() -> AbstractContextManager[Any]:
    """A commit that arrives in between does not throw away the folding after its place."""
    return edited(StreamFold.insert, ("del self._folded[at:]", "pass"))


@planted
def forget_to_refold_what_was_overtaken() -> AbstractContextManager[Any]:
    """A commit that becomes a repetition keeps the outcome that it had."""
    return edited(StreamFold.refold_from, ("del self._folded[self.place_of(held) :]", "pass"))


@planted
def forget_the_sites_priority() -> AbstractContextManager[Any]:
    """Commits of others are ordered as if all sites had priority 0."""
    return edited(
        held_of, ("(commit.hlc, priority, commit.origin)", "(commit.hlc, 0, commit.origin)")
    )


@planted
def order_ties_by_arrival() -> AbstractContextManager[Any]:
    """Of two commits with one stamp the one that came first comes first."""
    return edited(Held.__lt__, ("self.key < other.key", "self.key[0] < other.key[0]"))


@planted
def never_observe() -> AbstractContextManager[Any]:
    """A commit that arrives does not move the clock."""
    return edited(Store.receive, ("self.hlc.observe(commit.hlc)", "pass"))


@planted
def take_exists_for_anything() -> AbstractContextManager[Any]:
    """A commit that expects a stream with events fits an empty one."""
    return edited(fold.fits, ("return revision >= 0", "return True"))


@planted
def reject_what_should_be_kept() -> AbstractContextManager[Any]:
    """The policy of a commit is not asked."""
    return edited(fold.judge, ("KEPT if held.policy == KEEP else REJECTED", "REJECTED"))


@planted
def count_the_revisions_of_rejected_ones() -> AbstractContextManager[Any]:
    """What is not shown takes up revisions all the same."""
    return edited(StreamFold.folded, ("if outcome in (ACCEPTED, KEPT)", "if outcome != SHADOWED"))


@planted
def judge_a_conditional_by_the_commits_before_its_batch() -> AbstractContextManager[Any]:
    """The revision stays what was settled while several commits are folded."""
    return edited(
        StreamFold.folded, ("judge(held, revision, seen", "judge(held, self.settled_revision, seen")
    )


@planted
def read_from_the_commit_after_a_revision() -> AbstractContextManager[Any]:
    """A page that begins within a commit leaves the rest of that commit out."""
    return edited(
        History.settled_places,
        ("first.first_revision if first", "first.first_revision + 1 if first"),
    )


@unseen(
    "a copy and its original that stamp in the same moment, and a stray that gives way",
    "simulations/test_regressions.py::test_it_is_mended[two-commits-with-one-key]",
)
def remove_the_first_of_two_that_have_one_key() -> AbstractContextManager[Any]:
    """A commit is looked up by its key alone."""
    return edited(fold._place, ("while pending[at] is not held:", "while False:"))
