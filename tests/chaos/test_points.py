"""A process is killed at the point that was named: the files left behind say so."""

import asyncio
from contextlib import suppress
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from anabranch.chaos.injection.points import POINTS, kill_at, start_arguments
from anabranch.chaos.injection.tracing import gone
from anabranch.storage.errors import ConfigError

from ..node.processes import Cluster
from .traced import Child, arguments, names, needs_strace, readable_end, starting


@pytest.fixture
async def children():
    async with starting() as start:
        yield start


WITHIN = 20.0


def written_end(data: Path) -> int:
    """Where the bytes of the last segment end."""
    last = names(data, "seg")[-1]
    return int(last, 16) + (data / "log" / f"{last}.seg").stat().st_size


def size(data: Path, name: str) -> int:
    return (data / "log" / name).stat().st_size


async def killed(child: Child, point: str, times: int = 1) -> Path:
    """Kill a process that works without end at a point; its directory."""
    child.ask(-1)
    await child.hears("durable", 3)
    assert await kill_at(child.pid, child.data, point, WITHIN, times=times)
    assert await gone(child.pid, 0)
    assert await child.ended() == -9
    return child.data


@needs_strace
@pytest.mark.parametrize(
    ("point", "times", "kind"),
    [("append-write", 1, "right"), ("append-write", 4, "right"), ("heal-write", 1, "no-seals")],
)
async def test_before_a_write_nothing_more_is_there(tmp_path, children, point, times, kind):
    """Where any write will do, none is the sealer's: a group may be on its way beside these."""
    child = await children(tmp_path / "data", kind=kind)
    data = await killed(child, point, times)
    assert written_end(data) == child.durable == readable_end(data)


@needs_strace
@pytest.mark.parametrize("point", ["append-sync", "append-answer", "join-sync"])
async def test_a_group_is_written_and_nobody_was_told(tmp_path, children, point):
    child = await children(tmp_path / "data")
    data = await killed(child, point)
    assert written_end(data) > child.durable
    assert readable_end(data) == written_end(data)  # a SIGKILL loses nothing that was written


@needs_strace
async def test_a_new_segment_has_no_durable_name(tmp_path, children):
    child = await children(tmp_path / "data")
    data = await killed(child, "segment-name")
    last = names(data, "seg")[-1]
    assert int(last, 16) == child.durable > 0
    assert size(data, f"{last}.seg") > 0


@needs_strace
async def test_syncs_of_other_names_are_let_through(tmp_path, children):
    child = await children(tmp_path / "data")
    data = await killed(child, "segment-name", 3)
    assert int(names(data, "seg")[-1], 16) == child.durable
    assert len({*names(data, "seg"), *names(data, "sealed")}) > 3


def sealing(data: Path) -> str:
    """The segment that was being sealed: its plain form is there beside another."""
    return names(data, "seg")[0]


@needs_strace
async def test_before_a_block_is_written(tmp_path, children):
    data = await killed(await children(tmp_path / "data"), "seal-write")
    assert names(data, "tmp") == [sealing(data)] and size(data, f"{sealing(data)}.tmp") == 0


@needs_strace
async def test_a_sealed_form_is_written_and_not_synced(tmp_path, children):
    data = await killed(await children(tmp_path / "data"), "seal-sync")
    assert names(data, "tmp") == [sealing(data)] and size(data, f"{sealing(data)}.tmp") > 0
    assert sealing(data) not in names(data, "sealed")


@needs_strace
async def test_before_the_rename_there_is_no_sealed_form(tmp_path, children):
    child = await children(tmp_path / "data")
    data = await killed(child, "seal-rename")
    assert names(data, "tmp") == [sealing(data)] and size(data, f"{sealing(data)}.tmp") > 0
    assert sealing(data) not in names(data, "sealed")
    assert readable_end(data) >= child.durable
    assert names(data, "tmp") == []  # the next start has removed it


@needs_strace
@pytest.mark.parametrize("point", ["seal-name", "seal-remove"])
async def test_after_the_rename_both_forms_are_there(tmp_path, children, point):
    child = await children(tmp_path / "data")
    data = await killed(child, point)
    assert names(data, "tmp") == []
    assert sealing(data) in names(data, "sealed")
    assert readable_end(data) >= child.durable


@needs_strace
async def test_who_does_not_come_there_goes_on(tmp_path, children):
    child = await children(tmp_path / "data")
    await child.does(1)
    for point in ("append-write", "segment-name", "seal-name"):
        assert not await kill_at(child.pid, child.data, point, 0.05)
    assert await child.does(1) == "read"


@needs_strace
@pytest.mark.parametrize("point", ["start-write", "start-sync"])
async def test_a_start_is_killed(tmp_path, children, point):
    data = tmp_path / "data"
    child = await children(data)
    await child.does(3)
    child.close()
    there, confirmed = written_end(data), child.durable
    again = await children(data, start_arguments(arguments(data), point, 1, data))
    with suppress(BrokenPipeError):
        again.ask(1)
    assert await again.ended() == -9
    assert written_end(data) == there
    assert readable_end(data) == confirmed == there


@needs_strace
async def test_a_start_has_fewer_syncs_and_goes_on(tmp_path, children):
    data = tmp_path / "data"
    child = await children(data, start_arguments(arguments(data), "start-sync", 1000, data))
    await child.hears("ready")
    assert await child.does(1) == "read"


async def test_every_point_has_words():
    assert all(point.says and point.calls for point in POINTS.values())
    with pytest.raises(ConfigError, match="no point 'nowhere'; there are append-write"):
        await kill_at(1, Path(), "nowhere", 1.0)
    with pytest.raises(ConfigError, match="seal-name is not before a call"):
        start_arguments(["true"], "seal-name", 1, Path())


@needs_strace
@pytest.mark.slow
async def test_a_node_is_killed_while_it_seals_and_comes_back(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.config.write_text(cluster.config.read_text() + "[tuning]\nsegment_bytes = 16384\n")
    try:
        await cluster.start("a")
        for point in ("seal-rename", "append-answer", "seal-name"):
            kept = await _appends_until_killed(cluster, point)
            assert kept
            await cluster.ended("a")
            await cluster.start("a")
            status, page = await cluster.get("a", "/v1/streams/x/events?limit=1000")
            assert status == 200, page
            assert kept <= {event["data"] for event in page["events"]}
    finally:
        await cluster.close()


async def _appends_until_killed(cluster: Cluster, point: str) -> set[str]:
    """What a node has confirmed until it was killed at a point: one append at least."""
    kept: set[str] = set()
    killing: asyncio.Task[bool] | None = None
    pid = cluster.processes["a"].pid
    try:
        for number in count():
            data = f"{point} {number} {'x' * 2000}"
            assert (await cluster.append("a", "x", data))[0] == 201
            kept.add(data)
            if killing is None:
                killing = asyncio.create_task(kill_at(pid, cluster.data("a"), point, WITHIN))
    except aiohttp.ClientError:
        assert killing is not None and await killing
    return kept
