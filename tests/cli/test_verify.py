"""`verify` names every kind of damage with its place, and cuts only what may be."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from anabranch.cli.app import run
from anabranch.gossip.transport import WebSocketNetwork
from anabranch.node.clock import SystemClock, SystemRandom
from anabranch.node.config import parse
from anabranch.node.node import Node
from anabranch.storage import keys
from anabranch.storage.commit import EXPECT_NONE, KEEP, Draft
from anabranch.storage.disk import FileDisk
from anabranch.storage.files import LogFiles
from anabranch.storage.index_rocks import RocksIndex
from anabranch.storage.record import COMMIT, frame
from anabranch.storage.segment import Found

CONFIG = """
[cluster]
name = "verify"
shards = 4

[[member]]
name = "a"
site = "x"
url = "http://127.0.0.1:7199"
"""
COMMITS = 60


def _node(directory: Path, segment_bytes: int = 1 << 30) -> Node:
    config = parse(CONFIG)
    tuning = type(config.tuning)(segment_bytes=segment_bytes)
    return Node(
        type(config)(config.name, config.shards, config.members, tuning),
        "a",
        disk=FileDisk(directory),
        index=RocksIndex(directory / "index"),
        clock=SystemClock(),
        random=SystemRandom(),
        network=WebSocketNetwork(),
    )


async def _live(directory: Path, segment_bytes: int) -> None:
    node = _node(directory, segment_bytes)
    await node.start()
    for number in range(COMMITS - 1):
        draft = Draft(
            f"s{number % 5}", ["t"], [b"%d" % number * 20], commit_id=number.to_bytes(16, "big")
        )
        await node.append(draft, ack="settled", timeout=5)
    odd = Draft("s0", ["t"], [b"1"], commit_id=b"o" * 16, expected=EXPECT_NONE, policy=KEEP)
    node.store.stamp(odd, node.clock.wall_ms())  # a conflict that only the order decides
    while node.history.tentative_commits or node.log.backlog_bytes:  # noqa: ASYNC110 - soon
        await asyncio.sleep(0)
    while node.log.sealed < node.log.segments - 1:  # noqa: ASYNC110 - sealing takes its time
        await asyncio.sleep(0)
    await node.stop()


async def start_once_more(directory: Path) -> None:
    """Start and stop the node: it writes a state, and nothing new settles."""
    node = _node(directory)
    await node.start()
    await node.stop()


@pytest.fixture(scope="module", params=["plain", "sealed"])
def whole(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "data"
    asyncio.run(_live(directory, 1 << 30 if request.param == "plain" else 4000))
    return directory


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "data"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("plain") / "data"
    asyncio.run(_live(directory, 1 << 30))
    return directory


def snapshot(data: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file() and "LOG" not in path.name
    }


def verify(
    data: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, dict[str, Any]]:
    status = run(["verify", str(data), "--json", *options])
    return status, json.loads(capsys.readouterr().out)


def first(data: Path) -> Path:
    return min((data / "log").iterdir())


def test_what_is_whole_is_good(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(data)
    status, said = verify(data, capsys)
    assert (status, said["good"], said["findings"]) == (0, True, [])
    assert said["index"] == {"settled_commits": COMMITS, "unreadable_commits": 0, "wrong": []}
    assert sum(file["records"] for file in said["files"]) > COMMITS
    assert snapshot(data) == before


def test_a_flipped_bit_is_named_and_left_as_it_is(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = first(data)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)
    before = snapshot(data)
    for options in ((), ("--repair",)):
        status, said = verify(data, capsys, *options)
        assert (status, said["good"]) == (1, False)
        (finding, *_) = said["findings"]
        assert finding["name"] == f"log/{path.name}"
        assert finding["length"] > 0
        assert said["index"]["unreadable_commits"] > 0
        assert said["index"]["wrong"] == [], "it is the log that is damaged"
        assert snapshot(data) == before


def test_a_torn_tail_is_cut_only_when_asked(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = max((data / "log").iterdir())
    assert path.suffix == ".seg"
    whole = path.read_bytes()
    path.write_bytes(whole + b"\xab\x01torn")
    status, said = verify(data, capsys)
    assert (status, said["findings"][0]["repair"]) == (1, "cut")
    assert said["findings"][0]["offset"] == len(whole)
    assert path.read_bytes() != whole
    status, said = verify(data, capsys, "--repair")
    assert (status, said["findings"][0]["repaired"]) == (0, True)
    assert path.read_bytes() == whole


def test_all_else_is_told_where_the_last_segment_tells_no_end(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = max((data / "log").iterdir())
    last.unlink()  # it was being written
    if not any((data / "log").iterdir()):
        last.with_suffix(".sealed").write_bytes(b"")  # the only one, and nothing is left of it
    sealed = sorted((data / "log").iterdir())
    raw = sealed[-1].read_bytes()
    sealed[-1].write_bytes(raw[: len(raw) // 2])
    status, said = verify(data, capsys)
    assert (status, said["index"]["wrong"]) == (1, [])
    assert {one["name"] for one in said["findings"]} == {f"log/{sealed[-1].name}"}
    assert "nothing tells where it ends" in said["findings"][0]["what"]
    read = {file["name"]: file["records"] for file in said["files"]}
    assert sorted(read) == [f"log/{path.name}" for path in sealed]
    assert all(read[f"log/{path.name}"] for path in sealed[:-1])
    assert run(["verify", str(data)]) == 1
    assert "The index was not compared" in " ".join(capsys.readouterr().out.split())


def test_an_index_that_is_wrong_is_told_apart_from_the_log(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = RocksIndex(data / "index")
    (key, value), *_ = index.scan(b"q", b"r")
    index.write([(key, value[:-1] + bytes([value[-1] ^ 1]))])
    index.close()
    status, said = verify(data, capsys)
    assert (status, said["findings"]) == (1, [])
    assert any("hash in its log is wrong" in line for line in said["index"]["wrong"])


@pytest.mark.parametrize("key", [keys.SYNCED, keys.REPLAY_FROM])
def test_a_log_is_judged_beside_an_index_that_rots(
    data: Path, capsys: pytest.CaptureFixture[str], key: bytes
) -> None:
    before = set((data / "index").glob("*.sst"))
    index = RocksIndex(data / "index")
    index.write([(key, index.get(key) or b"")])
    index.close()
    (written,) = set((data / "index").glob("*.sst")) - before
    for path, offset in ((written, 5), (first(data), first(data).stat().st_size // 2)):
        raw = bytearray(path.read_bytes())
        raw[offset] ^= 4
        path.write_bytes(raw)
    status, said = verify(data, capsys)
    assert (status, said["good"]) == (1, False)
    assert said["findings"][0]["name"] == f"log/{first(data).name}"
    assert "block checksum mismatch" in said["index"]["wrong"][0]
    assert run(["verify", str(data)]) == 1
    out = capsys.readouterr().out
    assert "The index can't be read to its end." in out
    assert "To mend the index" in out


KINDS = "cdeqmnstuwxyz"  # storage/keys.py


def entries(data: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    """All entries of an index, by kind."""
    index = RocksIndex(data / "index")
    found: dict[str, list[tuple[bytes, bytes]]] = {kind: [] for kind in KINDS}
    for key, value in index.scan(b"", b"\xff"):
        found[chr(key[0])].append((key, value))
    index.close()
    return found


def planted(
    data: Path, capsys: pytest.CaptureFixture[str], key: bytes, value: bytes | None
) -> list[str]:
    """What is said of an index with one other entry, or without it; nothing else is wrong."""
    index = RocksIndex(data / "index")
    if value is None:
        index._db.delete(key)
    else:
        index.write([(key, value)])
    index.close()
    status, said = verify(data, capsys)
    assert (status, said["good"], said["findings"]) == (1, False, [])
    lines: list[str] = said["index"]["wrong"]
    return lines


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in "mu"])
def test_an_entry_that_is_missing_is_named(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    data = Path(shutil.copytree(plain, tmp_path / "data"))
    key, _ = entries(data)[kind][-1]
    lines = planted(data, capsys, key, None)
    if kind == "e":  # what leads there, of a conflict that was kept, leads nowhere
        assert any("its mark says" in line for line in lines)
        assert sum("nothing in the log explains it" in line for line in lines) == 4
        return
    name = {
        "n": "the last revision of stream",
        "t": "is missing in the Merkle tree",
        **dict.fromkeys("qcsx", "is missing"),
    }.get(kind, f"with key {key.hex()} is missing")
    assert len(lines) == 1
    assert name in lines[0]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in "my"])
def test_an_entry_that_is_wrong_is_named(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    data = Path(shutil.copytree(plain, tmp_path / "data"))
    rows = entries(data)
    key, value = (b"u", bytes(8)) if kind == "u" else rows[kind][-1]
    if kind in "uz":
        value = (1 << 40).to_bytes(8, "big")
    elif kind in "cs":
        value = rows["e"][0][0] if rows["e"][0][0] != value else rows["e"][1][0]
    elif kind == "d":
        value = value[:-1]
    else:
        value = value[:-1] + bytes([value[-1] ^ 1]) if value else b"x"
    lines = planted(data, capsys, key, value)
    said = {
        "c": "nothing in the log explains it",
        "d": f"with key {key.hex()} can't be read",
        "e": "is not the one that the index means",
        "n": "the last revision of stream",
        "q": "its place or its hash in its log is wrong",
        "s": "its place in its stream is wrong",
        "t": "is wrong in the Merkle tree",
        "w": "the running hash of shard",
        "x": "its entry as a conflict is wrong",
    }.get(kind, f"with key {key.hex()} is behind the end of the log")
    assert any(said in line for line in lines)
    if kind != "e":  # by which all others are found
        assert len(lines) == 1, "it says no more than what is wrong"


@pytest.mark.parametrize("what", ["short", "negative"])
def test_a_place_that_is_none_is_named_with_what_leads_there(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    data = Path(shutil.copytree(plain, tmp_path / "data"))
    key, value = entries(data)["e"][-1]
    odd = keys.place_value(*keys.place(value)._replace(first_revision=-1))
    lines = planted(data, capsys, key, value[:-1] if what == "short" else odd)
    assert f"the place in the one order with key {key.hex()} is no place" in lines
    assert sum("nothing in the log explains it" in line for line in lines) >= 1


def test_a_log_that_ends_before_what_the_index_knows_has_lost_its_end(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(plain, tmp_path / "data"))
    end = first(data).stat().st_size
    index = RocksIndex(data / "index")
    index.write([(keys.SYNCED, keys.number_value(end + 100))])
    index.close()
    status, said = verify(data, capsys)
    (finding,) = said["findings"]
    assert (status, finding["position"], finding["length"]) == (1, end, 100)
    assert "lost its end" in finding["what"]
    assert said["index"]["wrong"] == [], "nobody is told to delete what knows it"


def test_what_had_been_on_disk_is_no_torn_tail_and_is_not_cut(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(plain, tmp_path / "data"))
    path = first(data)
    whole = path.read_bytes()
    index = RocksIndex(data / "index")
    index.write([(keys.SYNCED, keys.number_value(len(whole)))])
    index.close()
    path.write_bytes(whole[:-5])
    for options in ((), ("--repair",)):
        status, said = verify(data, capsys, *options)
        (finding,) = said["findings"]
        assert (status, finding["repair"], finding["repaired"]) == (1, "", False)
        assert "lost its end" in finding["what"]
        assert path.read_bytes() == whole[:-5]


def test_nobody_is_told_to_delete_the_index_that_knows_of_a_lost_end(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(plain, tmp_path / "data"))
    asyncio.run(start_once_more(data))  # its last record is a state: all commits are before it
    path = first(data)
    whole = path.read_bytes()
    end = keys.number_value(len(whole))
    index = RocksIndex(data / "index")
    index.write([(key, end) for key in (keys.SYNCED, keys.REPLAY_FROM, keys.SCRUBBED)])
    index.close()
    path.write_bytes(whole[:-5])
    status, said = verify(data, capsys)
    (finding,) = said["findings"]
    assert (status, said["index"]["wrong"]) == (1, [])
    assert "lost its end" in finding["what"]
    index = RocksIndex(data / "index")
    index.write([(b"?", b"")])
    index.close()
    assert run(["verify", str(data)]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "nothing in the log explains it" in out
    assert "Keep the folder `index`" in out
    assert "delete" not in out


def beside(kind: str, rows: dict[str, list[tuple[bytes, bytes]]]) -> list[tuple[bytes, bytes]]:
    """Entries of a kind that no commit in the log explains."""
    key, value = rows[kind][-1] if rows[kind] else (kind.encode(), bytes(8))
    if kind in "dmuyz":
        return [(key + b"x", value)]
    if kind == "n":
        return [(b"nnone", value), (b"n\xff\xfe", value)]
    if kind == "t":
        shard, origin, level, _ = keys.node_of(key) or (0, 0, 0, 0)
        return [
            (keys.tree_key(shard, origin, level, 7), value),
            (keys.tree_key(shard, origin, level + 3, 0), value),
            (keys.tree_key(shard, origin, 0, 0), value),
            (keys.tree_key(shard, origin + 1, level, 0), value),
            (key + b"x", value),
        ]
    if kind == "w":
        return [(keys.mark_key(9), value), (key + b"x", value)]
    return [(key[:-1] + bytes([key[-1] ^ 0x40]), value)]


@pytest.mark.parametrize("kind", KINDS + "a")
def test_an_entry_that_nothing_explains_is_named(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    rows = entries(Path(shutil.copytree(plain, tmp_path / "rows"))) | {"a": []}
    for number, (key, value) in enumerate(beside(kind, rows)):
        data = Path(shutil.copytree(plain, tmp_path / f"data{number}"))
        line, *more = planted(data, capsys, key, value)
        if kind == "e":  # its shard has one more than there are
            assert "is not the one that the index means" in line
            assert all("its mark says" in other for other in more)
        else:
            assert line.endswith(f"with key {key.hex()}: nothing in the log explains it")
            assert not more


@pytest.mark.parametrize("what", ["a commit is an array", "a record of frame version 2"])
def test_a_record_that_is_none_of_ours_hides_nothing_else(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    data = Path(shutil.copytree(plain, tmp_path / "data"))
    key, value = entries(data)["t"][-1]
    shard, origin, *_ = keys.node_of(key) or (0, 0)
    index = RocksIndex(data / "index")
    index.write([(keys.tree_key(shard, origin, 1, 7), value), (b"?", b"")])
    index.close()
    path = first(data)
    disk, end = FileDisk(data), path.stat().st_size
    files = LogFiles(disk)
    assert all(isinstance(one, Found) for one in files.scan(0))
    disk.close()
    front, _ = frame(COMMIT, b"junk", end, end, files.link or 0)
    if "version" in what:
        front = bytes([front[0], 2]) + front[2:4] + bytes(len(front) - 4)
    path.write_bytes(path.read_bytes() + front + b"junk")
    status, said = verify(data, capsys)
    (finding,) = said["findings"]
    assert (status, finding["position"]) == (1, end)
    assert what in finding["what"]
    assert said["index"]["wrong"] == ["the entry with key 3f: nothing in the log explains it"]


def test_without_an_index_the_log_alone_is_judged(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(data / "index")
    status, said = verify(data, capsys)
    assert (status, said["index"]["settled_commits"]) == (0, None)


def test_people_get_a_table_and_sentences(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(data)]) == 0
    out = " ".join(capsys.readouterr().out.split())  # lines end where the terminal does
    assert "all is as it was written" in out
    assert f"{COMMITS} settled commits, every entry and tree agrees with the log" in out
    path = first(data)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)
    assert run(["verify", str(data)]) == 1
    out = capsys.readouterr().out
    assert "1 wrong" in out
    assert f"log/{path.name}, offset" in out
    assert "started beside its peers, the node heals them" in " ".join(out.split())


def test_wrong_use_is_said(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(tmp_path)]) == 1
    assert "no data directory" in capsys.readouterr().err
    disk = FileDisk(data)
    assert run(["verify", str(data)]) == 1
    assert "in use by another process" in capsys.readouterr().err
    disk.close()
    assert run(["verify"]) == 2


def test_an_index_that_was_deleted_and_made_anew_is_good(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(data / "index")
    asyncio.run(start_once_more(data))
    status, said = verify(data, capsys)
    assert (status, said["findings"], said["index"]["wrong"]) == (0, [], [])
    assert said["index"]["settled_commits"] == COMMITS
