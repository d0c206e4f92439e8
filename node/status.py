"""What a node says of itself: /v1/status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import __version__
from ..storage.stamp import milliseconds, stamp_of
from .render import time_text

if TYPE_CHECKING:
    from .node import Node

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
        "epoch": node.members.epoch if node.members.complete else 0,
        "shards": node.config.shards,
        "version": __version__,
        "uptime_seconds": round(node.clock.monotonic() - node.started, 3),
        "state": state_of(node),
        "needs": needs,
        "members": [_member(node, member.name) for member in node.members.table],
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
    """One word for how the node is."""
    if node.failure is not None:
        return "failed"
    if node.replication.stranger is not None:
        return "stranger"
    if node.ahead_text() is not None:
        return "clock_ahead"
    if node.room.is_full:
        return "disk_full"
    if node.store.holes.mine:
        return "healing"
    return "ready" if node.members.complete else "forming"


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
    needs += list(node.settler.disputes.values())
    for name, dialer in node.replication.dialers.items():
        if dialer.state == "refused":
            needs.append(f"link to {name}: {dialer.error}")
    return needs


def _held_back(node: Node) -> dict[str, int]:
    """Members whose commits are held back, and of how many logs."""
    found: dict[str, int] = {}
    for _, origin in node.replication.held_back:
        name = node.members.name(origin)
        if name is not None:
            found[name] = found.get(name, 0) + 1
    return found


def _member(node: Node, name: str) -> dict[str, Any]:
    member = node.members.member(name)
    origin = node.members.origin(name)
    return {
        "name": name,
        "site": member.site,
        "priority": member.priority,
        "url": member.url,
        "origin": None if origin is None else f"{origin:016x}",
        "self": name == node.me.name,
    }


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
        "site": node.members.member(name).site,
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
    late = stamp_of(int(wall - 1000 * _LATE_BEATS * node.replication.heartbeat_seconds))
    marks = [node.history.mark(shard) for shard in range(node.config.shards)]
    return {
        "time": time_text(milliseconds(final)) if final else None,
        "age_seconds": round(age, 3) if final else None,
        "held_back_by": _holders(node, late) if final < late else [],
        "tentative_commits": node.history.tentative_commits,
        "settled_commits": sum(mark.commits for mark in marks),
        "settled_events": sum(mark.events for mark in marks),
    }


def _holders(node: Node, stamp: int) -> list[dict[str, Any]]:
    settlement = node.settler.settlement
    if settlement is None:
        unseen = [m.name for m in node.members.table if node.members.origin(m.name) is None]
        return [
            {"name": name, "since_seconds": None, "why": "it was never seen"} for name in unseen
        ]
    wall = node.clock.wall_ms()
    holders = []
    for holder in settlement.holders(range(node.config.shards), stamp):
        since = wall - milliseconds(settlement.promised(holder.origin))
        never = settlement.promised(holder.origin) == 0
        holders.append(
            {
                "name": node.members.name(holder.origin),
                "since_seconds": None if never else round(max(0, since) / 1000, 3),
                "why": holder.why,
            }
        )
    return holders
