"""Commits for the tests of fold and history, and the fold in its plainest form."""

from __future__ import annotations

from collections.abc import Iterable

from anabranch.node.fold import (
    ACCEPTED,
    KEPT,
    REJECTED,
    SHADOWED,
    TENTATIVE,
    Held,
    OrderKey,
)
from anabranch.storage.commit import (
    EXPECT_ANY,
    EXPECT_EXISTS,
    KEEP,
    REJECT,
    Draft,
    commit_hash,
    shard_of,
    stamped,
)

SHARDS = 2
ORIGINS = {11: 0, 22: 1, 33: 1}  # origin: priority of its site
STREAMS = ["a", "b", "c", "d{a}"]

Verdict = tuple[int, int]  # (outcome, first revision)


def commit_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def draft(
    stream: str, number: int, *, count: int = 1, expected: int = EXPECT_ANY, policy: int = REJECT
) -> Draft:
    payloads = [b"%d" % place for place in range(count)]
    return Draft(
        stream, ["t"], payloads, commit_id=commit_id(number), expected=expected, policy=policy
    )


def body_of(drafted: Draft, origin: int, seq: int, stamp: int) -> bytes:
    return stamped(drafted, shard_of(drafted.stream, SHARDS), origin, seq, stamp)[1]


def held(drafted: Draft, origin: int, seq: int, stamp: int, *, position: int = 0) -> Held:
    one = Held()
    shard = shard_of(drafted.stream, SHARDS)
    header, body = stamped(drafted, shard, origin, seq, stamp)
    one.key = (stamp, ORIGINS[origin], origin)
    one.stream, one.shard, one.seq = drafted.stream, shard, seq
    one.id, one.hash, one.count = drafted.commit_id, commit_hash(header), drafted.count
    one.expected, one.policy = drafted.expected, drafted.policy
    one.position, one.length = position, len(body)
    one.durable, one.known_before, one.outcome = True, False, TENTATIVE
    return one


def folded(commits: Iterable[Held]) -> dict[OrderKey, Verdict]:
    """What becomes of a set of commits, straight from the three rules of DESIGN 3."""
    seen: set[tuple[int, bytes]] = set()
    last: dict[str, int] = {}
    verdicts = {}
    for one in sorted(commits, key=lambda one: one.key):
        revision = last.get(one.stream, -1)
        fit = one.expected in (EXPECT_ANY, revision)
        fit = fit or (one.expected == EXPECT_EXISTS and revision >= 0)
        if (one.shard, one.id) in seen:
            outcome = SHADOWED
        elif fit:
            outcome = ACCEPTED
        else:
            outcome = KEPT if one.policy == KEEP else REJECTED
        seen.add((one.shard, one.id))
        verdicts[one.key] = (outcome, revision + 1)
        if outcome in (ACCEPTED, KEPT):
            last[one.stream] = revision + one.count
    return verdicts
