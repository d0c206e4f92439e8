"""After a loss of power what was synced is there, and only that is sure to be."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from itertools import count
from random import Random

import aiohttp
import pytest

from anabranch.chaos.injection.power import Kept, Power, damage, durable, steps
from anabranch.storage.errors import DamagedLog

from ..node.processes import Cluster
from .traced import Child, arguments, needs_strace, readable_end, starting, until


@pytest.fixture
async def children():
    async with starting() as start:
        yield start


A, B, LOG = "/d/log/a.seg", "/d/log/b.seg", "/d/log"


def trace(*lines: str) -> str:
    """Lines as strace writes them; each begins with its thread."""
    return "".join(
        f"{thread}  17.{number:06} {said}\n"
        for number, (thread, said) in enumerate(line.split(" ", 1) for line in lines)
    )


def create(path: str, thread: int = 1) -> str:
    return f'{thread} openat(AT_FDCWD</w>, "{path}", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 7<{path}>'


def write(path: str, offset: int, length: int, thread: int = 1) -> str:
    return f'{thread} pwrite64(7<{path}>, ""..., {length}, {offset}) = {length}'


def sync(path: str, thread: int = 2, call: str = "fdatasync") -> str:
    return f"{thread} {call}(7<{path}>) = 0"


def lengths(text: str, sizes: dict[str, int]) -> dict[str, int]:
    return {path: kept.length for path, kept in durable(text, sizes).items()}


# -- what a trace says ---------------------------------------------------------------------------


def test_what_was_there_is_durable_and_what_was_written_is_not():
    assert durable(trace(write(A, 100, 50)), {A: 100}) == {A: Kept(100, A)}


def test_a_sync_makes_durable_what_was_written_before_it():
    text = trace(write(A, 100, 50), sync(A), write(A, 150, 50))
    assert lengths(text, {A: 100, B: 5}) == {A: 150, B: 5}


def test_a_write_that_returned_after_the_sync_began_is_not_covered():
    text = trace(
        f'1 pwrite64(7<{A}>, ""..., 50, 100 <unfinished ...>',
        f"2 fdatasync(7<{A}> <unfinished ...>",
        "1 <... pwrite64 resumed>) = 50",
        "2 <... fdatasync resumed>) = 0",
    )
    assert lengths(text, {A: 100}) == {A: 100}
    assert lengths(text + trace(sync(A)), {A: 100}) == {A: 150}


def test_threads_that_sync_at_a_time_are_told_apart():
    text = trace(
        write(A, 0, 10),
        f"2 fdatasync(7<{A}> <unfinished ...>",
        write(B, 0, 20),
        f"3 fdatasync(8<{B}> <unfinished ...>",
        write(A, 10, 10),
        "3 <... fdatasync resumed>) = 0",
        write(B, 20, 20),
        "2 <... fdatasync resumed>) = 0 (DELAYED)",
    )
    assert lengths(text, {A: 0, B: 0}) == {A: 10, B: 20}


@pytest.mark.parametrize(
    "end", ["= -1 EIO (Input/output error) (INJECTED)", "= ?", "<unfinished ...>"]
)
def test_a_sync_that_did_not_return_0_says_nothing(end):
    text = trace(write(A, 0, 10), f"2 fdatasync(7<{A}>{')' if '=' in end else ''} {end}")
    assert lengths(text, {A: 0}) == {A: 0}


def test_a_line_that_was_cut_off_is_a_call_that_has_not_ended():
    assert lengths(trace(write(A, 0, 10)) + f"2  17.5 fdatasync(7<{A}>", {A: 0}) == {A: 0}
    assert lengths(trace(write(A, 0, 10)) + "2  17.", {A: 0}) == {A: 0}


def test_a_write_in_part_counts_as_far_as_it_went():
    text = trace(f'1 pwrite64(7<{A}>, ""..., 50, 100) = 20', sync(A))
    assert lengths(text, {A: 100}) == {A: 120}


def test_a_failed_write_counts_for_nothing():
    text = trace(f'1 pwrite64(7<{A}>, ""..., 5, 100) = -1 ENOSPC (No space left)', sync(A))
    assert lengths(text, {A: 100}) == {A: 100}


def test_writes_without_an_offset_append():
    text = trace(f'1 write(7<{A}>, ""..., 50) = 50', f'1 write(7<{A}>, ""..., 5) = 5', sync(A))
    assert lengths(text, {A: 100}) == {A: 155}


def test_what_was_cut_off_is_not_durable_though_a_sync_was_under_way():
    text = trace(
        write(A, 0, 100),
        f"2 fdatasync(7<{A}> <unfinished ...>",
        f"1 ftruncate(7<{A}>, 30) = 0",
        write(A, 30, 50),
        "2 <... fdatasync resumed>) = 0",
    )
    assert lengths(text, {A: 0}) == {A: 30}


def test_a_new_name_is_durable_once_its_folder_was_synced_after_it():
    text = trace(create(A), write(A, 0, 10), sync(A))
    assert durable(text, {}) == {A: Kept(10, None)}
    assert durable(trace(sync(LOG, call="fsync")) + text, {}) == {A: Kept(10, None)}
    assert durable(text + trace(sync("/d", call="fsync")), {}) == {A: Kept(10, None)}
    assert durable(text + trace(sync(LOG, call="fsync")), {}) == {A: Kept(10, A)}


def test_a_name_that_was_given_while_its_folder_is_synced_is_not_covered():
    text = trace(f"2 fsync(9<{LOG}> <unfinished ...>", create(A), "2 <... fsync resumed>) = 0")
    assert durable(text, {}) == {A: Kept(0, None)}


def test_to_open_what_is_there_changes_nothing():
    assert durable(trace(create(A)), {A: 9}) == {A: Kept(9, A)}


def test_a_renamed_file_keeps_its_bytes_and_has_its_old_name_until_a_sync():
    text = trace(write(A, 9, 1), sync(A), f'1 rename("{A}", "{B}") = 0')
    assert durable(text, {A: 9}) == {B: Kept(10, A)}
    assert durable(text + trace(sync(LOG, call="fsync")), {A: 9}) == {B: Kept(10, B)}


def test_who_took_the_name_of_another_can_not_give_it_back():
    text = trace(f'1 rename("{A}", "{B}") = 0')
    assert durable(text, {A: 9, B: 3}) == {B: Kept(9, A, alone=False)}


def test_a_removed_file_is_gone():
    assert durable(trace(f'1 unlink("{A}") = 0'), {A: 9, B: 3}) == {B: Kept(3, B)}
    failed = trace(f'1 unlink("{A}") = -1 ENOENT (No such file or directory)')
    assert durable(failed, {A: 9}) == {A: Kept(9, A)}


def test_short_paths_begin_where_the_process_works():
    text = trace('1 rename("d/log/a.seg", "d/log/b.seg") = 0')
    assert durable(text, {A: 9}, "/") == {B: Kept(9, A)}


def test_a_sync_of_a_file_that_was_removed_is_not_that_of_the_next_with_its_name():
    text = trace(
        write(A, 0, 9),
        f'1 unlink("{A}") = 0',
        create(A),
        write(A, 0, 5),
        f"2 fsync(7<{A}>(deleted)) = 0",
    )
    assert lengths(text, {A: 0}) == {A: 0}


def test_steps_are_begun_and_ended():
    text = trace(
        "1 fsync(7</d> <unfinished ...>", "2 +++ exited with 0 +++", "1 <... fsync resumed>) = 0"
    )
    assert [(step.call, step.arguments, step.result) for step in steps(text)] == [
        ("fsync", "7</d> <unfinished ...>", None),
        ("fsync", "7</d>", 0),
    ]


# -- what is taken -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_what_was_synced_is_never_touched(tmp_path, seed):
    path, data = tmp_path / "log" / "a.seg", b"synced" + b"not synced"
    path.parent.mkdir()
    path.write_bytes(data)
    lost = damage(tmp_path, {str(path): Kept(6, str(path))}, Random(seed))
    left = path.read_bytes()
    assert left.startswith(b"synced") and len(left) <= len(data)
    assert data.startswith(left.rstrip(b"\0"))
    assert len(lost) == 1 and "log/a.seg" in lost[0]


def test_all_fates_are_met(tmp_path):
    path, left = tmp_path / "a", set()
    for seed in range(60):
        path.write_bytes(b"synced" + b"not synced")
        damage(tmp_path, {str(path): Kept(6, str(path))}, Random(seed))
        left.add(path.read_bytes())
    assert {b"synced", b"synced" + bytes(10), b"syncednot"} <= left


def test_a_name_that_was_not_synced_may_be_lost(tmp_path):
    new, old, fates = tmp_path / "new", tmp_path / "old", set()
    for seed in range(20):
        new.write_bytes(b"1")
        damage(tmp_path, {str(new): Kept(1, str(old))}, Random(seed))
        fates.add((new.exists(), old.exists()))
        new.unlink(missing_ok=True)
        old.unlink(missing_ok=True)
        new.write_bytes(b"1")
        damage(tmp_path, {str(new): Kept(1, None)}, Random(seed))
        fates.add((new.exists(), "nothing"))
    assert fates == {(True, False), (False, True), (True, "nothing"), (False, "nothing")}


def test_nothing_is_lost_where_all_was_synced(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    kept = {
        str(tmp_path / "a"): Kept(1, str(tmp_path / "a")),
        str(tmp_path / "gone"): Kept(1, None),
    }
    assert damage(tmp_path, kept, Random(0)) == []


# -- real processes ------------------------------------------------------------------------------


async def without_power(child: Child, seed: int) -> tuple[int, list[str]]:
    """Let a process work, cut its power; how much that it confirmed is lost, and what is said."""
    child.ask(-1)
    power = await Power.watch(child.pid, child.data)
    begun = child.durable
    while child.durable < begun + 3 * 16384:  # so that segments are sealed meanwhile
        await child.goes_on()
    lost = await power.cut(Random(seed))
    assert await child.ended() == -9
    try:
        return child.durable - readable_end(child.data), lost
    except DamagedLog as error:
        return child.durable, [*lost, str(error)]


@needs_strace
@pytest.mark.parametrize("seed", range(3))
async def test_what_was_confirmed_survives_a_loss_of_power(tmp_path, children, seed):
    missing, lost = await without_power(await children(tmp_path / "data"), seed)
    assert missing <= 0, lost


@needs_strace
@pytest.mark.parametrize("kind", ["no-sync", "no-names"])
async def test_who_skips_a_sync_loses_what_it_confirmed(tmp_path, children, kind):
    missing, lost = await without_power(await children(tmp_path / "data", kind=kind), 1)
    assert missing > 0
    assert lost


@needs_strace
async def test_who_is_watched_no_more_goes_on(tmp_path, children):
    child = await children(tmp_path / "data")
    power = await Power.watch(child.pid, child.data)
    assert await child.does(1) == "read"
    await power.end()
    assert await child.does(1) == "read"


@needs_strace
async def test_power_can_be_cut_after_the_process_has_died(tmp_path, children):
    child = await children(tmp_path / "data")
    power = await Power.watch(child.pid, child.data)
    await child.does(5)
    child.close()
    assert await power.cut(Random(1)) == []
    assert readable_end(child.data) == child.durable


@needs_strace
@pytest.mark.parametrize(("kind", "loses"), [("right", False), ("no-sync", True)])
async def test_a_process_is_noted_from_its_start(tmp_path, children, kind, loses):
    data = tmp_path / "data"
    power = Power(data)
    child = await children(data, power.command(arguments(data, kind)))
    power.pid = child.pid
    child.ask(-1)
    await child.hears("durable", 20)
    lost = await power.cut(Random(1))
    assert await child.ended() == -9
    assert (child.durable > readable_end(data)) == loses, lost


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("from_its_start", [False, True])
async def test_a_node_keeps_what_it_confirmed(tmp_path, from_its_start):
    cluster = Cluster(tmp_path)
    cluster.config.write_text(cluster.config.read_text() + "[tuning]\nsegment_bytes = 16384\n")
    kept: set[str] = set()
    try:
        for seed in range(3):
            if from_its_start:
                power = await _started_with_power(cluster)
            else:
                await cluster.start("a")
                power = await Power.watch(cluster.processes["a"].pid, cluster.data("a"))
            appending = asyncio.create_task(_appends(cluster, kept, seed))
            enough = len(kept) + 60
            await until(lambda: len(kept) >= enough, "appends are confirmed")  # noqa: B023
            lost = await power.cut(Random(seed))
            await appending
            await cluster.ended("a")
            await cluster.start("a")
            status, page = await cluster.get("a", "/v1/streams/x/events?limit=1000")
            assert status == 200, page
            assert kept <= {event["data"] for event in page["events"]}, lost
            await cluster.stop("a")
    finally:
        await cluster.close()


async def _started_with_power(cluster: Cluster) -> Power:
    power = Power(cluster.data("a"))
    node = [sys.executable, "-m", "anabranch", "node", "a", "--config", str(cluster.config)]
    command = power.command([*node, "--data", str(cluster.data("a"))])
    with (cluster.directory / "a.log").open("ab") as log:
        process = await asyncio.to_thread(subprocess.Popen, command, stdout=log, stderr=log)
    cluster.processes["a"] = process
    power.pid = process.pid
    await cluster.until(lambda: cluster.answers("a"), "a answers")
    return power


async def _appends(cluster: Cluster, kept: set[str], seed: int) -> None:
    with suppress(aiohttp.ClientError):
        for number in count():
            data = f"{seed} {number} {'x' * 1000}"
            assert (await cluster.append("a", "x", data))[0] == 201
            kept.add(data)
