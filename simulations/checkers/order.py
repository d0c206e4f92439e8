"""The settled order grows strictly; sequences and revisions have no gaps (I6)."""

from __future__ import annotations

from ...node.fold import ACCEPTED, KEPT
from ..history import Row, Settled, Shown
from .check import Check, folded


class Order(Check):
    """Walk each shard as far as anybody has settled it, once."""

    name = "in_order"
    takes = (Settled, Shown)

    def __init__(self, members: tuple[str, ...]) -> None:
        super().__init__(members)
        self._last: dict[int, tuple[int, Row]] = {}  # by shard: number and commit
        self._sequences: dict[tuple[int, int], int] = {}  # by shard and origin
        self._revisions: dict[str, int] = {}  # the next one of a stream

    def take(self, event: Settled | Shown) -> str | None:
        """Look at what nobody has settled before; the rest was compared with that."""
        if isinstance(event, Settled):
            return self._next(event.number, event.row)
        for number, row in enumerate(event.rows, event.first):
            problem = self._next(number, row)
            if problem is not None:
                return problem
        return None

    def _next(self, number: int, row: Row) -> str | None:
        count, before = self._last.get(row.shard, (-1, None))
        if number <= count:
            return None
        self._last[row.shard] = number, row
        origin, problems = row.key[2], []
        if before is not None and before.key >= row.key:
            problems.append(f"{row} comes after {before}")
        last = self._sequences.get((row.shard, origin), 0)
        if row.seq != last + 1:
            problems.append(f"{row} follows on sequence {last}")
        self._sequences[row.shard, origin] = row.seq
        if row.outcome in (ACCEPTED, KEPT):
            revision = self._revisions.get(row.stream, 0)
            if row.first_revision != revision:
                problems.append(f"{row} has revision {row.first_revision}, not {revision}")
            self._revisions[row.stream] = row.first_revision + row.events
        return "; ".join(problems) or None


in_order = folded(Order)
