"""Metrics say in numbers what the status says, in a form that a strict parser reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from .served import Served, served


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as running:
        yield running


async def scrape(one: Served) -> dict[str, dict[tuple[str, ...], float]]:
    async with one.session.get(one.url + "/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        text = await response.text()
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


async def test_what_is_counted_grows(one: Served) -> None:
    await one.append("s", {"type": "t", "data": 1}, query="?ack=settled")
    found = await scrape(one)
    assert found["anabranch_settled_commits"][()] == 1
    assert found["anabranch_settled_events"][()] == 1
    assert found["anabranch_state"][("ready",)] == 1
    assert sum(found["anabranch_state"].values()) == 1
    assert found["anabranch_epoch"][()] == found["anabranch_members"][()] == 1
    assert found["anabranch_strays"][()] == 0
    assert found["anabranch_suspected_seconds"] == {}
    assert found["anabranch_log_bytes"][()] > 100
    assert found["anabranch_missing_commits"][()] == 0
    assert found["anabranch_disk_free_bytes"][()] > 0
    await one.append("s", {"type": "t", "data": 1}, query="?ack=settled")
    assert (await scrape(one))["anabranch_settled_commits"][()] == 2


async def test_every_figure_has_a_name_with_its_unit_and_a_sentence(one: Served) -> None:
    async with one.session.get(one.url + "/metrics") as response:
        text = await response.text()
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("anabranch_")
        assert family.documentation.endswith(".")
        if "bytes" in family.name:
            assert family.name.endswith("_bytes")
        if "second" in family.name:
            assert family.name.endswith("_seconds")
