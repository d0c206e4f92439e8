"""What this node and another one can't both be right about, and which shards therefore stand still.

A dispute is with a member, or about a log that has *parted*: of that one no more is taken, and the
epochs owe nothing of it. It is kept in each state record, and ends when its origin is removed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..gossip.frontier import LogKey


class Disputes:
    """The disputes of one node. `kept`: what a state record has of them."""

    def __init__(self, kept: Iterable[tuple[int, int, bool]] = ()) -> None:
        self._why: dict[LogKey, str] = {}
        self.parted: set[LogKey] = set()  # logs of which no more is taken
        for shard, origin, parted in kept:
            why = f"shard {shard} is in dispute since before this start, over origin {origin:016x}"
            self.begin((shard, origin), why, parted=parted)

    def begin(self, about: LogKey, why: str, *, parted: bool) -> bool:
        """Dispute a shard, with or about an origin; whether the shard went on until now."""
        new = about[0] not in self.shards
        self._why.setdefault(about, why)
        if parted:
            self.parted.add(about)
        return new

    def end(self, gone: Collection[int]) -> None:
        """Nothing is in dispute any more with or about these origins."""
        self._why = {about: why for about, why in self._why.items() if about[1] not in gone}
        self.parted = {log for log in self.parted if log[1] not in gone}

    @property
    def shards(self) -> dict[int, str]:
        """The shards in dispute, and of each why, as it was said first."""
        return {shard: why for (shard, _), why in reversed(self._why.items())}

    @property
    def rows(self) -> list[tuple[int, int, bool]]:
        """(shard, origin, whether its log has parted), to be kept."""
        return [(*about, about in self.parted) for about in self._why]
