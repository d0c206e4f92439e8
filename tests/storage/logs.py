"""Logs on simulated disks, for the tests of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from anabranch.simulations.world.disk import SimDisk
from anabranch.storage.disk import Disk
from anabranch.storage.errors import AnabranchError
from anabranch.storage.limits import SEGMENT_BYTES
from anabranch.storage.log import Log
from anabranch.storage.record import COMMIT
from anabranch.storage.segment import Found, Gap

OPENING = b"an opening state"


class Watched:
    """A log with what it told: `durable` positions and `failures`, in order."""

    def __init__(
        self,
        disk: Disk,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        on_durable: Callable[[int], None] = lambda _: None,
        opening: Callable[[], bytes] = lambda: OPENING,
    ) -> None:
        self.dropped: list[int] = []
        self.durable: list[int] = []
        self.failures: list[AnabranchError] = []
        self._also = on_durable
        self.log = Log(
            disk,
            opening_state=opening,
            on_durable=self._on_durable,
            on_failure=self.failures.append,
            on_dropped=self.dropped.append,
            segment_bytes=segment_bytes,
        )
        pieces = list(self.log.replay(0))
        self.found = [one for one in pieces if isinstance(one, Found)]
        self.gaps = [one for one in pieces if isinstance(one, Gap)]

    def _on_durable(self, end: int) -> None:
        self.durable.append(end)
        self._also(end)

    async def write_group(self, bodies: Iterable[bytes]) -> list[int]:
        """Append some commits as one group and wait until they are on disk."""
        positions = [self.log.append(COMMIT, body) for body in bodies]
        await self.log.wait(positions[-1])
        return positions


def quiet_disk() -> SimDisk:
    return SimDisk(Random(0))


def files_of(disk: SimDisk) -> dict[str, bytes]:
    names = [f"log/{name}" for name in disk.list("log")]
    return {name: disk.read(name, 0, disk.size(name)) for name in names}


def disk_with(files: dict[str, bytes]) -> SimDisk:
    disk = quiet_disk()
    for name, data in files.items():
        disk.append(name, data)
    return disk


def bodies_of(found: Iterable[Found | Gap], kind: int = COMMIT) -> list[bytes]:
    return [one.body for one in found if isinstance(one, Found) and one.kind == kind]


async def files_with_groups(
    groups: list[list[bytes]], *, segment_bytes: int = SEGMENT_BYTES
) -> tuple[dict[str, bytes], list[int]]:
    """The files of a log after these groups, and where each group begins."""
    disk = quiet_disk()
    watched = Watched(disk, segment_bytes=segment_bytes)
    watched.log.start()
    begins = []
    for group in groups:
        begins.append(watched.log.end)
        await watched.write_group(group)
    await watched.log.close()
    return files_of(disk), begins
