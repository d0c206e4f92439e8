"""Anti-entropy: two nodes find every difference between what they have settled (DESIGN 6).

Both sides speak of one *cut*, a stamp up to which both have settled everything: there the logs can
no longer change, so what is on its way is no difference. One side asks, step by step, and goes on
only where hashes differ; the other answers from what it has and remembers nothing.

1. node roots: equal means done, in one question of some 90 bytes
2. shard roots of the answer name the shards that differ
3. size and root of each log of those shards name the logs
4. down the trees of those logs, 16 children at a time, to the commits, or to a node that differs
   though all below it is the same

Each step is bounded, so is what one session finds; the next one finds the rest. It says only
*that* two nodes differ: which of them is wrong each finds out by reading its own log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..storage.errors import BadFrame
from ..storage.limits import COMPARE_NODES_MAX, COMPARE_SHARDS_MAX, DIFFERENCES_MAX
from ..storage.merkle import FANOUT, HASH_BYTES, levels, node_root
from .messages import Compare, Compared


class View(Protocol):
    """What a node has settled, as hashes."""

    def settled_until(self) -> int:
        """The stamp up to which all shards are settled here."""
        ...

    def roots(self, cut: int) -> list[bytes]:
        """The roots of all shards at a cut."""
        ...

    def logs(self, shard: int, cut: int) -> list[tuple[int, int, bytes]]:
        """(origin, size, root) of a shard's logs at a cut; those that are not empty."""
        ...

    def children(self, shard: int, origin: int, size: int, level: int, index: int) -> bytes:
        """The hashes of the children of a node of a log's tree; empty if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Unequal:
    """Of one log the two hold different numbers of commits up to the cut."""

    shard: int
    origin: int
    mine: int
    theirs: int


@dataclass(frozen=True, slots=True)
class Differs:
    """For one sequence of a log the two name different commits."""

    shard: int
    origin: int
    seq: int


@dataclass(frozen=True, slots=True)
class InnerDiffers:
    """An inner node of a tree differs, and none of its children does: one side has it wrong.

    Or what was below it has been put right meanwhile. `seq`: of the first commit below it.
    """

    shard: int
    origin: int
    seq: int


Difference = Unequal | Differs | InnerDiffers
_Node = tuple[int, int, int, int, int]  # shard, origin, size, level, index


def reply(view: View, question: Compare) -> Compared:
    """The answer of a node to another's question."""
    cut = question.cut
    if (reached := view.settled_until()) < cut:
        return Compared(reached, [], [], [])
    if not question.shards and not question.nodes:
        roots = view.roots(cut)
        return Compared(cut, [] if node_root(roots) == question.root else roots, [], [])
    shards = len(view.roots(cut))
    return Compared(
        cut,
        [],
        [
            (shard, *row)
            for shard in question.shards
            if shard < shards
            for row in view.logs(shard, cut)
        ],
        [view.children(*node) if node[0] < shards else b"" for node in question.nodes],
    )


class Session:
    """One comparison, by the side that asks.

    Ask `question()` and hand the answer to `learn`, until there is no question any more; then
    `found` tells all differences, up to a bound.
    """

    def __init__(self, view: View, cut: int) -> None:
        self.cut = cut
        self.found: list[Difference] = []
        self.rounds = 0
        self._view = view
        self._asked: Compare | None = None
        self._begun = self._retried = self._over = False
        self._shards: list[int] = []  # still to be asked about
        self._nodes: list[_Node] = []
        self._perhaps: set[_Node] = set()  # of them: those that need not differ

    @property
    def done(self) -> bool:
        """Whether nothing is left to ask."""
        return self._over or (self._begun and not self._shards and not self._nodes)

    def question(self) -> Compare | None:
        """What to ask next; None once all is known."""
        if self.done:
            return None
        root, shards, nodes = bytes(HASH_BYTES), [], []
        if not self._begun:
            root = node_root(self._view.roots(self.cut))
        elif self._nodes:  # deep before wide, so what is still to be asked stays small
            nodes = self._nodes[-COMPARE_NODES_MAX:]
        else:
            shards = self._shards[:COMPARE_SHARDS_MAX]
        self._asked = Compare(self.cut, root, shards, nodes)
        return self._asked

    def learn(self, answer: Compared) -> None:
        """Take the answer to the last question. Raises BadFrame if it is none."""
        asked, self._asked = self._asked, None
        if asked is None:
            raise BadFrame("an answer to a comparison that nobody asked for")
        self.rounds += 1
        if answer.cut != asked.cut:
            self._lower(answer.cut)
        elif asked.nodes:
            self._descend(asked.nodes, answer.children)
        elif asked.shards:
            self._compare_logs(asked.shards, answer.logs)
        else:
            self._compare_shards(answer.roots)
        if len(self.found) >= DIFFERENCES_MAX:
            self._over = True

    def _lower(self, cut: int) -> None:
        """The other side has not settled so far: begin again at its cut, but once only."""
        if cut > self.cut or self._begun:
            raise BadFrame("a comparison is answered at another cut than it began with")
        self._over = self._retried or cut == 0
        self._retried, self.cut = True, cut

    def _compare_shards(self, theirs: list[bytes]) -> None:
        self._begun = True
        if not theirs:
            return
        mine = self._view.roots(self.cut)
        if len(theirs) != len(mine):
            raise BadFrame("a comparison names another number of shards")
        self._shards = [shard for shard, root in enumerate(mine) if root != theirs[shard]]

    def _compare_logs(self, shards: list[int], rows: list[tuple[int, int, int, bytes]]) -> None:
        theirs = {(shard, origin): (size, root) for shard, origin, size, root in rows}
        mine = {
            (shard, origin): (size, root)
            for shard in shards
            for origin, size, root in self._view.logs(shard, self.cut)
        }
        for log in sorted({*mine, *theirs}):
            own, other = mine.get(log, (0, b"")), theirs.get(log, (0, b""))
            if own[0] != other[0]:
                self.found.append(Unequal(*log, own[0], other[0]))
            size = min(own[0], other[0])
            if size and own != other:
                top = (*log, size, max(1, levels(size)), 0)
                self._nodes.append(top)
                if own[0] != other[0]:
                    self._perhaps.add(top)
        del self._shards[: len(shards)]

    def _descend(self, asked: list[_Node], answers: list[bytes]) -> None:
        if len(answers) != len(asked):
            raise BadFrame("a comparison of nodes is answered for each of them")
        del self._nodes[-len(asked) :]
        for node, theirs in zip(asked, answers, strict=True):
            shard, origin, size, level, index = node
            mine = self._view.children(*node)
            if len(theirs) != len(mine):
                raise BadFrame("a node of a tree has as many children as its size says")
            if mine and mine == theirs and node not in self._perhaps:
                self.found.append(InnerDiffers(shard, origin, index * FANOUT**level + 1))
            for child in range(len(mine) // HASH_BYTES):
                at = slice(child * HASH_BYTES, (child + 1) * HASH_BYTES)
                if mine[at] == theirs[at]:
                    continue
                place = index * FANOUT + child
                if level == 1:
                    self.found.append(Differs(shard, origin, place + 1))
                else:
                    self._nodes.append((shard, origin, size, level - 1, place))
