"""An index is a sorted map that survives a crash as after some earlier write: both of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.storage.errors import DamagedIndex
from anabranch.storage.index import Index, MemoryIndex
from anabranch.storage.index_rocks import RocksIndex

keys = st.binary(max_size=3) | st.sampled_from([b"\x00", b"\xff", b"\xff\xff", b"k", b"k\x00"])
writes = st.lists(st.lists(st.tuples(keys, st.binary(max_size=4)), max_size=6), max_size=6)
prefixes = count()


@pytest.fixture(params=["memory", "rocks"], scope="module")
def index(request, tmp_path_factory) -> Iterator[Index]:
    made: Index
    if request.param == "memory":
        made = MemoryIndex()
    else:
        made = RocksIndex(tmp_path_factory.mktemp("rocks") / "index")
    yield made
    made.close()


@pytest.fixture(params=["memory", "rocks"])
def fresh(request, tmp_path: Path) -> Iterator[Index]:
    made: Index = MemoryIndex() if request.param == "memory" else RocksIndex(tmp_path / "index")
    yield made
    made.close()


def crashed(index: Index, tmp_path: Path) -> Index:
    """The index as a crash at this moment leaves it."""
    if isinstance(index, MemoryIndex):
        index.crash()
        return index
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "index", copy, ignore=shutil.ignore_patterns("LOCK"))
    return RocksIndex(copy)


# -- a sorted map --------------------------------------------------------------------------------


@given(writes=writes, bounds=st.lists(st.tuples(keys, keys), min_size=1, max_size=8))
def test_it_is_a_sorted_map(index, writes, bounds):
    prefix = b"%08d" % next(prefixes)  # each example has a stretch of its own
    model: dict[bytes, bytes] = {}
    for batch in writes:
        index.write([(prefix + key, value) for key, value in batch])
        model.update(batch)
    for key in {*model, *(bound for pair in bounds for bound in pair)}:
        assert index.get(prefix + key) == model.get(key)
    for start, stop in bounds:
        expected = [
            (prefix + key, value) for key, value in sorted(model.items()) if start <= key < stop
        ]
        assert list(index.scan(prefix + start, prefix + stop)) == expected
        backwards = list(index.scan(prefix + start, prefix + stop, reverse=True))
        assert backwards == expected[::-1]


def test_an_empty_index_has_nothing(fresh):
    assert fresh.get(b"a") is None
    assert list(fresh.scan(b"", b"\xff")) == []
    assert list(fresh.scan(b"", b"\xff", reverse=True)) == []


@pytest.mark.parametrize("reverse", [False, True])
def test_bounds_may_lie_outside_of_all_keys(fresh, reverse):
    fresh.write([(b"b", b"1"), (b"c", b"2")])
    both = [(b"b", b"1"), (b"c", b"2")]
    assert sorted(fresh.scan(b"", b"z", reverse=reverse)) == both
    assert sorted(fresh.scan(b"b", b"c", reverse=reverse)) == both[:1]
    assert list(fresh.scan(b"c", b"b", reverse=reverse)) == []
    assert list(fresh.scan(b"b", b"b", reverse=reverse)) == []
    assert list(fresh.scan(b"d", b"z", reverse=reverse)) == []
    assert list(fresh.scan(b"", b"b", reverse=reverse)) == []


def test_the_last_value_in_a_write_stays(fresh):
    fresh.write([(b"a", b"1"), (b"a", b"2")])
    assert fresh.get(b"a") == b"2"
    assert list(fresh.scan(b"", b"z")) == [(b"a", b"2")]


def test_an_empty_value_is_a_value(fresh):
    fresh.write([(b"a", b"")])
    assert fresh.get(b"a") == b""


def test_a_scan_may_be_left_early(fresh):
    fresh.write([(b"%03d" % number, b"") for number in range(100)])
    for reverse, first in ((False, b"000"), (True, b"099")):
        assert next(iter(fresh.scan(b"", b"z", reverse=reverse)))[0] == first
    fresh.write([(b"000", b"new")])
    assert fresh.get(b"000") == b"new"


# -- crashes -------------------------------------------------------------------------------------


def test_what_was_flushed_survives_a_crash(fresh, tmp_path):
    fresh.write([(b"a", b"1"), (b"b", b"1")])
    fresh.flush()
    fresh.write([(b"a", b"2"), (b"c", b"2")])
    after = crashed(fresh, tmp_path)
    found = dict(after.scan(b"", b"z"))
    assert found in ({b"a": b"1", b"b": b"1"}, {b"a": b"2", b"b": b"1", b"c": b"2"})
    after.close()


def test_a_crash_before_any_flush_leaves_an_index_that_works(fresh, tmp_path):
    fresh.write([(b"a", b"1")])
    after = crashed(fresh, tmp_path)
    assert after.get(b"a") in (None, b"1")
    after.write([(b"b", b"2")])
    assert after.get(b"b") == b"2"
    after.close()


@given(
    before=writes,
    unflushed=writes,
)
def test_a_crashed_memory_index_is_as_after_the_last_flush(before, unflushed):
    index, model = MemoryIndex(), dict[bytes, bytes]()
    for batch in before:
        index.write(batch)
        model.update(batch)
    index.flush()
    for batch in unflushed:
        index.write(batch)
    index.crash()
    assert list(index.scan(b"", b"\xff" * 9)) == sorted(model.items())
    index.write([(b"k", b"again")])
    index.crash()
    assert index.get(b"k") == model.get(b"k")


def test_a_closed_rocks_index_holds_everything_when_it_is_opened_again(tmp_path):
    index = RocksIndex(tmp_path / "index")
    index.write([(b"%d" % number, b"x" * 100) for number in range(1000)])
    index.close()
    again = RocksIndex(tmp_path / "index")
    assert len(list(again.scan(b"", b"z"))) == 1000
    again.close()


def test_a_rocks_index_is_written_without_a_log_of_its_own(tmp_path):
    index = RocksIndex(tmp_path / "index")
    index.write([(b"key", b"x" * 5000)])
    assert sum(path.stat().st_size for path in (tmp_path / "index").glob("*.log")) == 0
    index.close()


@pytest.mark.parametrize("victim", ["CURRENT", "MANIFEST-*"])
def test_a_damaged_rocks_index_is_thrown_away(tmp_path, victim, caplog):
    index = RocksIndex(tmp_path / "index")
    index.write([(b"a", b"1")])
    index.close()
    for path in (tmp_path / "index").glob(victim):
        path.write_bytes(b"rubbish")
    again = RocksIndex(tmp_path / "index")
    assert again.get(b"a") is None
    assert "rebuilt from the log" in caplog.text
    again.write([(b"b", b"2")])
    assert again.get(b"b") == b"2"
    again.close()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_over_a_damaged_block_says_so(tmp_path, reverse):
    """An iterator of RocksDB ends at a block that it can't read, as if nothing came behind it."""
    pairs = [(b"k%05d" % number, b"%050d" % number) for number in range(2000)]
    index = RocksIndex(tmp_path / "index")
    index.write(pairs)
    index.close()
    whole = tmp_path / "whole"
    (tmp_path / "index").rename(whole)
    told = 0
    for number in range(24):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(whole, copy)
        (table,) = copy.glob("*.sst")
        data = bytearray(table.read_bytes())
        data[len(data) * number // 24] ^= 0x10
        table.write_bytes(data)
        index = RocksIndex(copy)
        try:
            found = list(index.scan(b"k", b"l", reverse=reverse))
            assert found in ([], sorted(pairs, reverse=reverse))  # it was rebuilt, or is whole
        except DamagedIndex:
            told += 1
        index.close()
    assert told > 12
