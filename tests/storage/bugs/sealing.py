"""Bugs of the sealer: moments at which nothing good has a name that is on disk."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.storage import block, segment
from anabranch.storage.sealer import Sealer
from anabranch.tests.simulations.bugs.registry import edited

from .logs import CRASHES
from .registry import found_by

SEALER = "storage/test_sealer.py"


@found_by(CRASHES, quick=True)
def remove_a_segment_before_its_sealed_name_is_on_disk() -> AbstractContextManager[Any]:
    """A loss of power may undo the new name and not the removal."""
    return edited(
        Sealer.seal,
        (
            "self._disk.sync_names(FOLDER)\n    self._disk.remove(segment.name)",
            "self._disk.remove(segment.name)\n    self._disk.sync_names(FOLDER)",
        ),
    )


@found_by(CRASHES)
def forget_to_sync_the_new_name() -> AbstractContextManager[Any]:
    """As above, and for good."""
    return edited(Sealer.seal, ("self._disk.sync_names(FOLDER)", "pass"))


@found_by(CRASHES)
def rename_what_is_not_synced() -> AbstractContextManager[Any]:
    """The name of a sealed segment comes before its bytes."""
    return edited(
        Sealer._write,
        (
            "ending(directory, link))\n    await self._disk.sync(name)",
            "ending(directory, link))",
        ),
    )


@found_by(SEALER)
def remove_without_reading_back() -> AbstractContextManager[Any]:
    """What was written is believed to be what was meant."""
    return edited(Sealer.seal, ("await self._compare(segment, name, directory)", "pass"))


@found_by(SEALER)
def a_sealed_form_counts_whatever_it_is() -> AbstractContextManager[Any]:
    """The good plain form beside it is removed."""
    return edited(Sealer.seal, ("before and self._is_good(segment)", "before"))


@found_by(SEALER)
def a_sealed_form_counts_though_its_directory_is_damaged() -> AbstractContextManager[Any]:
    """At a start, before the sealer sees to it."""
    return edited(segment._segment, ('forms == {"sealed"}', "forms"))


@found_by(SEALER)
def throw_damaged_bytes_away() -> AbstractContextManager[Any]:
    """Nobody will ever make sense of them."""
    return edited(Sealer.seal, ("await self._set_aside(segment, directory)", "pass"))


@found_by(CRASHES)
def set_damaged_bytes_aside_without_a_sync() -> AbstractContextManager[Any]:
    """A loss of power takes what was set aside, and the segment is gone."""
    return edited(
        Sealer._set_aside,
        (
            "self._disk.append(name, data)\n        await self._disk.sync(name)",
            "self._disk.append(name, data)",
        ),
    )


@found_by("storage/test_sealed.py::test_a_sealed_log_is_read_as_the_plain_one")
def forget_where_groups_begin() -> AbstractContextManager[Any]:
    """A record that began a group is unpacked as one of the group before."""
    return edited(
        block.block, ("groups.append(_NEW_GROUP if group == 2 else group)", "groups.append(0)")
    )


@found_by(SEALER)
def make_a_directory_anew_though_a_block_is_missing() -> AbstractContextManager[Any]:
    """Was never asked which ranges had been set aside, and names others."""
    return edited(Sealer._mend, ("if old.gaps or not old.places", "if not old.places"))


@found_by(SEALER)
def make_a_directory_anew_and_do_not_sync_it() -> AbstractContextManager[Any]:
    """A loss of power takes the copy, and the rename took the original."""
    return edited(
        Sealer._copy,
        (
            "ending(directory, link))\n    await self._disk.sync(name)",
            "ending(directory, link))",
        ),
    )
