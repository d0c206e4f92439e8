"""Finding out what differs costs about as much as what does (I19, DESIGN 6).

Who has the same learns it from one hash. Where a shard differs its logs are named, and from each
log a path leads down to each difference, with the children of every node on it.
"""

from __future__ import annotations

from ...storage.merkle import FANOUT, HASH_BYTES
from ..history import Comparison, History

_ROUND_BYTES = 80  # a question and an answer that name one hash
_NUMBER_BYTES = 9  # at most, in a frame
_NODE_BYTES = 5 * _NUMBER_BYTES + FANOUT * HASH_BYTES + 3  # what is asked for, and its children
_LOG_BYTES = 3 * _NUMBER_BYTES + HASH_BYTES + 3


def comparing_is_cheap(history: History) -> list[str]:
    """Hold the bytes of each comparison against what it found."""
    return [
        f"{one.node} found {one.differences} differences with {one.bytes} bytes, {allowed} would do"
        for one in history.comparisons
        if one.bytes > (allowed := compared_allowed(one))
    ]


def compared_allowed(one: Comparison) -> int:
    """How many bytes a comparison may cost that found so much.

    What differed may be healed when the shards, or their logs, are compared: then the roots are
    named for nothing, or one path is gone.
    """
    rounds = one.rounds * _ROUND_BYTES
    roots = one.shards * (HASH_BYTES + _NUMBER_BYTES)
    if not one.differing:
        return rounds + roots
    paths = one.logs + max(1, one.differences) * one.levels
    return rounds + roots + one.logs * _LOG_BYTES + paths * _NODE_BYTES
