"""A crash, or an error, at each single call of the disk: nothing that was confirmed is lost.

One story goes through everything that the log and the sealer do: it begins segments, runs out of
room, gives up its reserve, cuts a torn tail, seals a damaged segment and a good one, and goes on.
It is told once for each call of the disk, with something going wrong there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from random import Random

import pytest

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage.errors import AnabranchError, DiskError, DiskFull, SyncFailed
from anabranch.storage.limits import DISK_RESERVE_BYTES
from anabranch.storage.log import RESERVE, Log
from anabranch.storage.record import COMMIT, HEADER_BYTES
from anabranch.storage.sealer import Sealer
from anabranch.storage.segment import Gap, segment_name

from .logs import OPENING, Watched
from .sealing import commit_of

TORN = b"\xab\x01 torn"
CALLS = ("append", "sync", "sync_names", "truncate", "rename", "remove")
ROOM = 1 << 40


class PowerCut(BaseException):
    """Everything stops here."""


class Faulty(SimDisk):
    """A disk on which something goes wrong at one call: `what` is called with how to go on."""

    def __init__(self, seed: int, at: int, what: str) -> None:
        super().__init__(Random(seed), sync_seconds=0.0)
        self.at, self.what = at, what
        self.calls: list[str] = []
        self.dead = False

    def _before(self, call: str) -> bool:
        """Whether this call is to be made; some things go wrong instead."""
        if self.dead:
            raise PowerCut
        self.calls.append(call)
        if len(self.calls) != self.at + 1:
            return True
        if self.what in ERRORS:
            raise ERRORS[self.what](f"{call} went wrong")
        self.dead = True
        if self.what == "before" or (self.what == "half" and call != "append"):
            raise PowerCut
        return True

    def _after(self) -> None:
        if self.dead:
            raise PowerCut

    def _call(self, name: str, *args: object) -> None:
        self._before(name)
        getattr(super(), name)(*args)
        self._after()

    def append(self, name: str, data: bytes) -> None:
        try:
            self._before("append")
        except DiskError:
            if self.what.startswith("half"):
                super().append(name, b"")
                self._files[name].undone = data[: len(data) // 2]  # a crash may leave it there
            raise
        super().append(name, data[: len(data) // 2] if self.dead and self.what == "half" else data)
        self._after()

    def put(self, name: str, data: bytes) -> None:
        """Append behind everybody's back."""
        super().append(name, data)

    async def sync(self, name: str) -> None:
        self._before("sync")
        await super().sync(name)
        self._after()

    def sync_names(self, folder: str) -> None:
        self._call("sync_names", folder)

    def truncate(self, name: str, length: int) -> None:
        self._call("truncate", name, length)

    def rename(self, old: str, new: str) -> None:
        self._call("rename", old, new)

    def remove(self, name: str) -> None:
        self._call("remove", name)


ERRORS = {
    "error": DiskError,
    "full": DiskFull,
    "half, then an error": DiskError,
    "half, then full": DiskFull,
    "unconfirmed": SyncFailed,
}


class Story:
    """What was appended, and what of it was confirmed."""

    def __init__(self, disk: Faulty) -> None:
        self.disk = disk
        self.confirmed: dict[int, bytes] = {}  # by position
        self.refused: list[bytes] = []
        self.unsure: list[bytes] = []
        self.damaged: tuple[int, bytes] | None = None
        self.torn: int | None = None
        self.failures: list[AnabranchError] = []
        self.calls: list[str] = []
        self.number = 0
        self.log: Log | None = None

    def open(self) -> Log:
        log = Log(
            self.disk,
            opening_state=lambda: OPENING,
            on_durable=lambda _: None,
            on_failure=self.failures.append,
            segment_bytes=500,
            reserve_bytes=900,
        )
        list(log.replay(0))
        log.start()
        self.log = log
        return log

    async def append(self, log: Log, count: int = 1, *, size: int = 20) -> None:
        """Append some, one after the other, until the log has failed."""
        for _ in range(count):
            body = commit_of(self.number, size=size)
            self.number += 1
            self.unsure.append(body)
            position = log.append(COMMIT, body)
            try:
                await log.wait(position)
            except DiskFull:
                self.refused.append(self.unsure.pop())
            except AnabranchError:
                pass
            else:
                self.confirmed[position] = self.unsure.pop()

    async def tell(self) -> None:
        log = self.open()
        log.keep_reserve()
        await self.append(log, 7)
        self.disk.capacity_bytes -= SimDisk.free(self.disk) - 10
        await self.append(log, 2, size=200)
        self.disk.capacity_bytes = ROOM
        await self.append(log)
        self.spoil()
        await self.seal(log)
        await self.append(log, 3)
        log.append(COMMIT, b"may be lost")
        self.unsure.append(b"may be lost")
        await log.abandon()
        if self.failures:
            return
        tail = max(name for name in SimDisk.list(self.disk, "log") if name.endswith(".seg"))
        self.torn = int(tail[:16], 16) + SimDisk.size(self.disk, f"log/{tail}")
        self.disk.put(f"log/{tail}", TORN)
        self.disk.put("log/0000000000000000.tmp", b"left over")
        try:
            log = self.open()
        except DiskError as error:
            self.failures.append(error)
            return
        log.keep_reserve()
        await self.append(log, 8)
        await self.seal(log)
        await log.close()

    def spoil(self) -> None:
        """Damage the first commit, once it is confirmed."""
        position = HEADER_BYTES + len(OPENING)
        if position in self.confirmed and "0000000000000000.seg" in SimDisk.list(self.disk, "log"):
            self.damaged = position, self.confirmed.pop(position)
            self.disk.flip(segment_name(0), position + HEADER_BYTES + 5)

    async def seal(self, log: Log) -> None:
        try:
            await Sealer(self.disk, log, bytes_per_second=1 << 40).seal_all()
        except SyncFailed as error:
            log.fail(error)
        except DiskError:
            pass

    async def cut_short(self) -> None:
        """Tell it until it ends or the power goes."""
        told = asyncio.get_running_loop().create_task(self.tell())
        while not (told.done() or self.disk.dead):  # noqa: ASYNC110 - the disk has no event
            await asyncio.sleep(0.001)
        if self.disk.dead:
            told.cancel()
            await asyncio.gather(told, return_exceptions=True)
            if self.log is not None and self.log._writer is not None:
                self.log._writer.cancel()
                await asyncio.gather(self.log._writer, return_exceptions=True)
        else:
            await told


def check(story: Story, *, may_be_gaps: Collection[Gap] = ()) -> Watched:
    """What a restart finds."""
    disk = story.disk
    disk.dead, disk.at, disk.capacity_bytes = False, -2, ROOM
    watched = Watched(disk)
    bodies = {one.position: one.body for one in watched.found if one.kind == COMMIT}
    for position, body in story.confirmed.items():
        assert bodies.pop(position) == body, "confirmed, so it is there"
        assert watched.log.read(position, len(body)) == body
    gaps = [gap for gap in watched.gaps if gap not in may_be_gaps]
    if story.damaged is None:
        assert gaps == []
    else:
        position, body = story.damaged
        bodies.pop(position, None)
        for gap in gaps:
            assert (gap.position, gap.end) == (position, position + HEADER_BYTES + len(body))
            kept = f"quarantine/{position:016x}-{gap.end - position}.bad"
            if "0000000000000000.seg" not in disk.list("log"):
                spoiled = disk.read(kept, 0, 1000)[HEADER_BYTES:]
                assert sum(a != b for a, b in zip(spoiled, body, strict=True)) == 1
    for body in bodies.values():
        assert body in story.unsure, "what is there besides was on its way"
        assert body not in story.refused
    assert [name for name in disk.list("log") if name.endswith(".tmp")] == []
    return watched


def told(seed: int, at: int, what: str, *, crash: bool = True) -> Story:
    """The story with something going wrong at one call, and what a restart finds."""

    async def tell() -> Story:
        story = Story(Faulty(seed, at, what))
        await story.cut_short()
        story.calls = list(story.disk.calls)
        if crash:
            story.disk.crash()
        watched = check(story)
        watched.log.start()
        await watched.write_group([b"goes on"])
        await Sealer(story.disk, watched.log, bytes_per_second=1 << 40).seal_all()
        await watched.log.close()
        story.unsure.append(b"goes on")
        check(story)
        return story

    return run(tell())


@pytest.fixture(scope="module")
def calls() -> list[str]:
    """All calls of the story when nothing goes wrong."""
    story = told(0, -2, "nothing")
    assert story.failures == []
    assert len(story.refused) == 1, "it was without room, once its reserve was used up"
    assert len(story.confirmed) > 15
    assert story.disk.list("quarantine") != []
    assert sum(name.endswith(".sealed") for name in story.disk.list("log")) >= 4
    assert RESERVE in story.disk.list("")
    return story.calls


def test_the_story_makes_every_kind_of_call(calls):
    assert set(calls) == set(CALLS)


@pytest.mark.parametrize("what", ["before", "half", "after"])
def test_a_crash_at_any_call_loses_nothing_that_was_confirmed(calls, what):
    for at in range(len(calls)):
        for seed in range(3):
            try:
                told(seed, at, what)
            except BaseException as error:
                raise AssertionError(f"{what} call {at}, {calls[at]}, seed {seed}") from error


@pytest.mark.parametrize("what", sorted(ERRORS))
def test_an_error_of_any_call_is_told_or_handled_and_loses_nothing(calls, what):
    for at, call in enumerate(calls):
        if what == "full" and call not in ("append", "rename", "remove"):
            continue  # these need no room
        if what.startswith("half") and call != "append":
            continue
        for crash in (False, True):
            try:
                story = told(1, at, what, crash=crash)
            except BaseException as error:
                raise AssertionError(f"{what} in call {at}, {call}, {crash=}") from error
            if call in ("sync", "sync_names") and what == "unconfirmed":
                assert [type(error) for error in story.failures] == [SyncFailed]


# -- a disk without room ---------------------------------------------------------------------------


def test_without_room_the_group_is_dropped_and_a_small_record_can_be_written():
    async def story(then: Callable[[Log], int]) -> None:
        disk = SimDisk(Random(0), sync_seconds=0.0)
        watched = Watched(disk, segment_bytes=1000)
        log = watched.log
        log._reserve_bytes = 400
        log.start()
        (kept,) = await watched.write_group([b"kept"])
        log.keep_reserve()
        await asyncio.sleep(0.01)
        disk.capacity_bytes -= disk.free() - 10
        written: list[int] = []
        log._on_dropped = lambda end: (watched.dropped.append(end), written.append(then(log)))[0]
        durable = log.durable
        lost = [log.wait(log.append(COMMIT, b"x" * 300)) for _ in range(2)]
        for future in lost:
            with pytest.raises(DiskFull, match="nothing was written"):
                await future
        assert (watched.dropped, watched.failures) == ([durable], [])
        await log.wait(written[0])
        assert log.read(kept, 4) == b"kept"
        disk.crash()
        assert [one.body for one in Watched(disk).found] == [OPENING, b"kept", b"small"]

    run(story(lambda log: log.append(COMMIT, b"small")))


@pytest.mark.parametrize("segment_bytes", [10, 1 << 20])
def test_what_was_dropped_does_not_come_back_after_a_crash(segment_bytes):
    async def story(seed: int) -> None:
        disk = SimDisk(Random(seed), sync_seconds=0.0)
        watched = Watched(disk, segment_bytes=segment_bytes)
        watched.log.start()
        await watched.write_group([b"kept"])
        disk.capacity_bytes -= disk.free() - 400
        with pytest.raises(DiskFull):
            await watched.write_group([b"first", b"x" * 500])
        await watched.log.abandon()
        disk.crash()
        assert [one.body for one in Watched(disk).found] == [OPENING, b"kept"]

    for seed in range(20):
        run(story(seed))


def test_a_segment_for_which_there_was_no_room_leaves_no_file():
    async def story() -> None:
        disk = SimDisk(Random(0), sync_seconds=0.0)
        watched = Watched(disk, segment_bytes=10)
        watched.log.start()
        await watched.write_group([b"kept"])
        disk.capacity_bytes -= disk.free() - 3
        with pytest.raises(DiskFull):
            await watched.write_group([b"lost"])
        assert len(disk.list("log")) == 1
        disk.capacity_bytes = ROOM
        await watched.write_group([b"more"])
        await watched.log.close()
        assert len(disk.list("log")) == 2
        assert [one.body for one in Watched(disk).found] == [OPENING, b"kept", OPENING, b"more"]

    run(story())


def test_the_reserve_is_made_once_and_again_when_it_was_given_up():
    async def story() -> None:
        disk = SimDisk(Random(0), sync_seconds=0.0)
        watched = Watched(disk)
        watched.log._reserve_bytes = 100
        watched.log.start()
        for _ in range(3):
            watched.log.keep_reserve()
            await asyncio.sleep(0.01)
            assert disk.size(RESERVE) == 100
            assert disk._files[RESERVE].named
        disk.remove(RESERVE)
        disk.capacity_bytes = DISK_RESERVE_BYTES
        watched.log.keep_reserve()
        await asyncio.sleep(0.01)
        assert disk.list("") == [], "there is no room to spare"
        disk.capacity_bytes = ROOM
        watched.log.keep_reserve()
        await asyncio.sleep(0.01)
        assert disk.size(RESERVE) == 100
        await watched.log.close()

    run(story())
