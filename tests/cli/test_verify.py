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
from anabranch.storage.commit import Draft
from anabranch.storage.disk import FileDisk
from anabranch.storage.index_rocks import RocksIndex

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


async def _live(directory: Path, segment_bytes: int) -> None:
    config = parse(CONFIG)
    tuning = type(config.tuning)(segment_bytes=segment_bytes)
    disk = FileDisk(directory)
    node = Node(
        type(config)(config.name, config.shards, config.members, tuning),
        "a",
        disk=disk,
        index=RocksIndex(directory / "index"),
        clock=SystemClock(),
        random=SystemRandom(),
        network=WebSocketNetwork(),
    )
    await node.start()
    for number in range(COMMITS):
        draft = Draft(
            f"s{number % 5}", ["t"], [b"%d" % number * 20], commit_id=number.to_bytes(16, "big")
        )
        await node.append(draft, ack="settled", timeout=5)
    while node.log.sealed < node.log.segments - 1:  # noqa: ASYNC110 - sealing takes its time
        await asyncio.sleep(0)
    await node.stop()


@pytest.fixture(scope="module", params=["plain", "sealed"])
def whole(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "data"
    asyncio.run(_live(directory, 1 << 30 if request.param == "plain" else 4000))
    return directory


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "data"))


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


def test_without_an_index_the_log_alone_is_judged(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(data / "index")
    status, said = verify(data, capsys)
    assert (status, said["index"]["settled_commits"]) == (0, None)


def test_people_get_a_table_and_sentences(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(data)]) == 0
    out = capsys.readouterr().out
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
