"""Which member may be removed without an operator, and when this node is to see to it.

All that agree that a member is gone could have it removed at the same moment, and would be in each
other's way. So they take turns: the first at once, the next a while later.
"""

from __future__ import annotations

import logging

from ..gossip.epoch import Member, evictable
from ..gossip.suspicion import Suspicion
from ..storage.limits import MISSED_AFTER_SECONDS, STALLED_SECONDS
from .store import Store

_log = logging.getLogger(__name__)


class Eviction:
    """What one node thinks of the silence of the others. `after_seconds` None: never."""

    def __init__(self, store: Store, after_seconds: float | None, now: float) -> None:
        self._store = store
        self._after = after_seconds
        self.gone: tuple[int, float] | None = None  # whom, and from when on it is this node's turn
        self.suspicion = Suspicion(now)
        self.missed: list[tuple[int, int]] = []  # (origin, seconds), as all others are told: their
        # files may name other times than this one's

    def look(self, now: float, *, may_act: bool) -> Member | None:
        """Who is to be removed now, if anybody is."""
        epoch, mine, after = self._store.members.epoch, self._store.origin, self._after
        if epoch is None:
            return None
        others = [origin for origin in epoch.origins if origin != mine]
        self.missed = self.suspicion.missed(others, MISSED_AFTER_SECONDS, now)
        if not self.missed or not may_act or after is None:
            return None
        views = self.suspicion.views(mine, epoch.origins, now)
        gone = evictable(epoch, views, after)
        if gone is None:
            self.gone = None
            return None
        if self.gone is None or self.gone[0] != gone.origin:
            self.gone = (gone.origin, now + sorted(views).index(mine) * STALLED_SECONDS)
            _log.warning(
                "%s was not heard of for %g s, its site and a majority agree: it is removed",
                gone.name,
                after,
            )
        return gone if now >= self.gone[1] else None
