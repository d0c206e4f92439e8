"""Which commits of the small world have a place in the order, and which are appended again.

Real nodes go another way to the same end: who joins has a fresh origin, so that no log of a member
has anything below its floor (`Members.has_place`), and `node/strays.py` keeps what has no place.
"""

from collections.abc import Collection, Iterable

from anabranch.gossip.epoch import Epoch
from anabranch.gossip.frontier import LogKey


def counts(epoch: Epoch, log: LogKey, seq: int, stamp: int) -> bool:
    """Whether a commit has a place in the order: not that of an origin yet to join."""
    floors = {one.member.origin: one.member.floor for one in epoch.removed}
    floors |= {member.origin: member.floor for member in epoch.members}
    floor, limit = floors.get(log[1]), epoch.limit(log)
    return floor is not None and stamp > floor and (limit is None or seq <= limit)


def strays(
    epoch: Epoch,
    me: int,
    held: Iterable[tuple[LogKey, int, int, bytes]],
    given_up: Collection[int] = (),
) -> list[tuple[LogKey, int]]:
    """The commits that this node has to append again, in the order of their stamps.

    `held`: (log, sequence, stamp, commit id) of all that it has on disk, what was cut included.
    `me`: the origin under which it stamps now. `given_up`: origins that can't join any more.
    A commit has lost its place if it is above the finals of a removed origin, or below the floor
    of this node's own. Unless a commit with its id has one, it is appended again. To find out
    anew after a start is as good, so nothing is lost where a crash came between.
    """
    placed: set[bytes] = set()
    lost: dict[bytes, tuple[int, LogKey, int]] = {}
    for log, seq, stamp, commit_id in held:
        origin = log[1]
        if counts(epoch, log, seq, stamp):
            placed.add(commit_id)
        elif (
            origin in epoch.finals
            or origin in given_up
            or (origin == me and origin in epoch.joined)
        ):
            place = (stamp, log, seq)
            lost[commit_id] = min(place, lost.get(commit_id, place))
        elif origin == me:
            placed.add(commit_id)
    return [(log, seq) for _, log, seq in sorted(lost[one] for one in lost if one not in placed)]


# -- who may be removed, and what it costs ---------------------------------------------------
