"""The fold: what readers see of a set of commits, worked out in the one order (DESIGN 3).

Commit by commit, in order-key order, for each shard by itself:

1. a commit id that was seen before in this shard is *shadowed*: not shown.
2. a conditional commit is checked against its stream as folded so far. If it does not fit, it is
   *rejected* (not shown) or *kept* (shown, marked), as its own policy says.
3. shown events get the stream's next revisions.

The result depends on the set alone, so nodes that hold the same commits show the same. The
settled part is folded once and for all. The tentative part is kept in order and folded as far as
somebody asks; a commit that arrives in between throws away the folding after its place.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Final, NamedTuple

from ..storage.commit import EXPECT_ANY, EXPECT_EXISTS, KEEP, Commit
from ..storage.stamp import STAMP_MAX

OrderKey = tuple[int, int, int]  # (stamp, site priority, origin)

TENTATIVE: Final = 0
ACCEPTED: Final = 1
REJECTED: Final = 2
KEPT: Final = 3
SHADOWED: Final = 4

OUTCOMES: Final = {
    ACCEPTED: "accepted",
    REJECTED: "rejected",
    KEPT: "kept",
    SHADOWED: "shadowed",
}


class Held:
    """A commit that this node holds: what the fold needs of it, until it is settled."""

    __slots__ = (
        "count",
        "durable",
        "expected",
        "first_revision",
        "hash",
        "id",
        "key",
        "known_before",
        "length",
        "outcome",
        "policy",
        "position",
        "seq",
        "shard",
        "stream",
    )

    key: OrderKey
    stream: str
    shard: int
    seq: int
    id: bytes
    hash: bytes
    count: int  # events
    expected: int
    policy: int
    position: int  # in the log
    length: int  # of its record's body
    durable: bool
    known_before: bool  # its id is settled already
    outcome: int  # TENTATIVE until it is settled
    first_revision: int  # once it is settled

    def __lt__(self, other: Held) -> bool:
        return self.key < other.key


class Standing(NamedTuple):
    """A tentative commit with what would become of it if nothing else came."""

    held: Held
    outcome: int
    first_revision: int


def held_of(commit: Commit, priority: int, position: int, length: int) -> Held:
    """What the fold needs of a commit."""
    held = Held()
    held.key = (commit.hlc, priority, commit.origin)
    held.stream = commit.stream
    held.shard = commit.shard
    held.seq = commit.seq
    held.id = commit.id
    held.hash = commit.hash
    held.count = commit.count
    held.expected = commit.expected
    held.policy = commit.policy
    held.position = position
    held.length = length
    held.durable = True
    held.known_before = False
    held.outcome = TENTATIVE
    return held


def fits(expected: int, revision: int) -> bool:
    """Whether a stream whose last revision is this one is as expected (-1: it is empty)."""
    if expected == EXPECT_ANY:
        return True
    if expected == EXPECT_EXISTS:
        return revision >= 0
    return expected == revision


def judge(held: Held, revision: int, *, seen: bool) -> int:
    """The outcome of a commit on a stream whose last revision is `revision`."""
    if seen:
        return SHADOWED
    if fits(held.expected, revision):
        return ACCEPTED
    return KEPT if held.policy == KEEP else REJECTED


def _place(pending: list[Held], held: Held) -> int:
    """Where a commit is among others, in order.

    Two may have one key: what processes on copies of one directory stamped in the same moment.
    """
    at = bisect_left(pending, held)
    while pending[at] is not held:
        at += 1
    return at


class StreamFold:
    """One stream: how far it is settled, and its tentative commits in order."""

    __slots__ = ("_folded", "pending", "settled_revision")

    def __init__(self, settled_revision: int = -1) -> None:
        self.settled_revision = settled_revision
        self.pending: list[Held] = []
        self._folded: list[tuple[int, int]] = []  # (outcome, revision after it) of a prefix

    def insert(self, held: Held) -> None:
        """Add a commit at its place."""
        if not self.pending or self.pending[-1].key < held.key:
            self.pending.append(held)
            return
        at = bisect_left(self.pending, held)
        self.pending.insert(at, held)
        del self._folded[at:]

    def remove(self, held: Held) -> None:
        """Forget a commit that never came to be."""
        self.refold_from(held)
        del self.pending[self.place_of(held)]

    def refold_from(self, held: Held) -> None:
        """Forget the folding of a commit and of all after it."""
        del self._folded[self.place_of(held) :]

    def folded(self, seen: Callable[[Held], bool]) -> list[tuple[int, int]]:
        """(outcome, last revision after it) of every tentative commit, in order."""
        folded = self._folded
        revision = folded[-1][1] if folded else self.settled_revision
        for held in self.pending[len(folded) :]:
            outcome = judge(held, revision, seen=seen(held))
            if outcome in (ACCEPTED, KEPT):
                revision += held.count
            folded.append((outcome, revision))
        return folded

    def verdict(self, at: int, seen: Callable[[Held], bool]) -> tuple[int, int]:
        """(outcome, first revision) of the tentative commit at a place, as it would be now."""
        folded = self.folded(seen)
        return folded[at][0], (folded[at - 1][1] if at else self.settled_revision) + 1

    def place_of(self, held: Held) -> int:
        """Where in the tentative part a commit is."""
        if self.pending[-1] is held:  # as a rule it has just come
            return len(self.pending) - 1
        return _place(self.pending, held)

    def place_of_revision(self, revision: int, seen: Callable[[Held], bool]) -> int:
        """Where in the tentative part the commit is that shows a revision, or would be."""
        return bisect_left(self.folded(seen), revision, key=lambda verdict: verdict[1])

    def last_revision(self, seen: Callable[[Held], bool], before: int = STAMP_MAX) -> int:
        """The stream's last revision below a stamp, tentative part included; -1 if it is empty."""
        count = self.below(before)
        return self.folded(seen)[count - 1][1] if count else self.settled_revision

    def below(self, stamp: int) -> int:
        """How many of the tentative commits lie below a stamp."""
        if not self.pending or self.pending[-1].key[0] < stamp:
            return len(self.pending)
        return bisect_left(self.pending, stamp, key=lambda held: held.key[0])

    def settle(self, count: int, seen: Callable[[Held], bool]) -> list[tuple[int, int]]:
        """Make the first `count` tentative commits final; (outcome, first revision) of each."""
        verdicts = []
        before = self.settled_revision
        for outcome, revision in self.folded(seen)[:count]:
            verdicts.append((outcome, before + 1))
            before = revision
        del self.pending[:count]
        del self._folded[:count]
        self.settled_revision = before
        return verdicts


class ShardFold:
    """The tentative commits of a shard in order, and who came first with each commit id."""

    __slots__ = ("by_id", "pending")

    def __init__(self) -> None:
        self.pending: list[Held] = []
        self.by_id: dict[bytes, list[Held]] = {}

    def insert(self, held: Held) -> Held | None:
        """Add a commit; the one that it now comes before under the same id, if there is one."""
        if not self.pending or self.pending[-1].key < held.key:
            self.pending.append(held)
        else:
            insort(self.pending, held)
        same = self.by_id.get(held.id)
        if same is None:
            self.by_id[held.id] = [held]
            return None
        insort(same, held)
        return same[1] if same[0] is held else None

    def remove(self, held: Held) -> Held | None:
        """Forget a commit that never came to be; the one that is now first under its id, if any."""
        del self.pending[_place(self.pending, held)]
        same = self.by_id[held.id]
        first = same[0] is held
        same.remove(held)
        if not same:
            del self.by_id[held.id]
        return same[0] if first and same else None

    def seen(self, held: Held) -> bool:
        """Whether its commit id has a lower key than its own."""
        return held.known_before or self.by_id[held.id][0] is not held

    def until(self, stamp: int) -> int:
        """How many of the tentative commits have a stamp up to this one."""
        pending = self.pending
        if not pending or pending[0].key[0] > stamp:
            return 0
        low, high = 1, len(pending)
        while low < high:
            middle = (low + high) // 2
            if pending[middle].key[0] <= stamp:
                low = middle + 1
            else:
                high = middle
        return low

    def remove_first(self, count: int) -> None:
        """Forget the first commits, which are settled now; later ones of the same id know it."""
        for held in self.pending[:count]:
            same = self.by_id[held.id]
            same.remove(held)
            if same:
                for later in same:
                    later.known_before = True
            else:
                del self.by_id[held.id]
        del self.pending[:count]
