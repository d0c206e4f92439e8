"""A damaged record that nobody can heal is answered with 503 and its range; all else is served."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from anabranch.node import repair
from anabranch.storage.commit import shard_of
from anabranch.storage.record import HEADER_BYTES

from .served import Served, served

JSON, NDJSON = "application/json", "application/x-ndjson"
MEDIA = (JSON, NDJSON, "application/msgpack", "application/cloudevents-batch+json")


async def damage(one: Served, directory: Path, stream: str, seq: int) -> dict[str, int]:
    """Flip a bit of a settled commit on the disk; the range that is damaged then."""
    shard = shard_of(stream, one.node.config.shards)
    place = one.node.history.place_in_log(shard, one.node.store.origin, seq)
    assert place is not None
    position, length = place
    segment = one.node.log.files.holding(position)
    assert segment is not None
    with (directory / segment.name).open("r+b") as file:
        file.seek(position - segment.base + HEADER_BYTES + length - 1)
        (last,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([last ^ 1]))
    return {"position": position, "bytes": HEADER_BYTES + length}


def refused(answer: tuple[int, Any], damaged: dict[str, int]) -> None:
    status, problem = answer
    assert (status, problem["status"], problem["title"]) == (503, 503, "DamagedLog")
    assert problem["damaged_range"] == damaged
    assert "not what was written" in problem["detail"]


async def test_what_can_not_be_healed_is_answered_with_503_and_its_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "HEAL_WAIT_SECONDS", 0.0)  # there is no peer to wait for
    async with served(tmp_path) as one:
        for number in range(3):
            event = {"type": "t", "data": number}
            assert (await one.append("bad", event, "?ack=settled"))[0] == 201
        assert (await one.append("good", {"type": "t"}, "?ack=settled"))[0] == 201
        damaged = await damage(one, tmp_path, "bad", 2)
        for media in MEDIA:
            headers = {"Accept": media}
            refused(await one.read("bad", headers=headers), damaged)
            refused(await one.ask("GET", "/v1/events", headers=headers), damaged)
        refused(await one.read("bad", "?from=1&limit=1&read=settled"), damaged)
        async with one.session.get(f"{one.url}/v1/streams/bad/events") as response:
            assert response.content_type == "application/problem+json"
            assert response.headers["Retry-After"] == "1"
        for number in (0, 2):
            status, page = await one.read("bad", f"?from={number}&limit=1")
            assert (status, [got["data"] for got in page["events"]]) == (200, [number])
        assert (await one.read("good"))[0] == 200
        assert (await one.append("bad", {"type": "t"}, "?ack=settled"))[0] == 201
        _, said = await one.ask("GET", "/v1/status")
        assert said["repair"]["damaged_ranges"] == [damaged]
        assert said["repair"]["missing_commits"] == 1


async def test_damage_that_a_start_finds_without_an_index_is_answered_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "HEAL_WAIT_SECONDS", 0.0)
    async with served(tmp_path) as one:
        for number in range(3):
            event = {"type": "t", "data": number}
            assert (await one.append("bad", event, "?ack=settled"))[0] == 201
        damaged = await damage(one, tmp_path, "bad", 2)
    shutil.rmtree(tmp_path / "index")
    async with served(tmp_path) as one:
        for path in ("/v1/streams/bad/events", "/v1/events", "/v1/streams/bad", "/v1/streams"):
            status, problem = await one.ask("GET", path)
            assert (status, problem["damaged_range"]) == (503, damaged)
            assert "lost commits of shard" in problem["detail"]
