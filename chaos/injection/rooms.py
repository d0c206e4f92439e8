"""Directories of limited size: file systems in memory, which only root can mount."""

from __future__ import annotations

import atexit
import errno
import os
import subprocess
from pathlib import Path
from typing import Final

from ...storage.errors import ConfigError

_TRIES: Final = 20  # the node may write while its room is being filled


class Room:
    """A directory that holds so many bytes and no more; a node keeps its files in `data`.

    Raises ConfigError if it can't be mounted. It is gone, with all in it, after `unmount()` or at
    the end of this process, but not if that is killed.
    """

    def __init__(self, directory: Path, size_bytes: int) -> None:
        self.directory = directory
        self.data = directory / "data"
        self._filler = directory / "filler"
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise ConfigError(f"{directory} is not empty; give the room a directory of its own")
        _mount(directory, size_bytes)
        self._mounted = True
        atexit.register(self.unmount)

    def free(self) -> int:
        """Bytes that can still be written."""
        room = os.statvfs(self.directory)
        return room.f_bavail * room.f_frsize

    def fill(self, leave_bytes: int) -> None:
        """Leave only so many bytes free, and up to a page more; a second call leaves as asked."""
        page = os.statvfs(self.directory).f_frsize
        file = os.open(self._filler, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for _ in range(_TRIES):
                size = os.fstat(file).st_size
                more = (self.free() - leave_bytes) // page * page
                if not more:
                    return
                if more < 0:
                    os.ftruncate(file, max(0, size + more))
                    return
                try:
                    os.posix_fallocate(file, size, more)
                    return
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
        finally:
            os.close(file)

    def free_again(self) -> None:
        """Take away what `fill` has put there."""
        self._filler.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Let go of the directory, with all that is in it; at once, or when nobody uses it."""
        if not self._mounted:
            return
        self._mounted = False
        atexit.unregister(self.unmount)
        done = subprocess.run(["umount", self.directory], capture_output=True, check=False)
        if done.returncode:  # somebody has a file open
            subprocess.run(["umount", "-l", self.directory], capture_output=True, check=False)


def _mount(directory: Path, size_bytes: int) -> None:
    what = f"can't mount a file system of {size_bytes} bytes at {directory}"
    remedy = "run as root, or leave out the faults that fill disks"
    if size_bytes < 1:
        raise ConfigError(f"{what}: give it a size above 0")
    options = f"size={size_bytes},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "anabranch-room", str(directory)]
    try:
        done = subprocess.run(command, capture_output=True, check=False, text=True)
    except FileNotFoundError:
        raise ConfigError(f"{what}: there is no `mount`; `apt-get install mount`") from None
    if done.returncode:
        said = done.stderr.strip().replace("\n", " ") or f"status {done.returncode}"
        raise ConfigError(f"{what} ({said}); {remedy}")
