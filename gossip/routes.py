"""Which node takes an origin's commits into another site: its relay there.

Between two sites every commit crosses once, to the relay, which passes it on to its mates, the
other nodes of its site. All nodes of a site are ranked for each origin by rendezvous hashing, so
the load spreads over them, and the rank is the same wherever it is worked out. The first in rank
that works is the relay; the next one stands in for it while it does not. Two who disagree about
what works cost a commit sent twice, never a commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import takewhile

from .members import Member

Works = Callable[[str], bool]


def weight(origin: int, name: str) -> bytes:
    """What ranks a node for an origin: the lowest is first."""
    return hashlib.sha256(origin.to_bytes(8, "big") + name.encode()).digest()


class Routes:
    """The ranks of all sites, as one node sees them."""

    def __init__(self, table: tuple[Member, ...], me: str) -> None:
        self._site = {member.name: member.site for member in table}
        self._me = me
        self._ranks: dict[tuple[int, str], list[str]] = {}
        self.mates = [name for name in self._site if name != me and self.is_near(name)]

    def is_near(self, name: str) -> bool:
        """Whether a member is in this node's own site; to who is no member, all are far."""
        return name in self._site and self._site[name] == self._site.get(self._me)

    def rank(self, origin: int, site: str) -> list[str]:
        """The nodes of a site in the order in which they are the origin's relay there."""
        rank = self._ranks.get((origin, site))
        if rank is None:
            names = [name for name, where in self._site.items() if where == site]
            rank = sorted(names, key=lambda name: weight(origin, name))
            self._ranks[origin, site] = rank
        return rank

    def relay(self, origin: int, site: str, *works: Works) -> str | None:
        """The node of another site that takes the origin's commits.

        The first in rank that works; by a second test if none does by the first, and so on.
        """
        rank = self.rank(origin, site)
        return next((name for test in works for name in rank if test(name)), None)

    def before(self, origin: int, works: Works) -> list[str]:
        """The mates that work and come before this node in taking the origin's commits."""
        if self._me not in self._site:
            return []
        rank = self.rank(origin, self._site[self._me])
        return list(filter(works, takewhile(self._me.__ne__, rank)))
