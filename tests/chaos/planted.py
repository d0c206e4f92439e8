"""Runs `anabranch` with one bug in it: `python planted.py BUG node …`. For tests of the judge."""

from __future__ import annotations

import sys
from collections.abc import Callable

from anabranch.__main__ import main
from anabranch.node.appends import Appends
from anabranch.node.fold import Held, ShardFold
from anabranch.node.history import History
from anabranch.node.store import Store
from anabranch.storage.commit import Draft
from anabranch.storage.disk import FileDisk


async def _at_once(*_: object) -> None:
    """Waits for nothing."""


def no_fsync() -> None:
    """The log is written, and never synced."""
    FileDisk.sync = _at_once  # type: ignore[method-assign]


def answer_before_fsync() -> None:
    """An append is answered while it is on its way to the disk; a repetition waits as ever."""
    durable, stamp, new = Appends._durable, Store.stamp, set()

    def planted_stamp(self: Store, draft: Draft, wall_ms: int) -> Held:
        held = stamp(self, draft, wall_ms)
        new.add(id(held))
        return held

    async def planted_durable(self: Appends, held: Held) -> None:
        if id(held) not in new:
            await durable(self, held)
        new.discard(id(held))

    Store.stamp, Appends._durable = planted_stamp, planted_durable  # type: ignore[method-assign]


def no_commit_ids() -> None:
    """Nobody looks whether a commit id was there before."""
    History.find = lambda *_: None  # type: ignore[method-assign]
    ShardFold.seen = lambda *_: False  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    "no-fsync": no_fsync,
    "answer-before-fsync": answer_before_fsync,
    "no-commit-ids": no_commit_ids,
}

if __name__ == "__main__":
    BUGS[sys.argv.pop(1)]()
    sys.exit(main())
