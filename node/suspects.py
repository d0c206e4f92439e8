"""Who seems to be gone: since when, what waits for it, and what will happen when.

A member is *suspected* once nothing was heard of it for longer than a link needs to break and come
up again. Nothing follows from that but words, here and in the log: what removes a member is said in
gossip.epoch.evictable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ..gossip.epoch import Epoch
from ..gossip.epoch import Member as Joined
from ..gossip.members import Members
from ..storage.limits import SILENCE_SECONDS
from .membership import Membership

_log = logging.getLogger(__name__)
SUSPECTED_AFTER_SECONDS: Final = 2 * SILENCE_SECONDS
_LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Suspect:
    """A member that was not heard of for a while."""

    name: str
    origin: int
    silent_seconds: float
    will: str  # what will happen to it, and when

    @property
    def text(self) -> str:
        """All of it, in sentences."""
        return (
            f"{self.name} was last heard {self.silent_seconds:.0f} s ago, and nothing new becomes "
            f"final without it: start it. It is {self.will}"
        )


class Suspects:
    """The suspected members, as one node sees them. `monotonic` tells the time."""

    def __init__(
        self,
        members: Members,
        membership: Membership,
        evict_after_seconds: float | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._members = members
        self._membership = membership
        self._evict_after = evict_after_seconds
        self._monotonic = monotonic

    def silent_seconds(self, origin: int) -> float:
        """For how long nothing was heard of a member."""
        return self._membership.eviction.suspicion.silent_seconds(origin, self._monotonic())

    def now(self) -> list[Suspect]:
        """Those that are suspected now; a node that is no member itself suspects nobody."""
        epoch = self._members.epoch
        if epoch is None or self._membership.is_outside:
            return []
        silent = {
            one.origin: self.silent_seconds(one.origin)
            for one in epoch.members
            if one.origin != self._members.identity
        }
        return [
            Suspect(one.name, one.origin, silent[one.origin], self._will(epoch, one, silent))
            for one in epoch.members
            if silent.get(one.origin, 0.0) >= SUSPECTED_AFTER_SECONDS
        ]

    def _will(self, epoch: Epoch, member: Joined, silent: dict[int, float]) -> str:
        if self._evict_after is None:
            return "not removed by itself: evict_after is off"
        gone = [one.origin for one in epoch.members if _is_gone(one, silent)]
        mates = [
            one for one in epoch.members if one.site == member.site and one.origin != member.origin
        ]
        if not mates:
            return "not removed by itself: it is the last one of its site"
        if any(mate.origin in gone for mate in mates):
            names = ", ".join(mate.name for mate in mates if mate.origin in gone)
            return f"not removed by itself while {names} of its site can't say so too"
        if len(epoch.members) - len(gone) < epoch.majority:
            return f"not removed by itself: {_lacking(epoch, len(epoch.members) - len(gone))}"
        left = self._evict_after - silent[member.origin]
        return f"removed in {left:.0f} s" if left >= 1 else "about to be removed"

    async def tell(self) -> None:
        """Log who is suspected from now on, and who no longer. Runs until it is cancelled."""
        told: set[str] = set()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = {suspect.name: suspect for suspect in self.now()}
            for name in sorted({*now} - told):
                _log.warning("%s", now[name].text)
            for name in sorted(told - {*now}):
                became = "is heard again" if name in self._members else "is a member no more"
                _log.warning("%s %s", name, became)
            told = {*now}


def _is_gone(member: Joined, silent: dict[int, float]) -> bool:
    return silent.get(member.origin, 0.0) >= SUSPECTED_AFTER_SECONDS


def _lacking(epoch: Epoch, there: int) -> str:
    return f"{there} of {len(epoch.members)} members are there, and a change takes {epoch.majority}"


def names_of(epoch: Epoch, origins: Iterable[int]) -> list[str]:
    """The names of members, in the order of the epoch."""
    wanted = {*origins}
    return [one.name for one in epoch.members if one.origin in wanted]
