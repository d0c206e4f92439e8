"""Looks at every node again and again while a run goes on: how it is, and what it tells readers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from math import nan
from typing import Any

from ..simulations.checkers import Judges
from ..simulations.history import Fed
from .asking import Asker
from .cluster import Cluster
from .process import Size

POLL_SECONDS = 0.5
PAGE_EVENTS = 1000


@dataclass
class Look:
    """What a node said of itself a moment ago."""

    up: bool = False
    state: str = "down"
    origin: str = ""
    settled: int = 0
    tentative: int = 0
    lag: float = nan  # seconds that its watermark is behind
    held_back_by: tuple[str, ...] = ()
    digest: str = ""
    frontier: dict[str, dict[str, int]] = field(default_factory=dict)
    strays: int = 0
    missing: int = 0
    scrubs: int = 0  # times that it has read all that is on its disk
    disputed: tuple[int, ...] = ()
    epoch: int = 0
    unlinked: tuple[str, ...] = ()  # peers that it has no link to
    tasks: int = 0  # that run in its process
    size: Size | None = None

    @property
    def commits(self) -> int:
        """How many it holds."""
        return sum(seq for logs in self.frontier.values() for seq in logs.values())


class Polls:
    """What was last seen of each node."""

    def __init__(self, cluster: Cluster, asker: Asker, judges: Judges) -> None:
        self._cluster = cluster
        self._asker = asker
        self._judges = judges
        self._loop = asyncio.get_running_loop()
        self._told: dict[str, tuple[int, str]] = {}  # events that a node told a reader, the next
        self.now: dict[str, Look] = {name: Look() for name in cluster.names}

    async def look(self) -> dict[str, Look]:
        """Ask all that are up, at once."""
        self._cluster.note_failures()
        found = await asyncio.gather(*(self._look(name) for name in self._cluster.names))
        self.now = dict(zip(self._cluster.names, found, strict=True))
        return self.now

    async def _look(self, name: str) -> Look:
        if not self._cluster.is_up(name):
            return Look()
        process = self._cluster.processes[name]
        if process.paused:
            before = self.now[name]
            return Look(up=True, state="paused", settled=before.settled, lag=before.lag)
        status = await self._asker.get(name, "/v1/status", 3.0)
        digest = await self._asker.get(name, "/v1/digest", 3.0)
        if status is None or digest is None or digest[0] != 200:
            return Look(up=self._cluster.is_up(name), state="silent")
        return _look_of(status[1], digest[1], process.size())

    # -- readers ---------------------------------------------------------------------------------

    async def read(self) -> None:
        """Go on reading the settled order at every node that answers."""
        names = [name for name in self._cluster.names if self._cluster.is_up(name)]
        await asyncio.gather(*(self._read(name) for name in names))

    async def _read(self, name: str) -> None:
        number, after = self._told.get(name, (0, ""))
        while True:
            path = f"/v1/events?limit={PAGE_EVENTS}" + (f"&after={after}" if after else "")
            found = await self._asker.get(name, path)
            if found is None or found[0] != 200:
                return
            page = found[1]
            events = tuple((e["position"], e["stream"], e["revision"]) for e in page["events"])
            if events:
                self._judges.take(Fed(self._loop.time(), name, number, events))
            number, after = number + len(events), page["next"] or after
            self._told[name] = number, after
            if page["end"] or not events:
                return


def _look_of(status: dict[str, Any], digest: dict[str, Any], size: Size | None) -> Look:
    mark = status["watermark"]
    return Look(
        up=True,
        state=status["state"],
        origin=status["origin"],
        settled=digest["settled"]["commits"],
        tentative=digest["tentative_commits"],
        lag=nan if mark["age_seconds"] is None else mark["age_seconds"],
        held_back_by=tuple(held["name"] for held in mark["held_back_by"]),
        digest=digest["settled"]["hash"],
        frontier=digest["frontier"],
        strays=status["strays"],
        missing=status["repair"]["missing_commits"],
        scrubs=status["repair"]["scrub"]["passes"],
        disputed=tuple(status["disputed_shards"]),
        epoch=status["epoch"],
        unlinked=tuple(peer["name"] for peer in status["peers"] if peer["link"] != "connected"),
        tasks=status["tasks"],
        size=size,
    )


def parted(looks: dict[str, Look]) -> str | None:
    """What still keeps nodes from being equal and all final; None: nothing."""
    first_name, first = next(iter(looks.items()))
    for name, look in looks.items():
        waits = ", ".join(look.held_back_by) or "nobody"
        kept = {
            f"{name} is {look.state}": not look.up or look.state != "ready",
            f"{name} lacks {look.missing} commits of its own log": bool(look.missing),
            f"{name} has {look.strays} commits without a place": bool(look.strays),
            f"{name} is in epoch {look.epoch}, {first_name} in {first.epoch}": (
                look.epoch != first.epoch
            ),
            f"{name} holds {look.commits} commits, {first_name} {first.commits}": (
                look.frontier != first.frontier
            ),
            f"{name} has {look.tentative} tentative commits; it waits for {waits}": (
                bool(look.tentative)
            ),
            f"{name} has settled another history than {first_name}": look.digest != first.digest,
            f"{name} disputes shards {look.disputed}": bool(look.disputed),
        }
        for what, holds in kept.items():
            if holds:
                return what
    return None
