"""What the scrub finds in a file that it has read before, and that was damaged since."""

from __future__ import annotations

from random import Random
from unittest.mock import patch

import pytest

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage import sealer as sealer_module
from anabranch.storage.record import HEADER_BYTES
from anabranch.storage.segment import Gap

from .logs import Watched
from .sealing import commit_of, seal, written

FIRST = "log/0000000000000000"
INSIDE = HEADER_BYTES + 9


async def held(*, sealed: bool) -> tuple[SimDisk, Watched, list[int], list[bytes]]:
    """A log of two segments, its records, and the disk that it is on."""
    disk = SimDisk(Random(0))
    bodies = [commit_of(number, size=60) for number in range(12)]
    positions = await written(disk, [[body] for body in bodies], 2_000)
    watched = Watched(disk)
    if sealed:
        with patch.object(sealer_module, "BLOCK_BYTES", 500):
            await seal(disk, watched)
    return disk, watched, positions, bodies


def gaps_at(watched: Watched, base: int = 0) -> list[Gap]:
    """What is newly found to be damaged."""
    found = watched.log.files.check(base, watched.log.durable)
    return [one for one in found if isinstance(one, Gap)]


@pytest.mark.parametrize("looks", ["scrub", "reader"])
@pytest.mark.parametrize("sealed", [False, True])
def test_what_was_read_wrong_once_is_found_when_it_is_damaged(sealed, looks):
    """Seed 2780436: it was known, so nobody was told when it came true."""

    async def story() -> None:
        disk, watched, positions, bodies = await held(sealed=sealed)
        name, at = (
            (f"{FIRST}.sealed", INSIDE) if sealed else (f"{FIRST}.seg", positions[0] + INSIDE)
        )
        assert gaps_at(watched) == []
        disk.flip(name, at)
        (wrong,) = gaps_at(watched)
        assert gaps_at(watched) == [], "it is known"
        assert watched.log.gaps == [wrong]
        disk.flip(name, at)  # it is as it was
        if looks == "scrub":
            assert gaps_at(watched) == []
        else:
            assert watched.log.read(positions[0], len(bodies[0])) == bodies[0]
        assert watched.log.gaps == []
        disk.flip(name, at)
        assert gaps_at(watched) == [wrong]

    run(story())


def test_what_looks_like_a_newer_version_is_damage_in_a_log_that_this_one_writes():
    """Seed 2778705: two bits of one frame were wrong, one of them in its version."""

    async def story() -> None:
        disk, watched, positions, _ = await held(sealed=False)
        for offset, mask in ((1, 32), (5, 1)):
            disk.flip(f"{FIRST}.seg", positions[3] + offset, mask)
        assert gaps_at(watched) == [Gap(positions[3], positions[4])]
        assert gaps_at(watched) == []

    run(story())
