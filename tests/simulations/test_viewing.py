"""What readers are shown is held against what the index has, not what the fold remembers."""

from __future__ import annotations

import asyncio

from anabranch.simulations.checkers.latest import latest_is_whole
from anabranch.simulations.history import History
from anabranch.simulations.watch.viewing import Viewer
from anabranch.simulations.world.world import World
from anabranch.storage.commit import Draft, shard_of

from .bugs.fold import forget_that_an_id_was_just_settled
from .stories import append, in_virtual_time


@in_virtual_time
async def test_an_id_that_is_settled_and_shown_again_is_noticed():
    world = World(1, [("ny", 1), ("lon", 1)])
    await world.start()
    await append(world, "ny1", "first", stream="s")
    await world.until_settled()
    await world.crash("lon1")
    node = world.nodes["ny1"]
    draft = Draft("s", ["t"], [b"1"], commit_id=b"i" * 16)
    held = [node.store.stamp(draft, node.clock.wall_ms()) for _ in range(2)]
    await node.log.wait_all()
    await asyncio.sleep(0.1)
    shard = shard_of("s", node.config.shards)
    with forget_that_an_id_was_just_settled():
        assert node.history.settle(shard, held[0].key[0], 512) == held[:1]
        node.history.write_settled()
    node.history.stream("s").refold_from(held[1])  # as when a commit arrives that comes before it
    history = History(tuple(world.names))
    Viewer(world, history, {}, lambda _: None).read_latest("ny1")
    (read,) = history.latest
    assert [row.id for row in read.shown] == [b"i" * 16]
    assert latest_is_whole(history), f"shown as {read.shown[0].outcome}, though its id is settled"
    await world.stop()
