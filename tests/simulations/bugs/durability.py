"""Bugs about the disk: what is told before it is there, and what is done about damage."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from anabranch.node.appends import Appends
from anabranch.node.fold import Held
from anabranch.node.node import Node
from anabranch.node.replication import Replication
from anabranch.node.store import Store
from anabranch.storage.files import LogFiles
from anabranch.storage.log import Log
from anabranch.storage.scan import Scan

from .registry import edited, planted, together


@planted
def answer_before_fsync() -> AbstractContextManager[Any]:
    """An append does not wait for the log."""
    return edited(Appends._append, ("await self._durable(held)", "pass"))


@planted
def push_before_fsync() -> AbstractContextManager[Any]:
    """A commit goes into the outbox when it is stamped."""
    stamp = Store.stamp

    def planted_stamp(self: Store, draft: Any, wall_ms: int) -> Held:
        held = stamp(self, draft, wall_ms)
        node: Node = self._on_group.__self__  # type: ignore[attr-defined]
        if self.settled_in:
            node.outbox.add((held.shard, self.origin), held.seq, self._on_its_way[-1][1])
        return held

    return together(
        patch.object(Store, "stamp", planted_stamp),
        edited(Replication.publish, ("if log[1] == mine:", "if False:")),
    )


@planted
def report_before_fsync() -> AbstractContextManager[Any]:
    """The frontier counts commits that are on their way to the disk."""
    return edited(
        Store.receive,
        (
            "position = self.log",
            "self.frontier.advance((commit.shard, commit.origin), commit.seq); position = self.log",
        ),
    )


@planted
def confirm_the_record_that_begins_where_the_disk_ends() -> AbstractContextManager[Any]:
    """`<=` for `<`: the first record of the next group counts as written."""
    return edited(Log.wait, ("position < self.durable", "position <= self.durable"))


@planted
def count_the_first_of_the_next_group_as_durable() -> AbstractContextManager[Any]:
    """`<=` for `<`, where what was on its way is taken in."""
    return edited(Store.durable, ("waiting[0][0].position < end", "waiting[0][0].position <= end"))


@planted
def lose_one_commit_in_32() -> AbstractContextManager[Any]:
    """A received commit is counted and not kept."""
    return edited(
        Store.receive,
        ("self._on_its_way.append(", "commit.hash[0] < 8 or self._on_its_way.append("),
    )


@planted
def a_new_segment_without_a_synced_name() -> AbstractContextManager[Any]:
    """Its bytes are on disk, and after a loss of power no folder names them."""
    return edited(Log._write_group, ("self._disk.sync_names(FOLDER)", "pass"))


@planted
def leave_a_torn_tail() -> AbstractContextManager[Any]:
    """New records are written behind it, so that at the next start it is damage."""
    return edited(Log._finish_opening, ("if self.torn is not None", "if False"))


@planted
def cut_a_torn_tail_at_a_sector() -> AbstractContextManager[Any]:
    """The cut takes good records with it."""
    return edited(
        Log._finish_opening,
        (
            "truncate(last.name, self.torn.position - last.base)",
            "truncate(last.name, (self.torn.position - last.base) // 512 * 512)",
        ),
        (
            "Segment(last.base, self.torn.position - last.base)",
            "Segment(last.base, (self.torn.position - last.base) // 512 * 512)",
        ),
    )


@planted
def take_damage_for_a_torn_tail() -> AbstractContextManager[Any]:
    """What a later record proves to have been synced is cut without a word."""
    return edited(
        Scan._skip, ("if self._last and not self._proven(position, behind)", "if self._last")
    )


@planted
def serve_a_damaged_record() -> AbstractContextManager[Any]:
    """A body that is read is not held against its checksum."""
    return edited(LogFiles._try, (" and intact(header, body)", ""))


@planted
def append_on_a_full_disk() -> AbstractContextManager[Any]:
    """Nothing is kept free for promises; the disk's own error ends the node."""
    return edited(Appends.check_ready, ("node.room.check()", "pass"))


@planted
def answer_an_error_though_it_may_be_kept() -> AbstractContextManager[Any]:
    """An append under way when a sync fails is told that nothing was written."""
    return edited(Appends._durable, ("raise _unconfirmed(error)", "raise Unavailable(str(error))"))


@planted
def answer_a_failed_write_as_if_nothing_was_written() -> AbstractContextManager[Any]:
    """Was there, but for syncs: the disk's error is the answer, which says that it is not here."""
    return edited(Appends._durable, ("except AnabranchError", "except ZeroDivisionError"))


@planted
def answer_damage_as_if_nothing_was_written() -> AbstractContextManager[Any]:
    """Was there: what a receipt is made of can't be read, and the commit is on disk."""
    return edited(Appends.append, ("except DamagedLog", "except ZeroDivisionError"))
