"""What a node says of itself: /v1/status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import __version__
from ..storage.limits import TWIN_SECONDS
from ..storage.stamp import milliseconds, stamp_of
from .changes import under_way
from .members_api import member_row, suspects_of
from .render import time_text
from .suspects import names_of

if TYPE_CHECKING:
    from .node import Node

_UNSURE_SECONDS = 5.0  # a start that is not sure of its directory by then waits for somebody
_LATE_BEATS = 5  # a watermark that is further behind than this is being held back


def status(node: Node) -> dict[str, Any]:
    """Who this node is, how its links and its clock are, and how far all is final."""
    needs = needs_of(node)
    return {
        "node": node.me.name,
        "site": node.me.site,
        "cluster": node.config.name,
        "origin": f"{node.store.origin:016x}",
        "boot": f"{node.boot:016x}",
        "epoch": node.members.number,
        "shards": node.config.shards,
        "version": __version__,
        "uptime_seconds": round(node.clock.monotonic() - node.started, 3),
        "state": state_of(node),
        "needs": needs,
        "members": [member_row(node, member.name) for member in node.members.table],
        "membership": under_way(node),
        "joining": _joining(node),
        "suspected": [
            {
                "name": one.name,
                "since": one.since,
                "silent_seconds": round(one.silent_seconds, 3),
                "waits": one.waits,
                "will_be": one.will,
            }
            for one in suspects_of(node).now()
        ],
        "strays": len(node.strays),
        "peers": [_peer(node, name) for name in node.replication.dialers],
        "watermark": _watermark(node),
        "disputed_shards": sorted(node.settler.disputes),
        "log": {
            "bytes": node.log.end,
            "segments": node.log.segments,
            "backlog_bytes": node.log.backlog_bytes,
            "sealed_segments": node.log.sealed,
            "free_bytes": node.room.free_bytes(),
        },
        "repair": _repair(node),
    }


def _repair(node: Node) -> dict[str, Any]:
    """Damage that was found on the disk, and what became of it."""
    holes, scrub = node.store.holes, node.scrub
    return {
        "damaged_ranges": [
            {"position": gap.position, "bytes": gap.end - gap.position} for gap in node.log.gaps
        ],
        "missing_commits": node.store.missing(),
        "healed_commits": holes.healed,
        "scrub": {
            "position": scrub.position,
            "passes": scrub.passes,
            "bytes": scrub.bytes,
            "found": scrub.found,
        },
        "compared": {
            name: {
                "times": turn.done,
                "differences": turn.differences,
                "up_to": time_text(milliseconds(turn.at)) if turn.at else None,
            }
            for name, turn in sorted(node.comparing.turns.items())
        },
    }


def state_of(node: Node) -> str:
    """One word for how the node is: the first of these that holds."""
    membership, left = node.membership, node.store.left
    states = (
        ("failed", node.failure is not None),
        ("stranger", node.replication.stranger is not None),
        ("left", left and membership.is_outside),
        ("leaving", left or membership.leaving),
        ("clock_ahead", node.ahead_text() is not None),
        ("disk_full", node.room.is_full),
        ("healing", bool(node.store.holes.mine)),
        ("forming", not node.members.complete),
        ("joining", membership.is_outside or owed_by(node, node.store.origin) > 0),
        ("unsure", not membership.sureness.sure),
    )
    return next((state for state, holds in states if holds), "ready")


def owed_by(node: Node, origin: int) -> int:
    """How many commits a member still has to copy before it counts, as far as it has told."""
    epoch, standings = node.members.epoch, node.settler.standings
    if epoch is None or origin not in epoch.joined or origin not in standings:
        return 0
    lacking, parted = epoch.lacks(standings.of(origin).frontier), node.store.disputes.parted
    return sum(count for log, count in lacking.items() if log not in parted)


def needs_of(node: Node) -> list[str]:
    """What an operator should do, in sentences; nothing if all is well."""
    needs = []
    if node.failure is not None:
        needs.append(str(node.failure))
    if node.replication.stranger is not None:
        needs.append(node.replication.stranger)
    ahead = node.ahead_text()
    if ahead is not None:
        needs.append(ahead)
    needs += [
        f"correct the clock of {name}: its commits are stamped ahead of time and are held back "
        "here until then"
        for name in _held_back(node)
    ]
    if node.room.is_full:
        needs.append("free some space on the data directory's disk: appends are refused")
    missing = node.store.missing()
    if missing:
        lost = f"look at the disk: it has lost {missing} commit{'s' if missing != 1 else ''}"
        needs.append(
            f"{lost}, fetched from the other members as soon as one that holds them can be reached"
            if node.replication.dialers
            else f"{lost}, and there is no other member: restore the `log` folder from a copy"
        )
    elif node.store.holes.unsure:
        needs.append(
            "start all members: damage may have taken commits that this node had made, and it "
            "appends no more before all have said what they hold of it"
        )
    unknown = [m.name for m in node.members.table if node.members.origin(m.name) is None]
    if unknown:
        needs.append(
            f"start {', '.join(unknown)}: nothing can settle before every member was seen once"
        )
    needs += _needs_of_membership(node)
    needs += list(node.settler.disputes.values())
    for name, dialer in node.replication.dialers.items():
        if dialer.state == "refused":
            needs.append(f"link to {name}: {dialer.error}")
    return needs


def has_a_namesake(node: Node) -> bool:
    """Whether a member with this node's name is heard, and is not this node."""
    other, membership = node.members.origin(node.me.name), node.membership
    if other is None or other == node.store.origin or not membership.sureness.sure:
        return False
    suspicion = membership.eviction.suspicion
    return suspicion.silent_seconds(other, node.clock.monotonic()) <= TWIN_SECONDS


def _needs_of_membership(node: Node) -> list[str]:
    membership, state = node.membership, state_of(node)
    needs = [] if membership.fork is None else [membership.fork]
    if state == "left":
        needs.append(f"stop {node.me.name}: it has left the cluster, and takes no appends")
    elif state == "leaving" and node.store.left and membership.epochs is not None:
        needs.append(
            f"if {node.me.name} does not go soon, ask it once more to leave: it has handed over "
            "all, and is still a member"
        )
    elif membership.is_outside and not membership.asks:
        needs.append(
            f"let {node.me.name} in: it is no member, and what it takes is not final before it is. "
            f"`anabranch members join {node.me.name}` at any member does that"
        )
    elif has_a_namesake(node):
        needs.append(
            f"stop one of the two processes that run as {node.me.name}: the members know the other "
            "one, and what this one takes is not final before it is let in"
        )
    needs += [
        f"wait for {one.name}: it has to copy {number} more commits before anything becomes final"
        for one in node.members.table
        if (number := owed_by(node, node.members.origin(one.name) or 0))
    ]
    needs += [one.text for one in suspects_of(node).now()]
    needs += _needs_of_the_unsure(node)
    strays = len(node.strays)
    if strays and node.store.settled_in and state in {"clock_ahead", "disk_full"}:
        needs.append(
            f"{strays} commits wait to be appended again until this node takes appends: nothing "
            "after them becomes final here before that"
        )
    return needs


def _needs_of_the_unsure(node: Node) -> list[str]:
    """Who has to confirm that this node's directory did not go back in time."""
    sureness, epoch = node.membership.sureness, node.members.epoch
    if sureness.sure or epoch is None or node.membership.is_outside:
        return []
    if node.clock.monotonic() - sureness.since < _UNSURE_SECONDS:
        return []
    silent = [
        name
        for name in names_of(epoch, epoch.origins)
        if name != node.me.name and name not in sureness.confirmed
    ]
    if not silent:  # there is no room to keep that it has started
        return []
    enough = "all members" if sureness.all_confirm else "a majority"
    who = f"start {', '.join(silent)}: until {enough} said what they saw of {node.me.name}, "
    return [
        who + "it can't know whether its directory went back in time: nothing it takes is final"
    ]


def _joining(node: Node) -> dict[str, int] | None:
    """How much a node that is joining has copied; None for who holds all that a member has to."""
    copies = node.membership.is_outside or owed_by(node, node.store.origin)
    copied = node.membership.copied if copies else None
    return None if copied is None else {"copied": copied[0], "of": copied[1]}


def _held_back(node: Node) -> dict[str, int]:
    """Members whose commits are held back, and of how many logs."""
    found: dict[str, int] = {}
    for _, origin in node.replication.welcome.held_back:
        name = node.members.name(origin)
        if name is not None:
            found[name] = found.get(name, 0) + 1
    return found


def _peer(node: Node, name: str) -> dict[str, Any]:
    dialer = node.replication.dialers[name]
    origin = node.members.origin(name)
    standing = None if origin is None else node.settler.standings.of(origin)
    lag = 0
    seconds = None
    if standing is not None:
        lag = sum(
            theirs - own
            for _, (own, theirs) in standing.frontier.behind(node.store.frontier).items()
        )
        if standing.promise:
            behind = node.clock.wall_ms() - milliseconds(standing.promise)
            seconds = round(max(0, behind) / 1000, 3)
    return {
        "name": name,
        "site": dialer.member.site,  # it may be none of the members: who waits to be one
        "link": dialer.state,
        "since_seconds": round(node.clock.monotonic() - dialer.since, 3),
        "error": dialer.error,
        "lag_commits": lag,
        "lag_seconds": seconds,
        "clock_offset_ms": None if origin is None else node.clocks.offset(origin),
        "held_back": _held_back(node).get(name, 0),
        "bytes_sent": node.replication.traffic[name].sent,
        "bytes_received": node.replication.traffic[name].received,
    }


def _watermark(node: Node) -> dict[str, Any]:
    final = node.settler.final_until()
    wall = node.clock.wall_ms()
    age = max(0, wall - milliseconds(final)) / 1000
    marks = [node.history.mark(shard) for shard in range(node.config.shards)]
    return {
        "time": time_text(milliseconds(final)) if final else None,
        "age_seconds": round(age, 3) if final else None,
        "held_back_by": held_back_by(node, final, wall),
        "tentative_commits": node.history.tentative_commits,
        "settled_commits": sum(mark.commits for mark in marks),
        "settled_events": sum(mark.events for mark in marks),
    }


def held_back_by(node: Node, final: int, wall: int) -> list[dict[str, Any]]:
    """Who keeps what is final behind a wall time, if it is late. Changes nothing."""
    stamp = stamp_of(int(wall - 1000 * _LATE_BEATS * node.replication.heartbeat_seconds))
    if final >= stamp:
        return []
    settlement = node.settler.settlement
    if settlement is None:
        unseen = [m.name for m in node.members.table if node.members.origin(m.name) is None]
        return [
            {"name": name, "since_seconds": None, "why": "it was never seen"} for name in unseen
        ]
    holders = []
    for holder in settlement.holders(range(node.config.shards), stamp):
        is_member = holder.origin in node.members.joined  # else commits of a removed one are owed
        promised = settlement.promised(holder.origin) if is_member else 0
        since = wall - milliseconds(promised)
        holders.append(
            {
                "name": node.members.name(holder.origin),
                "since_seconds": round(max(0, since) / 1000, 3) if promised else None,
                "why": holder.why,
            }
        )
    return holders
