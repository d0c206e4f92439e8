"""Bugs of the log: what is told before it is on disk, and what is taken for good."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.storage import record, scan
from anabranch.storage.files import LogFiles
from anabranch.storage.log import Log
from anabranch.storage.scan import Scan
from anabranch.tests.simulations.bugs.registry import edited, together

from .registry import found_by

CRASHES = "storage/test_crash_points.py::test_a_crash_at_any_call_loses_nothing_that_was_confirmed"
FLIPS = "storage/test_damage.py"


@found_by("storage/test_crash.py")
def a_new_segment_without_a_synced_name() -> AbstractContextManager[Any]:
    """Its bytes are on disk, and after a loss of power no folder names them."""
    return edited(Log._write_group, ("self._disk.sync_names(FOLDER)", "pass"))


@found_by("storage/test_log.py", quick=True)
def tell_before_the_sync() -> AbstractContextManager[Any]:
    """A write that returned is taken for one that is on disk."""
    return edited(Log._write_group, ("await self._disk.sync(segment_name(base))", "pass"))


@found_by("storage/test_log.py")
def write_on_what_was_read_back_and_not_synced() -> AbstractContextManager[Any]:
    """A process that was killed left it in the system's cache only."""
    return edited(Log._write, ("await self._disk.sync(last.name)", "pass"))


@found_by(FLIPS)
def ignore_where_a_record_says_that_it_stands() -> AbstractContextManager[Any]:
    """A record that was read from, or written to, another place is taken."""
    return together(
        edited(
            record.run,
            ("(magic, zero, place, linked,", "(magic, zero, linked,"),
            ("(MAGIC, 0, position, link,", "(MAGIC, 0, link,"),
        ),
        edited(scan._stands_at, ("header.position == position and ", "")),
        edited(LogFiles._try, ("header.position == position and ", "")),
    )


@found_by(FLIPS)
def ignore_the_record_before() -> AbstractContextManager[Any]:
    """An old record in an old place is taken."""
    return together(
        edited(
            record.run,
            ("(magic, zero, place, linked,", "(magic, zero, place,"),
            ("(MAGIC, 0, position, link,", "(MAGIC, 0, position,"),
        ),
        edited(Scan._follows, ("self.link is None or", "True or")),
    )


@found_by("storage/test_record.py")
def trust_a_length_before_its_checksum() -> AbstractContextManager[Any]:
    """Whatever begins as a record does is one, of the length that it says."""
    return edited(
        record.parse,
        ("if crc32c(bytes(data[offset : offset + _FRONT.size])) == header.crc", "if True"),
    )


@found_by("storage/test_log.py")
def serve_a_damaged_record() -> AbstractContextManager[Any]:
    """A body that is read is not held against its checksum."""
    return edited(LogFiles._try, (" and intact(header, body)", ""))


@found_by(FLIPS)
def cut_damage_like_a_torn_tail() -> AbstractContextManager[Any]:
    """What a later record proves to have been synced is cut without a word."""
    return edited(Scan._skip, ("self._last and not self._proven(position, behind)", "self._last"))


@found_by("storage/test_read_errors.py", quick=True)
def cut_what_can_not_be_read() -> AbstractContextManager[Any]:
    """A disk that does not answer at the start costs everything at the end of the log."""
    return edited(Scan._skip, (" and self._window.whole(position)", ""))


@found_by("storage/test_crash.py")
def leave_a_torn_tail() -> AbstractContextManager[Any]:
    """New records are written behind it, so that at the next start it is damage."""
    return edited(Log._finish_opening, ("if self.torn is not None", "if False"))


@found_by(FLIPS)
def take_the_first_bad_read_for_damage() -> AbstractContextManager[Any]:
    """What a controller read wrong once is gone."""
    return edited(
        LogFiles.read,
        (
            "if body is None:\n        body = self._try(segment, position, length)\n",
            "pass\n",
        ),
    )


@found_by("storage/test_crash_points.py", quick=True)
def keep_the_link_of_a_dropped_group() -> AbstractContextManager[Any]:
    """The next record names one that never came to be: at the next start it is damage."""
    return edited(
        Log._drop,
        (
            "self._link, self._group_base = self._durable_link, self._durable_base",
            "self._group_base = self._durable_base",
        ),
    )


@found_by("storage/test_crash_points.py")
def leave_what_was_dropped_on_the_disk() -> AbstractContextManager[Any]:
    """Its callers were told that nothing was written, and it comes back after a crash."""
    return edited(
        Log._drop, ("self._disk.truncate(segment_name(base), self.durable - base)", "pass")
    )


@found_by("storage/test_crash_points.py")
def never_give_up_the_reserve() -> AbstractContextManager[Any]:
    """A full disk stays too full for a promise."""
    return edited(Log._drop, ("self._give_reserve()", "pass"))
