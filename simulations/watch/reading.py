"""What nodes show and hold, read from outside for the checkers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from types import ModuleType

from ...gossip import peer, settlement
from ...gossip.frontier import LogKey
from ...gossip.members import Members
from ...node.config import ClusterConfig
from ...node.fold import TENTATIVE, Held, OrderKey, Standing
from ...node.history import History as NodeHistory
from ...node.holes import Holes
from ...node.node import Node
from ...node.recovery import recover
from ...node.strays import Strays
from ...storage import keys
from ...storage.commit import Commit, read_payloads
from ...storage.disk import Disk
from ...storage.errors import AnabranchError, DamagedLog
from ...storage.index import Index, MemoryIndex
from ...storage.keys import Place
from ...storage.limits import GROUP_BYTES_MAX, STREAMS_CACHED_MAX
from ...storage.log import Log
from ...storage.stamp import STAMP_MAX
from ..checkers.bounded import tasks_of
from ..history import Body, Gauge, History, Known, Row
from ..world.disk import SimDisk
from ..world.loop import VirtualLoop

READ_AGAIN_BYTES_MAX = 100_000  # of a disk that is read back more than once at a start
READ_MAX = 256  # settled commits that are read where not all have to be: the last ones
_ROOT = Node.__module__.removesuffix(".node.node")
_NODE_PACKAGES = tuple(f"{_ROOT}.{name}." for name in ("node", "gossip", "storage"))


class Reader:
    """Reads settled commits; each body is taken apart once and compared by its bytes after that."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._known: dict[OrderKey, tuple[bytes, Row]] = {}

    def rows(self, node: Node, shards: int, after: OrderKey = (0, 0, 0)) -> dict[int, list[Row]]:
        """What a node has settled after a place in the order, by shard."""
        rows: dict[int, list[Row]] = {shard: [] for shard in range(shards)}
        for place in node.history.settled_order(after, STAMP_MAX - 1):
            rows.setdefault(place.shard, []).append(self._row(node, place))
        return rows

    def _row(self, node: Node, place: Place) -> Row:
        key = (place.stamp, place.priority, place.origin)
        body = node.history.body(place.position, place.length)
        digest = hashlib.blake2b(body, digest_size=16).digest()
        known = self._known.get(key)
        if known is None or known[0] != digest:
            commit, payloads = read_payloads(body)
            row = row_of(place.shard, key, commit, place)
            self._history.entries[row.hash] = commit.entry
            self._history.bodies.append(Body(node.me.name, row, payloads))
            self._known[key] = digest, row
            return row
        row = known[1]
        if (row.shard, row.outcome, row.first_revision, row.events) != (
            place.shard,
            place.outcome,
            place.first_revision,
            place.events,
        ):
            return row._replace(
                shard=place.shard,
                outcome=place.outcome,
                first_revision=place.first_revision,
                events=place.events,
            )
        return row


def row_of(shard: int, key: OrderKey, commit: Commit, place: Place) -> Row:
    """A settled commit as its bytes and the index say."""
    return Row(
        shard,
        key,
        commit.seq,
        commit.id,
        commit.stream,
        place.events,
        commit.expected,
        commit.policy,
        commit.hash,
        place.outcome,
        place.first_revision,
    )


def row_of_held(held: Held) -> Row:
    """A commit as its node has just settled it."""
    return row_of_standing(Standing(held, held.outcome, held.first_revision))


def row_of_standing(one: Standing) -> Row:
    """A tentative commit with what it would be now."""
    held = one.held
    return Row(
        held.shard,
        held.key,
        held.seq,
        held.id,
        held.stream,
        held.count,
        held.expected,
        held.policy,
        held.hash,
        one.outcome,
        one.first_revision,
    )


def key_of_tail(order: Mapping[int, Sequence[Row]], counts: Sequence[int]) -> OrderKey:
    """A place in the order after which a node with these counts has few settled commits."""
    if sum(counts) <= READ_MAX:
        return (0, 0, 0)
    tail = READ_MAX // len(counts) or 1
    keys = [(0, 0, 0)]
    for shard, count in enumerate(counts):
        rows = order.get(shard, ())
        if tail < count <= len(rows):
            keys.append(rows[count - tail].key)
    return max(keys)


def tentative_of(history: NodeHistory) -> dict[tuple[int, int, int], bytes]:
    """Hashes of durable tentative commits; read without folding them, which could help the node."""
    unsettled = history._unsettled  # noqa: SLF001 - looking inside is the point
    return {
        (shard, origin, held.seq): held.hash
        for (shard, origin), commits in unsettled.items()
        for held in commits
        if held.durable or origin != held.key[2]
    }


def known_tentative(node: Node, shard: int) -> list[tuple[Row, bool]]:
    """All that a node holds of a shard and has not settled, and whether its id is settled."""
    unsettled = node.history._unsettled.items()  # noqa: SLF001 - looking inside is the point
    held = [one for (number, _), commits in unsettled if number == shard for one in commits]
    held += [stray for stray in node.strays if stray.shard == shard]
    stored = _stored(node.history)
    return [
        (
            row_of_standing(Standing(one, TENTATIVE, -1)),
            stored(keys.commit_key(one.id, shard)) is not None,
        )
        for one in held
    ]


def settled_revision(node: Node, stream: str) -> int:
    """The last settled revision of a stream, as the index has it; -1 for none."""
    found = _stored(node.history)(keys.name_key(stream))
    return -1 if found is None else keys.number(found)


def _stored(history: NodeHistory) -> Callable[[bytes], bytes | None]:
    """What looks up what the index has, or is about to be told."""
    waiting = dict(history._puts)  # noqa: SLF001 - looking inside is the point
    index = history._index  # noqa: SLF001 - as above
    return lambda key: waiting.get(key) or index.get(key)


def names_of_tentative(history: NodeHistory) -> frozenset[tuple[bytes, str]]:
    """Ids and streams of tentative commits, strays included."""
    pending = [shard.pending for shard in history._shards]  # noqa: SLF001 - as above
    return frozenset((held.id, held.stream) for commits in pending for held in commits)


def highest_tentative(history: NodeHistory) -> int:
    """The highest stamp of all tentative commits."""
    unsettled = history._unsettled.values()  # noqa: SLF001 - looking inside is the point
    return max((commits[-1].key[0] for commits in unsettled), default=0)


Left = tuple[Known, tuple[tuple[LogKey, int, bytes], ...]]  # see history.Recovered


def known_of(node: Node) -> Known:
    """What a node knows that it has on disk."""
    on_its_way = {held.id for held, _ in node.store._on_its_way}  # noqa: SLF001 - as below
    marks, holes = _marks(node.history, node.config.shards), node.store.holes
    return Known(
        dict(node.store.frontier.items()),
        tentative_of(node.history),
        marks,
        torn_of(holes),
        frozenset(one for one, _ in names_of_tentative(node.history)) - on_its_way,
        strays_of(node.strays),
        holes.unsure,
        *_epoch_of(node.members),
    )


def _epoch_of(members: Members) -> tuple[Mapping[int, Mapping[int, int]], int]:
    """Finals and number of the epoch that a node knows."""
    epoch = members.epoch
    return ({}, 0) if epoch is None else (epoch.finals, epoch.number)


def strays_of(strays: Strays) -> frozenset[bytes]:
    """Ids of the strays that are on disk."""
    return frozenset(held.id for held in strays if held.durable)


def torn_of(holes: Holes) -> dict[LogKey, int]:
    """The logs that lack commits, and how many there were at least."""
    return dict(holes._known)  # noqa: SLF001 - looking inside is the point


def waiting_of(node: Node) -> tuple[tuple[LogKey, int, bytes], ...]:
    """What is on its way to a node's disk, in log order."""
    waiting = node.store._on_its_way  # noqa: SLF001 - looking inside is the point
    return tuple(((held.shard, held.key[2]), held.seq, held.hash) for held, _ in waiting)


def _marks(history: NodeHistory, shards: int) -> tuple[tuple[int, bytes], ...]:
    marks = [history.mark(shard) for shard in range(shards)]
    return tuple((mark.commits, mark.running) for mark in marks)


def read_thrice(config: ClusterConfig, name: str, disk: SimDisk, index: Index) -> tuple[Known, ...]:
    """What a copy of a disk says: twice with its index, once without."""
    size = sum(disk.size(f"log/{file}") for file in disk.list("log"))
    if not 0 < size < READ_AGAIN_BYTES_MAX:
        return ()
    index, copy, other = deepcopy(index), disk.clone(), disk.clone()
    copy.reads_right = other.reads_right = True
    found = [
        read_again(config, name, copy, index),
        read_again(config, name, copy, index),
        read_again(config, name, other, MemoryIndex()),
    ]
    return () if None in found else tuple(known for known in found if known is not None)


def read_again(config: ClusterConfig, name: str, disk: Disk, index: Index) -> Known | None:
    """Read a directory back as a start does; None if it is refused."""
    log = Log(
        disk,
        opening_state=bytes,
        on_durable=lambda _: None,
        on_failure=lambda _: None,
        segment_bytes=config.tuning.segment_bytes,
    )
    history = NodeHistory(index, log, config.shards)
    strays = Strays(history)
    try:
        members = Members(config.name, config.shards, name, config.members)
        recovered = recover(log, history, members, strays)
    except AnabranchError:
        return None
    holes = Holes(recovered, 0 if recovered.state is None else recovered.state.origin)
    marks = _marks(history, config.shards)
    return Known(
        recovered.frontier,
        tentative_of(history),
        marks,
        torn_of(holes),
        frozenset(one for one, _ in names_of_tentative(history)),
        strays_of(strays),
        recovered.unsure,
        *_epoch_of(members),
    )


def untrue_of(node: Node) -> Iterator[str]:
    """Commits that a node holds, and can't read or remembers by another hash."""
    for log, held in sorted(node.store.frontier.items()):
        for seq in range(1, held + 1):
            place = node.history.place_in_log(*log, seq)
            try:
                found = None if place is None else node.history.header(*place).hash
            except DamagedLog as error:
                yield f"{node.me.name} can't read commit {seq} of log {log[0]}: {error}"
                continue
            if found is None or found != node.history.leaf(log, seq):
                yield f"{node.me.name} says another hash of commit {seq} of log {log[0]}"


def _bound(module: ModuleType, name: str) -> int:
    """A bound as it is in this run, which may have smaller ones than production (bounds.py)."""
    value: int = vars(module)[name]
    return value


# -- what must not pile up -----------------------------------------------------------------------


def bounds_of(nodes: Mapping[str, Node]) -> Iterator[Gauge]:
    """What is bounded whatever happens: buffers and queues of each node."""
    for name, node in nodes.items():
        outbox, settling = node.outbox, node.settler.settlement
        if len(outbox._commits) > 1:  # noqa: SLF001 - looking inside is the point
            yield Gauge(name, "bytes in its outbox", outbox._bytes, outbox.bytes_max)  # noqa: SLF001
        yield Gauge(name, "bytes on their way to the disk", node.log.backlog_bytes, GROUP_BYTES_MAX)
        if settling is not None:
            longest = max((len(queue) for queue in settling._queue.values()), default=0)  # noqa: SLF001
            yield Gauge(
                name, "promises in a queue", longest, _bound(settlement, "PROMISES_KEPT_MAX")
            )
        resting = len(node.history._resting)  # noqa: SLF001
        yield Gauge(name, "streams at rest", resting, STREAMS_CACHED_MAX)
    loop = asyncio.get_running_loop()
    if isinstance(loop, VirtualLoop):
        yield Gauge("the loop", "exceptions that nobody handled", len(loop.unhandled), 0)


def _held_back(node: Node) -> int:
    """How many commits are held back; not those that were, and of which nobody has asked since."""
    return sum(
        stamp > max(node.store.newest(*log), node.history.mark(log[0]).watermark)
        for log, stamp in node.replication.welcome.held_back.items()
    )


def gauges_of(nodes: Mapping[str, Node], *, calm: bool) -> Iterator[Gauge]:
    """What else has to be gone when all is quiet: who waits, and tasks.

    Where it is not calm yet, each node may still answer a link to another one that is dead.
    """
    yield from bounds_of(nodes)
    for name, node in nodes.items():
        yield Gauge(name, "appends that wait", len(node.appends.waiting), 0)
        yield Gauge(name, "commits held back", _held_back(node), 0)
    dead = 0 if calm else len(nodes) * (len(nodes) - 1)
    yield Gauge("the cluster", "tasks", _tasks(nodes), tasks_of(len(nodes)) + dead)


def _tasks(nodes: Mapping[str, Node]) -> int:
    """Tasks that run code of nodes; what hangs in one that was killed is no more."""
    count, alive = 0, list(nodes.values())
    for task in asyncio.all_tasks():
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is not None and frame.f_globals.get("__name__", "").startswith(_NODE_PACKAGES):
            owner = frame.f_locals.get("self")
            count += not isinstance(owner, Node) or owner in alive
    return count


# -- when all is healed --------------------------------------------------------------------------


class Missing:
    """What nodes lack that others hold, behind holes too."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self.bytes = 0
        self.longest_bytes = _bound(peer, "PULL_BYTES_MAX")
        self.pulls = 0  # of the node that needs the most
        for node in nodes.values():
            self._add(node, nodes)

    def _add(self, node: Node, nodes: Mapping[str, Node]) -> None:
        missing: dict[LogKey, tuple[int, int]] = {}  # bytes, commits
        for other in nodes.values():
            behind = node.store.frontier.behind(other.store.frontier)
            stranded = other.store.holes._stranded  # noqa: SLF001 - looking inside is the point
            for log in {*behind, *stranded}:
                own = node.store.frontier[log]
                lengths = [length for _, _, length in other.history.log_entries(*log, own)]
                lengths += [one.length for one in stranded.get(log, ()) if one.seq > own]
                missing[log] = max(missing.get(log, (0, 0)), (sum(lengths), len(lengths)))
                self.longest_bytes = max(self.longest_bytes, *lengths, 0)
        size = sum(size for size, _ in missing.values())
        commits = sum(count for _, count in missing.values())
        self.bytes += size
        answers = min(commits, 2 * size // _bound(peer, "PULL_BYTES_MAX") + len(missing))
        self.pulls = max(self.pulls, answers)
