"""Room on the disk: what still may be written when there is little, and what waits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ..storage.disk import Disk
from ..storage.errors import DiskError, DiskFull
from ..storage.limits import DISK_RESERVE_BYTES, SETTLE_ROOM_BYTES
from ..storage.log import Log

_LOOKED_UP_EVERY_SECONDS: Final = 0.5


class Room:
    """How much room a node's disk has.

    Appends stop first, so that commits of others can still be stored and nobody waits for this
    node; then these stop too, and what is final stays out of the index, so that promises can be
    stored. Reads, and what peers are given, need no room.
    """

    def __init__(self, disk: Disk, monotonic: Callable[[], float]) -> None:
        self._disk = disk
        self._monotonic = monotonic
        self._free = 0
        self._looked_up = -_LOOKED_UP_EVERY_SECONDS
        self._reserve_due = True  # it may have been given up when the disk was full

    def free_bytes(self) -> int:
        """Bytes that are free, looked up now and then; as before while the disk can't tell."""
        now = self._monotonic()
        if now - self._looked_up >= _LOOKED_UP_EVERY_SECONDS:
            self._looked_up = now
            with suppress(DiskError):  # if there is none, the next write will say so
                self._free = self._disk.free()
        return self._free

    @property
    def is_full(self) -> bool:
        """Whether there is no room for appends."""
        full = self.free_bytes() < DISK_RESERVE_BYTES
        self._reserve_due = self._reserve_due or full
        return full

    @property
    def can_settle(self) -> bool:
        """Whether there is room for the index."""
        return self.free_bytes() >= SETTLE_ROOM_BYTES

    def check(self) -> None:
        """Raise DiskFull if there is no room for appends."""
        if self.is_full:
            raise DiskFull(
                f"{self.free_bytes()} bytes are free on the data directory's disk, "
                f"{DISK_RESERVE_BYTES} have to stay; free some space or append at another node"
            )

    def see_to_reserve(self, log: Log) -> None:
        """Have the log make its reserve again, once there is room."""
        if self._reserve_due and not self.is_full:
            self._reserve_due = False
            log.keep_reserve()
