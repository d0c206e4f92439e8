"""Each call of the system that the real disk makes fails in turn: our error, and nothing lost."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from anabranch.storage import disk as disk_module
from anabranch.storage import sealer as sealer_module
from anabranch.storage.disk import FileDisk
from anabranch.storage.errors import AnabranchError, DiskError, DiskFull
from anabranch.storage.limits import DISK_RESERVE_BYTES
from anabranch.storage.log import Log
from anabranch.storage.record import COMMIT
from anabranch.storage.sealer import Sealer

from .logs import OPENING, Watched
from .sealing import commit_of

SYNCS = {"fdatasync", "fsync"}
SLOW = SYNCS | {"posix_fadvise"}  # nothing crashes here, so they need not be done
NEED_ROOM = {"open", "pwrite", "rename"}
CALLS = SYNCS | NEED_ROOM
CALLS |= {"close", "fstat", "ftruncate", "listdir", "pread", "statvfs", "unlink"}
CALLS |= {"posix_fadvise"} & {*dir(os)}


class System:
    """The calls of `os`, one of which fails; of what it had to write it has written a half."""

    def __init__(self, at: int = -2, number: int = 0) -> None:
        self.at, self.number = at, number
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return partial(self._call, name, real) if name in CALLS else real

    def _call(self, name: str, real: Callable[..., Any], *args: Any) -> Any:
        self.calls.append(name)
        if len(self.calls) != self.at + 1:
            return None if name in SLOW else real(*args)
        if name == "pwrite":
            file, data, offset = args
            real(file, data[: len(data) // 2], offset)
        if name == "close":
            real(*args)  # it is closed all the same
        raise OSError(self.number, os.strerror(self.number))


class Story:
    """A log begins segments, is sealed, ends, and goes on; what fails is tried again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.confirmed: dict[int, bytes] = {}  # by position
        self.refused: list[bytes] = []
        self.told: list[AnabranchError] = []
        self.number = 0
        self.log: Log | None = None

    async def tell(self) -> None:
        for _ in range(2):
            try:
                disk = FileDisk(self.directory)
            except DiskError as error:
                self.told.append(error)
                disk = FileDisk(self.directory)
            try:
                await self.live(disk)
            except DiskError as error:
                self.told.append(error)
            if self.log is not None:
                await self.log.abandon()
            disk.close()

    async def live(self, disk: FileDisk) -> None:
        log = self.log = Log(
            disk,
            opening_state=lambda: OPENING,
            on_durable=lambda _: None,
            on_failure=self.told.append,
            segment_bytes=250,
            reserve_bytes=100,
        )
        list(log.replay(0))
        log.start()
        log.keep_reserve()
        for _ in range(3):
            await self.append(log)
        await Sealer(disk, log, bytes_per_second=1 << 40).seal_all()
        for position, body in self.confirmed.items():
            assert log.read(position, len(body)) == body
        await log.close()

    async def append(self, log: Log) -> None:
        body = commit_of(self.number, size=20)
        self.number += 1
        position = log.append(COMMIT, body)
        try:
            await log.wait(position)
        except DiskFull as error:
            self.refused.append(body)
            self.told.append(error)
        else:
            self.confirmed[position] = body


async def told(directory: Path, patch: pytest.MonkeyPatch, system: System) -> Story:
    """The story, and what is there when nothing goes wrong any more."""
    story = Story(directory)
    patch.setattr(sealer_module, "SEAL_RESTS", 0)  # nobody else wants the loop
    patch.setattr(disk_module, "os", system)
    await story.tell()
    patch.setattr(disk_module, "os", System())
    disk = FileDisk(directory)
    assert disk.free() > DISK_RESERVE_BYTES
    watched = Watched(disk)
    assert watched.gaps == []
    there = {one.position: one.body for one in watched.found if one.kind == COMMIT}
    assert story.confirmed.items() <= there.items()
    assert not {*story.refused} & {*there.values()}, "nothing was written"
    disk.close()
    return story


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_an_error_of_any_call_of_the_system_is_one_of_ours_and_loses_nothing(
    tmp_path, monkeypatch, number
):
    system = System()
    story = await told(tmp_path / "data", monkeypatch, system)
    assert story.told == []
    assert len(story.confirmed) == 6
    assert CALLS - {"ftruncate"} == {*system.calls}, "that one takes back what was half written"
    counts: Counter[str] = Counter()
    for at, call in enumerate(system.calls):
        if number == errno.ENOSPC and call not in NEED_ROOM:
            continue
        try:
            story = await told(tmp_path / f"data {at}", monkeypatch, System(at, number))
        except BaseException as error:
            raise AssertionError(f"call {at}, {call}") from error
        counts[call] += 1
        counts[f"{call} was told"] += bool(story.told)
    assert counts["pwrite was told"] == counts["pwrite"] - 1 > 8, "the reserve can wait"
    if number == errno.EIO:
        assert counts["fdatasync was told"] == counts["fdatasync"] > 8
