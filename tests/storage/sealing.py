"""Logs with sealed segments, for the tests of them."""

from __future__ import annotations

from random import Random

from anabranch.simulations.world.disk import SimDisk
from anabranch.storage.commit import Draft, shard_of, stamped
from anabranch.storage.sealer import Sealer
from anabranch.storage.stamp import stamp_of

from .logs import Watched


def commit_of(number: int, *, size: int = 20, events: int = 1) -> bytes:
    """A real commit, different for each number."""
    draft = Draft(
        f"stream-{number % 3}",
        ["placed", "filled"][: 1 + number % 2] * events,
        [b'{"n":%d,"x":"%s"}' % (number, b"x" * size)] * (1 + number % 2) * events,
        commit_id=number.to_bytes(16, "big"),
    )
    return stamped(draft, shard_of(draft.stream, 4), 7, number + 1, stamp_of(number) + 1)[1]


async def written(disk: SimDisk, groups: list[list[bytes]], segment_bytes: int) -> list[int]:
    """Write a log of these groups; the positions of their records."""
    watched = Watched(disk, segment_bytes=segment_bytes)
    watched.log.start()
    positions = []
    for group in groups:
        positions += await watched.write_group(group)
    await watched.log.close()
    return positions


async def seal(disk: SimDisk, watched: Watched | None = None) -> Watched:
    """Seal all that can be sealed."""
    watched = watched or Watched(disk)
    await Sealer(disk, watched.log, bytes_per_second=1 << 40).seal_all()
    return watched


async def sealed_disk(
    groups: list[list[bytes]], segment_bytes: int, seed: int = 0
) -> tuple[SimDisk, list[int]]:
    """A disk with a log of these groups, sealed as far as it can be; the records' positions."""
    disk = SimDisk(Random(seed), sync_seconds=0.0)
    positions = await written(disk, groups, segment_bytes)
    await seal(disk)
    return disk, positions
