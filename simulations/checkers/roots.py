"""Hashes over settled history say what is there: equal hashes, equal histories (I18).

Each shard's running hash is worked out once more, commit by commit. The roots of the Merkle trees
join here when those are built.
"""

from __future__ import annotations

import hashlib

from ..history import Digested, Row, Settled, Shown
from .check import Check, folded


class Roots(Check):
    """Hold what nodes say in one hash against the commits themselves."""

    name = "hashes_are_true"
    takes = (Settled, Shown, Digested)

    def __init__(self, members: tuple[str, ...]) -> None:
        super().__init__(members)
        self._chains: dict[int, list[bytes]] = {}  # by shard: running hashes, from none on
        self._counts: dict[str, tuple[int, ...]] = {}  # by digest
        self._digests: dict[tuple[int, ...], str] = {}

    def take(self, event: Settled | Shown | Digested) -> str | None:
        """Extend the chains by what is new, and compare."""
        if isinstance(event, Digested):
            return self._take_digest(event)
        if isinstance(event, Settled):
            self._extend(event.row.shard, event.number, event.row)
            return None
        for number, row in enumerate(event.rows, event.first):
            self._extend(event.shard, number, row)
        chain, count = self._chain(event.shard), event.first + len(event.rows)
        if count < len(chain) and chain[count] != event.running:
            return f"{event} has another hash over {count} commits of shard {event.shard}"
        return None

    def _chain(self, shard: int) -> list[bytes]:
        return self._chains.setdefault(shard, [bytes(32)])

    def _extend(self, shard: int, number: int, row: Row) -> None:
        chain = self._chain(shard)
        if number == len(chain) - 1:
            became = b"%d:%d" % (row.outcome, row.first_revision)
            chain.append(hashlib.sha256(chain[-1] + row.hash + became).digest())

    def _take_digest(self, event: Digested) -> str | None:
        counts = self._counts.setdefault(event.digest, event.counts)
        digest = self._digests.setdefault(event.counts, event.digest)
        if counts != event.counts:
            return f"{event.node} has the digest of {counts} commits and holds {event.counts}"
        if digest != event.digest:
            return f"{event.node} has settled {event.counts} commits and has another digest"
        return None


hashes_are_true = folded(Roots)
