"""A room holds so many bytes and no more, and leaves nothing mounted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anabranch.chaos.injection.rooms import Room
from anabranch.storage.disk import FileDisk
from anabranch.storage.errors import ConfigError, DiskFull

MIB = 1 << 20


def mounts(directory: Path) -> int:
    lines = Path("/proc/mounts").read_text().splitlines()
    return sum(line.split()[1] == str(directory) for line in lines)


@pytest.fixture
def room(tmp_path) -> Iterator[Room]:
    try:
        made = Room(tmp_path / "room", 4 * MIB)
    except ConfigError as error:
        pytest.skip(str(error))
    yield made
    made.unmount()
    assert mounts(made.directory) == 0


def test_a_room_is_as_large_as_asked_for(room):
    assert mounts(room.directory) == 1
    assert 3 * MIB < room.free() <= 4 * MIB


def test_the_log_finds_no_room_in_a_full_one_and_room_again_afterwards(room):
    disk = FileDisk(room.data)
    try:
        disk.append("log/a.seg", b"x" * MIB)
        room.fill(8192)
        assert 8192 <= room.free() < 16384
        with pytest.raises(DiskFull):
            disk.append("log/a.seg", b"x" * MIB)
        assert disk.size("log/a.seg") == MIB
        room.fill(2 * MIB)
        assert 2 * MIB <= room.free() < 2 * MIB + 8192
        room.fill(0)
        assert room.free() == 0
        room.free_again()
        disk.append("log/a.seg", b"x" * MIB)
        room.free_again()
    finally:
        disk.close()


def test_a_busy_room_is_unmounted_too(room):
    with (room.directory / "open").open("wb") as file:
        room.unmount()
        assert mounts(room.directory) == 0
        file.write(b"still there")
    assert list(room.directory.iterdir()) == []
    room.unmount()


def test_a_room_ends_with_its_process(room, tmp_path):
    directory = tmp_path / "other"
    code = (
        "import sys; from pathlib import Path; from anabranch.chaos.injection.rooms import Room\n"
        "room = Room(Path(sys.argv[1]), 1 << 20); print(room.free())"
    )
    command = [sys.executable, "-c", code, str(directory)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=20)
    assert 0 < int(done.stdout) <= MIB
    assert mounts(directory) == 0


def test_a_directory_with_files_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="not empty"):
        Room(tmp_path, MIB)
    with pytest.raises(ConfigError, match="size above 0"):
        Room(tmp_path / "room", 0)


@pytest.mark.parametrize(
    ("script", "said"),
    [("echo only root can do that >&2; exit 1", "only root can do that"), (None, "install mount")],
)
def test_who_can_t_mount_is_told_what_to_do(tmp_path, monkeypatch, script, said):
    folder = tmp_path / "bin"
    folder.mkdir()
    if script:
        (folder / "mount").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "mount").chmod(0o755)
    monkeypatch.setitem(os.environ, "PATH", str(folder))
    with pytest.raises(ConfigError, match=said):
        Room(tmp_path / "room", MIB)
    assert mounts(tmp_path / "room") == 0
