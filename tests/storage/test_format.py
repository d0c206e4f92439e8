"""docs/format.md, its vectors, and a reader that knows nothing but the page, all agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anabranch.gossip.epoch import Epoch, Member, Removed, read_epoch
from anabranch.gossip.epochs import Epochs
from anabranch.simulations.world.loop import run
from anabranch.storage.commit import (
    EXPECT_ANY,
    KEEP,
    Draft,
    commit_hash,
    keyed_commit_id,
    listed_commit_id,
    pack,
    read_payloads,
    receive,
    shard_of,
    stamped,
)
from anabranch.storage.log import Log
from anabranch.storage.record import COMMIT, STATE, frame
from anabranch.storage.sealed import directory_of, load
from anabranch.storage.segment import sealed_name, segments_of
from anabranch.storage.stamp import COUNTER_BITS, milliseconds, stamp_of
from anabranch.storage.state import State, read_state, state_body

from . import reader
from .logs import disk_with, files_of, quiet_disk
from .sealing import seal

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("vectors.json").read_text("utf-8"))


def word(text: str) -> int:
    assert len(text) == 16
    return int(text, 16)


# -- vectors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["shards"], ids=lambda v: v["stream"])
def test_shards(vector):
    assert shard_of(vector["stream"], vector["shards"]) == vector["shard"]
    assert reader.shard(vector["stream"], vector["shards"]) == vector["shard"]


@pytest.mark.parametrize("vector", VECTORS["commit_ids"])
def test_commit_ids(vector):
    stream = vector["stream"]
    if "key" in vector:
        made = keyed_commit_id(stream, vector["key"])
        read = reader.commit_id(stream, b"key", vector["key"].encode())
    else:
        made = listed_commit_id(stream, bytes.fromhex(vector["ids"]))
        read = reader.commit_id(stream, b"ids", bytes.fromhex(vector["ids"]))
    assert made.hex() == read.hex() == vector["id"]


@pytest.mark.parametrize("vector", VECTORS["stamps"])
def test_stamps(vector):
    stamp = stamp_of(vector["milliseconds"]) + vector["counter"]
    assert stamp == word(vector["stamp"])
    assert (milliseconds(stamp), stamp & (1 << COUNTER_BITS) - 1) == (
        vector["milliseconds"],
        vector["counter"],
    )


@pytest.mark.parametrize("vector", VECTORS["commits"], ids=lambda v: v["what"])
def test_commits(vector):
    payloads = [bytes.fromhex(payload) for payload in vector["payloads"]]
    draft = Draft(
        vector["stream"],
        vector["types"],
        payloads,
        commit_id=bytes.fromhex(vector["id"]),
        ids=bytes.fromhex(vector["ids"]),
        cuts=vector["cuts"],
        expected=vector["expected"],
        policy=vector["policy"],
    )
    header, body = stamped(
        draft,
        vector["shard"],
        word(vector["origin"]),
        word(vector["sequence"]),
        word(vector["stamp"]),
    )
    assert header.hex() == vector["header"]
    assert body.hex() == vector["bytes"]
    assert commit_hash(header).hex() == vector["hash"]
    assert receive(body, vector["shards"]).hash.hex() == vector["hash"]


@pytest.mark.parametrize("vector", VECTORS["commits"], ids=lambda v: v["what"])
def test_commits_for_the_independent_reader(vector):
    read = reader.commit(bytes.fromhex(vector["bytes"]))
    assert read.hash.hex() == vector["hash"]
    assert (read.shard, read.origin, read.sequence, read.stamp) == (
        vector["shard"],
        word(vector["origin"]),
        word(vector["sequence"]),
        word(vector["stamp"]),
    )
    assert (read.stream, read.id.hex()) == (vector["stream"], vector["id"])
    assert (read.expected, read.policy) == (vector["expected"], vector["policy"])
    assert len(read.events) == len(vector["payloads"])


def test_attributes_for_the_independent_reader():
    by_what = {vector["what"]: vector for vector in VECTORS["commits"]}
    vector = by_what["types, ids and attributes"]
    first, second = reader.commit(bytes.fromhex(vector["bytes"])).events
    assert (first.type, first.id, first.data) == ("a", None, b"\x00\xff")
    assert list(first.attributes) == ["content_type", "time", "metadata", "tags"]
    assert (second.type, second.id) == ("b", bytes(range(16)))
    assert (second.data, second.attributes) == (b'"text"', {})


def state_of(vector: dict[str, Any]) -> State:
    return State(
        word(vector["origin"]),
        word(vector["boot"]),
        vector["shards"],
        vector["cluster"],
        vector["node"],
        word(vector["ceiling"]),
        [(name, site, priority, word(one)) for name, site, priority, one in vector["members"]],
        {shard: word(watermark) for shard, watermark in vector["watermarks"]},
        [(shard, word(origin), word(count)) for shard, origin, count in vector["frontier"]],
        [word(origin) for origin in vector["aside"]],
        [(word(one), word(boot), *rest) for one, boot, *rest in vector["seen"]],
        vector["left"],
        bytes.fromhex(vector["epochs"]),
        [(shard, word(origin), word(count)) for shard, origin, count in vector["cut"]],
        [word(boot) for boot in vector["boots"]],
        [(shard, word(origin), parted) for shard, origin, parted in vector["disputes"]],
    )


@pytest.mark.parametrize("vector", VECTORS["states"], ids=lambda v: v["what"])
def test_states(vector):
    state, body = state_of(vector), bytes.fromhex(vector["bytes"])
    assert state_body(state) == body
    assert read_state(body) == state
    read = reader.state(body)
    assert read["members"] == [list(member) for member in state.members]
    assert read["watermarks"] == [list(pair) for pair in sorted(state.watermarks.items())]
    assert read["frontier"] == [list(count) for count in state.frontier]
    assert (read["cluster"], read["ceiling"]) == (state.cluster, state.ceiling)
    assert (read["aside"], read["left"]) == (state.aside, state.left)
    assert read["seen"] == [list(row) for row in state.seen]
    assert read["cut"] == [list(row) for row in state.cut]
    assert read["boots"] == state.boots
    assert read["disputes"] == [list(row) for row in state.disputes]


def epoch_of(vector: dict[str, Any]) -> Epoch:
    def member(row: list[Any]) -> Member:
        name, site, priority, origin, floor, url = row
        return Member(name, site, priority, word(origin), word(floor), url)

    return Epoch(
        vector["number"],
        tuple(map(member, vector["members"])),
        tuple(
            Removed(member(row), tuple((shard, seq) for shard, seq in finals))
            for row, finals in vector["removed"]
        ),
        tuple((shard, word(origin), seq) for shard, origin, seq in vector["base"]),
        word(vector["floor"]),
        vector["forced"],
        bytes.fromhex(vector["lineage"]),
    )


@pytest.mark.parametrize("vector", VECTORS["epochs"], ids=lambda v: v["what"])
def test_epochs(vector):
    epoch, data = epoch_of(vector), bytes.fromhex(vector["bytes"])
    assert epoch.packed == data
    assert read_epoch(data) == epoch
    assert epoch.mark == word(vector["mark"])
    read = reader.epoch(data)
    assert (read["number"], read["mark"], read["forced"]) == (
        epoch.number,
        epoch.mark,
        epoch.forced,
    )
    assert read["members"] == [
        [one.name, one.site, one.priority, one.origin, one.floor, one.url] for one in epoch.members
    ]
    assert [row[3] for row, _ in read["removed"]] == list(epoch.finals)
    assert [dict(finals) for _, finals in read["removed"]] == list(epoch.finals.values())
    assert read["base"] == [list(row) for row in epoch.base]
    assert (read["floor"], read["lineage"]) == (epoch.floor, epoch.lineage)


def test_what_the_epochs_keep():
    """A member that has accepted, for the whole and for the independent reader."""
    kept = bytes.fromhex(VECTORS["states"][1]["epochs"])
    epochs = Epochs.restored(7, kept)
    first, second = (epoch_of(vector) for vector in VECTORS["epochs"])
    assert second.extends(first)
    assert (epochs.epoch, epochs.frozen, epochs.state) == (first, True, kept)
    read = reader.state(bytes.fromhex(VECTORS["states"][1]["bytes"]))["epochs"]
    assert read["epoch"]["mark"] == first.mark
    assert read["ballot"] == [3, 7]
    assert (read["accepted"][0], read["accepted"][1]["mark"]) == ([2, 9], second.mark)


def test_frames():
    position, link = 0, 0
    for vector in VECTORS["log"]:
        body = bytes.fromhex(vector["body"])
        assert vector["position"] == position
        header, link = frame(vector["kind"], body, position, vector["synced"], link)
        assert (header + body).hex() == vector["frame"]
        position += len(header) + len(body)


def test_a_log_of_the_vectors_for_the_independent_reader():
    data = bytes.fromhex("".join(vector["frame"] for vector in VECTORS["log"]))
    read = reader.records({0: data})
    assert [(one.kind, one.body.hex(), one.position, one.group) for one in read] == [
        (vector["kind"], vector["body"], vector["position"], vector["synced"])
        for vector in VECTORS["log"]
    ]


def test_a_sealed_segment_of_the_vectors():
    data = bytes.fromhex(VECTORS["sealed"])
    plain = bytes.fromhex("".join(vector["frame"] for vector in VECTORS["log"]))
    assert reader.unsealed(data) == plain
    disk = disk_with({sealed_name(0): data})
    (segment,) = segments_of(disk)
    directory = directory_of(disk, segment.name, 0, segment.end)
    assert len(directory.places) > 1
    blocks = [load(disk, segment.name, place) for place in directory.places]
    assert b"".join(block.frames() for block in blocks) == plain


# -- a log of several segments -----------------------------------------------------------------


def draft_of(number: int) -> Draft:
    datas = [b'{"n":%d}' % number, b"\x00" * number][: 1 + number % 2]
    attributes = [b"", pack({"content_type": "a/b", "tags": ["x"]})][: 1 + number % 2]
    return Draft(
        f"stream-{number % 3}",
        ["a", "b"][: 1 + number % 2],
        [data + rest for data, rest in zip(datas, attributes, strict=True)],
        commit_id=bytes([number]) * 16,
        cuts=[len(data) for data in datas],
        expected=EXPECT_ANY if number % 5 else number,
        policy=KEEP,
    )


def test_the_independent_reader_reads_what_the_log_wrote():
    state = State(7, 8, 4, "c", "n", 9, [("n", "s", 0, 7)], {1: 5})
    bodies = []
    for number in range(40):
        draft = draft_of(number)
        shard = shard_of(draft.stream, 4)
        bodies.append(stamped(draft, shard, 7, number + 1, stamp_of(number) + 1)[1])
    disk = quiet_disk()

    async def write() -> list[int]:
        log = Log(
            disk,
            opening_state=lambda: state_body(state),
            on_durable=lambda _: None,
            on_failure=lambda error: pytest.fail(str(error)),
            segment_bytes=1000,
        )
        list(log.replay(0))
        log.start()
        positions = []
        for number, body in enumerate(bodies):
            positions.append(log.append(COMMIT, body))
            if number % 4 == 3:
                await log.wait(positions[-1])
        await log.close()
        return positions

    positions = run(write())
    segments = {int(name[4:20], 16): data for name, data in files_of(disk).items()}
    assert len(segments) > 3
    run(seal(disk))
    files = {name: data for name, data in files_of(disk).items() if name.endswith(".sealed")}
    assert len(files) == len(segments) - 1
    unsealed = {int(name[4:20], 16): reader.unsealed(data) for name, data in files.items()}
    assert segments == segments | unsealed
    read = reader.records(segments)
    assert [one.kind for one in read if one.position in segments] == [STATE] * len(segments)
    assert all(reader.state(one.body)["origin"] == 7 for one in read if one.kind == STATE)
    commits = [one for one in read if one.kind == COMMIT]
    assert [(one.position, one.body) for one in commits] == list(
        zip(positions, bodies, strict=True)
    )
    for one in commits:
        theirs = reader.commit(one.body)
        ours, payloads = read_payloads(one.body)
        assert theirs.hash == ours.hash
        assert (theirs.stream, theirs.sequence, theirs.stamp) == (ours.stream, ours.seq, ours.hlc)
        cuts = ours.cuts or tuple(map(len, payloads))
        assert [event.data for event in theirs.events] == [
            payload[:cut] for payload, cut in zip(payloads, cuts, strict=True)
        ]


# -- versions ------------------------------------------------------------------------------------


def test_the_page_names_the_versions_in_use():
    page = Path(__file__).parents[2].joinpath("docs", "format.md").read_text("utf-8")
    assert "version 1" in page.splitlines()[0]
    assert "vectors.json" in page
    assert "reader.py" in page
