"""The log: frame, write, sync, and only then tell anyone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage.disk import FileDisk
from anabranch.storage.errors import AnabranchError, DamagedLog, DiskError, DiskFull, SyncFailed
from anabranch.storage.limits import GROUP_BYTES_MAX, RECORD_BYTES_MAX
from anabranch.storage.record import COMMIT, HEADER_BYTES, STATE
from anabranch.storage.segment import segment_name

from .logs import OPENING, Watched, bodies_of, files_of, quiet_disk


class SlowDisk(SimDisk):
    """A disk whose syncs return when the test lets them; it notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(Random(0), sync_seconds=0.0)
        self.asked: list[str] = []
        self.let_go = asyncio.Semaphore(0)
        self.synced_bytes = 0

    def append(self, name: str, data: bytes) -> None:
        self.asked.append(f"append {len(data)}")
        super().append(name, data)

    async def sync(self, name: str) -> None:
        self.asked.append("sync")
        await self.let_go.acquire()
        await super().sync(name)
        self.synced_bytes = sum(file.synced for file in self._files.values())

    def sync_names(self, folder: str) -> None:
        self.asked.append("sync_names")
        super().sync_names(folder)


async def turns() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)


# -- appending -----------------------------------------------------------------------------------


def test_replay_finds_what_was_appended_in_order():
    bodies = [bytes([number]) * number for number in range(50)]

    async def story() -> None:
        disk = quiet_disk()
        first = Watched(disk)
        assert (first.log.end, first.found) == (0, [])
        first.log.start()
        positions = []
        for group in (bodies[:1], bodies[1:20], bodies[20:]):
            positions += await first.write_group(group)
        await first.log.close()
        again = Watched(disk)
        assert bodies_of(again.found) == bodies
        assert [one.position for one in again.found[1:]] == positions
        assert again.found[0].body == OPENING
        assert again.log.end == again.log.durable == first.log.end
        assert again.log.torn is None

    run(story())


def test_a_log_goes_on_where_it_ended():
    async def story() -> None:
        disk = quiet_disk()
        for life in range(5):
            watched = Watched(disk)
            assert bodies_of(watched.found) == [b"%d" % number for number in range(life)]
            watched.log.start()
            await watched.write_group([b"%d" % life])
            await watched.log.close()

    run(story())


def test_positions_are_given_at_once_and_never_change():
    async def story() -> None:
        disk = quiet_disk()
        watched = Watched(disk, segment_bytes=300)
        watched.log.start()
        given = {}
        for number in range(30):
            body = b"%03d" % number * 20
            given[watched.log.append(COMMIT, body)] = body
            if number % 7 == 0:
                await turns()
        await watched.log.close()
        for log in (watched.log, Watched(disk).log):
            assert {
                position: log.read(position, len(body)) for position, body in given.items()
            } == given

    run(story())


def test_what_gathers_while_one_group_is_synced_is_the_next_group():
    async def story() -> None:
        disk = SlowDisk()
        watched = Watched(disk)
        watched.log.start()
        watched.log.append(COMMIT, b"a")
        await turns()
        opening, one = HEADER_BYTES + len(OPENING), HEADER_BYTES + 1
        assert disk.asked == [f"append {opening + one}", "sync"]
        for body in (b"b", b"c", b"d"):
            watched.log.append(COMMIT, body)
            await turns()
        assert len(disk.asked) == 2
        disk.let_go.release()
        await turns()
        assert disk.asked[2:] == ["sync_names", f"append {3 * one}", "sync"]
        assert watched.durable == [opening + one]
        disk.let_go.release()
        await turns()
        assert watched.durable == [opening + one, opening + 4 * one]
        await watched.log.close()

    run(story())


def test_nothing_is_told_before_its_sync_has_returned():
    async def story() -> None:
        disk = SlowDisk()
        told: list[tuple[int, int]] = []
        watched = Watched(disk, on_durable=lambda end: told.append((end, disk.synced_bytes)))
        watched.log.start()
        waiting = []
        for number in range(6):
            position = watched.log.append(COMMIT, b"%d" % number)
            waiting.append(watched.log.wait(position))
            await turns()
            assert not any(future.done() for future in waiting[len(told) * 3 :])
            if number % 3 == 2:
                assert watched.log.durable == (told[-1][0] if told else 0)
                disk.let_go.release()
                await turns()
        assert len(told) == 2
        assert all(end <= synced for end, synced in told)
        await watched.log.abandon()

    run(story())


def test_on_durable_is_called_in_order_and_before_anyone_wakes():
    async def story() -> None:
        order: list[str] = []
        watched = Watched(quiet_disk(), on_durable=lambda end: order.append(f"durable {end}"))
        watched.log.start()

        async def append(number: int) -> None:
            position = watched.log.append(COMMIT, b"%d" % number)
            await watched.log.wait(position)
            assert watched.log.durable > position
            order.append(f"woken {number}")

        await asyncio.gather(*(append(number) for number in range(3)))
        await append(3)
        assert [line.split()[0] for line in order] == [
            "durable",
            *["woken"] * 3,
            "durable",
            "woken",
        ]
        assert watched.durable == sorted(watched.durable)
        await watched.log.close()

    run(story())


def test_waiting_for_something_that_is_on_disk_is_over_at_once():
    async def story() -> None:
        watched = Watched(quiet_disk())
        watched.log.start()
        (position,) = await watched.write_group([b"x"])
        assert watched.log.wait(position).done()
        assert watched.log.backlog_bytes == 0
        await watched.log.close()

    run(story())


def test_who_waits_for_an_earlier_record_does_not_wait_for_a_later_one():
    async def story() -> None:
        disk = SlowDisk()
        watched = Watched(disk)
        watched.log.start()
        first = watched.log.append(COMMIT, b"first")
        await turns()
        second = watched.log.append(COMMIT, b"second")
        later, earlier = watched.log.wait(second), watched.log.wait(first)
        disk.let_go.release()
        await turns()
        assert earlier.done()
        assert not later.done()
        disk.let_go.release()
        await later
        await watched.log.close()

    run(story())


def test_callers_that_gave_up_disturb_nobody():
    async def story() -> None:
        watched = Watched(quiet_disk())
        watched.log.start()
        futures = [watched.log.wait(watched.log.append(COMMIT, b"%d" % n)) for n in range(5)]
        futures[0].cancel()
        futures[3].cancel()
        await asyncio.gather(futures[1], futures[2], futures[4])

        async def caller() -> None:
            await watched.log.wait(watched.log.append(COMMIT, b"gone"))

        task = asyncio.create_task(caller())
        await asyncio.sleep(0)
        task.cancel()
        await watched.write_group([b"after"])
        await watched.log.close()

    run(story())


def test_a_cancelled_append_stays_in_the_log():
    async def story() -> list[bytes]:
        disk = quiet_disk()
        watched = Watched(disk)
        watched.log.start()
        watched.log.wait(watched.log.append(COMMIT, b"gone")).cancel()
        await watched.log.close()
        return bodies_of(Watched(disk).found)

    assert run(story()) == [b"gone"]


def test_closing_writes_what_waits():
    async def story() -> list[bytes]:
        disk = quiet_disk()
        watched = Watched(disk)
        watched.log.start()
        for number in range(5):
            watched.log.append(COMMIT, b"%d" % number)
        await watched.log.close()
        return bodies_of(Watched(disk).found)

    assert run(story()) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_log_that_was_never_started_can_be_closed():
    run(Watched(quiet_disk()).log.close())


def test_more_than_may_wait_for_the_disk_is_full():
    async def story() -> None:
        watched = Watched(quiet_disk())
        assert not watched.log.full
        while watched.log.backlog_bytes <= GROUP_BYTES_MAX:
            assert not watched.log.full
            watched.log.append(COMMIT, bytes(RECORD_BYTES_MAX // 2))
        assert watched.log.full
        watched.log.start()
        await watched.log.wait(watched.log.end - 1)
        assert not watched.log.full
        await watched.log.close()

    run(story())


def test_a_record_that_a_scan_would_take_for_damage_is_a_bug():
    watched = Watched(quiet_disk())
    with pytest.raises(AssertionError):
        watched.log.append(COMMIT, bytes(RECORD_BYTES_MAX + 1))


# -- segments ------------------------------------------------------------------------------------


def test_every_segment_begins_with_a_state_and_where_the_one_before_ends():
    async def story() -> None:
        disk = quiet_disk()
        watched = Watched(disk, segment_bytes=200)
        watched.log.start()
        for number in range(20):
            await watched.write_group([b"%02d" % number * 40])
        await watched.log.close()
        files = files_of(disk)
        base = 0
        for name, data in files.items():
            assert name == segment_name(base)
            base += len(data)
        assert len(files) == watched.log.segments > 5
        again = Watched(disk)
        assert {one.position for one in again.found if one.kind == STATE} == {
            int(name[4:20], 16) for name in files
        }
        assert bodies_of(again.found) == [b"%02d" % number * 40 for number in range(20)]
        assert base == again.log.end

    run(story())


def test_segments_smaller_than_a_state_do_not_run_away():
    async def story() -> None:
        disk = quiet_disk()
        watched = Watched(disk, segment_bytes=1)
        watched.log.start()
        for number in range(4):
            await watched.write_group([b"%d" % number])
        await turns()
        await watched.log.close()
        assert len(files_of(disk)) == 4

    run(story())


def test_a_new_segment_is_named_durably_before_it_is_told():
    async def story() -> None:
        disk = quiet_disk()

        def named(end: int) -> None:
            assert all(file.named for file in disk._files.values())

        watched = Watched(disk, segment_bytes=100, on_durable=named)
        watched.log.start()
        for _ in range(5):
            await watched.write_group([b"x" * 100])
        await watched.log.close()
        assert watched.failures == []

    run(story())


def test_a_segment_that_a_crash_left_empty_gets_its_opening_state():
    async def story() -> None:
        disk = quiet_disk()
        watched = Watched(disk, segment_bytes=100)
        watched.log.start()
        await watched.write_group([b"a" * 100])
        await watched.write_group([b"lost"])
        await watched.log.close()
        disk.truncate("log/" + disk.list("log")[1], 0)
        again = Watched(disk, segment_bytes=100)
        again.log.start()
        (position,) = await again.write_group([b"b"])
        await again.log.close()
        found = Watched(disk).found
        assert [one.kind for one in found] == [STATE, COMMIT, STATE, COMMIT]
        assert found[-1].position == position

    run(story())


def test_replay_begins_where_it_is_asked_to():
    async def story() -> None:
        disk = quiet_disk()
        watched = Watched(disk, segment_bytes=100)
        watched.log.start()
        for number in range(6):
            await watched.write_group([b"%d" % number * 100])
        await watched.log.close()
        log = Watched(disk).log
        bases = [int(name[4:20], 16) for name in files_of(disk)]
        for base in bases:
            assert log.segment_base(base) == log.segment_base(base + 60) == base
            found = bodies_of(Watched(disk).log.replay(base))
            assert found == [b"%d" % number * 100 for number in range(bases.index(base), 6)]

    run(story())


@pytest.mark.parametrize("torn", [b"", b"\xab\x01 cut short"])
def test_what_is_written_after_a_replay_that_read_nothing_is_linked_to_what_stands_before(torn):
    """An index that is as new as the log: the replay begins at its end."""

    async def story() -> None:
        disk = quiet_disk()
        watched = Watched(disk)
        watched.log.start()
        await watched.write_group([b"a", b"b"])
        await watched.log.close()
        end = watched.log.end
        if torn:
            disk.append("log/0000000000000000.seg", torn)
        log = Watched(disk).log
        assert list(log.replay(end)) == []
        log.start()
        await log.wait(log.append(COMMIT, b"c"))
        await log.close()
        again = Watched(disk)
        assert bodies_of(again.found) == [b"a", b"b", b"c"]
        assert (again.gaps, again.log.torn) == ([], None)

    run(story())


def test_other_files_in_the_folder_are_left_alone():
    async def story() -> None:
        disk = quiet_disk()
        for name in ("zzzzzzzzzzzzzzzz.seg", "0x0000000000000f.seg", "0.seg", "notes", "a.seg.tmp"):
            disk.append(f"log/{name}", b"not ours")
        watched = Watched(disk)
        watched.log.start()
        await watched.write_group([b"x"])
        await watched.log.close()
        assert bodies_of(Watched(disk).found) == [b"x"]
        assert disk.read("log/notes", 0, 99) == b"not ours"

    run(story())


# -- reading -------------------------------------------------------------------------------------


def test_a_damaged_record_is_never_read_out():
    async def story() -> None:
        disk = quiet_disk()
        watched = Watched(disk, segment_bytes=100)
        watched.log.start()
        await watched.write_group([b"first" * 20])
        (position,) = await watched.write_group([b"second"])
        offset = position - int(files_of(disk).popitem()[0][4:20], 16)
        name = disk.list("log")[-1]
        for byte in range(HEADER_BYTES + len(b"second")):
            for bit in range(8):
                disk.flip(f"log/{name}", offset + byte, 1 << bit)
                if byte < HEADER_BYTES or bit == 3:
                    with pytest.raises(DamagedLog, match=f"{name}, offset {offset}:"):
                        watched.log.read(position, len(b"second"))
                disk.flip(f"log/{name}", offset + byte, 1 << bit)
        assert watched.log.read(position, len(b"second")) == b"second"
        await watched.log.close()

    run(story())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p, n: (p + 1, n),
        lambda p, n: (p, n - 1),
        lambda p, n: (p, n + 1),
        lambda p, n: (1 << 40, n),
    ],
)
def test_a_wrong_place_is_not_read(wrong: Callable[[int, int], tuple[int, int]]):
    async def story() -> None:
        watched = Watched(quiet_disk())
        watched.log.start()
        position, _ = await watched.write_group([b"record", b"another"])
        with pytest.raises(DamagedLog):
            watched.log.read(*wrong(position, 6))
        await watched.log.close()

    run(story())


def test_a_record_at_the_place_of_another_is_not_read():
    async def story() -> None:
        disk = quiet_disk()
        watched = Watched(disk)
        watched.log.start()
        first, second = await watched.write_group([b"one", b"two"])
        (data,) = files_of(disk).values()
        length = HEADER_BYTES + 3
        for place, other in ((first, second), (second, first)):
            for at in range(length):
                disk.flip(segment_name(0), place + at, data[place + at] ^ data[other + at])
        for position in (first, second):
            with pytest.raises(DamagedLog, match=f"offset {position}:"):
                watched.log.read(position, 3)
        await watched.log.close()

    run(story())


# -- a disk that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["sync", "names", "writes"])
def test_after_a_failure_nothing_is_ever_confirmed(cause, monkeypatch):
    kinds: dict[str, type[AnabranchError]] = {
        "sync": SyncFailed,
        "names": SyncFailed,
        "writes": DiskError,
    }
    kind = kinds[cause]

    async def story() -> None:
        disk = SimDisk(Random(0))
        watched = Watched(disk, segment_bytes=100)
        watched.log.start()
        (kept,) = await watched.write_group([b"kept" * 25])
        told = list(watched.durable)
        if cause == "sync":
            disk.failing_syncs = True
        elif cause == "names":

            def broken(folder: str) -> None:
                raise SyncFailed(f"the disk did not confirm {folder}")

            monkeypatch.setattr(disk, "sync_names", broken)
        else:
            disk.failing_writes = True
        futures = [watched.log.wait(watched.log.append(COMMIT, b"%d" % n)) for n in range(3)]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert {type(result) for result in results} == {kind}
        assert [type(error) for error in watched.failures] == [kind]
        disk.failing_syncs = disk.failing_writes = False
        with pytest.raises(kind):
            await watched.log.wait(watched.log.append(COMMIT, b"later"))
        with pytest.raises(kind):
            await watched.log.wait(kept)
        await turns()
        assert watched.durable == told
        assert watched.log.read(kept, 100) == b"kept" * 25
        await watched.log.close()

    run(story())


def test_a_failed_sync_before_the_first_group_confirms_nothing():
    async def story() -> None:
        disk = quiet_disk()
        watched = Watched(disk)
        watched.log.start()
        await watched.write_group([b"x"])
        await watched.log.close()
        disk.failing_syncs = True
        again = Watched(disk)
        again.log.start()
        future = again.log.wait(again.log.append(COMMIT, b"y"))
        with pytest.raises(SyncFailed):
            await future
        assert again.durable == []
        assert [type(error) for error in again.failures] == [SyncFailed]

    run(story())


def test_after_a_full_disk_a_restart_with_room_has_all_that_was_confirmed():
    async def story() -> None:
        disk = SimDisk(Random(0), capacity_bytes=1000)
        watched = Watched(disk, segment_bytes=300)
        watched.log.start()
        confirmed = 0
        while disk.free() > 200:
            await watched.write_group([b"%02d" % confirmed * 20])
            confirmed += 1
        with pytest.raises(DiskFull):
            await watched.write_group([bytes(200)])
        await watched.log.close()
        disk.crash()
        disk.capacity_bytes = 1 << 20
        again = Watched(disk)
        assert bodies_of(again.found) == [b"%02d" % number * 20 for number in range(confirmed)]
        assert confirmed > 5
        again.log.start()
        await again.write_group([b"room again"])
        await again.log.close()
        assert bodies_of(Watched(disk).found)[-1] == b"room again"

    run(story())


def test_a_bug_behind_the_log_ends_it_as_well():
    async def story() -> None:
        def broken(end: int) -> None:
            raise ZeroDivisionError

        watched = Watched(quiet_disk(), on_durable=broken)
        watched.log.start()
        with pytest.raises(AnabranchError, match="a bug in the path of the log"):
            await watched.write_group([b"x"])
        assert len(watched.failures) == 1

    run(story())


def test_what_was_read_back_is_synced_before_anything_is_confirmed_on_top_of_it():
    async def story(seed: int) -> bool:
        disk = SimDisk(Random(seed))
        killed = Watched(disk, segment_bytes=100)
        killed.log.start()
        await killed.write_group([b"a" * 100])
        killed.log.append(COMMIT, b"b" * 100)
        await turns()
        await killed.log.abandon()  # a killed process: what it wrote is there, not synced
        again = Watched(disk)
        there = bodies_of(again.found)
        again.log.start()
        await again.write_group([b"c"])
        await again.log.abandon()
        disk.crash()
        found = bodies_of(Watched(disk).found)
        assert found[: len(there) + 1] == [*there, b"c"]
        return len(there) == 2

    assert {run(story(seed)) for seed in range(20)} == {True}


def test_what_is_behind_damage_is_synced_though_the_log_goes_on_in_a_new_segment():
    async def story(seed: int) -> None:
        disk = SimDisk(Random(seed))
        killed = Watched(disk)
        killed.log.start()
        (position,) = await killed.write_group([b"a" * 100])
        killed.log.append(COMMIT, b"b" * 100)
        await turns()
        await killed.log.abandon()
        disk.flip(segment_name(0), position + HEADER_BYTES)
        again = Watched(disk)
        assert bodies_of(again.found) == [b"b" * 100]
        again.log.start()
        await again.write_group([b"c"])
        await again.log.abandon()
        disk.crash()
        assert bodies_of(Watched(disk).found) == [b"b" * 100, b"c"]

    for seed in range(20):
        run(story(seed))


# -- the real disk -------------------------------------------------------------------------------


async def test_the_log_on_a_real_disk(tmp_path: Path):
    bodies = [bytes([number]) * 50 for number in range(40)]
    disk = FileDisk(tmp_path)
    watched = Watched(disk, segment_bytes=500)
    watched.log.start()
    for start in range(0, 40, 4):
        await watched.write_group(bodies[start : start + 4])
    await watched.log.close()
    disk.close()
    size = (tmp_path / segment_name(0)).stat().st_size
    assert 500 <= size < 1000

    disk = FileDisk(tmp_path)
    again = Watched(disk)
    assert bodies_of(again.found) == bodies
    again.log.start()
    await again.write_group([b"more"])
    await again.log.close()
    disk.close()

    last = max((tmp_path / "log").iterdir())
    last.write_bytes(last.read_bytes()[:-1])
    disk = FileDisk(tmp_path)
    torn = Watched(disk)
    assert bodies_of(torn.found) == bodies
    assert torn.log.torn is not None
    assert torn.log.torn.length == HEADER_BYTES + 3
    disk.close()
