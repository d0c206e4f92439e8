"""Reads of every kind, at random; what no node may answer is an alarm."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random as Generator
from urllib.parse import quote

from ..simulations.history import History
from .asking import Asker

# What a read may be answered: it is there, it never was, or it is damaged here and being healed.
_FINE = frozenset({200, 404, 503})


class Readers:
    """Sends reads, and looks at what comes back."""

    def __init__(
        self, asker: Asker, history: History, excused: Callable[[str, float], bool], seed: int
    ) -> None:
        self._asker = asker
        self._history = history
        self._excused = excused
        self._luck = Generator(f"readers {seed}")
        self._loop = asyncio.get_running_loop()
        self._reading: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()  # by kind of read

    def look(self, name: str) -> None:
        """Read something at a node."""
        task = self._loop.create_task(self._read(name))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def answered(self) -> None:
        """Return when every read was answered or given up."""
        while self._reading:
            await asyncio.wait(self._reading)

    async def _read(self, name: str) -> None:
        kind, path = self._choose()
        began = self._loop.time()
        found = await self._asker.get(name, path, 10.0)
        self.counts[kind] += 1
        if found is not None and found[0] in _FINE:
            return
        what = "was not answered" if found is None else f"was answered {found[0]}: {found[1]}"
        if not self._excused(name, began):
            self._history.alarms.append(f"{name}: GET {path}, asked at {began:.3f} s, {what}")

    def _choose(self) -> tuple[str, str]:
        luck, appends = self._luck, self._history.appends
        append = luck.choice(appends[-200:]) if appends else None
        stream = "s0" if append is None else append.draft.stream
        of = f"/v1/streams/{quote(stream, safe='')}"
        commit = bytes(16) if append is None else append.draft.commit_id
        read = luck.choice(["latest", "settled"])
        start, limit = luck.randrange(20), luck.choice([1, 10, 100])
        kinds = {
            "stream": f"{of}/events?from={start}&limit={limit}&read={read}",
            "stream backward": f"{of}/events?direction=backward&limit={limit}&read={read}",
            "stream by type": f"{of}/events?type=t&limit={limit}",
            "all": f"/v1/events?limit={limit}",
            "all latest": f"/v1/events?limit={limit}&read=latest&stream_prefix=c",
            "names": f"/v1/streams?limit={limit}",
            "one name": of,
            "conflicts": f"/v1/conflicts?limit={limit}",
            "commit": f"/v1/commits/{commit.hex()}",
        }
        kind = luck.choice(sorted(kinds))
        return kind, kinds[kind]
