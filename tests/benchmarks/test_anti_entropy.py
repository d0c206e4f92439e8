"""The rows about comparing and healing tell bytes and seconds, both; here at a size for tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from anabranch.tests.benchmarks import anti_entropy
from anabranch.tests.benchmarks.machine import cores
from anabranch.tests.benchmarks.rows import Bench


@pytest.mark.parametrize("row", anti_entropy.ROWS, ids=lambda row: row.name)
def test_each_row_tells_bytes_and_seconds(row, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(anti_entropy, "COMMITS", 20_000)
    monkeypatch.setattr(anti_entropy, "TAIL_COMMITS", 4_000)
    bench = Bench(tmp_path, cores(), 1.0, 3, True, lambda _: None)
    found = row.run(bench)
    assert found.rounds
    for one in found.rounds:
        assert one["bytes"] == int(one["bytes"]) > 0
        assert one["seconds"] > 0
    assert "bytes" in found.detail
    assert " ms" in found.detail or " s " in found.detail
