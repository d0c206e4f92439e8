"""What the tests that tell a story in a simulated world have in common."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from anabranch.node.node import Node
from anabranch.node.receipt import Receipt
from anabranch.simulations.world.clock import EPOCH_MS
from anabranch.simulations.world.loop import run
from anabranch.simulations.world.world import World
from anabranch.storage.commit import Draft, keyed_commit_id
from anabranch.storage.stamp import STAMP_MAX, milliseconds

THREE = [("ny", 1), ("lon", 1), ("tok", 1)]


def in_virtual_time(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test's coroutine on the loop of the simulation."""

    @wraps(story)
    def test(*args: Any, **kwargs: Any) -> None:
        run(story(*args, **kwargs))

    return test


def draft(stream: str, key: str, size: int = 0, **options: int) -> Draft:
    """One event; its idempotency key is its body too."""
    payload = key.encode() + bytes(size)
    return Draft(stream, ["t"], [payload], commit_id=keyed_commit_id(stream, key), **options)


async def append(
    world: World, name: str, key: str, *, stream: str = "s", ack: str = "local", **options: int
) -> Receipt:
    """Append one event at a node."""
    return await world.nodes[name].append(draft(stream, key, **options), ack=ack)


def settled(node: Node) -> list[tuple[object, ...]]:
    """All that a node shows as settled: (order key, commit id, outcome, first revision)."""
    rows = []
    for place in node.history.settled_order((0, 0, 0), STAMP_MAX - 1):
        commit = node.history.header(place.position, place.length)
        key = (place.stamp, place.priority, place.origin)
        rows.append((key, commit.id, place.outcome, place.first_revision))
    return rows


def lag_seconds(world: World, node: Node) -> float:
    """How long ago the last moment is up to which a node has settled everything."""
    now = EPOCH_MS / 1000 + node.clock.monotonic()
    return now - milliseconds(node.settler.final_until()) / 1000


def cut_pair(world: World, here: str, there: str) -> None:
    """Cut the links between two nodes; others still reach both."""
    world.network.cut(here, there)
    world.network.cut(there, here)


def disputes(world: World) -> dict[str, list[int]]:
    """The shards that each node disputes."""
    return {name: sorted(node.settler.disputes) for name, node in world.nodes.items()}
