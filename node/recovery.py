"""What a node knows when it starts: its log read back into a History.

One pass over the log, from where the index says that something was not settled, but always over
the last two segments. Commits go to the tentative part; each state record that follows makes
final what had been settled by then. So an index that is old, or was thrown away, catches up by
the same steps in which it was made.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from ..gossip.frontier import LogKey
from ..gossip.members import Members
from ..storage.commit import read_header
from ..storage.errors import BadFrame, ConfigError, DamagedLog
from ..storage.log import Log
from ..storage.record import COMMIT, STATE
from ..storage.segment import Found
from ..storage.state import State, read_state
from .history import History, held_of

_log = logging.getLogger(__name__)
_SEGMENTS_ALWAYS_READ = 2
_SETTLED_AT_ONCE = 512


@dataclass(slots=True)
class Recovered:
    """What the log told."""

    state: State | None = None  # the last one, with all members
    highest: int = 0  # no stamp of this node, issued or promised, was above it
    observed: int = 0  # no commit that is here has a stamp above it
    frontier: dict[LogKey, int] = field(default_factory=dict)
    newest: dict[LogKey, int] = field(default_factory=dict)  # last stamps of what was read back
    watermarks: dict[int, int] = field(default_factory=dict)
    records: int = 0


def recover(log: Log, history: History, members: Members) -> Recovered:
    """Read the log back into a history, and the members' origins into their table.

    Raises DamagedLog, and ConfigError if the directory is not this node's of this cluster.
    """
    recovered = Recovered()
    for shard in range(members.shards):
        recovered.watermarks[shard] = history.mark(shard).watermark
    recovered.observed = max(recovered.watermarks.values())
    recovered.frontier.update(history.settled_frontier())
    start = min(history.replay_from(), log.last_segments(_SEGMENTS_ALWAYS_READ))
    for found in log.replay(log.segment_base(start), synced=history.synced()):
        recovered.records += 1
        if found.header.kind == STATE:
            _take_state(found, history, recovered, members)
        elif found.header.kind == COMMIT:
            _take_commit(found, history, recovered, members)
        else:
            raise DamagedLog(
                f"a record of kind {found.header.kind} at {found.header.position:#x}: this log was "
                "written by a newer version, use that one"
            )
    if log.torn is not None:
        _log.warning(
            "the last record was cut short by a crash: %d bytes at %#x are gone, which nobody had "
            "been told of",
            log.torn.length,
            log.torn.position,
        )
    return recovered


def _take_state(found: Found, history: History, recovered: Recovered, members: Members) -> None:
    state = read_state(found.body)
    _check(state, members)
    for name, _, _, origin in state.members:
        members.bind(name, origin)
    recovered.state = state
    recovered.highest = max(recovered.highest, state.ceiling)
    for shard, watermark in state.watermarks.items():
        if watermark <= recovered.watermarks.get(shard, 0):
            continue
        recovered.watermarks[shard] = watermark
        while history.settle(shard, watermark, _SETTLED_AT_ONCE):
            history.write_settled()


def _take_commit(found: Found, history: History, recovered: Recovered, members: Members) -> None:
    try:
        commit = read_header(found.body)
    except BadFrame as error:
        raise DamagedLog(f"the record at {found.header.position:#x}: {error}") from None
    if recovered.state is None:
        raise DamagedLog(f"the record at {found.header.position:#x} comes before any state record")
    if commit.origin == recovered.state.origin:
        recovered.highest = max(recovered.highest, commit.hlc)
    recovered.observed = max(recovered.observed, commit.hlc)
    log = (commit.shard, commit.origin)
    recovered.newest[log] = commit.hlc
    last = recovered.frontier.get(log, 0)
    if commit.seq <= last:
        return
    if commit.seq != last + 1:
        raise DamagedLog(
            f"the commit at {found.header.position:#x} has sequence {commit.seq} of shard "
            f"{commit.shard} and origin {commit.origin:016x}, but follows {last}: what lies "
            "between is missing"
        )
    recovered.frontier[log] = commit.seq
    priority = members.priority(commit.origin)
    if priority is None:
        raise DamagedLog(
            f"the commit at {found.header.position:#x} is of origin {commit.origin:016x}, which no "
            "state record before it names"
        )
    history.insert(held_of(commit, priority, found.header.position, len(found.body)))


def _check(state: State, members: Members) -> None:
    """Whether a directory belongs to this node."""
    if (state.cluster, state.node) != (members.cluster, members.me):
        raise ConfigError(
            f"the data directory belongs to node {state.node!r} of cluster {state.cluster!r}, not "
            f"to {members.me!r} of {members.cluster!r}: give this node its own --data directory"
        )
    if state.shards != members.shards:
        raise ConfigError(
            f"the data directory was made with {state.shards} shards, the file says "
            f"{members.shards}: the number is fixed when a cluster is made, correct the file"
        )
    before = {(name, site, priority) for name, site, priority, _ in state.members}
    now = {(member.name, member.site, member.priority) for member in members.table}
    if before != now:
        odd = ", ".join(sorted({row[0] for row in before ^ now}))
        raise ConfigError(
            f"members, sites or priorities in the file are not those that the data directory was "
            f"made with; they differ in: {odd}. The membership of a cluster can't be changed yet"
        )
