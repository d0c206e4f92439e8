"""A disk that does not answer: what it was not asked right is never taken for what is not there.

The story of test_crash_points, told once for each call that only asks: it fails once, or it fails
until somebody has looked at the disk.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage.errors import AnabranchError, DamagedLog, DiskError
from anabranch.storage.log import Log
from anabranch.storage.segment import Gap

from .logs import Watched, bodies_of, files_with_groups
from .test_crash_points import TORN, Faulty, Story, check
from .test_damage import FIRST, BadSectors, recovered_and_appended

ASKS = ("free", "list", "read", "size")
BODIES = [bytes([number]) * 1000 for number in range(40)]


class Limping(BadSectors):
    """Only the first segment has bad sectors."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        self.failures_left = (1 << 60) * (name == FIRST)
        return super().read(name, offset, length)


class Silent(Faulty):
    """A disk that fails at one call that asks; `lasting`: from then on at all that are like it."""

    def __init__(self, at: int, *, lasting: bool) -> None:
        super().__init__(1, at, "nothing")
        self.lasting = lasting
        self.failing: tuple[str, ...] | None = None  # the call, and of which file
        self.telling = False  # what a call asks itself is no call

    def answers(self) -> None:
        """Somebody has looked at it."""
        self.at, self.failing = -2, None

    def append(self, name: str, data: bytes) -> None:
        self.telling = True
        try:
            super().append(name, data)
        finally:
            self.telling = False

    put = append

    def _before(self, call: str) -> bool:
        return True

    def _ask(self, *call: str) -> None:
        if self.telling:
            return
        self.calls.append(call[0])
        fails = len(self.calls) == self.at + 1
        if fails and self.lasting:
            self.failing = call
        if fails or call == self.failing:
            kind = DamagedLog if call[0] == "read" else DiskError
            raise kind(f"{' '.join(call)}: input/output error")

    def list(self, folder: str) -> list[str]:
        self._ask("list", folder)
        return super().list(folder)

    def size(self, name: str) -> int:
        self._ask("size", name)
        return super().size(name)

    def read(self, name: str, offset: int, length: int) -> bytes:
        self._ask("read", name)
        return super().read(name, offset, length)

    def free(self) -> int:
        self._ask("free")
        return super().free()


class Asking(Story):
    """The story, by somebody who reads what was confirmed, and tries again what was refused."""

    def __init__(self, disk: Silent) -> None:
        super().__init__(disk)
        self.silent = disk
        self.refusals: list[AnabranchError] = []

    def open(self) -> Log:
        before = bytes_on(self.disk)
        try:
            return super().open()
        except DiskError as error:
            self.refusals.append(error)
            assert bytes_on(self.disk) == before, "what is refused is left as it is"
        self.silent.answers()
        return super().open()

    async def append(self, log: Log, count: int = 1, *, size: int = 20) -> None:
        await super().append(log, count, size=size)
        for position, body in self.confirmed.items():
            try:
                assert log.read(position, len(body)) == body
            except DiskError as error:
                self.refusals.append(error)


def bytes_on(disk: SimDisk) -> dict[str, bytes]:
    """All files, without asking."""
    return {name: bytes(file.data) for name, file in disk._files.items()}


def told(at: int, *, lasting: bool, crash: bool = False) -> tuple[Asking, list[str]]:
    """The story, and what a start finds once the disk answers again."""

    async def tell() -> tuple[Asking, list[str]]:
        disk = Silent(at, lasting=lasting)
        story = Asking(disk)
        await story.cut_short()
        calls = list(disk.calls)
        disk.answers()
        if crash:
            disk.crash()
        torn = () if story.torn is None else (Gap(story.torn, story.torn + len(TORN)),)
        watched = check(story, may_be_gaps=torn)  # nobody could see that it is one
        watched.log.start()
        await watched.write_group([b"goes on"])
        await watched.log.close()
        story.unsure.append(b"goes on")
        check(story, may_be_gaps=torn)
        return story, calls

    return run(tell())


@pytest.fixture(scope="module")
def calls() -> list[str]:
    story, calls = told(-2, lasting=False)
    assert (story.failures, story.refusals) == ([], [])
    assert set(calls) == set(ASKS)
    return calls


@pytest.mark.parametrize("lasting", [False, True])
def test_an_error_of_any_call_that_asks_is_told_and_loses_nothing(calls, lasting):
    counts: Counter[str] = Counter()
    for at, call in enumerate(calls):
        try:
            story, _ = told(at, lasting=lasting, crash=at % 2 == 1)
        except BaseException as error:
            raise AssertionError(f"call {at}, {call}") from error
        counts[call] += 1
        counts[f"{call} was told"] += bool(story.failures or story.refusals)
        if call == "read" and not lasting:
            assert not story.failures and not story.refusals, "it is tried again"
    assert min(counts[call] for call in ASKS) > 2
    assert counts["list was told"] > 0
    assert counts["size was told"] > 0
    assert (counts["read was told"] > 0) is lasting


def test_what_can_not_be_read_is_not_cut_and_is_there_when_the_disk_answers_again():
    files, begins = run(files_with_groups([[body] for body in BODIES]))
    sectors = len(files[FIRST]) // 4096 + 1
    for first in range(sectors):
        for last in range(first, sectors):
            disk = BadSectors(Random(0))
            disk.append(FIRST, files[FIRST])
            disk.bad = frozenset(range(first, last + 1))
            watched = Watched(disk)
            assert watched.log.torn is None
            (gap,) = watched.gaps
            inside = [at for at in begins if at < 4096 * (last + 1) and at + 1032 > 4096 * first]
            assert gap == (0 if first == 0 else min(inside), max(inside) + 1032)
            disk.bad = frozenset()
            again, after = recovered_and_appended(disk, b"more")
            assert again.gaps == []
            assert after == [*BODIES, b"more"]


@pytest.mark.parametrize("bad", [{0}, {10}, {0, 10}])
def test_what_is_appended_behind_what_can_not_be_read_is_there_as_well(bad):
    files, _ = run(files_with_groups([[body] for body in BODIES]))
    disk = Limping(Random(0))
    disk.append(FIRST, files[FIRST])
    disk.bad = frozenset(bad)
    recovered_and_appended(disk, b"more")
    disk.bad = frozenset()
    again = Watched(disk)
    assert again.gaps == []
    assert bodies_of(again.found) == [*BODIES, b"more"]


def test_a_torn_tail_behind_what_can_not_be_read_is_cut():
    files, begins = run(files_with_groups([[body] for body in BODIES]))
    disk = BadSectors(Random(0))
    disk.append(FIRST, files[FIRST][:-1])
    disk.bad = frozenset({3})
    watched = Watched(disk)
    assert len(watched.gaps) == 1
    assert watched.log.torn == (begins[-1], len(files[FIRST]) - 1 - begins[-1])
    assert disk.size(FIRST) == begins[-1]
