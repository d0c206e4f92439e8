"""Bugs about what is pushed, pulled, taken and held back."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.gossip import wire
from anabranch.gossip.outbox import Outbox
from anabranch.gossip.peer import Dialer
from anabranch.gossip.pulling import Pulls
from anabranch.node.history import History
from anabranch.node.replication import Replication
from anabranch.node.store import Store
from anabranch.node.welcome import Welcome
from anabranch.storage import commit

from .registry import edited, planted, together


@planted
def give_from_the_commit_that_is_there() -> AbstractContextManager[Any]:
    """The sequence that a pull names for the one after it."""
    return edited(
        Replication.give,
        ("log_entries(shard, origin, after)", "log_entries(shard, origin, after - 1)"),
    )


@planted
def forget_the_last_of_what_is_given() -> AbstractContextManager[Any]:
    """A slice that ends one too early."""
    return edited(Replication.give, ("return commits", "return commits[:-1]"))


@planted
def give_what_is_not_durable() -> AbstractContextManager[Any]:
    """Own commits are given to a peer before they are on disk here."""
    return together(
        edited(Replication.give, ("if seq > held or ", "if ")),
        edited(History.log_entries, ("if not held.durable", "if False")),
    )


@planted
def take_a_commit_twice() -> AbstractContextManager[Any]:
    """What is here already is not refused."""
    return together(
        edited(Welcome.takes, ("commit.seq != self", "commit.seq > self")),
        edited(Store.receive, ("commit.seq != self", "commit.seq > self")),
    )


@planted
def leave_out_a_commit_and_never_notice() -> AbstractContextManager[Any]:
    """A pull skips one, and what does not follow on what is here is taken all the same."""
    return together(
        edited(
            Replication.give,
            ("log_entries(shard, origin, after)", "log_entries(shard, origin, after + 1)"),
        ),
        edited(
            Welcome.takes,
            ("seq != self._store.arrived(*log) + 1", "seq <= self._store.arrived(*log)"),
        ),
        edited(
            Store.receive,
            ("commit.seq != self.arrived(commit.shard, commit.origin) + 1", "commit.seq < 1"),
        ),
    )


@planted
def take_a_frame_whatever_its_sum_says() -> AbstractContextManager[Any]:
    """Frames that were damaged on their way are read."""
    return edited(wire.from_frame, ("if sum_of(frame) != _sum(kind, data, before)", "if not kind"))


@planted
def sum_each_frame_by_itself() -> AbstractContextManager[Any]:
    """Frames that were doubled, lost or overtaken look whole."""
    return edited(wire._sum, ("extend(before, kind)", "extend(0, kind)"))


@planted
def take_a_payload_unseen() -> AbstractContextManager[Any]:
    """Neither frames are held against their sums, nor payloads against the hashes in a header."""
    return together(
        take_a_frame_whatever_its_sum_says(),
        edited(commit.receive, ("!= commit.hashes", "is None")),
    )


@planted
def drop_commits_when_the_outbox_is_full() -> AbstractContextManager[Any]:
    """The newest one is not kept, and nobody is told to pull it."""
    return edited(
        Outbox.add,
        (
            "self._commits.append(",
            "if self._bytes > self.bytes_max:\n        return\n    self._commits.append(",
        ),
        ("while self._bytes > self.bytes_max and", "while False and"),
    )


@planted
def push_the_newest_first() -> AbstractContextManager[Any]:
    """The commits of one push are in reverse."""
    return edited(Outbox.batch, ("Batch(commits, last", "Batch(commits[::-1], last"))


@planted
def never_pull_from_a_third_node() -> AbstractContextManager[Any]:
    """A commit whose own node is out of reach does not find its way around."""
    return edited(Pulls._grace, ("turn or RELAY_GRACE_SECONDS", "(turn + 1000)"))


@planted
def a_lost_link_keeps_its_pull() -> AbstractContextManager[Any]:
    """The logs that it was asking for are never asked for by another link."""
    return edited(Dialer._end, ("self._pulls.release()", "pass"))


@planted
def never_ask_again_for_what_was_held_back() -> AbstractContextManager[Any]:
    """When its time has come, nobody pulls it."""
    return edited(Welcome.still_held_back, ("del self.held_back[log]", "pass"))


@planted
def pull_each_log_once() -> AbstractContextManager[Any]:
    """A log that was asked for stays with the link that asked."""
    return edited(Pulls.release, ("self._host.pulling.discard((shard, origin))", "pass"))
