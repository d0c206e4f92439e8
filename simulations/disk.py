"""A simulated disk: what was synced survives a crash, of the rest any part may.

A crash keeps of each file its synced bytes, and of the bytes appended since, every 512-byte
sector by itself with a chance of one half: lost (the file ends, or holds zeros there), or kept.
A file whose name was not synced may be gone.
"""

from __future__ import annotations

import asyncio
from random import Random as Generator

from ..storage.errors import DiskError, DiskFull, SyncFailed

SECTOR_BYTES = 512


class _File:
    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = 0  # bytes that survive for certain
        self.named = False  # whether the name survives for certain


class SimDisk:
    """One data directory in memory."""

    def __init__(
        self,
        generator: Generator,
        *,
        sync_seconds: float = 0.0005,
        capacity_bytes: int = 1 << 40,
    ) -> None:
        self._generator = generator
        self._files: dict[str, _File] = {}
        self.sync_seconds = sync_seconds
        self.capacity_bytes = capacity_bytes
        self.failing_syncs = False
        self.crashed = 0  # how often; what was begun before a crash does nothing after it

    def list(self, folder: str) -> list[str]:
        """The names in a folder."""
        prefix = folder + "/"
        return sorted(name.removeprefix(prefix) for name in self._files if name.startswith(prefix))

    def size(self, name: str) -> int:
        """The length of a file."""
        return len(self._file(name).data)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes."""
        return bytes(self._file(name).data[offset : offset + length])

    def append(self, name: str, data: bytes) -> None:
        """Write at the end."""
        if len(data) > self.free():
            raise DiskFull(f"no room for {len(data)} bytes; free some space")
        self._files.setdefault(name, _File()).data += data

    async def sync(self, name: str) -> None:
        """Make durable what had been appended when this was called."""
        file, end, life = self._file(name), len(self._file(name).data), self.crashed
        await asyncio.sleep(self._generator.uniform(0.5, 1.5) * self.sync_seconds)
        if self.failing_syncs:
            raise SyncFailed(f"the disk did not confirm {name}")
        if life == self.crashed:
            file.synced = max(file.synced, min(end, len(file.data)))

    def sync_names(self, folder: str) -> None:
        """Make the names of a folder durable."""
        for name, file in self._files.items():
            if name.startswith(folder + "/"):
                file.named = True

    def truncate(self, name: str, length: int) -> None:
        """Cut a file, durably."""
        file = self._file(name)
        del file.data[length:]
        file.synced = min(file.synced, length)

    def free(self) -> int:
        """Bytes that can still be written."""
        return self.capacity_bytes - sum(len(file.data) for file in self._files.values())

    def close(self) -> None:
        """There is nothing to let go of."""

    def crash(self) -> None:
        """Lose what was not synced, in part or whole, in any order."""
        self.crashed += 1
        for name, file in list(self._files.items()):
            if not file.named and self._generator.random() < 0.5:
                del self._files[name]
                continue
            self._tear(file)
            file.synced, file.named = len(file.data), True

    def _tear(self, file: _File) -> None:
        end = len(file.data)
        if self._generator.random() < 0.3:
            end = self._generator.randint(file.synced, end)
        kept = file.synced
        for start in range(file.synced, end, SECTOR_BYTES):
            stop = min(start + SECTOR_BYTES, end)
            if self._generator.random() < 0.5:
                kept = stop
            else:
                file.data[start:stop] = bytes(stop - start)
        del file.data[kept:]

    def flip(self, name: str, offset: int, mask: int = 1) -> None:
        """Damage a byte."""
        self._file(name).data[offset] ^= mask

    def wipe(self) -> None:
        """Lose everything."""
        self._files.clear()

    def _file(self, name: str) -> _File:
        try:
            return self._files[name]
        except KeyError:
            raise DiskError(f"there is no {name}") from None
