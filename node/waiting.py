"""Nodes that are no members and say that they are there, as long as they go on saying so."""

from __future__ import annotations

from ..gossip.epoch import Epoch, Member
from ..gossip.messages import Join
from ..storage.limits import WAITING_SECONDS


class Waiting:
    """Who waits to be let in, as one node has heard it."""

    def __init__(self) -> None:
        self.by_name: dict[str, Join] = {}
        self._until: dict[str, float] = {}

    def heard(self, join: Join, now: float) -> bool:
        """A node says that it is there; whether that is news."""
        news = join.name not in self.by_name
        self.by_name[join.name] = join
        self._until[join.name] = now + WAITING_SECONDS
        return news

    def admit(self, epoch: Epoch) -> None:
        """Who is a member now waits no more."""
        for name in [name for name, one in self.by_name.items() if one.origin in epoch.joined]:
            del self.by_name[name], self._until[name]

    def forget(self, now: float) -> list[Join]:
        """Drop those that have not been heard of for long; who they were."""
        gone = [name for name, until in self._until.items() if until < now]
        for name in gone:
            del self._until[name]
        return [self.by_name.pop(name) for name in gone]


def joined(join: Join) -> Member:
    """The member that a node asks to be."""
    return Member(join.name, join.site, join.priority, join.origin, 0, join.url)
