"""What was settled once stays as it is (I4), and is the same at every node (I5)."""

from __future__ import annotations

from collections.abc import Iterable

from ..history import History, Prefix


def prefixes_never_change(history: History) -> list[str]:
    """Of all that one node ever showed as settled, one is a prefix of the other."""
    problems = []
    for node in history.members:
        problems += _clashes(prefix for prefix in history.prefixes if prefix.node == node)
    return problems


def prefixes_agree(history: History) -> list[str]:
    """Of all that any two nodes ever showed as settled, one is a prefix of the other."""
    return _clashes(history.prefixes)


def _clashes(prefixes: Iterable[Prefix]) -> list[str]:
    """Where some prefix of a shard parts from the longest one that was seen before it."""
    longest: dict[int, Prefix] = {}
    problems = []
    for prefix in prefixes:
        other = longest.setdefault(prefix.shard, prefix)
        for number, (mine, theirs) in enumerate(zip(prefix.rows, other.rows, strict=False)):
            if mine != theirs:
                problems.append(
                    f"commit {number} of shard {prefix.shard} is {mine} with outcome "
                    f"{mine.outcome} at {prefix}, and {theirs} with outcome {theirs.outcome} at "
                    f"{other}"
                )
                break
        if len(prefix.rows) > len(other.rows):
            longest[prefix.shard] = prefix
    return problems
