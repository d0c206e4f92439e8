"""An index that can't be read is thrown away at the next start, wherever it was noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from anabranch.storage.errors import DamagedIndex

from .served import served

APPENDS = 40


def spoil(index: Path, at: float) -> None:
    """Make some bytes of the only table of an index wrong, at a share of its length."""
    (table,) = index.glob("*.sst")
    data = bytearray(table.read_bytes())
    place = int(at * len(data))
    data[place : place + 4] = bytes(byte ^ 0x55 for byte in data[place : place + 4])
    table.write_bytes(data)


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.7])
async def test_the_second_start_rebuilds_it(tmp_path: Path, at: float) -> None:
    async with served(tmp_path) as one:
        for number in range(APPENDS):
            body = {"type": "t", "data": f"{number}" * 50}
            status, _ = await one.append(f"s{number}", body, "?ack=settled")
            assert status == 201
    spoil(tmp_path / "index", at)
    try:
        async with served(tmp_path) as one:
            _, page = await one.ask("GET", "/v1/events?limit=1000")
            ended = isinstance(one.node.failure, DamagedIndex)
            assert ended or len(page["events"]) == APPENDS
    except DamagedIndex:
        pass
    async with served(tmp_path) as one:
        _, page = await one.ask("GET", "/v1/events?limit=1000")
        assert len(page["events"]) == APPENDS
