"""Data directories made record by record, and read back."""

from __future__ import annotations

from random import Random

from anabranch.gossip.members import Members
from anabranch.node.history import History
from anabranch.node.recovery import recover
from anabranch.node.strays import Strays
from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.loop import run
from anabranch.storage.index import MemoryIndex
from anabranch.storage.log import Log
from anabranch.storage.state import State, state_body

from .commits import SHARDS
from .lives import MINE, TABLE, Life


def log_of(disk: SimDisk) -> Log:
    return Log(
        disk,
        opening_state=lambda: state_body(state()),
        on_durable=lambda end: None,
        on_failure=lambda error: None,
    )


def state(**changes: object) -> State:
    rows = [(one.name, one.site, one.priority, int(one.name[1:])) for one in TABLE]
    parts: dict[str, object] = {
        "origin": MINE,
        "boot": 1,
        "shards": SHARDS,
        "cluster": "cluster",
        "node": f"n{MINE}",
        "ceiling": 0,
        "members": rows,
        "watermarks": {},
    }
    return State(**(parts | changes))  # type: ignore[arg-type]


def forming() -> list[tuple[str, str, int, int]]:
    """The members in a state of a cluster of which one origin is not known yet."""
    return [*state().members[:-1], (*state().members[-1][:3], 0)]


def directory(*records: tuple[int, bytes]) -> SimDisk:
    """A disk whose log has these records and no opening state of its own."""
    disk = SimDisk(Random(0))

    async def write() -> None:
        log = log_of(disk)
        list(log.replay(0))
        log.start()
        for kind, body in records:
            log._put(kind, body)
        log._wake.set()
        await log.wait(log.end - 1)
        await log.close()

    run(write())
    return disk


def recovered_from(disk: SimDisk) -> Life:
    return Life(disk, MemoryIndex())


def recover_only(disk: SimDisk) -> None:
    log = log_of(disk)
    history = History(MemoryIndex(), log, SHARDS)
    members = Members("cluster", SHARDS, f"n{MINE}", TABLE)
    recover(log, history, members, Strays(history))
