"""Whether a data directory went back in time: what the others saw of it decides (DESIGN 5).

A directory that was restored from a snapshot, or copied, has forgotten commits that it made and
promises that it gave. So a node that starts is *unsure*: it asks the other members what they saw of
its origin before this boot. One that saw more proves that the disk went back. Once enough of them
saw no more than is here, the node is *sure*: with itself a majority, and all who answered within
two seconds; or all, for who wants no doubt at all. A majority can be wrong only if the one that saw
more is away just then.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ..storage.limits import BOOTS_KEPT_MAX, CONFIRM_SECONDS


@dataclass(slots=True)
class Sureness:
    """Of one start. `begun_at`: the counter of the node's durable state as it was found."""

    begun_at: int
    since: float  # monotonic time of the start
    all_confirm: bool = False
    sure: bool = False
    went_back: str | None = None  # who saw more
    confirmed: set[str] = field(default_factory=set)

    def told(self, name: str, counter: int, *, longer: bool) -> None:
        """A member has said what it saw before: a counter, and whether it holds more commits."""
        if counter > self.begun_at or longer:
            self.went_back = self.went_back or name
        else:
            self.confirmed.add(name)

    def decide(self, others: Collection[str], now: float) -> bool:
        """Whether this node is sure now. `others`: the names of the other members."""
        if self.went_back is None and not self.sure:
            confirmed = self.confirmed & {*others}
            late = not self.all_confirm and now - self.since >= CONFIRM_SECONDS
            enough = 2 * (len(confirmed) + 1) > len(others) + 1
            self.sure = len(confirmed) == len(others) or (late and enough)
        return self.sure


class Seen:
    """The highest counter that was seen of each origin, by its boots."""

    def __init__(self) -> None:
        self._before: dict[int, int] = {}  # of boots that were forgotten
        self._of: dict[int, dict[int, int]] = {}  # by boot, in the order in which they came

    def note(self, origin: int, boot: int, counter: int) -> None:
        """A message of an origin has this counter."""
        boots = self._of.setdefault(origin, {})
        boots[boot] = max(counter, boots.get(boot, 0))
        if len(boots) > BOOTS_KEPT_MAX:
            oldest = next(iter(boots))
            self._before[origin] = max(boots.pop(oldest), self._before.get(origin, 0))

    def before(self, origin: int, boot: int) -> int:
        """The highest counter that was seen of an origin in other boots than this one."""
        others = (counter for one, counter in self._of.get(origin, {}).items() if one != boot)
        return max([self._before.get(origin, 0), *others])

    def rows(self) -> list[tuple[int, int, int, int]]:
        """(origin, last boot, its counter, highest before), to be kept."""
        lasts = ((origin, next(reversed(boots))) for origin, boots in self._of.items())
        return [
            (origin, boot, self._of[origin][boot], self.before(origin, boot))
            for origin, boot in lasts
        ]

    def restore(self, rows: list[tuple[int, int, int, int]]) -> None:
        """Take what was kept."""
        for origin, boot, counter, before in rows:
            self._of[origin] = {boot: counter}
            self._before[origin] = before
