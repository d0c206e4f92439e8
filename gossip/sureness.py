"""Whether a data directory went back in time: what the others saw of it decides (DESIGN 5).

A directory that was restored from a snapshot, or copied, has forgotten commits that it made and
promises that it gave. So a node that starts is *unsure*: it asks the other members what they saw of
its origin before this boot. One that saw more, or a start that this directory knows nothing of,
proves that the disk went back, or that a copy of it went on. Once enough of them saw neither, the
node is *sure*: with itself a majority, and all who answered within two seconds; or all, for who
wants no doubt at all. Who was a member once, and is none now, is waited for as long.
A majority can be wrong only if the one that saw more is away just then. Until it is sure it gives
nobody what it has made, except to who has lost it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ..storage.limits import BOOTS_KEPT_MAX, CONFIRM_SECONDS
from .members import Member


@dataclass(slots=True)
class Sureness:
    """Of one start. `begun_at`: the counter of the node's durable state as it was found.

    `witnesses`: by name, who was a member once. They were given commits until they were removed, or
    while they waited to be let in again, and may be the only ones who have them.
    """

    begun_at: int
    since: float  # monotonic time of the start
    all_confirm: bool = False
    sure: bool = False
    went_back: str | None = None  # who saw more
    confirmed: set[str] = field(default_factory=set)
    witnesses: dict[str, Member] = field(default_factory=dict)
    new: bool = field(init=False)  # its origin has never been used before this start

    def __post_init__(self) -> None:
        self.new = self.sure

    def begin_anew(self) -> None:
        """The node has an origin that nobody can have seen."""
        self.went_back, self.new, self.sure = None, True, True

    def asks(self, name: str) -> bool:
        """Whether to ask a node; also once this one is sure, if that was away: it may know more."""
        return not self.sure or (not self.new and name not in self.confirmed)

    def told(self, name: str, counter: int, *, more: bool) -> None:
        """A member has said what it saw before: a counter, and whether more than is here.

        That is commits, or a start that this directory knows nothing of.
        """
        if counter > self.begun_at or more:
            self.went_back = self.went_back or name
        else:
            self.confirmed.add(name)

    @property
    def sought(self) -> list[Member]:
        """Whom to ask besides the members."""
        return [] if self.sure else [*self.witnesses.values()]

    def decide(self, others: Collection[str], now: float) -> bool:
        """Whether this node is sure now. `others`: the names of the other members."""
        if self.went_back is None and not self.sure:
            confirmed = self.confirmed & {*others}
            late = now - self.since >= CONFIRM_SECONDS
            majority = 2 * (len(confirmed) + 1) > len(others) + 1
            enough = len(confirmed) == len(others) or (late and majority and not self.all_confirm)
            self.sure = enough and (late or {*self.witnesses} <= self.confirmed)
        return self.sure


class Seen:
    """The highest counter that was seen of each origin, by its boots.

    Only boots that *counted* are held against a later one: those that were sure, so that they could
    give promises and votes under that origin, or may be since this node vouched for them.
    """

    def __init__(self) -> None:
        self._before: dict[int, int] = {}  # of boots that were forgotten
        self._of: dict[int, dict[int, int]] = {}  # by boot, in the order in which they came
        self._counted: dict[int, dict[int, None]] = {}  # those that did, in that order

    def note(self, origin: int, boot: int, counter: int) -> None:
        """A message of an origin has this counter."""
        boots = self._of.setdefault(origin, {})
        boots[boot] = max(counter, boots.get(boot, 0))
        if len(boots) > BOOTS_KEPT_MAX:
            oldest = next(iter(boots))
            forgotten = boots.pop(oldest)
            if oldest in self._counted.get(origin, ()):
                self._before[origin] = max(forgotten, self._before.get(origin, 0))
                del self._counted[origin][oldest]

    def counts(self, origin: int, boot: int, counter: int) -> None:
        """A boot of an origin was sure when it had this counter."""
        self.note(origin, boot, counter)
        counted = self._counted.setdefault(origin, {})
        counted[boot] = None

    def vouch(self, origin: int, boot: int, counter: int, before: list[int]) -> None:
        """A boot, and `before` of its directory those in their order, may count from now on."""
        for one in (*before, boot):
            self.counts(origin, one, counter if one == boot else 0)
            self._counted[origin][one] = self._counted[origin].pop(one)

    def last(self, origin: int) -> int:
        """The last boot of an origin that counted; 0 if none did."""
        return next(reversed(self._counted.get(origin, {})), 0)

    def before(self, origin: int, boot: int) -> int:
        """The highest counter that was seen of an origin in other boots than this one."""
        boots, counted = self._of.get(origin, {}), self._counted.get(origin, {})
        others = (boots[one] for one in counted if one != boot)
        return max([self._before.get(origin, 0), *others])

    def rows(self) -> list[tuple[int, int, int, int]]:
        """(origin, last boot that counted, its counter, highest before), to be kept."""
        lasts = ((origin, self.last(origin)) for origin in self._counted)
        return [
            (origin, boot, self._of[origin][boot], self.before(origin, boot))
            for origin, boot in lasts
            if boot
        ]

    def restore(self, rows: list[tuple[int, int, int, int]]) -> None:
        """Take what was kept."""
        for origin, boot, counter, before in rows:
            self._of[origin] = {boot: counter}
            self._counted[origin] = {boot: None}
            self._before[origin] = before
