"""Finding out what differs costs about as much as what does (I19, DESIGN 6).

Who has the same learns it from one hash. Where a shard differs its logs are named, and from each
log a path leads down to each difference, with the children of every node on it.
"""

from __future__ import annotations

from ...storage.merkle import FANOUT, HASH_BYTES
from ..history import Comparison, History

_EQUAL_BYTES = 200  # a question and an answer, once more if the other has not settled so far
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
    """How many bytes a comparison may cost that found so much."""
    roots = one.shards * (HASH_BYTES + _NUMBER_BYTES)  # what differed may be healed by then
    if not one.differences:
        return _EQUAL_BYTES + roots
    below = one.logs * (_LOG_BYTES + _NODE_BYTES) + one.differences * one.levels * _NODE_BYTES
    return 2 * _EQUAL_BYTES + roots + below
