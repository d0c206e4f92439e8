"""What the tests have in common in which members change: who looks on, and who goes on writing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from random import Random as Generator

from anabranch.gossip.epoch import Change
from anabranch.node.digest import digest
from anabranch.node.fold import ACCEPTED
from anabranch.node.node import Node
from anabranch.node.receipt import Receipt
from anabranch.node.waiting import joined
from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.world import World, is_damaged
from anabranch.storage.commit import Draft, read_header
from anabranch.storage.errors import AnabranchError, Unavailable
from anabranch.storage.files import LogFiles
from anabranch.storage.record import COMMIT
from anabranch.storage.segment import Found
from anabranch.storage.stamp import STAMP_MAX

from .stories import draft, settled

_LOOK_SECONDS = 0.5
_STREAMS = 3
_SYNCS_MAX = (
    3  # that a local answer waits for: one that is on, and its own; each may take 1.5 times
)
Row = tuple[tuple[int, int, int], int, int]  # order key, outcome, first revision


class Chronicle:
    """What clients were told, and what nodes have shown as settled, from beginning to end."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._luck = Generator("who is asked")
        self._count = 0
        self.acknowledged: dict[bytes, str] = {}  # the name of who acknowledged, by commit id
        self.final: dict[bytes, Receipt] = {}  # answers that said settled
        self.failed: list[str] = []
        self.late: list[str] = []  # local answers that waited for more than a few syncs
        self.faults: list[str] = []
        self._shown: dict[int, list[Row]] = {}  # the longest settled prefix of each shard

    def node(self, name: str) -> Node:
        """A node that is up."""
        return self._world.nodes[name]

    # -- writing -----------------------------------------------------------------------------------

    async def write(
        self, name: str, commits: int = 1, *, ack: str = "local", size: int = 0
    ) -> list[bytes]:
        """Append at a node, one after the other; the ids of what it acknowledged."""
        taken: list[bytes] = []
        for _ in range(commits):
            self._count += 1
            one = draft(f"s{self._count % _STREAMS}", f"{name} {self._count}", size)
            began = asyncio.get_running_loop().time()
            receipt = await self._answer(name, one, ack)
            waited = asyncio.get_running_loop().time() - began
            if ack == "local" and waited > _SYNCS_MAX * self._world.disks[name].sync_seconds:
                self.late.append(f"{name} took {waited:.4f} s for an append at {began:.3f} s")
            taken.append(one.commit_id)
            self._note(name, one.commit_id, receipt)
        return taken

    async def _answer(self, name: str, one: Draft, ack: str) -> Receipt:
        """What a node answers; Unavailable if it goes down meanwhile."""
        node = self._world.nodes[name]
        asked = asyncio.create_task(node.append(one, ack=ack))
        while not (await asyncio.wait([asked], timeout=_LOOK_SECONDS))[0]:
            if self._world.nodes.get(name) is not node:
                asked.cancel()
        if asked.cancelled():
            raise Unavailable(f"{name} has gone down")
        return asked.result()

    def _note(self, name: str, commit_id: bytes, receipt: Receipt) -> None:
        self.acknowledged[commit_id] = name
        if receipt.settled:
            self.final[commit_id] = receipt

    @asynccontextmanager
    async def under_load(
        self, names: Callable[[], list[str]], pause_seconds: float = 0.05
    ) -> AsyncIterator[None]:
        """Somebody appends all the time, at one or the other of those who are named then."""
        going = asyncio.Event()
        load = asyncio.create_task(self._go_on(names, pause_seconds, going))
        try:
            yield
        finally:
            going.set()
            await load

    async def _go_on(
        self, names: Callable[[], list[str]], pause_seconds: float, going: asyncio.Event
    ) -> None:
        while not going.is_set():
            name = self._luck.choice(names())
            try:
                await self.write(name)
            except AnabranchError as error:
                self.failed.append(f"{name}: {error}")
            await asyncio.sleep(pause_seconds)

    # -- looking on --------------------------------------------------------------------------------

    @asynccontextmanager
    async def looking_on(self) -> AsyncIterator[None]:
        """Look at what all nodes show as settled, again and again."""
        look = asyncio.create_task(self._look_on())
        try:
            yield
        finally:
            look.cancel()
            with suppress(asyncio.CancelledError):
                await look

    async def _look_on(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    def look(self) -> None:
        """Compare what every node shows as settled with what was shown before."""
        for name, node in self._world.nodes.items():
            shards: dict[int, list[Row]] = {}
            for one in node.history.settled_order((0, 0, 0), STAMP_MAX - 1):
                key = (one.stamp, one.priority, one.origin)
                shards.setdefault(one.shard, []).append((key, one.outcome, one.first_revision))
            for shard, rows in shards.items():
                shown = self._shown.setdefault(shard, [])
                if shown[: len(rows)] != rows[: len(shown)]:
                    self.faults.append(f"{name} settled shard {shard} otherwise than was shown")
                if len(rows) > len(shown):
                    self._shown[shard] = rows

    # -- the end -----------------------------------------------------------------------------------

    async def ends(
        self,
        members: Collection[str],
        *,
        lost: Collection[bytes] = (),
        seconds: float = 60.0,
        copied: bool = False,
    ) -> None:
        """Everything is settled, the same everywhere, and all is there that was acknowledged.

        `copied`: two copies of a directory have both been written to, unknown to the others.
        """
        await until(lambda: not left(self._world, members), seconds, lambda: self._why(members))
        self.look()
        assert self.faults == []
        nodes = [self._world.nodes[name] for name in members]
        rows = settled(nodes[0])
        for node in nodes[1:]:
            assert settled(node) == rows, f"{node.me.name} has another history"
        assert _same_digests(nodes), "the digests differ"
        shown = [(row[1], row[3]) for row in rows if row[2] == ACCEPTED]
        revisions = dict(shown)
        assert len(shown) == len(revisions), "a commit is shown twice"
        gone = [self.acknowledged[one] for one in {*self.acknowledged} - {*revisions} - {*lost}]
        assert not gone, f"{len(gone)} commits are gone that were acknowledged by {sorted({*gone})}"
        for commit_id, receipt in self.final.items():
            assert revisions[commit_id] == receipt.first_revision, "what was settled has moved"
        assert copied or twice(self._world) == []

    def _why(self, members: Collection[str]) -> str:
        return f"{left(self._world, members)}; {self._world.left()}"


def _same_digests(nodes: list[Node]) -> bool:
    """Whether nodes show the same hashes up to what all of them have settled."""
    cut = min(node.settler.final_until() for node in nodes)
    shown = [digest(node, cut) for node in nodes]
    return all(
        one[what] == shown[0][what] for one in shown for what in ("settled", "root", "frontier")
    )


async def until(
    holds: Callable[[], bool], seconds: float, why: Callable[[], str] = lambda: ""
) -> float:
    """Wait until something holds; how long that took."""
    began = asyncio.get_running_loop().time()
    while not holds():
        waited = asyncio.get_running_loop().time() - began
        assert waited < seconds, f"not after {seconds:g} s; {why()}"
        await asyncio.sleep(0.05)
    return asyncio.get_running_loop().time() - began


def left(world: World, members: Collection[str]) -> list[str]:
    """What keeps these, who should be the members, from being settled."""
    texts: list[str] = []
    nodes = {name: world.nodes[name] for name in members}
    first = next(iter(nodes.values()))
    frontier = dict(first.store.frontier.items())
    for name, node in nodes.items():
        if {*node.members._by_name} != {world.nodes[one].me.name for one in members}:
            texts.append(f"to {name} the members are {', '.join(sorted(node.members._by_name))}")
        if node.membership.is_outside or not node.membership.counts:
            texts.append(f"{name} does not count")
        if node.history.tentative_commits:
            texts.append(f"{name} has {node.history.tentative_commits} tentative commits")
        if len(node.store.strays):
            texts.append(f"{name} has {len(node.store.strays)} strays")
        if dict(node.store.frontier.items()) != frontier:
            texts.append(f"{name} and {first.me.name} do not hold the same")
        if node.settler.disputes or is_damaged(node):
            texts.append(f"{name} has a dispute or damage: {node.settler.disputes}")
    return texts


def twice(world: World) -> list[str]:
    """The places in logs that name two commits, on all disks that there are."""
    found: dict[tuple[int, int, int], bytes] = {}
    texts = []
    for name, disk in world.disks.items():
        for place, commit in commits_on(disk):
            if found.setdefault(place, commit) != commit:
                texts.append(f"{place} is another commit at {name}")
    return texts


def commits_on(disk: SimDisk) -> list[tuple[tuple[int, int, int], bytes]]:
    """(shard, origin, sequence) and hash of all commits on a disk."""
    rows = []
    for found in LogFiles(disk.clone()).scan(0):
        if isinstance(found, Found) and found.kind == COMMIT:
            commit = read_header(found.body)
            rows.append(((commit.shard, commit.origin, commit.seq), commit.hash))
    return rows


# -- changes -----------------------------------------------------------------------------------


def origin_of(world: World, name: str) -> int:
    """The origin that a node has among the members, or asks to join with."""
    return world.nodes[name].store.origin


async def start_asking(world: World, *names: str) -> None:
    """Start nodes that ask to be let in without an operator."""
    for name in names:
        await world.start(name)
        world.nodes[name].membership.asks = True


def want_out(world: World, at: str, name: str) -> None:
    """Let a member want that another one is removed."""
    origin = world.nodes[at].members.origin(name)
    assert origin is not None
    world.nodes[at].membership.want(Change(remove=(origin,)))


def waits_at(world: World, name: str) -> list[str]:
    """The members that know that a node waits to be let in."""
    return [one for one, node in world.nodes.items() if name in node.membership.waiting]


async def let_in(world: World, name: str, seconds: float = 10.0) -> bool:
    """As an operator does: have a member let a node in that waits there."""
    await until(lambda: bool(waits_at(world, name)), seconds, lambda: f"{name} waits nowhere")
    membership = world.nodes[waits_at(world, name)[0]].membership
    return await membership.until(Change(join=(joined(membership.waiting[name]),)), seconds)


async def until_members(
    world: World, names: Collection[str], *, at: Collection[str] = (), seconds: float = 30.0
) -> float:
    """Wait until nodes know these as the members; how long that took."""
    return await until(
        lambda: all({*world.nodes[one].members._by_name} == {*names} for one in at or names),
        seconds,
        lambda: str({one: sorted(world.nodes[one].members._by_name) for one in at or names}),
    )


async def settles(world: World, name: str, seconds: float = 10.0) -> float:
    """Append at a node and wait until that is settled; how long that took."""
    began = asyncio.get_running_loop().time()
    one = draft("settles", f"{name} {began}")
    receipt = await world.nodes[name].append(one, ack="settled", timeout=seconds)
    assert receipt.settled, f"nothing settles at {name} within {seconds:g} s: {world.left()}"
    return asyncio.get_running_loop().time() - began
