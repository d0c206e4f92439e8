"""What the log may rely on, held against the real disk and the simulated one."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from threading import Barrier

import pytest

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage.disk import Disk, FileDisk
from anabranch.storage.errors import DamagedLog, DirectoryInUse, DiskError, DiskFull, SyncFailed

A = "log/a.seg"
B = "log/b.seg"


class Home:
    """A data directory whose disk can be closed and opened again."""

    def __init__(self, opener: Callable[[], Disk]) -> None:
        self._opener = opener
        self.disk = opener()

    def reopen(self) -> Disk:
        self.disk.close()
        self.disk = self._opener()
        return self.disk


@pytest.fixture(params=["real", "simulated"])
def home(request, tmp_path: Path) -> Iterator[Home]:
    if request.param == "real":
        made = Home(lambda: FileDisk(tmp_path / "data"))
    else:
        simulated = SimDisk(Random(1), sync_seconds=0.0)
        made = Home(lambda: simulated)
    yield made
    made.disk.close()


@pytest.fixture
def disk(home: Home) -> Disk:
    return home.disk


@pytest.fixture
def real(tmp_path: Path) -> Iterator[FileDisk]:
    disk = FileDisk(tmp_path / "data")
    yield disk
    disk.close()


# -- both --------------------------------------------------------------------------------------


def test_a_fresh_directory_is_empty(disk):
    assert disk.list("log") == []


def test_what_was_appended_is_read_back(disk):
    disk.append(A, b"hello ")
    disk.append(A, b"world")
    assert disk.size(A) == 11
    assert disk.read(A, 0, 11) == b"hello world"
    assert disk.read(A, 4, 3) == b"o w"


def test_a_read_past_the_end_is_short(disk):
    disk.append(A, b"0123456789")
    assert disk.read(A, 8, 100) == b"89"
    assert disk.read(A, 10, 1) == b""
    assert disk.read(A, 99, 1) == b""


def test_names_are_listed_in_order_and_without_their_folder(disk):
    for name in ("log/b", "log/a", "log/c"):
        disk.append(name, b"x")
    assert disk.list("log") == ["a", "b", "c"]
    assert disk.list("other") == []


@pytest.mark.parametrize("ask", [lambda d: d.size(A), lambda d: d.read(A, 0, 1)])
def test_asking_for_a_file_that_is_not_there_is_an_error_and_makes_none(disk, ask):
    disk.append(B, b"x")
    with pytest.raises(DiskError):
        ask(disk)
    assert disk.list("log") == ["b.seg"]


async def test_a_sync_of_a_file_that_is_not_there_is_an_error(disk):
    with pytest.raises(DiskError):
        await disk.sync(A)
    assert disk.list("log") == []


def test_truncate_cuts_the_end(disk):
    disk.append(A, b"0123456789")
    disk.truncate(A, 4)
    assert disk.read(A, 0, 10) == b"0123"
    disk.append(A, b"ab")
    assert disk.read(A, 0, 10) == b"0123ab"


async def test_what_was_synced_is_there_after_reopening(home):
    home.disk.append(A, b"one")
    await home.disk.sync(A)
    home.disk.sync_names("log")
    disk = home.reopen()
    assert disk.list("log") == ["a.seg"]
    assert disk.read(A, 0, 9) == b"one"
    disk.append(A, b"two")
    assert disk.read(A, 0, 9) == b"onetwo"


def test_there_is_room(disk):
    assert disk.free() > 1 << 20


def test_more_files_than_may_be_open_at_once(disk):
    names = [f"log/{number:03}" for number in range(100)]
    for name in names:
        disk.append(name, name.encode())
    for name in names:
        assert disk.read(name, 0, 99) == name.encode()


async def test_a_file_that_is_opened_anew_is_as_it_was(disk):
    disk.append(A, b"x")
    disk.reopen(A)
    disk.reopen(B)
    disk.append(A, b"y")
    await disk.sync(A)
    assert disk.read(A, 0, 9) == b"xy"


def test_the_names_of_the_directory_itself(disk):
    disk.append("reserve", b"x")
    disk.append(A, b"x")
    assert "reserve" in disk.list("")
    assert disk.list("log") == ["a.seg"]
    disk.sync_names("")


def test_a_renamed_file_has_its_bytes_under_the_new_name_alone(disk):
    disk.append(A, b"new")
    disk.append(B, b"older and longer")
    assert disk.read(B, 0, 99) == b"older and longer"
    disk.rename(A, B)
    disk.sync_names("log")
    assert disk.list("log") == ["b.seg"]
    assert (disk.read(B, 0, 99), disk.size(B)) == (b"new", 3)
    disk.append(B, b", more")
    disk.append(A, b"another")
    assert disk.read(B, 0, 99) == b"new, more"
    assert disk.read(A, 0, 99) == b"another"


async def test_a_removed_file_is_gone_and_its_name_free(disk):
    disk.append(A, b"old")
    await disk.sync(A)
    disk.remove(A)
    disk.sync_names("log")
    assert disk.list("log") == []
    with pytest.raises(DiskError):
        disk.read(A, 0, 1)
    disk.append(A, b"new")
    assert disk.read(A, 0, 99) == b"new"


async def test_renamed_and_removed_stay_so_after_reopening(home):
    home.disk.append(A, b"one")
    home.disk.append(B, b"two")
    await home.disk.sync(A)
    home.disk.rename(A, "log/c.seg")
    home.disk.remove(B)
    home.disk.sync_names("log")
    disk = home.reopen()
    assert disk.list("log") == ["c.seg"]
    assert disk.read("log/c.seg", 0, 9) == b"one"


@pytest.mark.parametrize("step", [lambda d: d.rename(A, B), lambda d: d.remove(A)])
def test_what_is_not_there_can_not_be_renamed_or_removed(disk, step):
    disk.append(B, b"x")
    with pytest.raises(DiskError):
        step(disk)
    assert disk.read(B, 0, 9) == b"x"


def test_reading_a_file_that_is_gone_is_damage(disk):
    disk.append(B, b"x")
    with pytest.raises(DamagedLog, match="there is no"):
        disk.read(A, 0, 1)


# -- the real one ------------------------------------------------------------------------------


def test_a_second_opener_is_refused_until_the_first_lets_go(tmp_path):
    first = FileDisk(tmp_path)
    with pytest.raises(DirectoryInUse, match="in use by another process"):
        FileDisk(tmp_path)
    first.append(A, b"still works")
    first.close()
    second = FileDisk(tmp_path)
    assert second.read(A, 0, 99) == b"still works"
    second.close()


def test_a_directory_that_cannot_be_made_is_a_disk_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match="can't use"):
        FileDisk(tmp_path / "file" / "data")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("before", [0, 1, 5])
def test_a_disk_that_is_full_midway_leaves_nothing(real, monkeypatch, number, before):
    real.append(A, b"kept")
    pwrite = os.pwrite

    def full(file: int, data: memoryview, offset: int) -> int:
        if offset >= 4 + before:
            raise OSError(number, os.strerror(number))
        return pwrite(file, data[:before], offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DiskFull, match="free some space"):
        real.append(A, b"0123456789")
    monkeypatch.undo()
    assert real.read(A, 0, 99) == b"kept"
    real.append(A, b", more")
    assert real.read(A, 0, 99) == b"kept, more"


def test_another_error_midway_leaves_nothing_either(real, monkeypatch):
    pwrite = os.pwrite

    def broken(file: int, data: memoryview, offset: int) -> int:
        if offset:
            raise OSError(errno.EIO, "broken")
        return pwrite(file, data[:3], offset)

    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(DiskError, match="broken") as caught:
        real.append(A, b"0123456789")
    assert not isinstance(caught.value, DiskFull)
    monkeypatch.undo()
    assert real.size(A) == 0


def test_a_disk_without_room_for_a_new_file_is_full(real, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(DiskFull):
        real.append(A, b"x")


def test_short_writes_and_reads_go_on(real, monkeypatch):
    pwrite, pread = os.pwrite, os.pread
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: pwrite(file, data[:3], offset))
    monkeypatch.setattr(
        os, "pread", lambda file, length, offset: pread(file, min(length, 4), offset)
    )
    real.append(A, bytes(range(100)))
    assert real.read(A, 0, 100) == bytes(range(100))
    assert real.read(A, 90, 100) == bytes(range(90, 100))


def test_a_read_error_names_the_place(real, monkeypatch):
    real.append(A, b"x")

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(DamagedLog, match=r"a\.seg can't be read at offset 7"):
        real.read(A, 7, 1)


@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, DamagedLog), (errno.EMFILE, DiskError)])
def test_a_file_that_the_disk_can_not_open_is_damaged_and_no_other_one_is(
    real, monkeypatch, number, kind
):
    def broken(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    real.append(A, b"x")
    real.reopen(A)
    monkeypatch.setattr(os, "open", broken)
    with pytest.raises(DiskError) as caught:
        real.read(A, 0, 1)
    assert type(caught.value) is kind


def test_a_disk_that_can_not_tell_its_room_is_a_disk_error(real, monkeypatch):
    def broken(path: Path) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "statvfs", broken)
    with pytest.raises(DiskError, match=r"can't tell how much room .* has: input/output error"):
        real.free()


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(real, monkeypatch):
    def refused(path: Path) -> list[str]:
        raise PermissionError(errno.EACCES, "permission denied")

    monkeypatch.setattr(os, "listdir", refused)
    with pytest.raises(DiskError, match="permission denied"):
        real.list("log")


async def test_a_sync_that_fails_says_that_the_process_ends(real, monkeypatch):
    real.append(A, b"x")

    def broken(file: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(SyncFailed, match=r"a\.seg: input/output error. The process ends"):
        await real.sync(A)


@pytest.mark.parametrize("step", [lambda d: d.sync_names("log"), lambda d: d.truncate(A, 0)])
def test_a_name_or_a_cut_that_is_not_confirmed_is_a_failed_sync(real, monkeypatch, step):
    real.append(A, b"x")

    def broken(file: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(SyncFailed):
        step(real)


def test_names_are_synced_up_to_the_parent_of_the_directory(tmp_path, monkeypatch):
    synced: set[int] = set()
    fsync = os.fsync

    def watched(file: int) -> None:
        synced.add(os.fstat(file).st_ino)
        fsync(file)

    monkeypatch.setattr(os, "fsync", watched)
    disk = FileDisk(tmp_path / "data")
    disk.append(A, b"x")
    disk.sync_names("log")
    disk.close()
    folders = (tmp_path, tmp_path / "data", tmp_path / "data" / "log")
    assert {folder.stat().st_ino for folder in folders} <= synced


async def test_a_file_is_not_closed_while_it_is_synced(real, monkeypatch):
    fdatasync = os.fdatasync

    def crowded(file: int) -> None:
        before = os.fstat(file).st_ino
        for number in range(100):
            real.append(f"log/{number:03}", b"x")
        assert os.fstat(file).st_ino == before
        fdatasync(file)

    real.append(A, b"x")
    monkeypatch.setattr(os, "fdatasync", crowded)
    await real.sync(A)


async def test_a_file_that_is_synced_stays_open_when_it_is_to_be_opened_anew(real, monkeypatch):
    real.append(A, b"x")
    fdatasync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (real.reopen(A), fdatasync(file)))
    await real.sync(A)


def test_a_file_that_was_removed_by_others_is_gone_once_it_is_opened_anew(real):
    real.append(A, b"x")
    (real.directory / A).unlink()
    assert real.read(A, 0, 1) == b"x", "so nobody would notice before the next start"
    real.reopen(A)
    with pytest.raises(DamagedLog, match="there is no"):
        real.read(A, 0, 1)


async def test_two_files_are_synced_at_once(real, monkeypatch):
    fdatasync, both = os.fdatasync, Barrier(2)

    def meeting(file: int) -> None:
        both.wait(10)
        fdatasync(file)

    real.append(A, b"x")
    real.append(B, b"x")
    monkeypatch.setattr(os, "fdatasync", meeting)
    await asyncio.gather(real.sync(A), real.sync(B))


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="only where the system has it")
def test_what_an_earlier_process_wrote_is_read_from_the_disk(tmp_path, monkeypatch):
    first = FileDisk(tmp_path)
    first.append(A, b"x")
    first.close()
    dropped: list[int] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *how: dropped.append(how[-1]))
    second = FileDisk(tmp_path)
    for _ in range(3):
        assert second.read(A, 0, 1) == b"x"
    assert dropped == [os.POSIX_FADV_DONTNEED]
    second.close()


@pytest.mark.parametrize(
    ("call", "step"), [("rename", lambda d: d.rename(A, B)), ("unlink", lambda d: d.remove(A))]
)
@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, DiskError), (errno.ENOSPC, DiskFull)])
def test_a_name_that_can_not_be_changed_is_a_disk_error(
    real, monkeypatch, call, step, number, kind
):
    def broken(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    real.append(A, b"x")
    monkeypatch.setattr(os, call, broken)
    with pytest.raises(kind) as caught:
        step(real)
    assert type(caught.value) is kind
    assert real.read(A, 0, 1) == b"x"


def test_a_write_that_can_not_be_taken_back_is_no_full_disk(real, monkeypatch):
    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", broken)
    monkeypatch.setattr(os, "ftruncate", broken)
    with pytest.raises(DiskError, match="can't take back") as caught:
        real.append(A, b"x")
    assert not isinstance(caught.value, DiskFull)


# -- the simulated one -------------------------------------------------------------------------


def test_a_full_simulated_disk_leaves_nothing():
    disk = SimDisk(Random(1), capacity_bytes=10)
    disk.append(A, b"01234567")
    with pytest.raises(DiskFull):
        disk.append(A, b"89a")
    assert disk.read(A, 0, 99) == b"01234567"
    disk.append(A, b"89")
    assert disk.free() == 0


def test_a_simulated_crash_keeps_what_was_synced_and_any_part_of_the_rest():
    kept_lengths, names_kept = set(), set()
    for seed in range(200):

        async def story(seed: int = seed) -> SimDisk:
            disk = SimDisk(Random(seed))
            disk.append(A, b"a" * 700)
            await disk.sync(A)
            disk.sync_names("log")
            disk.append(A, b"b" * 2000)
            disk.append(B, b"new")
            disk.crash()
            return disk

        disk = run(story())
        data = disk.read(A, 0, 9999)
        assert data[:700] == b"a" * 700
        assert set(data[700:]) <= set(b"b\0")
        kept_lengths.add(len(data))
        names_kept.add(B.removeprefix("log/") in disk.list("log"))
    assert len(kept_lengths) > 4
    assert names_kept == {False, True}


def test_a_sync_that_was_cut_short_by_a_crash_confirms_nothing():
    async def story() -> int:
        disk = SimDisk(Random(3))
        disk.append(A, b"x" * 100)
        disk.sync_names("log")
        sync = asyncio.create_task(disk.sync(A))
        await asyncio.sleep(0)
        disk.crash()
        left = disk.size(A)
        disk.append(A, b"y" * 100)
        await sync
        return disk._files[A].synced - left

    assert run(story()) == 0
