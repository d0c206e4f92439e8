"""Hashes over what a node holds, for comparing two nodes: /v1/digest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from ..storage.errors import BadRequest, Unavailable
from ..storage.merkle import node_root

if TYPE_CHECKING:
    from .node import Node


def digest(node: Node, cut: int | None = None) -> dict[str, Any]:
    """Two kinds of hashes over the settled history, and the frontier.

    `settled` and the `hash` of a shard run over commits and what became of them; the Merkle roots
    are over all commits with stamps up to the cut, which is as late as this node can make it unless
    given. Two nodes with the same roots for the same cut hold the same commits there. `disputes`
    are the shards that this node settles no further, as another one has settled them differently.

    Raises Unavailable if this node has not settled so far.
    """
    final = node.settler.final_until()
    cut = final if cut is None else cut
    if cut > final:
        raise Unavailable(f"this node has settled up to {final:016x} only; ask again in a moment")
    roots = node.history.trees.roots(cut)
    shards = []
    whole = hashlib.sha256()
    commits = events = 0
    for shard, root in enumerate(roots):
        mark = node.history.mark(shard)
        commits += mark.commits
        events += mark.events
        whole.update(b"%d:%d:" % (shard, mark.commits) + mark.running)
        if mark.commits:
            row = {"shard": shard, "commits": mark.commits, "hash": mark.running.hex()}
            shards.append(row | {"root": root.hex()})
    frontier: dict[str, dict[str, int]] = {}
    for (shard, origin), seq in sorted(node.store.frontier.items()):
        frontier.setdefault(f"{origin:016x}", {})[str(shard)] = seq
    return {
        "node": node.me.name,
        "site": node.me.site,
        "settled": {"commits": commits, "events": events, "hash": whole.hexdigest()},
        "tentative_commits": node.history.tentative_commits,
        "cut": f"{cut:016x}",
        "root": node_root(roots).hex(),
        "shards": shards,
        "disputes": [
            {"shard": one, "why": why} for one, why in sorted(node.settler.disputes.items())
        ],
        "frontier": frontier,
    }


def read_cut(text: str) -> int | None:
    """The cut that a query names; None if it names none. Raises BadRequest."""
    try:
        cut = int(text, 16) if text else None
    except ValueError:
        cut = -1
    if cut is not None and not (0 <= cut < 1 << 64 and len(text) == 16):
        raise BadRequest(f"cut={text[:40]!r} is no stamp; use the `cut` of another digest")
    return cut
