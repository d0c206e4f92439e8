"""Faults that strace injects reach the log of a process, end when it lets go, and do no harm."""

import asyncio
import subprocess
import sys

import pytest

from anabranch.chaos.injection import tracing
from anabranch.storage.errors import ConfigError

from .traced import Child, arguments, needs_strace, readable_end, starting, until


@pytest.fixture
async def children():
    async with starting() as start:
        yield start


@needs_strace
async def test_a_process_goes_on_after_strace_came_and_went_many_times(tmp_path, children):
    child: Child = await children(tmp_path / "data")
    child.ask(-1)
    for _ in range(20):
        traced = await tracing.attach(child.pid, calls=["pwrite64", "fdatasync"])
        await child.goes_on()
        await traced.detach()
        await child.goes_on()
        assert not traced.ended.is_set()
    assert child.process.poll() is None


@needs_strace
async def test_a_trace_names_the_files(tmp_path, children):
    child: Child = await children(tmp_path / "data")
    output = tmp_path / "trace"
    traced = await tracing.attach(child.pid, calls=["fdatasync"], output=output)
    await child.does(3)
    await traced.detach()
    assert output.read_text().count("/log/0000000000000000.seg>) = 0") == 3


@needs_strace
async def test_the_end_of_the_process_is_noticed(tmp_path, children):
    child: Child = await children(tmp_path / "data")
    traced = await tracing.attach(child.pid, calls=["fdatasync"])
    assert not await traced.wait(0)
    child.process.kill()
    assert await traced.wait(10)
    assert await tracing.gone(child.pid)
    await traced.detach()


@needs_strace
async def test_failing_syncs_end_a_log(tmp_path, children):
    child: Child = await children(tmp_path / "data")
    await child.does(1)
    confirmed = child.durable
    traced = await tracing.failing_syncs(child.pid, child.data)
    child.ask(1)
    assert await child.ended() == 3  # as the child ends when its log fails
    assert await traced.wait(10)
    assert child.durable == confirmed
    await traced.detach()


@needs_strace
async def test_slow_syncs_are_slow_and_confirm(tmp_path, children):
    child: Child = await children(tmp_path / "data")
    traced = await tracing.slow_syncs(child.pid, 0.1)
    begun = asyncio.get_running_loop().time()
    assert await child.does(2) == "read"
    assert asyncio.get_running_loop().time() - begun > 0.2
    await traced.detach()
    assert await child.does(1) == "read"


@needs_strace
async def test_a_slow_sync_does_not_keep_strace(tmp_path, children):
    child: Child = await children(tmp_path / "data")
    await child.does(1)
    output = tmp_path / "trace"
    traced = await tracing.slow_syncs(child.pid, 30.0, output)
    child.ask(1)
    await until(lambda: "fdatasync(" in output.read_text(), "a sync is held")
    begun = asyncio.get_running_loop().time()
    await traced.detach()
    await child.hears("read", 2)
    assert asyncio.get_running_loop().time() - begun < 10


@needs_strace
async def test_a_full_disk_is_said_and_over_when_strace_goes(tmp_path, children):
    child: Child = await children(tmp_path / "data")
    await child.does(1)
    traced = await tracing.failing_writes(child.pid)
    assert (await child.does(1)).startswith("full")
    await traced.detach()
    assert await child.does(1) == "read"
    child.close()
    assert readable_end(child.data) == child.durable


@needs_strace
async def test_what_can_not_be_read_is_said(tmp_path, children):
    child: Child = await children(tmp_path / "data")
    await child.does(1)
    traced = await tracing.failing_reads(child.pid, child.data)
    assert await child.does(1) == "unreadable"
    await traced.detach()
    assert await child.does(1) == "read"


@needs_strace
async def test_a_process_can_be_started_under_strace(tmp_path, children):
    data, output = tmp_path / "data", tmp_path / "trace"
    command = tracing.command(arguments(data), calls=["fdatasync"], output=output)
    child: Child = await children(data, command)
    await child.hears("ready")
    assert await child.does(2) == "read"
    child.process.kill()
    assert await child.ended() == -9  # the pid is its own, not strace's
    assert await tracing.gone(child.pid)
    assert output.read_text().count(".seg>) = 0") == 2


@needs_strace
def test_the_exit_status_is_that_of_the_process(tmp_path):
    command = tracing.command([sys.executable, "-c", "raise SystemExit(7)"], calls=["fdatasync"])
    assert subprocess.run(command, timeout=20, check=False).returncode == 7


@needs_strace
async def test_there_is_no_process():
    done = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await done.wait()
    with pytest.raises(ProcessLookupError, match=str(done.pid)):
        await tracing.attach(done.pid, calls=["fdatasync"])


async def test_without_strace_the_message_names_the_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="Debian package `strace`"):
        await tracing.attach(1, calls=["fdatasync"])
    with pytest.raises(ConfigError, match="Debian package `strace`"):
        tracing.command(["true"], calls=["fdatasync"])
