"""Commits made of real events, one event a commit: what a node would make of them."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from anabranch.cli.mapping import load_mapping, to_outgoing
from anabranch.cli.rows import Row
from anabranch.node.intake import JSON, draft_of
from anabranch.storage.commit import EXPECT_ANY, Draft, shard_of, stamped
from anabranch.storage.limits import SHARDS_DEFAULT
from anabranch.storage.stamp import stamp_of

ORDERS: Final = Path(__file__).parents[2] / "examples" / "bitstamp-orders"
ORIGIN: Final = 0x1234_5678_9ABC_DEF1
BEGAN_MS: Final = 1_430_438_404_518
PATH_OF_RAILS: Final = "ANABRANCH_BENCH_RAILS"  # names a gzip of JSON lines, each an event's data


def orders() -> Iterator[tuple[str, bytes]]:
    """Stream and JSON of each event of the recording that comes along."""
    mapping = load_mapping(ORDERS / "mapping.toml")
    with gzip.open(ORDERS / "orders.csv.gz", "rt", newline="") as lines:
        for number, values in enumerate(csv.DictReader(lines), 2):
            out = to_outgoing(Row(number, dict(values)), mapping)
            yield out.stream, out.body


def rails() -> Iterator[tuple[str, bytes]]:
    """The same of another recording, if its place is known."""
    path = os.environ.get(PATH_OF_RAILS)
    if path is None:
        return
    with gzip.open(path, "rt") as lines:
        for line in lines:
            event = {"type": "commit", "data": msgspec.Raw(json.dumps(json.loads(line)).encode())}
            yield "rails", msgspec.json.encode(event)


def drafts(events: Iterable[tuple[str, bytes]]) -> Iterator[Draft]:
    """What a node makes of requests with one event each."""
    for stream, body in events:
        yield draft_of(
            stream,
            JSON,
            body,
            headers={},
            key=None,
            expected=EXPECT_ANY,
            token=lambda: os.urandom(16),
        )


def bodies(events: Iterable[tuple[str, bytes]], count: int | None = None) -> Iterator[bytes]:
    """Canonical commits, in the order in which one node stamped them."""
    last: dict[int, int] = {}
    for number, draft in enumerate(islice(drafts(events), count)):
        shard = shard_of(draft.stream, SHARDS_DEFAULT)
        last[shard] = last.get(shard, 0) + 1
        yield stamped(draft, shard, ORIGIN, last[shard], stamp_of(BEGAN_MS + 360 * number))[1]
