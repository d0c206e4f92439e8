"""Appends at one node: checked against what is here, stamped, made durable, answered.

An append that is here already is answered as the first time. Who asks for `settled` waits until
the place in the order is final; if the commit is appended again meanwhile, for that one's.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from ..storage.commit import Draft, shard_of
from ..storage.errors import (
    AnabranchError,
    DamagedLog,
    DiskFull,
    Overloaded,
    RevisionConflict,
    Unavailable,
    Unconfirmed,
    Unprocessable,
)
from ..storage.keys import Place
from .fold import SHADOWED, TENTATIVE, Held, OrderKey, fits
from .receipt import Receipt, place_receipt, settled_receipt, tentative_receipt

if TYPE_CHECKING:
    from .node import Node


class Appends:
    """The appends of one node, and who waits for them to become final."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.waiting: dict[OrderKey, list[asyncio.Future[None]]] = {}

    def settled(self, held: Held) -> None:
        """A commit is final, or has another place: wake who waits."""
        for future in self.waiting.pop(held.key, ()):
            if not future.done():  # its caller may have gone
                future.set_result(None)

    def cancel(self) -> None:
        """Nobody gets an answer any more."""
        for futures in self.waiting.values():
            for future in futures:
                future.cancel()

    async def append(self, draft: Draft, ack: str, timeout: float) -> Receipt:
        """Append a draft; return once it is as durable as `ack` asks, or the time is up.

        Raises CallerError, Unavailable, DiskFull: then nothing was written; and Unconfirmed.
        """
        try:
            return await self._append(draft, ack, timeout)
        except DamagedLog as error:  # found while looking up what is here; it may be written by now
            self._node.repair.notice(error)
            raise _unconfirmed(error) from error

    async def _append(self, draft: Draft, ack: str, timeout: float) -> Receipt:
        wall_ms = self._node.clock.wall_ms()
        self.check_ready(wall_ms)
        shard = shard_of(draft.stream, self._node.config.shards)
        self._node.repair.check_own(shard)
        known = self._node.history.find(draft.commit_id, shard) if draft.named else None
        if known is not None:
            return await self._append_again(draft, known, ack, timeout)
        revision = self._node.history.last_revision(draft.stream, shard)
        if not fits(draft.expected, revision):
            raise RevisionConflict(
                _conflict_text(draft.stream, draft.expected, revision),
                draft.stream,
                draft.expected,
                revision,
            )
        held = self._node.store.stamp(draft, wall_ms)
        await self._durable(held)
        return await self._receipt(held, ack, timeout, duplicate=False)

    async def _durable(self, held: Held) -> None:
        """Return when a commit of this node is on disk. Raises DiskFull, Unconfirmed."""
        try:
            await self._node.log.wait(held.position)
        except DiskFull:
            raise  # what was written of it is undone
        except AnabranchError as error:  # a part that was written may be there after a crash
            raise _unconfirmed(error) from error

    async def _append_again(
        self, draft: Draft, known: Held | Place, ack: str, timeout: float
    ) -> Receipt:
        """Answer a repeated append as the first time."""
        if isinstance(known, Held):
            await self._durable(known)
        first = self._node.history.header(known.position, known.length)
        if first.entry != draft.entry:
            raise Unprocessable(
                f"commit {draft.commit_id.hex()} of stream {draft.stream!r} is here already with "
                "another body: the same Idempotency-Key, or the same event ids, name the same "
                "append. Use a new key for a new append"
            )
        if isinstance(known, Place):
            return place_receipt(known, first, duplicate=True)
        return await self._receipt(known, ack, timeout, duplicate=True)

    async def _receipt(self, held: Held, ack: str, timeout: float, *, duplicate: bool) -> Receipt:
        if ack == "settled" and held.outcome == TENTATIVE:
            await self._until_settled(held, timeout)
        found = self._what_stands_for(held)
        if isinstance(found, Place):
            header = self._node.history.header(found.position, found.length)
            return place_receipt(found, header, duplicate=duplicate)
        held = found
        if held.outcome == SHADOWED:
            return self._first_of_its_id(held)
        if held.outcome != TENTATIVE:
            return settled_receipt(held, duplicate=duplicate)
        outcome, revision = self._node.history.tentative_outcome(held)
        if outcome == SHADOWED:  # a copy that came by another node stands before it
            return self._first_of_its_id(held, reached=ack != "settled")
        return tentative_receipt(
            held, outcome, revision, duplicate=duplicate, reached=ack != "settled"
        )

    def _what_stands_for(self, held: Held) -> Held | Place:
        """A commit, or what it has given way to: the same append, with a place."""
        history = self._node.history
        same = history.tentative_with(held.id, held.shard)
        if held.outcome != TENTATIVE or any(one is held for one in same):
            return held
        return history.find(held.id, held.shard) or held

    async def _until_settled(self, held: Held, timeout: float) -> None:
        """Return when a commit, or what stands for it, is settled, or the time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                found = self._what_stands_for(held)
                while isinstance(found, Held) and found.outcome == TENTATIVE:
                    await self._next_step(found)
                    found = self._what_stands_for(found)

    async def _next_step(self, held: Held) -> None:
        """Return when a commit is settled, or has given way to one that was appended again."""
        future = asyncio.get_running_loop().create_future()
        waiting = self.waiting.setdefault(held.key, [])
        waiting.append(future)
        self._node.replication.ask_to_close(held.key[0])
        self._node.settle_soon()
        try:
            await future
        finally:
            waiting.remove(future)
            if not waiting:
                self.waiting.pop(held.key, None)

    def _first_of_its_id(self, held: Held, *, reached: bool = True) -> Receipt:
        """The receipt of the commit that a shadowed one repeats."""
        first = self._node.history.find(held.id, held.shard)
        if first is None:
            raise TypeError("a shadowed commit has one before it")
        header = self._node.history.header(first.position, first.length)
        if header.entry != self._node.history.header(held.position, held.length).entry:
            raise Unprocessable(
                f"another append with the id {held.id.hex()} and another body comes first in the "
                "order; this one is not shown. Use a new Idempotency-Key"
            )
        if isinstance(first, Place):
            return place_receipt(first, header, duplicate=True)
        outcome, revision = self._node.history.tentative_outcome(first)
        return tentative_receipt(first, outcome, revision, duplicate=True, reached=reached)

    def check_ready(self, wall_ms: int, *, again: bool = False) -> None:
        """Raise what stands against an append now; who leaves still appends `again`."""
        node = self._node
        if node.failure is not None:
            raise Unavailable(f"this node is about to end: {node.failure}")
        if node.replication.stranger is not None:
            raise Unavailable(node.replication.stranger)
        if (node.membership.leaving and not again) or node.store.left:
            raise Unavailable("this node leaves the cluster, or has left it; append at another one")
        node.clocks.tell(wall_ms, node.clock.monotonic())
        if node.clocks.ahead_ms(node.store.hlc.last, wall_ms) > 0 or node.clocks.is_ahead:
            raise Unavailable(node.ahead_text() or "this node's clock was ahead; try again")
        if node.log.full:
            raise Overloaded("more is waiting for the disk than fits; try again in a moment")
        node.room.check()


def _unconfirmed(error: AnabranchError) -> Unconfirmed:
    return Unconfirmed(
        f"this append may survive or not: {error}. Send it again with the same Idempotency-Key, at "
        "another node or here when it is up again"
    )


def _conflict_text(stream: str, expected: int, revision: int) -> str:
    wanted = {-1: "an empty stream", -3: "a stream with events"}.get(
        expected, f"revision {expected}"
    )
    there = "is empty" if revision < 0 else f"is at revision {revision}"
    return f"{wanted} was expected, but stream {stream!r} {there}; read it and decide again"
