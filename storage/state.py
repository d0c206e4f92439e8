"""State records: what a node must not forget besides commits.

Every segment begins with one that names the watermarks of all shards and how much there is of every
log, so the last segment tells everything, and what damage before it has taken is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .commit import FORMAT, pack, unpack
from .errors import BadFrame, DamagedLog


@dataclass(slots=True)
class State:
    """What a state record says.

    `origin`: this node's own among the members, or with which it asks to be one. `ceiling`: no
    stamp was promised above it. `members`: name, site, priority and origin (0 while it is not
    known) of each founder; none later. `watermarks`: how far shards were settled; those that are
    not named did not change. `frontier`: (shard, origin, sequence) of all that was here when a
    segment began; empty in other states, and while that is not known. `aside`: origins under which
    this directory stamped without being a member. `seen`: of other origins the last boot that
    counted, its counter, and the highest counter before. `left`: it has left the cluster for good.
    `epochs`: what the epochs keep (gossip.epochs); empty where it did not change. `cut`: (shard,
    origin, sequence) of logs that end there as far as they were read before this record: what
    follows in them was not made by this directory alone. `boots`: the starts before this one, the
    newest last: one of this origin that is not among them was of a copy of this directory.
    `disputes`: (shard, origin, whether that log has parted) of what this node and another one
    can't both be right about.
    """

    origin: int
    boot: int
    shards: int
    cluster: str
    node: str
    ceiling: int = 0
    members: list[tuple[str, str, int, int]] = field(default_factory=list)
    watermarks: dict[int, int] = field(default_factory=dict)
    frontier: list[tuple[int, int, int]] = field(default_factory=list)
    aside: list[int] = field(default_factory=list)
    seen: list[tuple[int, int, int, int]] = field(default_factory=list)
    left: bool = False
    epochs: bytes = b""
    cut: list[tuple[int, int, int]] = field(default_factory=list)
    boots: list[int] = field(default_factory=list)
    disputes: list[tuple[int, int, bool]] = field(default_factory=list)

    @property
    def starts(self) -> list[int]:
        """The boots of this directory so far, the one that wrote this too."""
        return [*self.boots, self.boot]


def state_body(state: State) -> bytes:
    """The bytes of a state record."""
    return pack(
        (
            FORMAT,
            state.origin,
            state.boot,
            state.shards,
            state.cluster,
            state.node,
            state.ceiling,
            state.members,
            sorted(state.watermarks.items()),
            sorted(state.frontier),
            state.aside,
            state.seen,
            state.left,
            state.epochs,
            state.cut,
            state.boots,
            state.disputes,
        )
    )


def read_state(body: bytes) -> State:
    """Read a state record. Raises DamagedLog if this version does not know its form."""
    try:
        version, *parts = unpack(body)
        if version != FORMAT:
            raise DamagedLog(
                f"the data directory is of format {version}; this version reads format {FORMAT}: "
                "use the version that wrote it"
            )
        origin, boot, shards, cluster, node, ceiling, members, watermarks, frontier, *more = parts
        aside, seen, left, epochs, cut, boots, disputes = more
        return State(
            *(origin, boot, shards, cluster, node, ceiling),
            list(members),
            dict(watermarks),
            list(frontier),
            list(aside),
            list(seen),
            left,
            epochs,
            list(cut),
            list(boots),
            list(disputes),
        )
    except (BadFrame, ValueError, TypeError):
        raise DamagedLog("a state record is not what this version writes") from None
