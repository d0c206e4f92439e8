"""Reads that go on where a disk fails: a bad sector must not take what is around it along."""

from __future__ import annotations

from collections.abc import Callable

from .disk import Disk
from .errors import DamagedLog
from .limits import READ_AGAIN_BYTES


def read_twice(disk: Disk, name: str, offset: int, length: int) -> bytes:
    """As `Disk.read`, but a read that failed is tried once more. Raises DamagedLog."""
    try:
        return disk.read(name, offset, length)
    except DamagedLog:
        return disk.read(name, offset, length)


def read_around(
    disk: Disk,
    name: str,
    offset: int,
    length: int,
    unreadable: Callable[[int], None] = lambda _: None,
) -> bytes:
    """As `Disk.read`, with zeros for sectors that can't be read: checksums will tell them.

    `unreadable` is called with where each of them ends.
    """
    try:
        return read_twice(disk, name, offset, length)
    except DamagedLog:
        sector, last = offset // READ_AGAIN_BYTES, (offset + length - 1) // READ_AGAIN_BYTES
        if sector == last:
            unreadable(offset + length)
            return bytes(length)
    first = ((sector + last + 1) // 2) * READ_AGAIN_BYTES - offset
    before = read_around(disk, name, offset, first, unreadable)
    if len(before) < first:
        return before
    return before + read_around(disk, name, offset + first, length - first, unreadable)
