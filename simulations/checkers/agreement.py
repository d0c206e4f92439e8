"""What is settled is the same at every node (I5), and stays as it is at each (I4).

The first node that settles the commit of some number in a shard says what it is; everybody else,
and the same node later, after a restart too, has to agree.
"""

from __future__ import annotations

from ..history import Row, Settled, Shown
from .check import Check, folded


class Agreement(Check):
    """Hold all that any node ever shows as settled against the one order."""

    name = "prefixes_agree"
    takes = (Settled, Shown)

    def __init__(self, members: tuple[str, ...]) -> None:
        super().__init__(members)
        self.order: dict[int, list[Row]] = {}  # by shard: the first to settle a number wrote it
        self._by: dict[int, list[str]] = {}

    def take(self, event: Settled | Shown) -> str | None:
        """Compare with what others have under the same numbers."""
        if isinstance(event, Settled):
            return self._compare(event, event.row.shard, event.number, event.row)
        for number, row in enumerate(event.rows, event.first):
            problem = self._compare(event, event.shard, number, row)
            if problem is not None:
                return problem
        return None

    def _compare(self, event: Settled | Shown, shard: int, number: int, row: Row) -> str | None:
        order = self.order.setdefault(shard, [])
        if number == len(order):
            order.append(row)
            self._by.setdefault(shard, []).append(event.node)
        elif number > len(order):
            return f"{event.node} has {row} as number {number}, and nobody has number {len(order)}"
        elif order[number] != row:
            other = order[number]
            return (
                f"commit {number} of shard {shard} is {row} with outcome {row.outcome} at "
                f"{event.node}, and {other} with outcome {other.outcome} at "
                f"{self._by[shard][number]}"
            )
        return None


class Unchanging(Check):
    """Hold all that a node shows as settled against what it has shown before."""

    name = "prefixes_never_change"
    takes = (Settled, Shown)

    def __init__(self, members: tuple[str, ...]) -> None:
        super().__init__(members)
        self._shown: dict[tuple[str, int], list[Row | None]] = {}
        self._next: dict[tuple[str, int, int], int] = {}  # by node, life and shard

    def take(self, event: Settled | Shown) -> str | None:
        """Compare with what this node has shown under the same numbers."""
        if isinstance(event, Shown):
            return self._take_shown(event)
        row, life = event.row, (event.node, event.life, event.row.shard)
        turn = self._next.get(life, event.number)
        self._next[life] = event.number + 1
        if event.number != turn:
            return f"{event.node} settled {row} as number {event.number}, and {turn} was next"
        return self._compare(event.node, row.shard, event.number, row)

    def _take_shown(self, event: Shown) -> str | None:
        life, count = (event.node, event.life, event.shard), event.first + len(event.rows)
        turn = self._next.setdefault(life, count)
        if count != turn:
            return f"{event} shows {count} commits of shard {event.shard}, after {turn}"
        for number, row in enumerate(event.rows, event.first):
            problem = self._compare(event.node, event.shard, number, row)
            if problem is not None:
                return problem
        return None

    def _compare(self, node: str, shard: int, number: int, row: Row) -> str | None:
        shown = self._shown.setdefault((node, shard), [])
        if number >= len(shown):  # what was settled in a rebuild, unseen, leaves a gap
            shown += [None] * (number - len(shown) + 1)
        before, shown[number] = shown[number], row
        if before not in (None, row):
            return f"commit {number} of shard {shard} was {before} at {node}, and is {row}"
        return None


prefixes_agree = folded(Agreement)
prefixes_never_change = folded(Unchanging)
