"""What the directories of nodes hold, read by the code of the store when nobody runs there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..gossip.members import Members
from ..node.config import ClusterConfig
from ..node.fold import OrderKey
from ..node.history import History as NodeHistory
from ..node.recovery import recover
from ..node.strays import Strays
from ..simulations.history import Body, History, Row, Shown
from ..simulations.watch.reading import names_of_tentative, row_of
from ..storage.commit import read_header, read_payloads
from ..storage.disk import FileDisk
from ..storage.files import LogFiles
from ..storage.index_rocks import RocksIndex
from ..storage.log import Log
from ..storage.record import COMMIT
from ..storage.segment import Found
from ..storage.stamp import STAMP_MAX

Named = tuple[bytes, str]  # a commit's id and stream


class Looked:
    """What was found in a node's log when it was down, again and again; each part is read once."""

    def __init__(self) -> None:
        self._until: dict[str, int] = {}

    def new_commits(self, name: str, data: Path) -> frozenset[Named]:
        """Ids and streams of the commits that were not there the last time."""
        disk = FileDisk(data)
        try:
            files, found = LogFiles(disk), set()
            segment = files.holding(self._until.get(name, 0))
            start = 0 if segment is None else segment.base
            for record in files.scan(start):
                if isinstance(record, Found) and record.kind == COMMIT:
                    commit = read_header(record.body)
                    found.add((commit.id, commit.stream))
            self._until[name] = files.end
            return frozenset(found)
        finally:
            disk.close()

    def forget(self, name: str) -> None:
        """The directory is another one now."""
        self._until.pop(name, None)


class Directory:
    """A node's directory that was left in order, with its index. Raises AnabranchError."""

    def __init__(self, config: ClusterConfig, name: str, data: Path) -> None:
        self.name = name
        self._shards = config.shards
        self._disk = FileDisk(data)
        self._index = RocksIndex(data / "index")
        log = Log(
            self._disk,
            opening_state=bytes,
            on_durable=lambda _: None,
            on_failure=lambda _: None,
            segment_bytes=config.tuning.segment_bytes,
        )
        self.history = NodeHistory(self._index, log, config.shards)
        members = Members(config.name, config.shards, name, config.members)
        recover(log, self.history, members, Strays(self.history))

    def close(self) -> None:
        """Let go of the directory."""
        self._index.close()
        self._disk.close()

    def tentative(self) -> frozenset[Named]:
        """Ids and streams of what is not final."""
        return names_of_tentative(self.history)

    def rows(self, history: History, known: dict[OrderKey, tuple[bytes, Row]]) -> list[Row]:
        """All that is settled, in the one order; each body is taken apart once for all nodes."""
        rows = []
        for place in self.history.settled_order((0, 0, 0), STAMP_MAX - 1):
            key = (place.stamp, place.priority, place.origin)
            data = self.history.body(place.position, place.length)
            digest = hashlib.blake2b(data, digest_size=16).digest()
            before = known.get(key)
            if before is None or before[0] != digest:
                commit, payloads = read_payloads(data)
                row = row_of(place.shard, key, commit, place)
                history.entries[row.hash] = commit.entry
                history.bodies.append(Body(self.name, row, payloads))
                known[key] = digest, row
            else:
                row = before[1]._replace(
                    shard=place.shard,
                    outcome=place.outcome,
                    first_revision=place.first_revision,
                    events=place.events,
                )
            rows.append(row)
        return rows

    def shown(self, rows: list[Row], at: float, when: str) -> list[Shown]:
        """The same as the checkers of order and hashes take it, by shard."""
        by_shard: dict[int, list[Row]] = {shard: [] for shard in range(self._shards)}
        for row in rows:
            by_shard[row.shard].append(row)
        return [
            Shown(at, self.name, 0, when, shard, 0, tuple(of), self.history.mark(shard).running)
            for shard, of in by_shard.items()
        ]
