"""`compare` asks real nodes on loopback that were made to disagree: it shows where they part."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from anabranch.gossip.members import Member
from anabranch.node.config import ClusterConfig, Tuning
from anabranch.node.fold import KEPT, REJECTED, Held
from anabranch.storage import keys
from anabranch.storage.commit import keyed_commit_id, shard_of
from anabranch.tests.node.processes import command, free_ports
from anabranch.tests.node.served import Served, served

SHARDS = 8
SHARD = shard_of("s", SHARDS)
LATER = Tuning(compare_seconds=3600.0)  # what a test spoils is not mended meanwhile
DEADLINE_SECONDS = 20.0


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[list[Served]]:
    ports = dict(zip(("ny1", "lon1", "tok1"), free_ports(3), strict=True))
    members = [
        Member(name, name[:-1], priority, f"http://127.0.0.1:{port}")
        for priority, (name, port) in enumerate(ports.items())
    ]
    config = ClusterConfig("test", SHARDS, tuple(members), LATER)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                served(tmp_path / name, config=config, name=name, port=port)
            )
            for name, port in ports.items()
        ]


async def until(holds: Any, what: str) -> None:
    """Ask again and again until something holds."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + DEADLINE_SECONDS, asyncio.Event()
    while not holds():
        assert loop.time() < deadline, f"{what}: not within {DEADLINE_SECONDS} s"
        with suppress(TimeoutError):
            await asyncio.wait_for(pause.wait(), 0.05)


async def write(nodes: list[Served], words: list[str], query: str = "") -> None:
    """One append a word to the stream s, at the nodes in turn; its key is the word."""
    for at, word in enumerate(words):
        how = {"headers": {"Idempotency-Key": word}}
        node = nodes[at % len(nodes)]
        status, answer = await node.append("s", {"type": "t", "data": word}, query, **how)
        assert status == 201, answer


async def write_and_settle(nodes: list[Served], count: int = 6) -> None:
    """Some commits, which all have settled."""
    await write(nodes, [f"early {number}" for number in range(count)])
    marks = [one.node.history.mark for one in nodes]
    await until(lambda: all(mark(SHARD).commits == count for mark in marks), "all is settled")


async def until_disputed(nodes: list[Served]) -> None:
    settlers = [one.node.settler for one in nodes]
    await until(lambda: all([*one.disputes] == [SHARD] for one in settlers), "all dispute it")


def forge(node: Served, word: str, outcome: int) -> None:
    """Let a node's fold judge a commit otherwise, as a bug in it would."""
    history = node.node.history
    judge = history._judge

    def forged(shard: Any, commits: list[Held]) -> None:
        judge(shard, commits)
        for held in commits:
            if held.id == keyed_commit_id("s", word):
                held.outcome = outcome

    history._judge = forged


async def compare(nodes: list[Served]) -> tuple[str, dict[str, Any]]:
    """What the command says of two nodes, to a person and to a program."""
    urls = [one.url for one in nodes]
    status, text = await command("compare", *urls)
    assert status == 1, text
    _, said = await command("compare", *urls, "--json")
    (pair,) = json.loads(said)["pairs"]
    assert pair["verdict"] == "different"
    return " ".join(text.split()), pair


async def test_nodes_that_dispute_nothing_are_equal(nodes: list[Served]) -> None:
    await write_and_settle(nodes)
    status, text = await command("compare", *(one.url for one in nodes), "--wait", "10s")
    assert (status, text.count("the same settled history")) == (0, 2), text
    assert "disputes" not in text and "differ" not in text


async def test_where_a_fold_judged_otherwise_they_part_at_an_event(nodes: list[Served]) -> None:
    await write_and_settle(nodes)
    forge(nodes[1], "the one", REJECTED)
    nodes[2].node.replication.cut(["ny1", "lon1"], 60)  # so that both commits settle at once
    await write(nodes[:1], ["the one", "the next"])
    nodes[2].node.replication.cut([], 0)
    await until_disputed(nodes)
    text, pair = await compare(nodes[:2])
    assert f"ny1 disputes shard {SHARD}: lon1 and this node have settled" in text
    assert f"lon1 disputes shard {SHARD}: " in text
    assert f"ny1 and lon1 surely differ in shard {SHARD}: as many commits are settled" in text
    assert "part at event 6: 's' revision 6 (t) against 's' revision 7 (t)" in text
    parting = pair["first_difference"]
    assert (parting["among"], parting["index"]) == ("events", 6)
    assert (parting["left"]["data"], parting["right"]["data"]) == ("the one", "the next")


async def test_where_all_events_are_the_same_the_conflict_is_named(nodes: list[Served]) -> None:
    await write_and_settle(nodes)
    forge(nodes[1], "the one", KEPT)
    await write(nodes[:1], ["the one"])
    await until_disputed(nodes)
    text, pair = await compare(nodes[:2])
    commit = keyed_commit_id("s", "the one").hex()
    assert f"ny1 and lon1 surely differ in shard {SHARD}: as many commits are settled" in text
    assert "what both show is the same: 7 events" in text
    assert f"lon1 shows 1 conflict more, from 's' commit {commit} (kept) on" in text
    assert pair["only_one_shows"]["conflicts"]["commit"] == commit
    assert "first_difference" not in pair


async def test_where_hashes_alone_differ_the_shard_is_named(nodes: list[Served]) -> None:
    await write_and_settle(nodes)
    marks = nodes[1].node.history._marks
    marks[SHARD] = marks[SHARD]._replace(running=bytes(32))
    await until_disputed(nodes)
    text, pair = await compare(nodes[:2])
    assert f"ny1 and lon1 surely differ in shard {SHARD}: as many commits are settled" in text
    assert "what both show is the same: 6 events" in text
    assert pair["shards_that_differ"] == {"in_hash": [SHARD], "in_root": []}
    assert not {"first_difference", "only_one_shows"} & {*pair}


async def test_where_another_commit_is_held_the_shard_is_named(nodes: list[Served]) -> None:
    """One node's index has another hash for a commit, so that its tree has another root."""
    await write_and_settle(nodes)
    history = nodes[1].node.history
    key, value = next(iter(history._index.scan(b"q", b"r")))
    shard, origin, seq = keys.log_of(key)
    history._index.write([(key, keys.log_value(keys.order_in(value), bytes(32)))])
    history.trees.mend((shard, origin), seq)
    text, pair = await compare(nodes[:2])
    assert f"differ in shard {shard}: they hold other commits up to the same time" in text
    assert pair["shards_that_differ"] == {"in_hash": [], "in_root": [shard]}
