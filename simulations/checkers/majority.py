"""What is called settled is on the disks of a majority (DESIGN 5)."""

from __future__ import annotations

from ..history import Settled
from .check import Check, folded


class Majority(Check):
    """Hold each commit that is settled against what the disks have at that moment."""

    name = "settled_is_held"
    takes = (Settled,)

    def take(self, event: Settled) -> str | None:
        """More than half of the members have it, and the one that says so."""
        where = event.on_disk_at
        members = event.members or len(self.members)
        if 2 * len(where) <= members or not event.here:
            return (
                f"{event.node} called {event.row} settled when only "
                f"{', '.join(where) or 'nobody'} had it on disk"
            )
        return None


settled_is_held = folded(Majority)
