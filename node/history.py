"""What this node holds and shows: tentative commits in memory, settled ones in the index.

The index always is as after some call of `settle`. All that lies above its watermarks is read
again from the log at start, from the oldest record that was not settled then. So there is nothing
to repair after a crash, and an index that was thrown away comes back by the same path.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from ..gossip.frontier import LogKey
from ..storage import keys
from ..storage.commit import Commit, read_header
from ..storage.errors import DamagedIndex
from ..storage.index import Index
from ..storage.keys import Mark, Place
from ..storage.limits import SETTLED_ROOTS_KEPT, STREAMS_CACHED_MAX
from ..storage.log import Log
from ..storage.stamp import STAMP_MAX
from .fold import (
    ACCEPTED,
    KEPT,
    REJECTED,
    Held,
    OrderKey,
    ShardFold,
    Standing,
    StreamFold,
)
from .trees import Trees

_LOOKED_AT_ONCE = 512
EMPTY_MARK = Mark(0, 0, 0, bytes(32))
_sha256 = hashlib.sha256


class History:
    """Commits by stream, by order and by log."""

    def __init__(self, index: Index, log: Log, shards: int) -> None:
        self._index = index
        self._log = log
        self._shards = [ShardFold() for _ in range(shards)]
        self._streams: dict[str, StreamFold] = {}  # those with a tentative part
        self._resting: OrderedDict[str, StreamFold] = OrderedDict()  # recently used others
        self._unsettled: dict[LogKey, deque[Held]] = {}  # in order of their sequences
        self._healed: set[LogKey] = set()  # of those, where the log has another order
        self._marks = [self._stored_mark(shard) for shard in range(shards)]
        self._roots: list[OrderedDict[int, bytes]] = [OrderedDict() for _ in range(shards)]
        self._puts: list[tuple[bytes, bytes]] = []  # settled and not in the index yet
        self.settled = dict(self._settled_frontier())  # the last settled sequence of every log
        self.trees = Trees(index, shards, self.leaf, self.settled)
        self._replay_from = self.replay_from()
        self._synced = self.synced()
        self.tentative_commits = 0
        self.state: bytes | None = None  # the last state record on disk
        self.hole: int | None = None  # damage from which on a replay has to read again
        self.oldest_stray: Callable[[], int | None] = lambda: None  # where in the log it is
        self.membership: bytes | None = None  # what the epochs kept last, if the index lacks it

    # -- taking commits in ---------------------------------------------------------------------

    def insert(self, held: Held) -> None:
        """Add a commit of another node to the tentative part."""
        held.known_before = self._index.get(keys.commit_key(held.id, held.shard)) is not None
        self.insert_new(held)

    def insert_new(self, held: Held) -> None:
        """Add a commit whose id is not settled, or which knows that it is."""
        self._fold_in(held)
        log = (held.shard, held.key[2])
        unsettled = self._unsettled.get(log)
        if unsettled is None:
            self._unsettled[log] = deque((held,))
        else:
            if held.position < unsettled[-1].position:
                self._healed.add(log)
            unsettled.append(held)

    def remove(self, held: Held) -> None:
        """Forget the newest commit of a log, which did not get to the disk."""
        self.fold_out(held)
        log = (held.shard, held.key[2])
        self._unsettled[log].pop()
        if not self._unsettled[log]:
            del self._unsettled[log]

    def fold_in(self, held: Held) -> None:
        """Show a commit that has no place in any log."""
        held.known_before = self._index.get(keys.commit_key(held.id, held.shard)) is not None
        self._fold_in(held)

    def _fold_in(self, held: Held) -> None:
        overtaken = self._shards[held.shard].insert(held)
        if overtaken is not None:
            self.stream(overtaken.stream).refold_from(overtaken)
        self._pending_stream(held.stream).insert(held)
        self.tentative_commits += 1

    def fold_out(self, held: Held) -> None:
        """Show a tentative commit no more."""
        first = self._shards[held.shard].remove(held)
        if first is not None:
            self.stream(first.stream).refold_from(first)
        self._streams[held.stream].remove(held)
        self._rest(held.stream)
        self.tentative_commits -= 1

    def cut(self, log: LogKey, limit: int) -> list[Held]:
        """End a log at a sequence; what was above it, which stays in the fold."""
        unsettled = self._unsettled.get(log, deque())
        above: list[Held] = []
        while unsettled and unsettled[-1].seq > limit:
            above.append(unsettled.pop())
        if not unsettled:
            self._unsettled.pop(log, None)
            self._healed.discard(log)
        self.trees.end(log)
        return above

    def tentative_with(self, commit_id: bytes, shard: int) -> list[Held]:
        """The tentative commits with an id."""
        return self._shards[shard].by_id.get(commit_id, [])

    def settle(self, shard_number: int, watermark: int, commits_max: int) -> list[Held]:
        """Make final what lies at or below a stamp, or the first so many commits of it; these.

        Commits of one stamp are never parted, so everything up to a mark's watermark is settled.
        `write_settled` has to follow before anything else is asked of this history.
        """
        shard = self._shards[shard_number]
        count = shard.until(watermark)
        if count > commits_max:
            watermark = shard.pending[commits_max - 1].key[0]
            count = shard.until(watermark)
        if not count:
            return []
        commits = shard.pending[:count]
        self._judge(shard, commits)
        shard.remove_first(count)
        for held in commits:
            log = (shard_number, held.key[2])
            unsettled = self._unsettled[log]
            unsettled.popleft()
            if not unsettled:
                del self._unsettled[log]
                self._healed.discard(log)
            self._rest(held.stream)
        self.tentative_commits -= count
        self._note(shard_number, watermark, commits)
        return commits

    def _judge(self, shard: ShardFold, commits: list[Held]) -> None:
        by_stream: dict[str, list[Held]] = {}
        for held in commits:
            of_stream = by_stream.get(held.stream)
            if of_stream is None:
                by_stream[held.stream] = [held]
            else:
                of_stream.append(held)
        for name, of_stream in by_stream.items():
            verdicts = self._streams[name].settle(len(of_stream), shard.seen)
            for held, verdict in zip(of_stream, verdicts, strict=True):
                held.outcome, held.first_revision = verdict

    def _note(self, shard: int, watermark: int, settled: list[Held]) -> None:
        put = self._puts.append
        revisions: dict[str, int] = {}
        _, commits, events, running = self._marks[shard]
        roots = self._roots[shard]
        for held in settled:
            outcome, first = held.outcome, held.first_revision
            order = keys.order_key(held.key)
            value = keys.place_value(
                held.position, held.length, held.count, first, outcome, *held.key, shard
            )
            put((order, value))
            put((keys.log_key(shard, held.key[2], held.seq), keys.log_value(order, held.hash)))
            self.settled[shard, held.key[2]] = held.seq
            if not held.known_before:
                put((keys.commit_key(held.id, shard), order))
            if outcome in (ACCEPTED, KEPT):
                put((keys.stream_key(held.stream, first), order))
                revisions[held.stream] = first + held.count - 1
                events += held.count
            if outcome in (REJECTED, KEPT):
                put((keys.conflict_key(held.key), b""))
            commits += 1
            running = _sha256(b"%s%s%d:%d" % (running, held.hash, outcome, first)).digest()
            roots[commits] = running
        while len(roots) > SETTLED_ROOTS_KEPT:
            roots.popitem(last=False)
        for name, revision in revisions.items():
            put((keys.name_key(name), keys.number_value(revision)))
        mark = Mark(watermark, commits, events, running)
        self._marks[shard] = mark
        put((keys.mark_key(shard), keys.mark_value(mark)))

    def write_settled(self) -> None:
        """Write what was settled to the index, in one go, with where a replay has to begin."""
        if self._puts:
            # Neither goes back while the log is read back and does not know what is on disk.
            self._replay_from = max(self._replay_from, self.oldest_unsettled())
            self._synced = max(self._synced, self._log.durable)
            self._puts.append((keys.REPLAY_FROM, keys.number_value(self._replay_from)))
            self._puts.append((keys.SYNCED, keys.number_value(self._synced)))
            if self.state is not None:
                self._puts.append((keys.STATE, self.state))
                self.state = None
            if self.membership is not None:
                self._puts.append((keys.MEMBERSHIP, self.membership))
                self.membership = None
            self._puts += self.trees.take_unwritten()
            self._index.write(self._puts)
            self._puts = []

    def oldest_unsettled(self) -> int:
        """Where in the log the oldest commit that is not settled may be."""
        oldest = self._log.durable  # what came later may not be held yet
        for known in (self.hole, self.oldest_stray()):
            oldest = oldest if known is None else min(oldest, known)
        for log, unsettled in self._unsettled.items():
            oldest = min(oldest, unsettled[0].position)
            if log in self._healed:  # a copy stands behind what follows it
                oldest = min(oldest, *(held.position for held in unsettled))
        return oldest

    # -- streams -------------------------------------------------------------------------------

    def stream(self, name: str) -> StreamFold:
        """The fold of a stream; one that never was is empty."""
        fold = self._streams.get(name)
        if fold is not None:
            return fold
        fold = self._resting.get(name)
        if fold is None:
            stored = self._index.get(keys.name_key(name))
            fold = self._resting[name] = StreamFold(-1 if stored is None else keys.number(stored))
            if len(self._resting) > STREAMS_CACHED_MAX:
                self._resting.popitem(last=False)
        return fold

    def last_revision(self, name: str, shard: int, before: int = STAMP_MAX) -> int:
        """A stream's last revision below a stamp, tentative part included."""
        return self.stream(name).last_revision(self._shards[shard].seen, before)

    def tentative(
        self,
        name: str,
        shard: int,
        revision: int = 0,
        *,
        before: int = STAMP_MAX,
        reverse: bool = False,
    ) -> Iterator[Standing]:
        """A stream's tentative commits below a stamp, from the one that holds a revision on."""
        fold, seen = self.stream(name), self._shards[shard].seen
        at, count = fold.place_of_revision(revision, seen), fold.below(before)
        for place in range(min(at, count - 1), -1, -1) if reverse else range(at, count):
            yield Standing(fold.pending[place], *fold.verdict(place, seen))

    def names(self, prefix: str, after: str | None, limit: int) -> list[tuple[str, int]]:
        """Names of streams with something settled, and their last settled revisions."""
        start = keys.name_key(prefix if after is None else max(prefix, after))
        stop = keys.end_of_prefix(keys.name_key(prefix))
        pairs = self._index.scan(start, stop)
        if after is not None:
            pairs = (pair for pair in pairs if pair[0] != keys.name_key(after))
        return [(key[1:].decode(), keys.number(value)) for key, value in islice(pairs, limit)]

    def tentative_names(self, prefix: str) -> list[str]:
        """Names of streams with a tentative part."""
        return sorted(name for name in self._streams if name.startswith(prefix))

    def _pending_stream(self, name: str) -> StreamFold:
        fold = self._streams.get(name)
        if fold is None:
            fold = self.stream(name)
            self._resting.pop(name, None)
            self._streams[name] = fold
        return fold

    def _rest(self, name: str) -> None:
        fold = self._streams.get(name)
        if fold is not None and not fold.pending:
            del self._streams[name]
            self._resting[name] = fold
            if len(self._resting) > STREAMS_CACHED_MAX:
                self._resting.popitem(last=False)

    # -- looking up ----------------------------------------------------------------------------

    def find(self, commit_id: bytes, shard: int) -> Held | Place | None:
        """The commit with an id: the first one in the order as it is known now."""
        order = self._index.get(keys.commit_key(commit_id, shard))
        if order is not None:
            return self._place(order)
        same = self._shards[shard].by_id.get(commit_id)
        return same[0] if same else None

    def tentative_outcome(self, held: Held) -> tuple[int, int]:
        """(outcome, first revision) that a tentative commit would have now."""
        fold = self._streams[held.stream]
        return fold.verdict(fold.place_of(held), self._shards[held.shard].seen)

    def settled_places(self, name: str, revision: int, *, reverse: bool = False) -> Iterator[Place]:
        """A stream's settled commits from the one that holds a revision on."""
        low, high = keys.stream_key(name, 0), keys.stream_key(name, (1 << 64) - 1)
        middle = keys.stream_key(name, revision + 1)
        before = (self._place(order) for _, order in self._index.scan(low, middle, reverse=True))
        if reverse:
            return before
        first = next(before, None)
        start = keys.stream_key(name, first.first_revision if first else 0)
        return (self._place(order) for _, order in self._index.scan(start, high))

    def settled_order(
        self, after: OrderKey, until: int, *, conflicts: bool = False
    ) -> Iterator[Place]:
        """Settled commits of all streams from an order key on, up to a stamp."""
        stop = (until + 1, 0, 0)
        if not conflicts:
            pairs = self._index.scan(keys.order_key(after), keys.order_key(stop))
            return (keys.place(value) for _, value in pairs)
        pairs = self._index.scan(keys.conflict_key(after), keys.conflict_key(stop))
        return (self._place(keys.order_key(keys.order_of(key))) for key, _ in pairs)

    def _place(self, order: bytes) -> Place:
        value = self._index.get(order)
        if value is None:
            raise DamagedIndex("the index contradicts itself: it will be rebuilt from the log")
        return keys.place(value)

    def all_tentative(self, before: int = STAMP_MAX) -> Iterator[Standing]:
        """All tentative commits below a stamp, stream by stream, with what they would be now."""
        for name, fold in self._streams.items():
            yield from self.tentative(name, fold.pending[0].shard, -1, before=before)

    def log_entries(self, shard: int, origin: int, after: int) -> Iterator[tuple[int, int, int]]:
        """(sequence, position, length) of a log's commits after a sequence."""
        unsettled = self._unsettled.get((shard, origin))
        first_unsettled = unsettled[0].seq if unsettled else None
        if first_unsettled is None or after + 1 < first_unsettled:
            start = keys.log_key(shard, origin, after + 1)
            stop = keys.log_key(shard, origin, (1 << 64) - 1)
            for key, value in self._index.scan(start, stop):
                found = self._place(keys.order_in(value))
                yield keys.log_of(key)[2], found.position, found.length
        if unsettled and first_unsettled is not None:
            for held in islice(unsettled, max(0, after + 1 - first_unsettled), None):
                if not held.durable:
                    return
                yield held.seq, held.position, held.length

    def held(self, shard: int, origin: int, seq: int) -> Held | None:
        """A tentative commit of a log."""
        unsettled = self._unsettled.get((shard, origin))
        at = seq - unsettled[0].seq if unsettled else -1
        return unsettled[at] if unsettled and 0 <= at < len(unsettled) else None

    def leaf(self, log: LogKey, seq: int) -> bytes | None:
        """The hash of a commit that is here."""
        held = self.held(*log, seq)
        if held is not None:
            return held.hash
        value = self._index.get(keys.log_key(*log, seq))
        return None if value is None else keys.leaf_in(value)

    def place_in_log(self, shard: int, origin: int, seq: int) -> tuple[int, int] | None:
        """(position, length) of a commit that is here."""
        held = self.held(shard, origin, seq)
        if held is not None:
            return held.position, held.length
        value = self._index.get(keys.log_key(shard, origin, seq))
        if value is None:
            return None
        found = self._place(keys.order_in(value))
        return found.position, found.length

    def within(self, position: int, end: int) -> Iterator[tuple[LogKey, int] | None]:
        """The commits whose records lie in a range of the log; None now and then on the way.

        Looks at every commit: damage is rare, and an index by position would cost each append.
        """
        yield from [
            (log, held.seq)
            for log, unsettled in self._unsettled.items()
            for held in unsettled
            if position <= held.position < end
        ]
        for count, (key, value) in enumerate(self._index.scan(b"q", b"r")):
            found = self._place(keys.order_in(value))
            if position <= found.position < end:
                shard, origin, seq = keys.log_of(key)
                yield (shard, origin), seq
            elif count % _LOOKED_AT_ONCE == 0:
                yield None

    def move(self, shard: int, origin: int, seq: int, position: int, length: int) -> None:
        """The record of a commit is at another position: its old one is damaged."""
        held = self.held(shard, origin, seq)
        if held is not None:
            held.position, held.length = position, length
            self._healed.add((shard, origin))
            return
        value = self._index.get(keys.log_key(shard, origin, seq))
        if value is not None:
            order = keys.order_in(value)
            found = self._place(order)._replace(position=position, length=length)
            self._index.write([(order, keys.place_value(*found))])

    def mend_leaf(self, log: LogKey, seq: int, leaf: bytes) -> None:
        """Put right the hash of a settled commit, and the tree above it."""
        key = keys.log_key(*log, seq)
        value = self._index.get(key)
        if value is not None:
            self._index.write([(key, keys.log_value(keys.order_in(value), leaf))])
            self.trees.mend(log, seq)

    # -- marks ---------------------------------------------------------------------------------

    @property
    def pending_shards(self) -> list[int]:
        """Shards with tentative commits."""
        return [number for number, shard in enumerate(self._shards) if shard.pending]

    def first_pending(self, shard: int) -> Held | None:
        """The oldest tentative commit of a shard."""
        pending = self._shards[shard].pending
        return pending[0] if pending else None

    def mark(self, shard: int) -> Mark:
        """How far a shard is settled."""
        return self._marks[shard]

    def root_at(self, shard: int, commits: int) -> bytes | None:
        """The running hash after so many settled commits, if it is remembered."""
        mark = self._marks[shard]
        return mark.running if mark.commits == commits else self._roots[shard].get(commits)

    def _settled_frontier(self) -> Iterable[tuple[LogKey, int]]:
        """The last settled sequence of every log."""
        key = b"q"
        while True:
            pair = next(iter(self._index.scan(key, b"r")), None)
            if pair is None:
                return
            shard, origin, _ = keys.log_of(pair[0])
            end = keys.log_key(shard, origin, (1 << 64) - 1)
            last = next(iter(self._index.scan(key, end, reverse=True)))
            yield (shard, origin), keys.log_of(last[0])[2]
            key = end

    def replay_from(self) -> int:
        """Where in the log a replay has to begin."""
        return self._stored_number(keys.REPLAY_FROM)

    def scrubbed(self) -> int:
        """Where in the log the scrub goes on."""
        return self._stored_number(keys.SCRUBBED)

    def note_scrubbed(self, position: int) -> None:
        """Remember where the scrub is."""
        self._index.write([(keys.SCRUBBED, keys.number_value(position))])

    def checkpoint(self) -> bytes | None:
        """The last state record before there, if the index has it."""
        return self._index.get(keys.STATE)

    def stored_membership(self) -> bytes | None:
        """What the epochs had kept when the index was last written."""
        return self._index.get(keys.MEMBERSHIP)

    def synced(self) -> int:
        """Up to where the log was on disk when the index was last written."""
        return self._stored_number(keys.SYNCED)

    def _stored_number(self, key: bytes) -> int:
        stored = self._index.get(key)
        return 0 if stored is None else keys.number(stored)

    def _stored_mark(self, shard: int) -> Mark:
        stored = self._index.get(keys.mark_key(shard))
        return EMPTY_MARK if stored is None else keys.mark(stored)

    # -- bytes ---------------------------------------------------------------------------------

    def body(self, position: int, length: int) -> bytes:
        """The canonical bytes of a commit. Raises DamagedLog."""
        return self._log.read(position, length)

    def header(self, position: int, length: int) -> Commit:
        """A commit without its payloads. Raises DamagedLog."""
        return read_header(self.body(position, length))
