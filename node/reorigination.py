"""Appends again what has no place in the order (DESIGN 5: re-origination).

It goes on beside new appends, a few hundred commits at a time, whenever this node may stamp under
its own origin. A crash in between costs nothing: what still has no place is found again at start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from ..storage.errors import AnabranchError, DamagedLog
from ..storage.limits import APPEND_AGAIN_COMMITS
from .store import Store

_log = logging.getLogger(__name__)


class Reorigination:
    """Of one node. `ready` raises if nothing can be appended now; `wall_ms` is its clock."""

    def __init__(self, store: Store, ready: Callable[[], None], wall_ms: Callable[[], int]) -> None:
        self._store = store
        self._ready = ready
        self._wall_ms = wall_ms
        self._again = asyncio.Event()

    def wake(self) -> None:
        """There may be something to append, or this node may append by now."""
        self._again.set()

    async def run(self) -> None:
        """Do it whenever there is something."""
        while True:
            await self._again.wait()
            self._again.clear()
            with suppress(AnabranchError):
                await self._append()

    async def _append(self) -> None:
        store = self._store
        waiting = store.strays.waiting() if store.settled_in else []
        if waiting:
            self._ready()
            _log.warning("%d commits without a place are appended again", len(waiting))
        for number, stray in enumerate(waiting):
            if number % APPEND_AGAIN_COMMITS == 0:
                await store.log.wait_all()
            if not store.settled_in or not store.strays.is_stray(stray):
                continue
            if store.holes.hides(stray.shard):
                continue  # this node may not number a commit there: some that it made are missing
            if not store.strays.give_way(stray):
                self._ready()
                with suppress(DamagedLog):  # it is seen to where it is read
                    store.append_again(stray, self._wall_ms())
