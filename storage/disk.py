"""The disk seam: what the log asks of a directory, and the real one.

This is the only file of the package that touches files, besides the index, which is a cache.
Names are relative to the data directory and never come from a caller's text. `append` writes all
or nothing. Only what `sync` returned for survives a loss of power; a new name survives once
`sync_names` returned. An error of `sync` can't be retried: the page may be gone (PostgreSQL's
fsync story of 2018; Rebello et al., ATC 2020).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from .errors import DamagedLog, DirectoryInUse, DiskError, DiskFull, SyncFailed


class Disk(Protocol):
    """One data directory."""

    def list(self, folder: str) -> list[str]:
        """The names in a folder, sorted; empty if there is no such folder."""
        ...

    def size(self, name: str) -> int:
        """The length of a file in bytes."""
        ...

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file. Raises DiskError."""
        ...

    def append(self, name: str, data: bytes) -> None:
        """Write at the end, all or nothing; creates the file. Raises DiskFull, DiskError."""
        ...

    async def sync(self, name: str) -> None:
        """Return when all that was appended is durable. Raises SyncFailed."""
        ...

    def sync_names(self, folder: str) -> None:
        """Return when all names of a folder are durable. Raises SyncFailed."""
        ...

    def truncate(self, name: str, length: int) -> None:
        """Cut a file to `length` bytes and make that durable. Raises DiskError."""
        ...

    def free(self) -> int:
        """Bytes that can still be written."""
        ...

    def close(self) -> None:
        """Let go of the directory."""
        ...


class FileDisk:
    """A directory of the file system, locked against other processes while it is open."""

    _OPEN_FILES_MAX = 64

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, int] = {}  # least recently used first
        self._syncing = ""
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sync_directory(directory.parent)
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DiskError(
                f"can't use {directory} as a data directory: {error.strerror}"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise DirectoryInUse(
                f"{directory} is in use by another process; stop that node, or give this one "
                "its own --data directory"
            ) from None
        self._lock = lock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sync")

    @property
    def directory(self) -> Path:
        """Where the index may keep its files."""
        return self._directory

    def list(self, folder: str) -> list[str]:
        """The names in a folder, sorted."""
        path = self._directory / folder
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DiskError(f"can't list {path}: {error.strerror}") from error

    def size(self, name: str) -> int:
        """The length of a file in bytes."""
        return os.fstat(self._open(name)).st_size

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""
        try:
            data = os.pread(self._open(name), length, offset)
            while 0 < len(data) < length:
                more = os.pread(self._open(name), length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise DamagedLog(
                f"{self._directory / name} can't be read at offset {offset}: {error.strerror}"
            ) from error
        return data

    def append(self, name: str, data: bytes) -> None:
        """Write at the end, all or nothing."""
        file = self._open(name, create=True)
        end = os.fstat(file).st_size
        view = memoryview(data)
        offset = end
        try:
            while view:
                written = os.pwrite(file, view, offset)
                view = view[written:]
                offset += written
        except OSError as error:
            os.ftruncate(file, end)
            raise self._write_failed(name, error) from error

    async def sync(self, name: str) -> None:
        """Return when all that was appended is durable; a thread waits for the disk."""
        file = self._open(name)
        self._syncing = name
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, os.fdatasync, file)
        except OSError as error:
            raise self._sync_failed(name, error) from error
        finally:
            self._syncing = ""

    def sync_names(self, folder: str) -> None:
        """Return when all names of a folder, and its own, are durable."""
        try:
            _sync_directory(self._directory / folder)
            _sync_directory(self._directory)
        except OSError as error:
            raise self._sync_failed(folder, error) from error

    def truncate(self, name: str, length: int) -> None:
        """Cut a file to `length` bytes and make that durable."""
        try:
            os.ftruncate(self._open(name), length)
            os.fsync(self._open(name))
        except OSError as error:
            raise self._sync_failed(name, error) from error

    def free(self) -> int:
        """Bytes that this user can still write."""
        room = os.statvfs(self._directory)
        return room.f_bavail * room.f_frsize

    def close(self) -> None:
        """Let go of the directory."""
        self._thread.shutdown(wait=True)
        for file in self._files.values():
            os.close(file)
        self._files.clear()
        os.close(self._lock)

    def _open(self, name: str, *, create: bool = False) -> int:
        file = self._files.pop(name, None)
        if file is not None:
            self._files[name] = file
            return file
        path = self._directory / name
        try:
            if create:
                path.parent.mkdir(exist_ok=True, mode=0o700)
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
        except OSError as error:
            raise self._write_failed(name, error) from error
        while len(self._files) >= self._OPEN_FILES_MAX:
            oldest = next(other for other in self._files if other != self._syncing)
            os.close(self._files.pop(oldest))
        self._files[name] = file
        return file

    def _write_failed(self, name: str, error: OSError) -> DiskError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFull(f"no room to write in {self._directory}; free some space")
        return DiskError(f"can't open or write {self._directory / name}: {error.strerror}")

    def _sync_failed(self, name: str, error: OSError) -> SyncFailed:
        return SyncFailed(
            f"the disk did not confirm {self._directory / name}: {error.strerror}. The process "
            "ends, because what was written may be gone; look at the disk, then start it again"
        )


def _sync_directory(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
