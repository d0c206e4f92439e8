"""What is called settled is on the disks of a majority (DESIGN 5)."""

from __future__ import annotations

from ..history import History


def settled_is_held(history: History) -> list[str]:
    """Hold each settled commit against what the disks had at that moment."""
    return [
        f"{one.by} called {one.row} settled when only {', '.join(one.on_disk_at) or 'nobody'} "
        "had it on disk"
        for one in history.held
        if 2 * len(one.on_disk_at) <= len(history.members) or one.by not in one.on_disk_at
    ]
