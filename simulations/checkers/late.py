"""Nothing comes in at or below a watermark that was declared (I7)."""

from __future__ import annotations

from ..history import Inserted
from .check import Check, folded


class Late(Check):
    """Hold every commit that comes in against its node's highest watermark of the shard."""

    name = "nothing_comes_late"
    takes = (Inserted,)

    def take(self, event: Inserted) -> str | None:
        """Readers were told that nothing can come there any more."""
        stamp, _, origin = event.key
        if stamp <= event.watermark:
            return (
                f"{event.node} took {origin:016x}:{event.seq} with stamp {stamp:x} after it had "
                f"declared shard {event.shard} final up to {event.watermark:x}"
            )
        return None


nothing_comes_late = folded(Late)
