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
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from .errors import DamagedLog, DirectoryInUse, DiskError, DiskFull, SyncFailed


class Disk(Protocol):
    """One data directory."""

    def list(self, folder: str) -> list[str]:
        """The names in a folder, sorted; empty if there is no such folder; "" is the directory."""
        ...

    def size(self, name: str) -> int:
        """The length of a file in bytes."""
        ...

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file.

        What was written in an earlier life of the process comes from the disk, not from the
        system's cache: after a failed sync they may differ. Raises DamagedLog where a file or a
        sector can't be read, else DiskError.
        """
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

    def rename(self, old: str, new: str) -> None:
        """Give a file another name within its folder, in place of a file that has it.

        Until `sync_names` returned, a crash may leave the old name or the new one, each with all
        that was synced: never neither, and never both. Raises DiskError.
        """
        ...

    def remove(self, name: str) -> None:
        """Take a file away; until `sync_names` returned it may come back. Raises DiskError."""
        ...

    def reopen(self, name: str) -> None:
        """Read a file from the disk from now on: who had it open, or in memory, may be wrong."""
        ...

    def free(self) -> int:
        """Bytes that can still be written. Raises DiskError."""
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
        self._seen: set[str] = set()  # opened before in this process
        self._syncing: Counter[str] = Counter()
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
            _close(lock)
            raise DirectoryInUse(
                f"{directory} is in use by another process; stop that node, or give this one "
                "its own --data directory"
            ) from None
        self._lock = lock
        # One for the log, and one for what is sealed meanwhile.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="sync")

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
        try:
            return os.fstat(self._open(name)).st_size
        except OSError as error:
            raise self._write_failed(name, error) from error

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""
        file = self._open(name)
        try:
            data = os.pread(file, length, offset)
            while 0 < len(data) < length:
                more = os.pread(file, length - len(data), offset + len(data))
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
        end = self.size(name)
        view = memoryview(data)
        offset = end
        try:
            while view:
                written = os.pwrite(file, view, offset)
                view = view[written:]
                offset += written
        except OSError as error:
            self._take_back(name, file, end)
            raise self._write_failed(name, error) from error

    async def sync(self, name: str) -> None:
        """Return when all that was appended is durable; a thread waits for the disk."""
        file = self._open(name)
        self._syncing[name] += 1
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, os.fdatasync, file)
        except OSError as error:
            raise self._sync_failed(name, error) from error
        finally:
            self._syncing[name] -= 1

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

    def rename(self, old: str, new: str) -> None:
        """Give a file another name within its folder."""
        self._let_go(old)
        self._let_go(new)
        try:
            os.rename(self._directory / old, self._directory / new)
        except OSError as error:
            raise self._write_failed(old, error) from error

    def remove(self, name: str) -> None:
        """Take a file away."""
        self._let_go(name)
        try:
            os.unlink(self._directory / name)
        except OSError as error:
            raise self._write_failed(name, error) from error

    def reopen(self, name: str) -> None:
        """Look the name up again, and forget what the system has in memory of the file."""
        if not self._syncing[name]:
            self._let_go(name)
            self._seen.discard(name)

    def free(self) -> int:
        """Bytes that this user can still write."""
        try:
            room = os.statvfs(self._directory)
        except OSError as error:
            raise DiskError(
                f"can't tell how much room {self._directory} has: {error.strerror}"
            ) from error
        return room.f_bavail * room.f_frsize

    def close(self) -> None:
        """Let go of the directory."""
        self._threads.shutdown(wait=True)
        for file in [*self._files.values(), self._lock]:
            _close(file)
        self._files.clear()

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
        except FileNotFoundError:
            raise DamagedLog(f"there is no {path}") from None
        except OSError as error:
            if error.errno == errno.EIO and not create:
                raise DamagedLog(f"{path} can't be read: {error.strerror}") from error
            raise self._write_failed(name, error) from error
        if name not in self._seen:
            self._seen.add(name)
            _drop_cached(file)
        while len(self._files) >= self._OPEN_FILES_MAX:
            oldest = next(other for other in self._files if not self._syncing[other])
            _close(self._files.pop(oldest))
        self._files[name] = file
        return file

    def _let_go(self, name: str) -> None:
        """A name is about to mean another file, or none."""
        assert not self._syncing[name], "who syncs a file waits before it takes it away"
        file = self._files.pop(name, None)
        if file is not None:
            _close(file)

    def _take_back(self, name: str, file: int, end: int) -> None:
        try:
            os.ftruncate(file, end)
        except OSError as error:
            raise DiskError(
                f"can't take back what was written in part to {self._directory / name}: "
                f"{error.strerror}"
            ) from error

    def _write_failed(self, name: str, error: OSError) -> DiskError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFull(f"no room to write in {self._directory}; free some space")
        return DiskError(f"can't open or write {self._directory / name}: {error.strerror}")

    def _sync_failed(self, name: str, error: OSError) -> SyncFailed:
        return SyncFailed(
            f"the disk did not confirm {self._directory / name}: {error.strerror}. The process "
            "ends, because what was written may be gone; look at the disk, then start it again"
        )


def _drop_cached(file: int) -> None:
    """Have the system read a file from the disk: what it has in memory may not be there."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # advice, no more
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def _close(file: int) -> None:
    """Let go of a file. An error tells nothing: what has to be on the disk was synced."""
    with suppress(OSError):
        os.close(file)


def _sync_directory(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        _close(file)
