"""Real processes whose data directory goes back in time: alone, and during a cut."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from .processes import Cluster, command, free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    running = Cluster(tmp_path)
    yield running
    await running.close()


async def status_of(cluster: Cluster, node: str) -> dict[str, Any]:
    """What a node says of itself."""
    said: dict[str, Any] = (await cluster.get(node, "/v1/status"))[1]
    return said


async def write(cluster: Cluster, nodes: Sequence[str], words: list[str], query: str = "") -> None:
    """One append a word, at these nodes in turn; its key is the word. All are acknowledged."""
    turns = [(nodes[at % len(nodes)], word) for at, word in enumerate(words)]
    answers = await asyncio.gather(
        *(cluster.append(at, f"s{len(word) % 5}", word, query, key=word) for at, word in turns)
    )
    assert [status for status, _ in answers] == [201] * len(words), answers


def words_of(name: str, count: int) -> list[str]:
    """Words that nothing else is called; as their lengths differ, so do their streams."""
    return [f"{name}-{'x' * (at % 5)}{at}" for at in range(count)]


async def snapshot(cluster: Cluster, node: str) -> Path:
    """A copy of a node's directory, made while it is stopped."""
    assert await cluster.stop(node) == 0
    copy = cluster.directory / "snapshot"
    shutil.copytree(cluster.data(node), copy)
    return copy


async def until_a_member(cluster: Cluster, node: str, instead_of: str) -> None:
    """Wait until a node is a member under another origin, and all know that."""

    async def is_one() -> bool:
        said = await status_of(cluster, node)
        return bool(said["state"] == "ready" and said["origin"] != instead_of)

    async def is_known() -> bool:
        origin = (await status_of(cluster, node))["origin"]
        tables = [(await cluster.get(name, "/v1/members"))[1] for name in cluster.processes]
        return all(
            instead_of in [one["origin"] for one in table["removed"]]
            and [one["origin"] for one in table["members"] if one["name"] == node] == [origin]
            for table in tables
        )

    await cluster.until(is_one, f"{node} is a member again")
    await cluster.until(is_known, "all have taken the new origin for the old one")


async def check_history(cluster: Cluster, acknowledged: list[str]) -> list[dict[str, Any]]:
    """All have one settled history, with all that was acknowledged, once each; and all is well."""
    await cluster.until(cluster.settled, "all is settled and the same")
    urls = [cluster.urls[node] for node in cluster.processes]
    exit_status, out = await command("compare", *urls, "--wait", "10s")
    assert (exit_status, out.count("the same settled history")) == (0, 2), out
    histories = [await cluster.all_events(node) for node in cluster.processes]
    assert histories[0] == histories[1] == histories[2]
    shown = Counter(event["data"] for event in histories[0])
    assert shown == Counter(acknowledged)
    for node in cluster.processes:
        said = await status_of(cluster, node)
        assert (said["state"], said["needs"], said["strays"]) == ("ready", [], 0)
        assert said["disputed_shards"] == []
    return histories[0]


async def test_a_restored_snapshot_comes_back_as_a_new_member(cluster: Cluster) -> None:
    await cluster.start()
    early, late = words_of("early", 30), words_of("late", 30)
    await write(cluster, "abc", early)
    await cluster.until(cluster.settled, "all is settled")
    copy = await snapshot(cluster, "c")
    await cluster.start("c")
    await write(cluster, "abc", late, "?ack=settled&timeout=20")
    old = (await status_of(cluster, "c"))["origin"]
    before = (await cluster.get("a", "/v1/events?read=settled&limit=1000"))[1]["events"]
    await cluster.kill("c")
    shutil.rmtree(cluster.data("c"))
    copy.rename(cluster.data("c"))

    await cluster.start("c")
    await write(cluster, "c", ["at once"])
    await write(cluster, "c", late[:6])  # asked again where they are forgotten: shown once
    await until_a_member(cluster, "c", old)
    assert "saw more of this node than its data directory has" in cluster.log("c")
    await write(cluster, "c", ["as a member"], "?ack=settled&timeout=20")
    history = await check_history(cluster, [*early, *late, "at once", "as a member"])
    assert len(before) >= len(early)
    assert history[: len(before)] == before, "what was settled is as it was"


async def test_a_directory_restored_alone_takes_appends(cluster: Cluster) -> None:
    await cluster.start()
    early, late, alone = (words_of(name, 20) for name in ("early", "late", "alone"))
    await write(cluster, "abc", early)
    copy = await snapshot(cluster, "c")
    await cluster.start("c")
    await write(cluster, "abc", late, "?ack=settled&timeout=20")
    old = (await status_of(cluster, "c"))["origin"]
    for node in cluster.names:
        await cluster.kill(node)
    shutil.rmtree(cluster.data("c"))
    copy.rename(cluster.data("c"))

    await cluster.start("c")
    await write(cluster, "c", alone)
    said = await status_of(cluster, "c")
    assert (said["state"], said["origin"]) == ("unsure", old)
    assert (await cluster.append("c", "s", "x", "?expected=5"))[0] == 409, "it looks at what it has"
    await cluster.start("a", "b")
    await until_a_member(cluster, "c", old)
    await check_history(cluster, [*early, *late, *alone])


def launch_copy(cluster: Cluster) -> None:
    """Start node c on its snapshot, as "copy", at another port: beside c, if that one runs."""
    (port,) = free_ports(1)
    cluster.urls["copy"] = f"http://127.0.0.1:{port}"
    file = cluster.directory / "copy.toml"
    file.write_text(cluster.config.read_text().replace(cluster.urls["c"], cluster.urls["copy"]))
    line = [sys.executable, "-m", "anabranch", "node", "c", "--config", str(file)]
    line += ["--data", str(cluster.directory / "snapshot")]
    with (cluster.directory / "copy.log").open("ab") as log:
        cluster.processes["copy"] = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


async def test_of_two_on_copies_of_one_directory_the_newer_goes_on(cluster: Cluster) -> None:
    await cluster.start()
    acknowledged = words_of("early", 20)
    await write(cluster, "abc", acknowledged)
    await snapshot(cluster, "c")
    await cluster.start("c")
    old = (await status_of(cluster, "c"))["origin"]
    refusals: list[str] = []

    async def is_decided() -> bool:
        """Append at both once more. The older says at last that it is none of the members."""
        word = f"{len(acknowledged)}"
        for node in ("c", "copy"):
            with suppress(aiohttp.ClientConnectorError):  # the copy is not there yet
                status, answer = await cluster.append(node, "s", f"{node}-{word}")
                if status == 201:
                    acknowledged.append(f"{node}-{word}")
                else:
                    assert (status, node) == (503, "c"), answer
                    refusals.append(answer["detail"])
        return bool(refusals) and (await status_of(cluster, "copy"))["state"] == "ready"

    launch_copy(cluster)
    await cluster.until(is_decided, "one of both goes on")
    assert "two processes run on copies of one data directory" in refusals[-1]
    said = await status_of(cluster, "c")
    assert (said["state"], said["needs"][0]) == ("stranger", refusals[-1])
    assert (await cluster.get("c", "/readyz"))[0] == 503
    await write(cluster, ["copy"], ["by the member"], "?ack=settled&timeout=20")
    assert (await cluster.append("c", "s", "refused"))[0] == 503

    assert await cluster.stop("copy") == 0
    assert await cluster.stop("c") == 0
    await cluster.start("c")
    await until_a_member(cluster, "c", old)
    await check_history(cluster, [*acknowledged, "by the member"])


# -- during a cut --------------------------------------------------------------------------------

cut_off_itself_or_another = pytest.mark.parametrize("site", ["c", "a"])


async def cut_off(cluster: Cluster, site: str) -> None:
    """`anabranch drill cut`, for longer than a test takes: it ends when `heal` says so."""
    status, out = await command("drill", "cut", site, "--for", "5m", "--url", cluster.urls["a"])
    assert (status, f"{site} is cut off" in out) == (0, True), out

    async def is_cut() -> bool:
        peers = (await status_of(cluster, site))["peers"]
        return all(peer["link"] != "connected" for peer in peers)

    await cluster.until(is_cut, f"{site} is cut off")


async def heal(cluster: Cluster) -> None:
    """`anabranch drill heal`."""
    status, out = await command("drill", "heal", "--url", cluster.urls["a"])
    assert (status, "all cuts are ended" in out) == (0, True), out


async def write_at_both_sides(
    cluster: Cluster, site: str, name: str
) -> tuple[list[str], list[str], list[str]]:
    """Write during a cut: the words at a and b, those at c, and what of these b has as well."""
    others, own = words_of(f"{name} by others", 12), words_of(f"{name} by c", 6)
    await write(cluster, "ab", others)
    await write(cluster, "c", own)
    if site == "c":
        return others, own, []

    async def has_all() -> bool:
        _, page = await cluster.get("b", "/v1/events?read=latest&limit=1000")
        return {*own} <= {event["data"] for event in page["events"]}

    await cluster.until(has_all, "b has what c took")
    return others, own, own


async def until_it_waits(cluster: Cluster, state: str) -> None:
    """Wait until c is so. It can't be let in yet: two of the three that may vote are apart."""

    async def waits() -> bool:
        return bool((await status_of(cluster, "c"))["state"] == state)

    await cluster.until(waits, f"c is {state}")


async def settled_before(cluster: Cluster, words: list[str]) -> list[dict[str, Any]]:
    """The settled history at all nodes: with these words, and no others."""
    await cluster.until(cluster.settled, "all is settled before the cut")
    history = await cluster.all_events("a")
    assert Counter(event["data"] for event in history) == Counter(words)
    return history


async def heal_and_check(
    cluster: Cluster, old: str, before: list[dict[str, Any]], acknowledged: list[str]
) -> None:
    """c is let in under another origin than `old`; nothing is lost, and nothing settled changes."""
    await heal(cluster)
    await until_a_member(cluster, "c", old)
    await write(cluster, "abc", healed := words_of("healed", 6), "?ack=settled&timeout=20")
    history = await check_history(cluster, [*acknowledged, *healed])
    assert history[: len(before)] == before, "what was settled is as it was"


@cut_off_itself_or_another
async def test_a_snapshot_restored_during_a_cut(cluster: Cluster, site: str) -> None:
    """What c took during the cut is lost if nobody else could have it; a client may ask again."""
    await cluster.start()
    early, late = words_of("early", 20), words_of("late", 20)
    await write(cluster, "abc", early)
    copy = await snapshot(cluster, "c")
    await cluster.start("c")
    await write(cluster, "abc", late, "?ack=settled&timeout=20")
    old = (await status_of(cluster, "c"))["origin"]
    before = await settled_before(cluster, early + late)
    await cut_off(cluster, site)
    others, own, held = await write_at_both_sides(cluster, site, "before the restore")
    await cluster.kill("c")
    shutil.rmtree(cluster.data("c"))
    copy.rename(cluster.data("c"))

    await cluster.start("c")
    after = words_of("after the restore", 12)
    await write(cluster, "abc", after)
    await write(cluster, "c", [*late[:6], own[0]])  # asked again where they are forgotten
    await until_it_waits(cluster, "unsure" if site == "c" else "joining")
    acknowledged = [*early, *late, *others, *(held or own[:1]), *after]
    await heal_and_check(cluster, old, before, acknowledged)


@cut_off_itself_or_another
async def test_a_disk_wiped_during_a_cut(cluster: Cluster, site: str) -> None:
    """What c took during the cut is lost if nobody else could have it; a client may ask again."""
    await cluster.start()
    early = words_of("early", 20)
    await write(cluster, "abc", early, "?ack=settled&timeout=20")
    old, before = (await status_of(cluster, "c"))["origin"], await settled_before(cluster, early)
    await cut_off(cluster, site)
    others, own, held = await write_at_both_sides(cluster, site, "before the wipe")
    await cluster.kill("c")
    shutil.rmtree(cluster.data("c"))

    await cluster.start("c")
    after = words_of("after the wipe", 12)
    await write(cluster, "abc", after)
    await write(cluster, "c", [*early[:6], own[0]])  # asked again where they are forgotten
    await until_it_waits(cluster, "forming" if site == "c" else "joining")
    acknowledged = [*early, *others, *(held or own[:1]), *after]
    await heal_and_check(cluster, old, before, acknowledged)


@cut_off_itself_or_another
async def test_a_copy_that_runs_beside_its_original_during_a_cut(
    cluster: Cluster, site: str
) -> None:
    """Both take appends. The newer start goes on; what the older took comes when it is started."""
    await cluster.start()
    early, late = words_of("early", 20), words_of("late", 20)
    await write(cluster, "abc", early)
    await snapshot(cluster, "c")
    await cluster.start("c")
    await write(cluster, "abc", late, "?ack=settled&timeout=20")
    old = (await status_of(cluster, "c"))["origin"]
    before = await settled_before(cluster, early + late)
    await cut_off(cluster, site)
    others, own, _ = await write_at_both_sides(cluster, site, "before the copy")
    launch_copy(cluster)
    await cluster.until(lambda: cluster.answers("copy"), "the copy answers")
    copied, after = words_of("by the copy", 8), words_of("beside the copy", 8)
    await write(cluster, ["copy"], copied)
    await write(cluster, "ab" if site == "a" else "abc", after)
    await heal(cluster)

    async def is_decided() -> bool:
        states = [(await status_of(cluster, node))["state"] for node in ("c", "copy")]
        return states == ["stranger", "ready"]

    await cluster.until(is_decided, "the newer start goes on")
    healed = words_of("healed", 6)
    await write(cluster, ["a", "b", "copy"], healed, "?ack=settled&timeout=20")
    assert (await cluster.append("c", "s", "refused"))[0] == 503

    assert await cluster.stop("copy") == 0
    assert await cluster.stop("c") == 0
    await cluster.start("c")
    await until_a_member(cluster, "c", old)
    acknowledged = [*early, *late, *others, *own, *copied, *after, *healed]
    history = await check_history(cluster, acknowledged)
    assert history[: len(before)] == before, "what was settled is as it was"
