"""The path of a commit into this node: checked, stamped or received, logged, durable, held.

Between stamp and sequence nothing can come: `stamp` is one synchronous step, from the clock to
the place in the log. A commit of this node is in the fold at once, so that the next append to the
stream is checked against it, but it is not `durable` until the log says so, and until then nobody
is told of it: no answer, no push, no report.

Own promises follow from here as well. Everything at or below `promise()` is on disk and within
the frontier; the clock is moved past it, so nothing will ever be stamped there again. It never
exceeds the stored ceiling or the newest own commit on disk: after a crash the clock starts there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ..gossip.frontier import Frontier, LogKey
from ..gossip.members import Members
from ..gossip.sureness import Seen
from ..storage.commit import Commit, Draft, commit_hash, read_payloads, shard_of, stamped
from ..storage.errors import DamagedLog
from ..storage.limits import BOOTS_KEPT_MAX, CEILING_AHEAD_MS, CEILING_RENEW_MS
from ..storage.log import Log
from ..storage.record import COMMIT, STATE
from ..storage.stamp import STAMP_MAX, HybridClock, stamp_of
from ..storage.state import State, state_body
from .disputes import Disputes
from .fold import TENTATIVE, Held, held_of
from .history import History
from .holes import Holes
from .recovery import Recovered, Stranded
from .strays import Strays

OnGroup = Callable[[list[tuple[Held, bytes]]], None]


class _Logged(NamedTuple):
    """A state record on its way to the disk, and what would have to be told again without it."""

    position: int
    ceiling: int
    body: bytes
    origin: int
    epochs: bytes
    cut: list[tuple[int, int, int]]


class Store:
    """Log, history and clock of one node, and what is on its way to the disk.

    `on_group` is called with the commits, own and received, that have just become durable.
    While this node has no place among the members, or does not know whether its directory went
    back in time, it stamps under `provisional`, an origin of this boot that stays here.
    """

    def __init__(
        self,
        log: Log,
        history: History,
        members: Members,
        recovered: Recovered,
        strays: Strays,
        boot: int,
        provisional: int,
        on_group: OnGroup,
    ) -> None:
        if recovered.state is None:
            raise ValueError("a node needs a state record before it can store")
        self.log = log
        self.history = history
        self.members = members
        self.boot = boot
        self.boots_before = [one for one in recovered.state.starts if one != boot][-BOOTS_KEPT_MAX:]
        self.strays = strays
        self.seen = Seen()
        self.seen.restore(recovered.state.seen)
        self.disputes = Disputes(recovered.state.disputes)
        self.left = recovered.state.left
        self.provisional = provisional
        self.settled_in = False  # whether it stamps under its own origin
        self._aside = sorted(recovered.met - {self.origin})
        members.own(provisional)
        self._epochs = recovered.epochs  # what they kept last
        self._epochs_told = True  # whether a state record has that
        self._cut: list[tuple[int, int, int]] = []  # to be told by the next state record, once
        self._priority = members.priority(members.identity) or 0
        self.hlc = HybridClock(max(recovered.highest, recovered.observed))
        self.frontier = Frontier()
        self._arrived = dict(recovered.frontier)  # last sequences, also of what is not durable yet
        for key, seq in self._arrived.items():
            self.frontier.advance(key, seq)
        history.oldest_stray = lambda: strays.oldest
        self._newest = dict(recovered.newest)  # last stamps of logs, as far as they are needed
        self._on_group = on_group
        self.on_rejoined: Callable[[LogKey], None] = lambda _: None  # an own log is whole again
        self.believed: Callable[[int], int] = lambda wall_ms: wall_ms  # as far as others would
        self.holes = Holes(recovered, self.origin)
        history.hole = self.holes.first
        self._on_its_way: deque[tuple[Held, bytes]] = deque()
        self._copies: deque[tuple[int, LogKey, int, int]] = deque()  # of damaged records: position,
        self._copying: set[tuple[LogKey, int]] = set()  # log, sequence, length; on their way
        self._own_stamps: deque[int] = deque()  # of those on their way that are this node's
        self._ceiling = self._durable_ceiling = recovered.highest  # the first may be on its way
        self._states: deque[_Logged] = deque()  # state records on their way
        self._kept_as = 0  # the origin in the last one of this start that is on the disk
        self._watermarks: dict[int, int] = {}  # settled since the last state record
        self._promised = recovered.highest

    @property
    def origin(self) -> int:
        """This node's own origin among the members, or with which it asks to be one."""
        return self.members.identity

    @property
    def stamping(self) -> int:
        """The origin under which it stamps now."""
        return self.origin if self.settled_in else self.provisional

    def was_started_as(self, boot: int) -> bool:
        """Whether a boot was one of this directory, before it was copied or after."""
        return boot == self.boot or boot in self.boots_before

    # -- own commits -----------------------------------------------------------------------------

    def stamp(self, draft: Draft, wall_ms: int) -> Held:
        """Give a draft its stamp, its sequence and its place in the log, in one step.

        Its commit id must not be here yet, unless it is appended again.
        """
        shard = shard_of(draft.stream, self.members.shards)
        origin = self.stamping
        key = (shard, origin)
        seq = self._arrived.get(key, 0) + 1
        hlc = self.hlc.now(wall_ms)
        header, body = stamped(draft, shard, origin, seq, hlc)
        held = Held()
        held.key = (hlc, self._priority, origin)
        held.stream, held.shard, held.seq = draft.stream, shard, seq
        held.id, held.hash, held.count = draft.commit_id, commit_hash(header), draft.count
        held.expected, held.policy = draft.expected, draft.policy
        held.position, held.length = self.log.append(COMMIT, body), len(body)
        held.durable, held.known_before, held.outcome = False, False, TENTATIVE
        self._arrived[key] = seq
        self._own_stamps.append(hlc)
        self._on_its_way.append((held, body))
        if self.settled_in and draft.again:
            self.history.insert(held)
        elif self.settled_in:
            self.history.insert_new(held)
        else:
            self.history.fold_in(held)
            self.strays.keep(held)
        return held

    def has_made(self, origin: int) -> bool:
        """Whether a commit of an origin is here, with a place or without, durable or on its way."""
        arrived = any(log[1] == origin and seq for log, seq in self._arrived.items())
        return arrived or any(held.key[2] == origin for held in self.strays)

    # -- commits of others -----------------------------------------------------------------------

    def arrived(self, shard: int, origin: int) -> int:
        """The last sequence of a log that is here, durable or on its way."""
        return self._arrived.get((shard, origin), 0)

    def newest(self, shard: int, origin: int) -> int:
        """The stamp of the last commit of a log; 0 if that has long been settled."""
        return self._newest.get((shard, origin), 0)

    def missing(self) -> int:
        """How many commits that were here are known to be missing or unreadable."""
        return self.holes.missing(lambda log: self.arrived(*log))

    def receive(self, commit: Commit, body: bytes) -> None:
        """Log a commit of a member that is the next of its log and not ahead of time."""
        priority = self.members.priority(commit.origin)
        if priority is None or commit.seq != self.arrived(commit.shard, commit.origin) + 1:
            raise ValueError("only the next commit of a member can be received")
        self.hlc.observe(commit.hlc)
        position = self.log.append(COMMIT, body)
        self._arrived[commit.shard, commit.origin] = commit.seq
        self._newest[commit.shard, commit.origin] = commit.hlc
        self._on_its_way.append((held_of(commit, priority, position, len(body)), body))

    def receive_again(self, commit: Commit, body: bytes) -> None:
        """Log a commit that is held, but whose record the disk has damaged."""
        log = (commit.shard, commit.origin)
        if (log, commit.seq) in self._copying:
            return  # it came by another link as well
        self._copying.add((log, commit.seq))
        self._copies.append((self.log.append(COMMIT, body), log, commit.seq, len(body)))

    def unwritten(self) -> int:
        """A stamp below which all that is here is on disk: readers see no further."""
        return self._own_stamps[0] if self._own_stamps else STAMP_MAX

    # -- durable ---------------------------------------------------------------------------------

    def durable(self, end: int) -> None:
        """The log is on disk up to a position: what was on its way there is held now."""
        group: list[tuple[Held, bytes]] = []
        waiting = self._on_its_way
        while waiting and waiting[0][0].position < end:
            held, body = waiting.popleft()
            made = not held.durable  # stamped here
            if made:
                held.durable = True
                self._durable_ceiling = max(self._durable_ceiling, self._own_stamps.popleft())
            log = (held.shard, held.key[2])
            astray = bool(self.strays) and self.strays.is_stray(held)
            if astray or not self.members.has_place(log, held.seq):
                self._hold_aside(held, made=made)
                continue
            if not made:
                self.strays.regained(held)
                self.history.insert(held)
            self._hold(held)
            if made or held.key[2] != self.origin:  # own ones that were healed the others have
                group.append((held, body))
        while self._copies and self._copies[0][0] < end:
            position, log, seq, length = self._copies.popleft()
            self._copying.discard((log, seq))
            self.history.move(*log, seq, position, length)
            self.holes.found(log, seq)
        while self._states and self._states[0].position < end:
            logged = self._states.popleft()
            self._durable_ceiling, self.history.state = logged.ceiling, logged.body
            self._kept_as = logged.origin
            self.history.membership = logged.epochs or self.history.membership
        self._on_group(group)

    def _hold_aside(self, held: Held, *, made: bool) -> None:
        """Keep a commit that has no place: it never had, or lost it while on its way."""
        if not made:
            self.strays.add(held)
        elif not self.strays.is_stray(held):
            self.history.cut((held.shard, held.key[2]), held.seq - 1)
            self.strays.keep(held)

    def _set_aside(self, log: LogKey, stranded: Stranded) -> None:
        try:
            commit = self.history.header(stranded.position, stranded.length)
        except DamagedLog:
            return  # nobody has it in this log any more
        priority = self.members.priority(log[1]) or 0
        self.strays.add(held_of(commit, priority, stranded.position, stranded.length))

    def _hold(self, held: Held) -> None:
        """Count a commit as held, and what a hole before it had stranded on the disk."""
        log = (held.shard, held.key[2])
        self.history.trees.append(log, held.seq, held.hash)
        self.frontier.advance(log, held.seq)
        if self.strays:
            self.strays.placed(held)
        if self.history.hole is not None and log in self.holes:
            self._rejoin(log)

    def _rejoin(self, log: LogKey) -> None:
        while self._arrived[log] == self.frontier[log]:
            stranded = self.holes.next(log, self._arrived[log])
            if stranded is None:
                break
            try:
                commit = self.history.header(stranded.position, stranded.length)
            except DamagedLog:
                continue  # the hole goes on here
            priority = self.members.priority(commit.origin) or 0
            self._arrived[log] = commit.seq
            self._newest[log] = commit.hlc
            held = held_of(commit, priority, stranded.position, stranded.length)
            self.history.insert(held)
            self.history.trees.append(log, held.seq, held.hash)
            self.frontier.advance(log, held.seq)
        if self.holes.closed(log, self.frontier[log]) and log[1] == self.origin:
            self.on_rejoined(log)
        self.history.hole = self.holes.first

    def dropped(self, end: int) -> None:
        """The disk has no room: nothing from a position on came to be."""
        while self._on_its_way and self._on_its_way[-1][0].position >= end:
            held, _ = self._on_its_way.pop()
            log = (held.shard, held.key[2])
            self._arrived[log] = min(self._arrived.get(log, 0), held.seq - 1)
            self.strays.undone(held)
            if not held.durable:
                self._own_stamps.pop()
                if self.strays.is_stray(held):
                    self.strays.lost(held)
                else:
                    self.history.remove(held)
                continue
            before = self.history.held(*log, held.seq - 1)
            self._newest[log] = before.key[0] if before is not None else 0
        while self._copies and self._copies[-1][0] >= end:
            _, log, seq, _ = self._copies.pop()
            self._copying.discard((log, seq))
        while self._states and self._states[-1].position >= end:
            logged = self._states.pop()
            self._epochs_told = self._epochs_told and not logged.epochs
            self._cut = logged.cut or self._cut
        self._ceiling = self._states[-1].ceiling if self._states else self._durable_ceiling

    # -- another epoch ---------------------------------------------------------------------------

    def cut(self) -> None:
        """Members are others now: what has no place any more is set aside."""
        for log, seq in list(self._arrived.items()):
            if log[1] != self.provisional:
                self._end(log, self.members.end(log, seq))
        for log in self.holes.torn_logs():
            limit = self.members.end(log, STAMP_MAX)
            for one in self.holes.cut(log, limit, self.frontier[log]):
                self._set_aside(log, one)
        self.history.hole = self.holes.first

    def _end(self, log: LogKey, limit: int) -> None:
        """A log ends at a sequence: what this node has of it above that has no place."""
        if limit >= self._arrived.get(log, 0):
            return
        self._arrived[log] = limit
        self._newest.pop(log, None)
        self.frontier.lower(log, limit)
        self.strays.cut(log, limit)

    def doubt(self) -> None:
        """Another process may have gone on with this node's log: only what is settled is sure.

        The rest is held as strays, and the log is fetched from the members as they have it.
        """
        settled, mine = self.history.settled, self.origin
        logs = [log for log, seq in self._arrived.items() if log[1] == mine and seq]
        self._cut = [(*log, settled.get(log, 0)) for log in logs]
        for log in logs:
            self._end(log, settled.get(log, 0))

    def take_place(self, *, settled_in: bool) -> None:
        """Stamp under the own origin from now on, or no longer."""
        self.settled_in = settled_in
        self._priority = self.members.priority(self.origin) or 0
        if settled_in and self.members.epoch is not None:
            self.hlc.observe(self.members.epoch.joined[self.origin].floor)

    def identify(self, origin: int) -> None:
        """Go on as another origin; the one before is a member's no longer, or will not be."""
        self._aside.append(self.origin)
        self.members.own(self.origin)
        self.members.identify(origin)
        self.holes.identify(origin)

    def append_again(self, stray: Held, wall_ms: int) -> None:
        """Give a stray a place: the same append under this node's own origin. Raises DamagedLog."""
        commit, payloads = read_payloads(self.history.body(stray.position, stray.length))
        self.strays.begun(stray, self.stamp(Draft.of(commit, payloads), wall_ms))

    def keep_epochs(self, kept: bytes, wall_ms: int) -> int:
        """Log what the epochs have to keep; the position of the record."""
        self._epochs, self._epochs_told = kept, False
        return self.store_state(wall_ms)

    # -- promises --------------------------------------------------------------------------------

    @property
    def promised(self) -> int:
        """The highest stamp that was promised, or may have been before a restart."""
        return self._promised

    def promise(self, wall_ms: int) -> int:
        """The latest stamp up to which all own commits are durable and no more will come.

        Nothing new while own commits are missing: what was promised names them.
        """
        if self.holes.mine:
            return 0
        now_ms = self.believed(wall_ms)
        if self._own_stamps:
            promised = min(self._own_stamps[0] - 1, self._durable_ceiling)
        else:
            promised = self.hlc.promise(now_ms, self._durable_ceiling)
        self._promised = max(self._promised, promised)
        if self._ceiling < max(stamp_of(now_ms + CEILING_RENEW_MS), self.hlc.last):
            self.store_state(wall_ms)
        return self._promised

    def store_state(self, wall_ms: int, *, everything: bool = False) -> int:
        """Log a state record with a new ceiling; its position."""
        ahead = stamp_of(self.believed(wall_ms) + CEILING_AHEAD_MS)
        self._ceiling = max(self._ceiling, ahead, self.hlc.last)
        kept = b"" if self._epochs_told and not everything else self._epochs
        cut, body = self._cut, self.state(everything=everything)
        position = self.log.append(STATE, body)
        self._states.append(_Logged(position, self._ceiling, body, self.origin, kept, cut))
        return position

    def keep_start(self, wall_ms: int) -> bool:
        """Log this start once more if there was no room for it; whether the disk knows of it.

        Else it may not come to count under its origin.
        """
        if self._kept_as != self.origin and not self._states:
            self.store_state(wall_ms, everything=True)
        return self._kept_as == self.origin

    def note_settled(self, shard: int, watermark: int) -> None:
        """The next state record will tell that a shard is settled so far."""
        self._watermarks[shard] = watermark

    def state(self, *, everything: bool) -> bytes:
        """A state record as of now; with the watermarks of all shards, or those that moved.

        One with everything begins a segment, and tells how much there is.
        """
        watermarks, self._watermarks = self._watermarks, {}
        cut, self._cut = self._cut, []
        frontier: list[tuple[int, int, int]] = []
        kept = b"" if self._epochs_told else self._epochs
        if everything:
            shards = range(self.members.shards)
            watermarks = {shard: self.history.mark(shard).watermark for shard in shards}
            frontier = self.holes.frontier(self._placed())  # who can read this has it all on disk
            kept = self._epochs
        self._epochs_told = True
        return state_body(
            State(
                self.origin,
                self.boot,
                self.members.shards,
                self.members.cluster,
                self.members.me,
                self._ceiling,
                self.members.founders,
                {shard: mark for shard, mark in watermarks.items() if mark},
                frontier,
                [*self._aside, self.provisional],
                self.seen.rows(),
                self.left,
                kept,
                cut,
                self.boots_before,
                self.disputes.rows,
            )
        )

    def _placed(self) -> dict[LogKey, int]:
        """How far all logs go that have a place in the order."""
        return {log: seq for log, seq in self._arrived.items() if self.members.has_place(log, seq)}
