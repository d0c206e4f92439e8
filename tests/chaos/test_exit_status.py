"""A node's process ends as docs/operations.md says when its disk confirms nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from anabranch.chaos.injection import tracing
from anabranch.tests.node.processes import Cluster

from .traced import needs_strace

pytestmark = pytest.mark.chaos

UNTRUSTED = 3  # nothing that it would say could be trusted any more


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    running = Cluster(tmp_path)
    yield running
    await running.close()


@needs_strace
@pytest.mark.timeout(120)
async def test_a_sync_that_fails_ends_the_node_with_its_own_status(cluster: Cluster) -> None:
    await cluster.start("a")
    assert (await cluster.append("a", "s", "kept"))[0] == 201
    traced = await tracing.failing_syncs(cluster.processes["a"].pid, cluster.data("a"))
    with suppress(aiohttp.ClientError):  # it may be gone before it can answer
        assert (await cluster.append("a", "s", "unsure"))[0] == 503
    assert await cluster.ended("a") == UNTRUSTED
    await traced.detach()
    assert "the disk did not confirm" in cluster.log("a")
    assert "look at the disk, then start it again" in cluster.log("a")
    await cluster.start("a")
    status, page = await cluster.get("a", "/v1/streams/s/events")
    shown = [event["data"] for event in page["events"]]
    assert (status, shown[:1]) == (200, ["kept"])
    assert shown in (["kept"], ["kept", "unsure"]), "nobody was told that the second one is there"
    assert await cluster.stop("a") == 0
