"""Numbers that production has large; small ones bring their edges into reach of a short run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import ModuleType

from ...gossip import answering, peer, pulling, settlement, wire
from ...node import history, recovery, scrub, settler

_PLACES: tuple[tuple[str, ModuleType, str], ...] = (
    ("push_bytes", peer, "PUSH_BYTES_MAX"),
    ("pull_bytes", peer, "PULL_BYTES_MAX"),
    ("pull_bytes", answering, "PULL_BYTES_MAX"),
    ("pull_bytes", pulling, "PULL_BYTES_MAX"),
    ("pull_logs", answering, "PULL_LOGS_MAX"),
    ("pull_logs", pulling, "PULL_LOGS_MAX"),
    ("promises", settlement, "PROMISES_KEPT_MAX"),
    ("compress_above_bytes", wire, "COMPRESS_ABOVE_BYTES"),
    ("roots", history, "SETTLED_ROOTS_KEPT"),
    ("streams", history, "STREAMS_CACHED_MAX"),
    ("settle_batch", recovery, "_SETTLED_AT_ONCE"),
    ("settle_batch", settler, "SETTLE_BATCH_COMMITS"),
    ("scrub_bytes", scrub, "SCRUB_BYTES_PER_SECOND_MIN"),
)


@dataclass(frozen=True)
class Bounds:
    """Bounds of a run; None is what production has (storage/limits.py)."""

    push_bytes: int | None = None
    pull_bytes: int | None = None
    pull_logs: int | None = None
    promises: int | None = None
    settle_batch: int | None = None
    roots: int | None = None
    streams: int | None = None
    compress_above_bytes: int | None = None
    scrub_bytes: int | None = None


@contextmanager
def bounded(bounds: Bounds) -> Iterator[None]:
    """Run with these bounds in place of those of production."""
    wanted = asdict(bounds)
    before = [(module, name, getattr(module, name)) for _, module, name in _PLACES]
    try:
        for bound, module, name in _PLACES:
            if wanted[bound] is not None:
                setattr(module, name, wanted[bound])
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
