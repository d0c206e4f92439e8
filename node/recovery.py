"""What a node knows when it starts: its log read back into a History.

One pass over the log, from where the index says that something was not settled; what the states
before said, the index has as well. Commits go to the tentative part; each state record that follows
makes final what had been settled by then. So an index that is old, or was thrown away, catches up
by the same steps in which it was made.

Where the log is damaged, commits may be missing. Then a log of a (shard, origin) is *torn*: what
lies after the hole waits on the disk, *stranded*, until the hole is healed from peers. Unreadable
is never treated as absent:
- Which sequences there were is told by those after the hole, and by the frontier in the state that
  begins the next segment. Until such a state was read, the pass is *blind*.
- While it is blind nothing is made final, and of shards with a torn log neither.
- A pass that ends blind can't know how many commits of its own the node had made. It is *unsure*:
  it makes none before all members have said what they hold of it.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from ..gossip.epochs import kept_epoch
from ..gossip.frontier import LogKey
from ..gossip.members import Members
from ..storage.commit import Commit, read_header
from ..storage.errors import BadFrame, ConfigError, DamagedLog
from ..storage.log import Log
from ..storage.record import COMMIT, STATE
from ..storage.segment import Found, Gap
from ..storage.state import State, read_state
from .fold import held_of
from .history import History
from .strays import Strays

_log = logging.getLogger(__name__)
_SETTLED_AT_ONCE = 512


class Stranded(NamedTuple):
    """A commit on the disk that lies after a hole of its log."""

    seq: int
    position: int
    length: int


@dataclass(slots=True)
class Recovered:
    """What the log told."""

    state: State | None = None  # the last one, with all members
    highest: int = 0  # no stamp of this node, issued or promised, was above it
    observed: int = 0  # no commit that is here has a stamp above it
    frontier: dict[LogKey, int] = field(default_factory=dict)
    newest: dict[LogKey, int] = field(default_factory=dict)  # last stamps of what was read back
    watermarks: dict[int, int] = field(default_factory=dict)  # that shards were settled up to
    stranded: dict[LogKey, deque[Stranded]] = field(default_factory=dict)
    known: dict[LogKey, int] = field(default_factory=dict)  # sequences that there were at least
    hole: int | None = None  # where the first damage is
    blind: bool = False
    unsure: bool = False  # of how many commits of its own there were
    aside: set[int] = field(default_factory=set)  # own origins, members' or not
    met: set[int] = field(default_factory=set)  # those of which a replay still meets commits
    epochs: bytes = b""  # what the epochs kept last
    records: int = 0

    def torn(self, log: LogKey) -> bool:
        """Whether a log lacks commits that were there."""
        return log in self.stranded or self.known.get(log, 0) > self.frontier.get(log, 0)


def recover(log: Log, history: History, members: Members, strays: Strays) -> Recovered:
    """Read the log back into a history, and the members' origins into their table.

    Raises DamagedLog, and ConfigError if the directory is not this node's of this cluster.
    """
    recovered = Recovered()
    for shard in range(members.shards):
        recovered.watermarks[shard] = history.mark(shard).watermark
    recovered.observed = max(recovered.watermarks.values())
    recovered.frontier.update(history.settled)
    replay = _Replay(recovered, history, members, strays)
    start, state, kept = history.replay_from(), history.checkpoint(), history.stored_membership()
    replay.take_epochs(kept or b"")
    if state is None:
        start = log.segment_base(start)  # a segment begins with a state
    else:
        replay.take_state(read_state(state))
    for found in log.replay(start, synced=history.synced()):
        replay.take(found)
    replay.end()
    if recovered.state is None and log.end:
        raise DamagedLog(
            "the log has no state that can be read, so nobody can tell whose it is: keep this "
            "directory for its events, and start with an empty one as a new member"
        )
    if log.torn is not None:
        _log.warning(
            "the last record was cut short by a crash: %d bytes at %#x are gone, which nobody had "
            "been told of",
            log.torn.length,
            log.torn.position,
        )
    return recovered


class _Replay:
    """The pass over the log."""

    def __init__(
        self, recovered: Recovered, history: History, members: Members, strays: Strays
    ) -> None:
        self._of = recovered
        self._history = history
        self._members = members
        self._strays = strays
        self._due: dict[int, int] = {}  # watermarks that shards have to be settled up to
        self._unplaced: list[Found] = []  # commits of whose origins nothing is known yet

    def take(self, found: Found | Gap) -> None:
        """Take the next record, or the next hole."""
        if isinstance(found, Gap):
            self._of.blind = True
            self._of.hole = found.position if self._of.hole is None else self._of.hole
            return
        self._of.records += 1
        if found.kind == STATE:
            self.take_state(read_state(found.body))
        elif found.kind == COMMIT:
            self._take_commit(found)
        else:
            raise DamagedLog(
                f"a record of kind {found.kind} at {found.position:#x}: this log was written by a "
                "newer version, use that one"
            )

    def take_state(self, state: State) -> None:
        """Take what a state says of the node, and make final what was."""
        of = self._of
        _check(state, self._members)
        self._members.identify(state.origin)
        before = self._members.mark
        self._members.found(state.members)
        if self._members.mark != before:
            self._cut()  # it may be that the record with that epoch is damaged
        for origin in [state.origin, *state.aside]:
            of.aside.add(origin)
            self._members.own(origin)
        self.take_epochs(state.epochs)
        for shard, origin, seq in state.cut:
            self._end((shard, origin), seq)
            of.known[shard, origin] = min(seq, of.known.get((shard, origin), seq))
        of.state = state
        of.highest = max(of.highest, state.ceiling)
        for shard, origin, held in state.frontier:
            seq = self._members.end((shard, origin), held)
            of.known[shard, origin] = max(seq, of.known.get((shard, origin), 0))
        if state.frontier:
            of.blind = False
        unplaced, self._unplaced = self._unplaced, []
        for found in unplaced:
            self._take_commit(found)
        for shard, watermark in state.watermarks.items():
            if watermark > of.watermarks.get(shard, 0):
                of.watermarks[shard] = self._due[shard] = watermark
        self._settle()

    def take_epochs(self, kept: bytes) -> None:
        """Take what the epochs kept: from here on the members are others."""
        if not kept:
            return
        epoch, self._of.epochs = kept_epoch(kept), kept
        if epoch.number < self._members.number or epoch.mark == self._members.mark:
            return
        self._members.enter(epoch)
        self._history.membership = kept  # before anything that it made possible is settled
        self._cut()

    def _cut(self) -> None:
        """The members are others: what was read of logs that have no place any more is astray."""
        for log, seq in list(self._of.frontier.items()):
            self._end(log, self._members.end(log, seq))
        for log, waiting in list(self._of.stranded.items()):
            while waiting and not self._members.has_place(log, waiting[-1].seq):
                _, position, length = waiting.pop()
                commit = read_header(self._history.body(position, length))
                priority = self._members.priority(log[1]) or 0
                self._strays.add(held_of(commit, priority, position, length))
            if not waiting:
                del self._of.stranded[log]
        for log, seq in self._of.known.items():
            self._of.known[log] = self._members.end(log, seq)  # a log without any is not torn

    def _end(self, log: LogKey, limit: int) -> None:
        """A log ends at a sequence: what was read of it above that has no place."""
        limit = max(limit, self._history.settled.get(log, 0))  # the index may know what came later
        if limit < self._of.frontier.get(log, 0):
            self._strays.cut(log, limit)
            self._of.frontier[log] = limit
            self._of.newest.pop(log, None)
        if not limit:
            self._of.frontier.pop(log, None)

    def end(self) -> None:
        """The pass is over. Raises DamagedLog if something is missing though nothing is damaged."""
        of = self._of
        if of.hole is None and of.stranded:
            (shard, origin), waiting = next(iter(of.stranded.items()))
            raise DamagedLog(
                f"the commit at {waiting[0].position:#x} has sequence {waiting[0].seq} of shard "
                f"{shard} and origin {origin:016x}, but follows "
                f"{of.frontier.get((shard, origin), 0)}: what lies between is missing"
            )
        if of.state is not None:
            self._take_unnamed()
            if not self._members.complete:
                _check_file(of.state, self._members)
        self._settle()
        of.unsure = of.blind
        of.known = {log: seq for log, seq in of.known.items() if of.torn(log)}

    def _take_unnamed(self) -> None:
        """Keep commits of an origin that only a damaged record names, as strays of this directory.

        If a member made them after all, they give way to what that one sends.
        """
        for found in self._unplaced:
            commit = read_header(found.body)
            self._of.aside.add(commit.origin)
            self._members.own(commit.origin)
            self._take_commit(found)

    def _settle(self) -> None:
        """Make final what was final, but where something is missing."""
        of, history = self._of, self._history
        if of.blind:
            return
        torn: set[int] = set()
        if of.hole is not None or of.stranded:
            torn = {log[0] for log in [*of.stranded, *of.known] if of.torn(log)}
        for shard in [shard for shard in self._due if shard not in torn]:
            watermark = self._strays.limit(shard, self._due.pop(shard))
            while history.settle(shard, watermark, _SETTLED_AT_ONCE):
                history.write_settled()

    def _take_commit(self, found: Found) -> None:
        of = self._of
        try:
            commit = read_header(found.body)
        except BadFrame as error:
            raise DamagedLog(f"the record at {found.position:#x}: {error}") from None
        priority = self._members.priority(commit.origin)
        if (of.state is None or priority is None) and of.hole is not None:
            self._unplaced.append(found)  # the state that names it is in the hole: the next may
            return
        if of.state is None:
            raise DamagedLog(f"the commit at {found.position:#x} comes before any state record")
        if priority is None:
            if not self._members.complete:
                raise DamagedLog(
                    f"the commit at {found.position:#x} is of origin {commit.origin:016x}, which "
                    "no state record before it names"
                )
            priority = 0  # of one who was a founder with this node, until both met a cluster
        if commit.origin in of.aside:
            of.met.add(commit.origin)
            of.highest = max(of.highest, commit.hlc)
        of.observed = max(of.observed, commit.hlc)
        log = (commit.shard, commit.origin)
        if not self._members.has_place(log, commit.seq):
            held = held_of(commit, priority, found.position, len(found.body))
            self._strays.add(held)
            return
        last = of.frontier.get(log, 0)
        if commit.seq <= last:
            self._take_copy(log, commit, found)
        elif commit.seq == last + 1:
            self._insert(log, commit, found)
            self._join(log)
        else:
            self._strand(log, commit, found)

    def _take_copy(self, log: LogKey, commit: Commit, found: Found) -> None:
        """A commit that is here: a copy that a heal has added, or read before."""
        place = self._history.place_in_log(*log, commit.seq)
        if place is not None and place[0] < found.position:
            self._history.move(*log, commit.seq, found.position, len(found.body))

    def _insert(self, log: LogKey, commit: Commit, found: Found) -> None:
        priority = self._members.priority(commit.origin) or 0
        self._of.frontier[log] = commit.seq
        self._of.newest[log] = commit.hlc
        held = held_of(commit, priority, found.position, len(found.body))
        self._strays.regained(held)
        self._history.insert(held)
        self._history.trees.append(log, held.seq, held.hash)
        self._strays.placed(held)

    def _strand(self, log: LogKey, commit: Commit, found: Found) -> None:
        """Keep a commit that came before those it follows: they are missing, or healed copies."""
        waiting = self._of.stranded.setdefault(log, deque())
        if not waiting or waiting[-1].seq < commit.seq:
            waiting.append(Stranded(commit.seq, found.position, len(found.body)))

    def _join(self, log: LogKey) -> None:
        """Take in what was stranded behind a hole that a later copy has closed."""
        waiting = self._of.stranded.get(log)
        while waiting and waiting[0].seq <= self._of.frontier[log] + 1:
            seq, position, length = waiting.popleft()
            if seq == self._of.frontier[log] + 1:
                body = self._history.body(position, length)
                self._insert(log, read_header(body), Found(COMMIT, position, body))
        if waiting is not None and not waiting:
            del self._of.stranded[log]


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


def _check_file(state: State, members: Members) -> None:
    """Whether the file names the same members as that of a cluster that is still forming."""
    before = {row[:3] for row in state.members}
    now = {(member.name, member.site, member.priority) for member in members.table}
    if before != now:
        odd = ", ".join(sorted({row[0] for row in before ^ now}))
        raise ConfigError(
            f"members, sites or priorities in the file are not those that the data directory was "
            f"made with; they differ in: {odd}. While a cluster forms, its file can't be changed"
        )
