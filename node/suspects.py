"""Who seems to be gone: since when, what waits for it, and what will happen when.

A member is *suspected* once nothing was heard of it for longer than a link needs to break and come
up again. Nothing follows from that but words, here and in the log: what removes a member is said in
gossip.epoch.evictable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..gossip.epoch import Epoch
from ..gossip.epoch import Member as Joined
from ..gossip.members import Members
from ..storage.limits import SILENCE_SECONDS
from .clock import Clock
from .membership import Membership
from .render import time_text

_log = logging.getLogger(__name__)
SUSPECTED_AFTER_SECONDS: Final = 2 * SILENCE_SECONDS
_LOOK_SECONDS: Final = 1.0
_SETTLEMENT: Final = "settlement"
_ALL: Final = "settlement and every change of members"
_AT_ONCE: Final = "about to be removed"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A member that was not heard of for a while."""

    name: str
    origin: int
    silent_seconds: float
    since: str  # the time when it was last heard
    waits: str  # what goes on once it is back
    stays: str | None  # why it is not removed by itself; None: it is
    left_seconds: float  # then

    @property
    def will(self) -> str:
        """What will happen to it, and when."""
        if self.stays is not None:
            return f"not removed by itself{self.stays}"
        return f"removed in {self.left_seconds:.0f} s" if self.left_seconds >= 1 else _AT_ONCE

    @property
    def outlook(self) -> tuple[str, str | None]:
        """What is new of it once that changes; that time passes is nothing new."""
        return self.waits, self.stays

    @property
    def text(self) -> str:
        """All of it, in sentences."""
        what = "nothing new becomes final without it"
        if self.waits == _ALL:
            what += ", nor do members change without a majority"
        heard = f"{self.name} was last heard {self.silent_seconds:.0f} s ago ({self.since})"
        return f"{heard}, and {what}: start it. It is {self.will}"


class Suspects:
    """The suspected members, as one node sees them."""

    def __init__(
        self,
        members: Members,
        membership: Membership,
        evict_after_seconds: float | None,
        clock: Clock,
    ) -> None:
        self._members = members
        self._membership = membership
        self._evict_after = evict_after_seconds
        self._clock = clock

    def silent_seconds(self, origin: int) -> float:
        """For how long nothing was heard of a member."""
        suspicion = self._membership.eviction.suspicion
        return suspicion.silent_seconds(origin, self._clock.monotonic())

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
        gone = [one for one in epoch.members if _is_gone(one, silent)]
        return [self._suspect(epoch, one, silent[one.origin], gone) for one in gone]

    def _suspect(self, epoch: Epoch, member: Joined, silent: float, gone: list[Joined]) -> Suspect:
        return Suspect(
            member.name,
            member.origin,
            silent,
            time_text(self._clock.wall_ms() - int(1000 * silent)),
            _SETTLEMENT if _can_change(epoch, gone) else _ALL,
            self._stays(epoch, member, gone),
            0.0 if self._evict_after is None else self._evict_after - silent,
        )

    def _stays(self, epoch: Epoch, member: Joined, gone: list[Joined]) -> str | None:
        if self._evict_after is None:
            return ": evict_after is off"
        mates = [one for one in epoch.members if one.site == member.site and one != member]
        if not mates:
            return ": it is the last one of its site"
        if silent := [mate.name for mate in mates if mate in gone]:
            return f" while {', '.join(silent)} of its site can't say so too"
        if not _can_change(epoch, gone):
            there = len(epoch.members) - len(gone)
            return (
                f": {there} of {len(epoch.members)} members are there, and a change takes "
                f"{epoch.majority}"
            )
        return None

    async def tell(self) -> None:
        """Log who is suspected, what becomes of that, and who no longer is, for ever."""
        told: dict[str, tuple[str, str | None]] = {}
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = {suspect.name: suspect for suspect in self.now()}
            for name in sorted(now):
                if told.get(name) != now[name].outlook:
                    _log.warning("%s", now[name].text)
            for name in sorted({*told} - {*now}):
                became = "is heard again" if name in self._members else "is a member no more"
                _log.warning("%s %s", name, became)
            told = {name: suspect.outlook for name, suspect in now.items()}


def _is_gone(member: Joined, silent: dict[int, float]) -> bool:
    return silent.get(member.origin, 0.0) >= SUSPECTED_AFTER_SECONDS


def _can_change(epoch: Epoch, gone: list[Joined]) -> bool:
    return len(epoch.members) - len(gone) >= epoch.majority


def names_of(epoch: Epoch, origins: Iterable[int]) -> list[str]:
    """The names of members, in the order of the epoch."""
    wanted = {*origins}
    return [one.name for one in epoch.members if one.origin in wanted]
