"""A world that writes down what happens in it, and judges it while it happens.

It looks at the nodes from outside, at the seams and at a few calls inside; a node does nothing
different because of it. Everything that is sent goes into `trace`, so two runs can be compared.
"""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Collection, Mapping
from typing import Any

from ...gossip.frontier import LogKey
from ...gossip.transport import Link, Network
from ...node.fold import Held
from ...node.node import Node
from ...storage.commit import Draft, shard_of
from ...storage.errors import AnabranchError, DamagedLog, DiskError, SyncFailed
from ...storage.limits import SILENCE_SECONDS
from ...storage.stamp import milliseconds, stamp_of
from ..checkers import Judges
from ..checkers.convergence import whole_within
from ..checkers.skew import allowed_ms
from ..checkers.transfers import pulled_allowed
from ..history import (
    Cut,
    Event,
    History,
    Known,
    Recovered,
    Refusal,
    Row,
    Violation,
)
from ..world.clock import EPOCH_MS
from ..world.world import Snapshot, World
from .asking import Asker, is_paused
from .holders import Holders
from .making import Making
from .onlooker import Life, WatchedClock
from .reached import note_crash, note_reached, note_start
from .reading import (
    Left,
    Missing,
    bounds_of,
    gauges_of,
    highest_tentative,
    known_of,
    names_of_tentative,
    read_thrice,
    untrue_of,
    waiting_of,
)
from .trace import Trace, WatchedLink, WatchedPort
from .viewing import Viewer

__all__ = ["Life", "Trace", "WatchedLink", "WatchedPort", "WatchedWorld"]

MANY = 1001  # commits that are healed in one run
HOLDER_BEATS = 10  # that one member alone holds the settlement back


class WatchedWorld(World):
    """A world with a history; `record` keeps its events, so that they can be judged again."""

    def __init__(
        self, seed: int, sites: list[tuple[str, int]], *, record: bool = False, **options: Any
    ) -> None:
        super().__init__(seed, sites, **options)
        self.history = History(tuple(self.names))
        self.trace = Trace()
        self.lives: dict[str, Life] = {}
        self._copies: dict[str, Life] = {}  # of those that run on copies of directories
        self._record = record
        self._judges = Judges(self.history)
        self._viewer = Viewer(self, self.history, self._judges.agreement.order, self.tell)
        self._watched = {name: WatchedClock(self._loop) for name in self.names}
        self.clocks.update(self._watched)
        self._declared: dict[tuple[str, int], int] = {}
        self._left: dict[str, Left] = {}  # what each had at its end
        self._taken: dict[Snapshot, Left] = {}  # what was there in each
        self.holders = Holders(self.lives, self.nodes)
        self._making = Making()
        self._hurt: set[str] = set()  # nodes whose disks were damaged
        self._wiped: set[str] = set()  # nodes that are down, and have nothing
        self._had_settled: dict[LogKey, int] = {}  # by nodes whose disks do not say so any more
        self._again: dict[str, tuple[Known, ...]] = {}
        self._reasons: dict[str, str] = {}  # why a node ends
        self._indexless: set[str] = set()
        self._healed = False
        self._calm = False
        self._asker = Asker(
            self,
            self.history,
            self.trace,
            ChainMap(self.lives, self._copies),
            self._watched,
            self._reasons.get,
        )
        self.history.marks.on_broken = lambda sentence: self.history.violations.append(
            Violation(self.loop_time(), "always", sentence)
        )

    def loop_time(self) -> float:
        """Seconds since the world began."""
        return self._loop.time()

    # -- for those who look on at a node (onlooker.Watcher) ---------------------------------------

    def tell(self, event: Event) -> None:
        """Something happened: judge it now."""
        if self._record:
            self.history.events.append(event)
        self._judges.take(event)

    def allowed_ms(self, name: str) -> int:
        """How far ahead of true time a node's stamps may be now."""
        clocks = self._watched
        others = [(c.lowest_ms, c.highest_ms) for other, c in clocks.items() if other != name]
        mine = (clocks[name].lowest_ms, clocks[name].highest_ms)
        return allowed_ms(mine, others, self.config.tuning.max_clock_offset_ms)

    def on_disk_at(self, shard: int, origin: int, seq: int) -> tuple[str, ...]:
        """The nodes that have a commit on disk, or had it on a disk that was lost."""
        return self.holders.of((shard, origin), seq)

    def declared(self, name: str, shard: int, watermark: int = 0) -> int:
        """The highest watermark that a node ever declared for a shard, this one included."""
        highest = self._declared.get((name, shard), 0)
        if watermark > highest:
            highest = self._declared[name, shard] = watermark
        return highest

    def pulled(self, size: int) -> None:
        """So many bytes were given to a node that asked."""
        if self._healed:
            self.history.transfers.pulled_bytes += size

    def made(self, name: str, held: Held) -> None:
        """A process stamped a commit."""
        self._making.made(name, held)

    def given(self, name: str, commits: list[bytes]) -> None:
        """A node gave commits to another one: they have to be what was made."""
        self.history.healing.untrue += self._making.untrue(name, commits)

    def doubted(self, name: str) -> None:
        """A node sets aside what another process may have gone on with: it has it on disk."""
        self.holders.lose(name, self.nodes[name])
        self._declare_again(name)

    def healed(self, size: int) -> None:
        """A commit of so many bytes that a node had lost came to it again."""
        of, marks = self.history.healing, self.history.marks
        of.healed += 1
        marks.reach("damage was healed")
        if of.healed == MANY:
            marks.reach("over 1,000 commits were healed")
        if self.history.transfers.pulled_allowed is not None:
            self.history.transfers.pulled_allowed += size * len(self.names)

    def stamped(self, size: int) -> None:
        """A commit of so many bytes was made."""
        allowed = self.history.transfers.pulled_allowed
        if allowed is not None:
            self.history.transfers.pulled_allowed = allowed + 2 * size * len(self.names)

    # -- damage ----------------------------------------------------------------------------------

    def note_damage(self, name: str, damaged: Mapping[tuple[int, int, int], int]) -> None:
        """Commits on a disk were damaged, of such lengths; until now it held them."""
        of = self.history.healing
        self._hurt.add(name)
        of.damaged += len(damaged)
        of.bytes += sum(damaged.values())
        of.stretches += sum((*log, seq - 1) not in damaged for *log, seq in damaged)
        self.holders.lose(name, self.lives[name].node)
        self.trace.add(self.loop_time(), name, "damaged", sorted(damaged))

    def note_index_damage(self, name: str, key: bytes) -> None:
        """An entry of an index was damaged."""
        self.trace.add(self.loop_time(), name, "damaged", key)

    # -- life and death --------------------------------------------------------------------------

    def add(self, name: str, site: str, knows: list[str], *, asks: bool = False) -> None:
        """A machine that the founders' file does not name: it has to be a member in the end."""
        super().add(name, site, knows, asks=asks)
        self.clocks[name] = self._watched[name] = WatchedClock(self._loop)
        self.history.members = (*self.history.members, name)
        self.history.marks.reach("a new node came")

    def port(self, name: str) -> Network:
        """A node's way into the network."""
        return WatchedPort(super().port(name), name, self.trace, self._opened)

    def _opened(self, name: str, url: str) -> None:
        """A node has opened a link: what one side lacks may come by two ways at once."""
        self.history.transfers.links += 1
        self._note_behind(name, self._name_of_url[url])
        self._note_behind(self._name_of_url[url], name)

    def note_room(self, name: str) -> None:
        """A node has room again: what it would not take may come by two ways at once."""
        for other in self.nodes:
            self._note_behind(name, other)

    def _note_behind(self, here: str, there: str) -> None:
        """Count what one node lacks that another one has."""
        if here in self.nodes and there in self.nodes:
            behind = self.nodes[here].store.frontier.behind(self.nodes[there].store.frontier)
            lacking = sum(theirs - own for own, theirs in behind.values())
            self.history.transfers.behind += lacking

    async def answer(self, name: str, link: Link) -> None:
        """Let a node answer a link that another one has opened."""
        await super().answer(name, WatchedLink(link, name, self.trace))

    async def _start(self, name: str) -> None:
        config = self._configs[name]
        self._again[name] = read_thrice(config, name, self.disks[name], self.indexes[name])
        try:
            await super()._start(name)
        except AnabranchError as error:
            self._note_refusal(name, error)
            raise

    def _note_refusal(self, name: str, error: AnabranchError) -> None:
        self.history.refusals.append(Refusal(self.loop_time(), name, type(error).__name__))
        if isinstance(error, DamagedLog):
            self.history.marks.reach("a damaged log was refused")
        elif type(error) in {DiskError, SyncFailed}:
            self.history.marks.reach("a node ended with its disk")

    def began(self, name: str) -> None:
        """Look on from now on, and hold what was read back against what had been there."""
        super().began(name)
        self._calm = False
        if self.holders.is_copy(name):  # what it does is seen in the others
            life = self._copies[name] = Life(name, 0, self.nodes[name], self)
            life.watch_copy()
            return
        node, history = self.nodes[name], self.history
        earlier = self.lives.get(name)
        history.starts[name] += 1
        life = self.lives[name] = Life(name, history.starts[name], node, self)
        before, waiting = self._left.get(name, (None, ()))
        after = known_of(node)
        origin, again = node.store.origin, self._again.pop(name, ())
        hurt = name in self._hurt
        self.tell(Recovered(self.loop_time(), name, origin, before, waiting, after, again, hurt))
        if node.store.holes.first is not None:  # it shows nothing of what it had declared
            self._declare_again(name)
            if earlier is not None:  # and does not count what lies behind a hole
                self.holders.lose(name, earlier.node)
        life.counts.update(enumerate(commits for commits, _ in after.marks))
        rows = self.note_prefixes(name, "read back")
        settled = max((row.key[0] for row in rows), default=0)
        life.highest = max(settled, highest_tentative(node.history))
        life.watch()
        note_start(history.marks, node, after, lost_index=name in self._indexless)
        self._indexless.discard(name)
        self._wiped.discard(name)
        if before is not None:
            note_crash(history.marks, before, after, len(waiting))

    def _declare_again(self, name: str) -> None:
        """What a node says is final goes on from what is settled there."""
        for shard in range(self.config.shards):
            self._declared[name, shard] = self.nodes[name].history.mark(shard).watermark

    def ended(self, name: str) -> None:
        """Nobody gets an answer from there any more."""
        super().ended(name)
        reason = self._reasons.pop(name)
        if self.holders.is_copy(name):
            self._copies.pop(name).end(reason)
            self.history.lost_disks[name] = self.loop_time()  # nobody keeps its directory
            return
        life = self.lives[name]
        life.end(reason)
        if life.appends and reason == "crash":
            self.history.marks.reach("an append was lost in a crash")
        self._left[name] = life.left()
        self._note_alarms(life)
        if life.node.failure is not None:
            self._note_refusal(name, life.node.failure)

    def _leave(self, name: str, why: str) -> Node:
        """Whoever waits for an answer from there gets none, for this reason."""
        self._reasons[name] = why
        if self.holders.is_copy(name):
            self.holders.lose(name, self.nodes[name])
        return super()._leave(name, why)

    def lose_index(self, name: str) -> None:
        """Delete the index of a node that is down."""
        self.history.marks.reach("an index was lost")
        self._indexless.add(name)
        super().lose_index(name)

    def has_formed(self) -> bool:
        """Whether every founder has known the first epoch."""
        founders = [self.lives.get(member.name) for member in self.config.members]
        return all(life is not None and life.node.members.complete for life in founders)

    def has_settled_beside(self, lost: Collection[str]) -> bool:
        """Whether all that any node has settled is on a disk that is not among these."""
        others = [
            life.node.store.frontier
            for name, life in self.lives.items()
            if name not in lost and name not in self._wiped
        ]
        ever = [self._had_settled, *(life.node.history.settled for life in self.lives.values())]
        return all(
            any(frontier[log] >= seq for frontier in others)
            for settled in ever
            for log, seq in settled.items()
        )

    def _note_settled(self, name: str) -> None:
        """A disk is about to be lost, or to go back: what its node has settled stays settled."""
        for log, seq in self.lives[name].node.history.settled.items():
            self._had_settled[log] = max(seq, self._had_settled.get(log, 0))

    def lose_disk(self, name: str) -> None:
        """Nothing of what a node had is held against it any more."""
        self._note_settled(name)
        self._left.pop(name, None)
        self._declared = {key: mark for key, mark in self._declared.items() if key[0] != name}
        self.holders.lose(name, self.lives[name].node)
        self.history.lost_disks[name] = self.loop_time()
        self._wiped.add(name)
        super().lose_disk(name)

    def snapshot(self, name: str) -> Snapshot:
        """What a node has in its directory now."""
        taken = super().snapshot(name)
        node = self.lives[name].node
        self._taken[taken] = known_of(node), waiting_of(node)
        return taken

    def roll_back(self, name: str, snapshot: Snapshot, since: float) -> None:
        """Put the directory of a node that is down back to what it was at a time.

        What it took since then and nobody else holds is lost; nothing else is excused.
        """
        self._note_settled(name)
        self._left[name] = self._taken[snapshot]
        self._declared = {key: mark for key, mark in self._declared.items() if key[0] != name}
        self.holders.lose(name, self.lives[name].node)
        self.history.rolled_back.append((name, since, self.loop_time()))
        self.history.marks.reach("a disk went back in time")
        self.restore(name, snapshot)
        self.disks[name].crash()

    def copy(self, name: str, twin: str) -> None:
        """A second machine has a copy of the directory of a node, and may run beside it."""
        super().copy(name, twin)
        self.holders.copied(name, twin)
        self.history.copied.add(name)
        self.history.marks.reach("two nodes ran on copies of one directory")

    def resume(self, name: str) -> None:
        """Let a node go on."""
        if is_paused(name) and self.is_up(name):
            self.history.marks.reach("a paused node went on")
        super().resume(name)

    # -- clients ---------------------------------------------------------------------------------

    def append(self, name: str, draft: Draft, ack: str, timeout: float) -> asyncio.Task[None]:
        """Let a client append at a node, or at a copy that runs: both say that they are it."""
        served_by = [name, *(copy for copy in self._copies if self._runs_as[copy] == name)]
        return self._asker.append(self.generator.choice(served_by), draft, ack, timeout)

    def look(self, name: str) -> None:
        """Read at a node."""
        self.note_prefixes(name, "read")

    def revision(self, name: str, stream: str) -> int:
        """The revision of a stream that a client would read at a node."""
        history = self.nodes[name].history
        return history.last_revision(stream, shard_of(stream, self.config.shards))

    async def probe(self, name: str, draft: Draft, seconds: float) -> None:
        """Append and read at a node that has no excuse not to serve that within so many seconds."""
        await self._asker.probe(name, draft, seconds)

    # -- looking on ------------------------------------------------------------------------------

    def note_prefixes(self, name: str, when: str) -> list[Row]:
        """Read what a node has settled, as a reader would: all of it if it is not much."""
        rows = self._viewer.prefixes(name, when)
        if when == "read":
            self._note_holder(self.nodes[name])
        return rows

    def _note_holder(self, node: Node) -> None:
        settling, beat = node.settler.settlement, self.config.tuning.heartbeat_seconds
        since = stamp_of(int(node.clock.wall_ms() - 1000 * HOLDER_BEATS * beat))
        removes = node.membership.eviction.gone is not None
        self.history.marks.reach("a member was to be removed by itself", removes)
        if settling is not None:
            holders = list(settling.holders(range(self.config.shards), since))
            if len({holder.origin for holder in holders}) == 1:
                self.history.marks.reach("one node held the settlement back")

    def note_heal(self) -> None:
        """All faults are over and all nodes are up: work out how long and how much it may take."""
        history, missing = self.history, Missing(self.nodes)
        of = history.transfers
        of.pulled_allowed = pulled_allowed(missing.bytes, missing.longest_bytes, len(self.names))
        for node in self.nodes.values():
            self.stamped(node.log.backlog_bytes)  # on its way to the disk, so nobody misses it yet
        self._healed = True
        routes = [self.network.path(a, b).route for a in self.names for b in self.names if a != b]
        widths = [route.bandwidth for route in routes if route.bandwidth is not None]
        latest = max((life.highest for life in self.lives.values()), default=0)
        history.whole_within = whole_within(
            round_trip=2 * max((route.latency_seconds * 4 for route in routes), default=0.0),
            heartbeat=self.config.tuning.heartbeat_seconds,
            pulls=missing.pulls + history.healing.stretches,
            missing_bytes=missing.bytes + history.healing.bytes,
            bandwidth=min([*widths, self.config.tuning.pull_bytes_per_second]),
            sync=max(disk.sync_seconds for disk in self.disks.values()),
            ahead=(milliseconds(latest) - EPOCH_MS) / 1000 - self.loop_time(),
        )

    def note_amid(self) -> None:
        """Amid what goes wrong: how full buffers are, and what is tentative at all nodes."""
        self.history.gauges += bounds_of(self.nodes)
        for name in self.names:
            if name in self.nodes:
                self._viewer.read_latest(name)

    async def calm_down(self) -> None:
        """Let time pass until no node can have anything left of what was before."""
        await asyncio.sleep(SILENCE_SECONDS + 1)
        self._calm = True

    def finish(self) -> None:
        """Note what is settled at the end, all of it, and what has piled up."""
        history = self.history
        history.absent |= {name for name in self.names if name not in self.nodes}
        for name in sorted(self.nodes):
            try:
                rows = self._viewer.show(name, "final", (0, 0, 0))
            except DamagedLog as error:
                history.healing.untrue.append(f"{name} is not healed: {error}")
                continue
            history.final[name] = {shard: tuple(found) for shard, found in rows.items() if found}
            history.tentative[name] = names_of_tentative(self.nodes[name].history)
            self._viewer.note_digest(name)
            self._note_alarms(self.lives[name])
            history.marks.reach("a member was changed", self.nodes[name].members.number > 1)
        self._note_trees()
        history.marks.reach("a fork was refused", self._making.refused(self.nodes.values()))
        if history.unsettled is None:
            history.gauges += gauges_of(self.nodes, calm=self._calm)
        counts = self.network.counts
        history.transfers.excused |= bool(counts["duplicated"] + counts["reordered"])
        note_reached(history, counts)

    def _note_trees(self) -> None:
        of, nodes = self.history.healing, self.nodes
        cut = min((node.settler.final_until() for node in nodes.values()), default=0)
        roots = {name: tuple(node.history.trees.roots(cut)) for name, node in nodes.items()}
        of.cuts.append(Cut(self.loop_time(), cut, roots))
        for node in nodes.values():
            of.untrue += untrue_of(node)

    def _note_alarms(self, life: Life) -> None:
        node, history = life.node, self.history
        if node.log.segments > 2:
            history.marks.reach("the log had many segments")
        turns = node.comparing.turns.values()
        differences = sum(turn.differences for turn in turns)
        history.marks.reach("a segment was sealed", node.log.sealed)
        history.marks.reach("a comparison found a difference", differences)
        history.marks.reach("a comparison agreed", sum(turn.done for turn in turns) > differences)
        if node.replication.stranger is not None and life.name not in history.copied:
            history.alarms.append(f"{life.name} is a stranger: {node.replication.stranger}")
        disputes = node.settler.disputes.values()
        history.alarms += [f"{life.name} disputes: {why}" for why in disputes]
