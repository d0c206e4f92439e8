"""Real processes: killed, wiped, damaged, misconfigured."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import aiohttp
import pytest

from .processes import Cluster, command, free_ports

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    running = Cluster(tmp_path)
    yield running
    await running.close()


async def test_kill_9_loses_nothing_that_was_acknowledged(cluster: Cluster) -> None:
    await cluster.start()
    acknowledged: set[str] = set()
    generator = Random(1)
    writing = True

    async def client(name: str) -> None:
        number = 0
        while writing:
            number += 1
            key = f"{name}-{number}"
            node = cluster.names[number % 3]
            try:
                status, _ = await cluster.append(node, f"s{number % 7}", key, key=key)
            except aiohttp.ClientError:
                continue  # nobody said that this one was written
            if status == 201:
                acknowledged.add(key)

    clients = [asyncio.create_task(client(f"c{at}")) for at in range(6)]
    for _ in range(4):
        before = len(acknowledged)

        async def some_more(before: int = before) -> bool:
            return len(acknowledged) > before + 150

        await cluster.until(some_more, "clients get on")
        victim = generator.choice(cluster.names)
        await cluster.kill(victim)
        await cluster.start(victim)
    writing = False
    await asyncio.gather(*clients)
    await cluster.until(cluster.settled, "all is settled and the same")
    histories = [await cluster.all_events(node) for node in cluster.names]
    assert histories[0] == histories[1] == histories[2]
    shown = [event["data"] for event in histories[0]]
    assert len(set(shown)) == len(shown), "each is shown once"
    assert acknowledged <= set(shown), "and none is missing"
    assert len(acknowledged) > 600


async def test_of_two_that_expect_the_same_one_wins_everywhere(cluster: Cluster) -> None:
    await cluster.start()
    answers = await asyncio.gather(
        *(
            cluster.append(node, "s", node, "?expected=none&ack=settled&timeout=20")
            for node in cluster.names
        )
    )
    assert sorted(status for status, _ in answers) == [201, 409, 409]
    winners = set()
    for node in cluster.names:
        await cluster.until(cluster.settled, "all is settled")
        _, page = await cluster.get(node, "/v1/streams/s/events?read=settled")
        winners.add(tuple(event["data"] for event in page["events"]))
    assert len(winners) == 1
    assert len(winners.pop()) == 1


async def test_a_wiped_node_comes_back_as_a_new_member(cluster: Cluster) -> None:
    await cluster.start()
    for number in range(20):
        await cluster.append(cluster.names[number % 3], f"s{number % 4}", number)
    await cluster.until(cluster.settled, "all is settled")
    old = (await cluster.get("c", "/v1/status"))[1]["origin"]
    before = await cluster.all_events("a")
    await cluster.kill("c")
    shutil.rmtree(cluster.data("c"))
    assert (await cluster.append("a", "s", "meanwhile"))[0] == 201
    await cluster.start("c")
    assert (await cluster.append("c", "s", "at once"))[0] == 201, "it takes appends from the start"

    async def is_a_member() -> bool:
        _, said = await cluster.get("c", "/v1/status")
        return bool(said["state"] == "ready" and said["epoch"] > 1)

    await cluster.until(is_a_member, "the wiped node is a member again")
    await cluster.until(cluster.settled, "all is settled and the same")
    histories = [await cluster.all_events(node) for node in cluster.names]
    assert histories[0] == histories[1] == histories[2]
    shown = [event["data"] for event in histories[0]]
    assert histories[0][: len(before)] == before, "what was settled is as it was"
    assert sorted(map(str, shown)) == sorted(map(str, [*range(20), "meanwhile", "at once"]))
    for node in cluster.names:
        _, said = await cluster.get(node, "/v1/members")
        assert old in [one["origin"] for one in said["removed"]]
        (row,) = [one for one in said["members"] if one["name"] == "c"]
        assert row["origin"] != old
    assert (await cluster.get("c", "/readyz"))[0] == 200


async def test_a_new_node_joins_and_another_one_leaves(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.append("a", "s", 1)
    (port,) = free_ports(1)
    cluster.urls["d"] = f"http://127.0.0.1:{port}"
    file = cluster.directory / "d.toml"
    rows = [("d", "d"), ("a", "a")]
    file.write_text(
        '[cluster]\nname = "test"\nshards = 8\n'
        + "".join(
            f'[[member]]\nname = "{name}"\nsite = "{site}"\nurl = "{cluster.urls[name]}"\n'
            for name, site in rows
        )
    )
    cluster.launch("d", file)
    url = cluster.urls["a"]

    async def waits() -> bool:
        _, said = await cluster.get("a", "/v1/members")
        return [one["name"] for one in said["waiting"]] == ["d"]

    await cluster.until(waits, "the new node waits")
    assert (await cluster.get("d", "/readyz"))[1] == {"status": "joining"}
    status, out = await command("members", "--url", url)
    assert status == 0 and "`anabranch members join d`" in out
    status, out = await command("members", "join", "d", "--url", url)
    assert (status, "epoch 2, members a, b, c, d" in out) == (0, True), out
    status, out = await command("members", "leave", "c", "--url", url)
    assert (status, "Nothing was changed" in out or "Aborted" in out) == (1, True), out
    status, out = await command("members", "leave", "c", "--url", url, "--yes")
    assert (status, "epoch 3, members a, b, d" in out) == (0, True), out
    assert (await cluster.get("c", "/readyz"))[0] == 503
    await cluster.stop("c")
    await cluster.append("d", "s", 2)
    await cluster.until(cluster.settled, "all is settled and the same")
    assert [event["data"] for event in await cluster.all_events("b")] == [1, 2]


async def test_damage_in_the_middle_is_healed_from_the_others(cluster: Cluster) -> None:
    await cluster.start()
    for number in range(50):
        await cluster.append("a", "s", number)
    await cluster.until(cluster.settled, "all is settled")
    _, before = await cluster.get("b", "/v1/digest")
    await cluster.kill("a")
    (segment,) = (cluster.data("a") / "log").iterdir()
    raw = bytearray(segment.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    segment.write_bytes(raw)
    shutil.rmtree(cluster.data("a") / "index")
    await cluster.start("a")
    await cluster.until(cluster.settled, "it is whole again")
    _, after = await cluster.get("a", "/v1/digest")
    assert after["settled"] == before["settled"]
    _, status = await cluster.get("a", "/v1/status")
    assert status["repair"]["healed_commits"] > 0
    assert status["repair"]["missing_commits"] == 0
    assert status["needs"] == []


async def test_a_node_that_alone_had_what_is_damaged_makes_no_commits(cluster: Cluster) -> None:
    await cluster.start("a")
    for number in range(50):
        await cluster.append("a", "s", number)
    await cluster.kill("a")
    (segment,) = (cluster.data("a") / "log").iterdir()
    raw = bytearray(segment.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    segment.write_bytes(raw)
    await cluster.start("a")
    _, said = await cluster.get("a", "/v1/status")
    assert said["state"] == "healing"
    refused, problem = await cluster.append("a", "s", 50)
    assert refused == 503
    assert "append at another node" in problem["detail"]

    async def kept() -> bool:
        return any(
            raw[len(raw) // 2 - 8 : len(raw) // 2 + 8] in file.read_bytes()
            for file in cluster.data("a").glob("quarantine/*.bad")
        )

    await cluster.until(kept, "what is damaged is kept when its segment is sealed")


async def test_a_log_that_lost_its_end_is_not_taken_for_a_short_one(cluster: Cluster) -> None:
    await cluster.start()
    for number in range(30):
        await cluster.append("a", "s", number)
    await cluster.until(cluster.settled, "all is settled")
    assert await cluster.stop("a") == 0
    (segment,) = (cluster.data("a") / "log").iterdir()
    raw = segment.read_bytes()
    for kept in (raw[: len(raw) // 2], b""):
        segment.write_bytes(kept)
        cluster.launch("a")
        assert await cluster.ended("a") == 1
        assert "has lost its end" in cluster.log("a").splitlines()[-1]
        assert segment.read_bytes() == kept, "nothing was changed"
    segment.write_bytes(raw)
    await cluster.start("a")
    await cluster.until(cluster.settled, "with its end it is well again")


async def test_a_torn_tail_is_cut(cluster: Cluster) -> None:
    await cluster.start()
    for number in range(20):
        await cluster.append("a", "s", number)
    await cluster.until(cluster.settled, "all is settled")
    await cluster.kill("a")
    (segment,) = (cluster.data("a") / "log").iterdir()
    with segment.open("ab") as file:
        file.write(b"\xab\x01\x01\x00half a record")
    await cluster.start("a")
    assert "cut short" in cluster.log("a")
    await cluster.append("a", "s", 20)
    await cluster.until(cluster.settled, "all is settled")
    assert [event["data"] for event in await cluster.all_events("b")] == [*range(21)]


async def test_a_lost_index_is_rebuilt(cluster: Cluster) -> None:
    await cluster.start()
    for number in range(30):
        await cluster.append("a", f"s{number % 4}", number)
    await cluster.until(cluster.settled, "all is settled")
    assert await cluster.stop("b") == 0
    shutil.rmtree(cluster.data("b") / "index")
    await cluster.start("b")
    await cluster.until(cluster.settled, "all is settled again")
    assert await cluster.all_events("a") == await cluster.all_events("b")


async def test_clusters_that_do_not_belong_together_refuse_each_other(cluster: Cluster) -> None:
    await cluster.start("a")
    other = cluster.directory / "other.toml"
    cluster.write_config(other, "another", 8)
    cluster.launch("b", other)
    more = cluster.directory / "more.toml"
    cluster.write_config(more, "test", 16)
    cluster.launch("c", more)

    async def refused() -> bool:
        _, status = await cluster.get("a", "/v1/status")
        return all(peer["link"] == "refused" for peer in status["peers"])

    await cluster.until(refused, "both are refused")
    _, status = await cluster.get("a", "/v1/status")
    errors = [peer["error"] for peer in status["peers"]]
    assert "to 'another'" in errors[0]
    assert "c has 16" in errors[1]
    assert all(member["origin"] is None for member in status["members"] if not member["self"])


async def test_a_directory_belongs_to_one_process_and_one_node(cluster: Cluster) -> None:
    await cluster.start("a")
    first = cluster.processes.pop("a")
    try:
        cluster.launch("a")
        assert await cluster.ended("a") == 1
        assert "in use by another process" in cluster.log("a")
    finally:
        cluster.processes["a"] = first
    await cluster.stop("a")
    shutil.copytree(cluster.data("a"), cluster.data("b"))
    cluster.launch("b")
    assert await cluster.ended("b") == 2
    assert "belongs to node 'a'" in cluster.log("b")


async def test_a_wrong_file_is_said_in_a_sentence(cluster: Cluster) -> None:
    bad = cluster.directory / "bad.toml"
    for text, said in (
        ("[cluster", "not TOML"),
        ("", "no [cluster] table"),
        ('[cluster]\nname = "x"', "no [[member]]"),
        ('[cluster]\nname = "x"\nshards = 0', "shards is 0"),
        ('[cluster]\nname = "x"\nevict_after = 1', "evict_after is 1; use seconds"),
        ('[cluster]\nname = "x"\nconfirm = "some"', "confirm is 'some'"),
        ('[cluster]\nname = "x"\n[[member]]\nname = "a"\nsite = "a"\nurl = "ftp://x"', "url of a"),
    ):
        bad.write_text(text)
        cluster.launch("a", bad)
        assert await cluster.ended("a") == 2
        last = cluster.log("a").splitlines()[-1]
        assert said in last.replace('\\"', '"')
        assert "Traceback" not in cluster.log("a")
    cluster.launch("nobody")
    assert await cluster.ended("nobody") == 2
    assert "no [[member]] is named 'nobody'" in cluster.log("nobody")
