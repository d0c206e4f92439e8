"""What a member saw of another one's directory: the question, and what follows from the answer.

To answer is to vouch: who has told one start of a directory that it saw no more tells every other
start so, unless that one knows of the first. Else a copy and its original that start in the same
moment could both be confirmed by all, each before the other one counts.
"""

from __future__ import annotations

from contextlib import suppress

from ..gossip.messages import Recall, Recalled
from ..storage.errors import DiskFull
from .store import Store


async def recalled(
    store: Store, recall: Recall, boot: int, before: list[int], wall_ms: int
) -> Recalled:
    """The answer to a boot of another node; `before`: those of its directory before that."""
    origin, seen = recall.origin, store.seen
    last, counter = seen.last(origin), seen.before(origin, boot)
    if last in (0, *before) and counter <= recall.counter:
        seen.vouch(origin, boot, recall.counter, before)
        with suppress(DiskFull):  # then it is remembered until a restart
            await store.log.wait(store.store_state(wall_ms))
    logs = [(shard, seq) for (shard, of), seq in store.frontier.items() if of == origin]
    return Recalled(origin, last, counter, logs)


def is_more(store: Store, answer: Recalled) -> bool:
    """Whether a member saw commits or starts of this node of which its directory does not know."""
    mine, holes = answer.origin, store.holes
    longer = not holes.unsure and any(
        seq > holes.had((shard, mine), store.arrived(shard, mine)) for shard, seq in answer.logs
    )
    return longer or bool(answer.boot and not store.was_started_as(answer.boot))
