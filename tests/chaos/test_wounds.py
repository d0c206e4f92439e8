"""Each wound is told, is where it is said to be, and is found by those who look."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random

import pytest

from anabranch.chaos.injection import wounds
from anabranch.storage.disk import FileDisk
from anabranch.storage.errors import ConfigError, DamagedIndex, DirectoryInUse
from anabranch.storage.files import LogFiles
from anabranch.storage.index_rocks import RocksIndex
from anabranch.storage.record import COMMIT
from anabranch.storage.sealer import Sealer
from anabranch.storage.segment import Found, Gap
from anabranch.storage.state import State, state_body
from anabranch.storage.verify import Finding, verify

from ..storage.logs import Watched
from ..storage.sealing import commit_of

STATE = state_body(State(7, 8, 4, "c", "n"))
SEEDS = range(40)


@contextmanager
def disk_of(data: Path) -> Iterator[FileDisk]:
    disk = FileDisk(data)
    try:
        yield disk
    finally:
        disk.close()


async def fill(data: Path, *, sealed: bool, segment_bytes: int = 1000) -> None:
    """A log of groups of two commits, in several segments."""
    with disk_of(data) as disk:
        watched = Watched(disk, segment_bytes=segment_bytes, opening=lambda: STATE)
        watched.log.start()
        for number in range(0, 24, 2):
            await watched.write_group([commit_of(number), commit_of(number + 1)])
        await watched.log.close()
        if sealed:
            await Sealer(disk, watched.log, bytes_per_second=1 << 40).seal_all()


@pytest.fixture(scope="module", params=["plain", "sealed"])
def master(request, tmp_path_factory) -> Path:
    data = tmp_path_factory.mktemp("master") / "data"
    asyncio.run(fill(data, sealed=request.param == "sealed"))
    assert len(list((data / "log").glob("*.sealed"))) == (3 if request.param == "sealed" else 0)
    return data


@pytest.fixture
def fresh(master, tmp_path) -> Callable[[], Path]:
    """Gives one unhurt directory after the other."""
    numbers = count()
    return lambda: Path(shutil.copytree(master, tmp_path / f"{next(numbers)}"))


def contents(data: Path) -> dict[str, bytes]:
    found = {f"{path.relative_to(data)}": path for path in data.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != "lock"}


def findings(data: Path) -> list[Finding]:
    with disk_of(data) as disk:
        return [one for one in verify(disk) if isinstance(one, Finding)]


def scanned(data: Path) -> tuple[list[Found], list[Gap], bool]:
    """The good records, the gaps, and whether there is a torn tail."""
    with disk_of(data) as disk:
        files = LogFiles(disk)
        pieces = list(files.scan(0))
        torn = files.torn is not None
    found = [one for one in pieces if isinstance(one, Found)]
    return found, [one for one in pieces if isinstance(one, Gap)], torn


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name) != after.get(name))


def test_a_flipped_bit_is_always_a_gap_and_never_a_torn_tail(master, fresh):
    before, good = contents(master), len(scanned(master)[0])
    hurt = set()
    for seed in SEEDS:
        data = fresh()
        said = wounds.flip_bits(data, Random(seed))
        after = contents(data)
        (name,) = changed(before, after)
        bit, offset = map(
            int, re.fullmatch(rf"bit (\d) at offset (\d+) of {name} .*", said).groups()
        )
        assert [
            (at, old ^ new)
            for at, (old, new) in enumerate(zip(before[name], after[name], strict=True))
            if old != new
        ] == [(offset, 1 << bit)]
        found, gaps, torn = scanned(data)
        assert len(gaps) == 1 and not torn and len(found) < good
        assert findings(data)
        hurt.add(name)
    assert hurt == {name for name in before if name.startswith("log/")}


def test_a_segment_cut_short_or_lost_is_found(master, fresh):
    before = contents(master)
    last = max(name for name in before if name.startswith("log/"))
    for seed in SEEDS:
        for wound in (wounds.truncate_segment, wounds.lose_segment):
            data = fresh()
            said = wound(data, Random(seed))
            (name,) = changed(before, contents(data))
            assert said.startswith(name) and name != last
            assert findings(data)
            if wound is wounds.lose_segment:
                (gap,) = scanned(data)[1]
                assert f"log/{gap.position:016x}" in name


def test_a_lost_end_is_whole_records_and_only_the_index_can_tell(master, fresh):
    before, good = contents(master), scanned(master)[0]
    lost = set()
    for seed in SEEDS:
        data = fresh()
        said = wounds.lose_end(data, Random(seed))
        assert len(changed(before, contents(data))) == 1
        found, gaps, torn = scanned(data)
        assert not gaps and not torn and not findings(data)
        assert found == good[: len(found)]
        assert f"lost its last {len(good) - len(found)} records" in said
        lost.add(len(good) - len(found))
    assert min(lost) == 1 and len(lost) > 1


HURT = (wounds.flip_bits, wounds.truncate_segment, wounds.lose_segment, wounds.lose_end)


@pytest.mark.parametrize("wound", HURT)
def test_the_last_copy_of_anything_is_spared(master, fresh, tmp_path, wound):
    """Seed 61: a flipped bit took what only a node that had come back empty held."""
    nobody = wounds.spared_in(master, [tmp_path / "nothing"])
    commits = [one.position for one in scanned(master)[0] if one.kind == COMMIT]
    assert nobody.positions == commits
    assert wounds.spared_in(master, [tmp_path / "nothing", fresh()]).positions == []
    hit = 0
    for seed in SEEDS:
        data, behind = fresh(), fresh()
        assert wounds.lose_segment(behind, Random(seed))
        spared = wounds.spared_in(data, [behind])
        assert 0 < len(spared.positions) < len(commits)
        hit += wound(data, Random(seed), spared) is not None
        assert {one.position for one in scanned(data)[0]} >= set(spared.positions)
    assert hit > 0


def test_what_was_not_looked_at_is_spared(fresh):
    assert all(wound(fresh(), Random(1), wounds.Spared([], 1)) is None for wound in HURT)


def test_the_same_luck_does_the_same(fresh):
    for wound in (wounds.flip_bits, wounds.truncate_segment, wounds.lose_segment, wounds.lose_end):
        one, two = fresh(), fresh()
        assert wound(one, Random(5)) == wound(two, Random(5))
        assert contents(one) == contents(two)


def test_there_may_be_nothing_to_damage(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    luck = Random(1)
    kinds = ("flip_bits", "truncate_segment", "lose_segment", "lose_end", "tear_index")
    for kind in kinds:
        assert getattr(wounds, kind)(data, luck) is None
    assert wounds.lose_index(data) is None
    assert wounds.copy(data, tmp_path / "copy") is None
    assert wounds.restore(tmp_path / "copy", data) is None


async def test_the_last_group_is_never_hurt(tmp_path):
    """Nothing after it says that it had been on disk."""
    with disk_of(tmp_path / "data") as disk:
        watched = Watched(disk, opening=lambda: STATE)
        watched.log.start()
        await watched.write_group([commit_of(1)])
        (position,) = await watched.write_group([commit_of(2)])
        await watched.log.close()
    for seed in SEEDS:
        data = shutil.copytree(tmp_path / "data", tmp_path / f"{seed}")
        said = wounds.flip_bits(data, Random(seed))
        assert int(re.search(r"offset (\d+)", said)[1]) < position


def test_a_torn_index_is_noticed_and_a_lost_one_is_gone(tmp_path):
    index = RocksIndex(tmp_path / "index")
    luck = Random(3)
    index.write([(b"e%05d" % number, luck.randbytes(100)) for number in range(2000)])
    index.close()
    assert "16 bytes of index/" in wounds.tear_index(tmp_path, luck)
    with pytest.raises(DamagedIndex):
        list(RocksIndex.to_look_at(tmp_path / "index").scan(b"e", b"f"))
    assert wounds.lose_index(tmp_path)
    assert not (tmp_path / "index").exists()


def test_of_a_directory_at_work_only_the_log_is_hurt(fresh, tmp_path):
    data = fresh()
    before = {path.name: path.read_bytes() for path in (data / "log").iterdir()}
    with disk_of(data):
        assert wounds.flip_bits(data, Random(1))
        after = {path.name: path.read_bytes() for path in (data / "log").iterdir()}
        assert sum(before[name] != after[name] for name in before) == 1
        assert wounds.lose_segment(data, Random(1))
        for wound in (wounds.tear_index, lambda data, _: wounds.lose_index(data)):
            with pytest.raises(DirectoryInUse):
                wound(data, Random(1))
        assert wounds.copy(data, tmp_path / "copy")
        with pytest.raises(DirectoryInUse):
            wounds.restore(tmp_path / "copy", data)
    with pytest.raises(ConfigError, match="no data directory"):
        wounds.flip_bits(tmp_path / "nothing", Random(1))


# -- copies ----------------------------------------------------------------------------------------


def test_a_copy_is_put_back_as_it_was(fresh, tmp_path):
    data = fresh()
    index = RocksIndex(data / "index")
    index.write([(b"a", b"1")])
    index.close()
    (data / "reserve").write_bytes(bytes(10))
    (data / "quarantine").mkdir()
    (data / "quarantine" / "0-1.bad").write_bytes(b"x")
    (data / "log" / "0000000000000000.tmp").write_bytes(b"left by a sealer")
    before = contents(data)
    assert wounds.copy(data, tmp_path / "copy") == "4 segments were copied, with the index"
    assert not (tmp_path / "copy" / "lock").exists()
    with pytest.raises(ConfigError, match="not empty"):
        wounds.copy(data, tmp_path / "copy")
    wounds.lose_index(data)
    wounds.lose_segment(data, Random(1))
    (data / "log" / "later.seg").touch()
    assert wounds.restore(tmp_path / "copy", data)
    del before["log/0000000000000000.tmp"], before["index/LOCK"]
    assert contents(data) == before
    index = RocksIndex(data / "index")
    assert index.get(b"a") == b"1"
    index.close()


async def test_a_copy_of_a_log_at_work_is_as_after_a_crash(tmp_path):
    """The log is written, sealed and indexed all the while."""
    with disk_of(tmp_path / "data") as disk:
        watched = Watched(disk, segment_bytes=700, opening=lambda: STATE)
        watched.log.start()
        index = RocksIndex(tmp_path / "data" / "index")
        sealing = asyncio.create_task(Sealer(disk, watched.log, bytes_per_second=1 << 40).run())
        number, copies = 0, []
        for turn in range(8):
            to = tmp_path / f"copy{turn}"
            copying = asyncio.create_task(asyncio.to_thread(wounds.copy, tmp_path / "data", to))
            written = number
            while not copying.done() or number < written + 20:
                number += 1
                await watched.write_group([commit_of(number)])
                index.write([(b"durable", b"%d" % number)])
                if number % 10 == 0:
                    index.flush()
            copies.append((to, written))
            assert await copying
        sealing.cancel()
        await asyncio.gather(sealing, return_exceptions=True)
        await watched.log.close()
        index.close()
    for to, written in copies:
        found, gaps, _ = scanned(to)
        bodies = [one.body for one in found if one.body != STATE]
        assert not gaps and len(bodies) >= written
        assert bodies == [commit_of(number + 1) for number in range(len(bodies))]
        assert all(one.repair or one.known for one in findings(to))
        if (to / "index").exists():
            index = RocksIndex.to_look_at(to / "index")
            assert int(index.get(b"durable") or 0) <= len(bodies)
