"""A world of real nodes in one process: one seed, virtual time, no socket and no file.

The nodes are the production `Node`; only the four seams differ. A world can cut and heal, crash
and restart, stand still in part, and let time pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextvars import Context, copy_context
from copy import deepcopy
from dataclasses import dataclass
from random import Random as Generator

from ...gossip.epoch import Change
from ...gossip.members import Member
from ...gossip.transport import Link, Network
from ...node.config import ClusterConfig, Tuning
from ...node.node import Node
from ...node.waiting import joined
from ...storage.errors import AnabranchError
from .clock import SimClock, SimRandom
from .disk import SimDisk
from .index import SimIndex
from .loop import OWNER, VirtualLoop
from .network import SimNetwork, SimPort

ROOM_BYTES = 1 << 40
_LOOKED_FOR_SECONDS = 5.0  # who waits to be let in is there by then, or a vote comes back


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A data directory as it was at some moment."""

    disk: SimDisk
    index: SimIndex


class World:
    """Sites with nodes, and what lies between them."""

    def __init__(
        self,
        seed: int,
        sites: list[tuple[str, int]],
        *,
        shards: int = 4,
        tuning: Tuning | None = None,
        late: Collection[str] = (),
    ) -> None:
        """`late`: nodes of these sites that are not there yet, see `add`."""
        self._loop = asyncio.get_running_loop()
        self.generator = Generator(seed)  # luck for whoever acts upon the world
        self.network = SimNetwork(Generator(f"network {seed}"))
        members = [
            Member(f"{site}{number + 1}", site, priority, f"sim://{site}{number + 1}")
            for priority, (site, count) in enumerate(sites)
            for number in range(count)
            if f"{site}{number + 1}" not in late
        ]
        self._priorities = {site: priority for priority, (site, _) in enumerate(sites)}
        self.config = ClusterConfig("sim", shards, tuple(members), tuning or Tuning())
        self._seed = seed
        self._members = {member.name: member for member in members}
        self._configs = dict.fromkeys(self._members, self.config)
        self._runs_as = {name: name for name in self._members}  # what a node's file calls it
        self._name_of_url = {member.url: member.name for member in members}
        self._asking: set[str] = set()
        self.names = [member.name for member in members]
        self.disks: dict[str, SimDisk] = {}
        self.indexes: dict[str, SimIndex] = {}
        self.clocks: dict[str, SimClock] = {}
        self._luck: dict[str, SimRandom] = {}
        self._changing: dict[str, asyncio.Lock] = {}
        for name in self.names:
            self._equip(name)
        self._ending: set[asyncio.Task[bool]] = set()
        self.nodes: dict[str, Node] = {}  # those that are up
        self.on_change: Callable[[str], None] = lambda _: None  # told of each start and end
        self.contexts: dict[str, Context] = {}  # what runs in a node's context stops when it does

    def _equip(self, name: str) -> None:
        """A machine with an empty directory."""
        self.disks[name] = SimDisk(Generator(f"disk {self._seed} {name}"))
        self.indexes[name] = SimIndex(Generator(f"index {self._seed} {name}"))
        self.clocks[name] = SimClock(self._loop)
        self._luck[name] = SimRandom(Generator(f"node {self._seed} {name}"))
        self._changing[name] = asyncio.Lock()

    def add(self, name: str, site: str, knows: list[str], *, asks: bool = False) -> None:
        """A machine that the founders' file does not name; its own names it and whom it knows.

        `asks`: it is let in without an operator, as soon as it has copied what there is.
        """
        priority = self._priorities.setdefault(site, len(self._priorities))
        me = self._members[name] = Member(name, site, priority, f"sim://{name}")
        table = (me, *(self._members[other] for other in knows))
        config = self.config
        self._configs[name] = ClusterConfig(config.name, config.shards, table, config.tuning)
        self._runs_as[name] = name
        self._name_of_url[me.url] = name
        self.names.append(name)
        if asks:
            self._asking.add(name)
        self._equip(name)

    def snapshot(self, name: str) -> Snapshot:
        """What a node that is down has in its directory."""
        return Snapshot(self.disks[name].clone(), deepcopy(self.indexes[name]))

    def restore(self, name: str, snapshot: Snapshot) -> None:
        """Put an older directory in the place of that of a node that is down."""
        self.disks[name], self.indexes[name] = snapshot.disk.clone(), deepcopy(snapshot.index)

    def copy(self, name: str, twin: str) -> None:
        """A second machine with a copy of a directory; it dials, but nobody dials it.

        Nobody who goes through the names meets it: it is no node that should be there.
        """
        self._equip(twin)
        self.restore(twin, self.snapshot(name))
        self._configs[twin], self._runs_as[twin] = self._configs[name], self._runs_as[name]

    def port(self, name: str) -> Network:
        """A node's way into the network."""
        return SimPort(self.network, name, self._name_of_url)

    async def start(self, *names: str) -> None:
        """Start nodes; all if none is named. Raises what a node says that can't start."""
        for name in names or self.names:
            async with self._changing[name]:
                if name not in self.nodes:
                    await self._start(name)

    async def _start(self, name: str) -> None:
        node = Node(
            self._configs[name],
            self._runs_as[name],
            disk=self.disks[name],
            index=self.indexes[name],
            clock=self.clocks[name],
            random=self._luck[name],
            network=self.port(name),
            on_failure=lambda error: self._failed(name, error),
        )
        context = copy_context()
        context.run(OWNER.set, name)
        disk = self.disks[name]
        disk.reads_right = True  # a start that misreads its tail would cut it
        try:
            await self._loop.create_task(node.start(), context=context)
        finally:
            disk.reads_right = False
        node.membership.asks |= name in self._asking
        self.nodes[name], self.contexts[name] = node, context
        if self._runs_as[name] == name:
            self.network.listen(name, lambda link: self.answer(name, link))
        self.began(name)

    def began(self, name: str) -> None:
        """A node is up. For those who look on."""
        self.on_change(f"{name} starts")

    def ended(self, name: str) -> None:
        """A node is gone. For those who look on."""
        self.on_change(f"{name} ends")

    async def answer(self, name: str, link: Link) -> None:
        """Let a node answer a link that another one has opened."""
        serving = self.nodes[name].answer(link)
        await self._loop.create_task(serving, context=self.contexts[name].copy())

    def _failed(self, name: str, error: AnabranchError) -> None:
        """A node that can't go on ends at once, as its process would."""
        if self.is_up(name):
            self.on_change(f"{name} can't go on: {error}")
            task = self._loop.create_task(self.crash(name))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def failed_have_ended(self) -> None:
        """Return when every node that can't go on has ended."""
        while self._ending:
            await asyncio.wait(self._ending)

    def is_up(self, name: str) -> bool:
        """Whether a node runs, or stands still."""
        return name in self.nodes

    async def crash(self, name: str) -> bool:
        """Kill a node: what its disk had not confirmed may be lost. False if it was not up."""
        async with self._changing[name]:
            if name not in self.nodes:
                return False
            node = self._leave(name, "crash")
            await node.kill()
            self.disks[name].crash()
            self.indexes[name].crash()
            self.ended(name)
            return True

    async def stop_one(self, name: str) -> bool:
        """End one node in order. False if it was not up."""
        async with self._changing[name]:
            if name not in self.nodes:
                return False
            await self._leave(name, "stop").stop()
            self.ended(name)
            return True

    def _leave(self, name: str, why: str) -> Node:
        """A node begins to end, by `crash` or `stop`; nobody finds it any more."""
        self.resume(name)
        self.network.down(name)
        return self.nodes.pop(name)

    def lose_index(self, name: str) -> None:
        """Delete the index of a node that is down."""
        self.indexes[name] = SimIndex(Generator(f"index {name} {self._loop.time()}"))

    def lose_disk(self, name: str) -> None:
        """Delete all that a node that is down had."""
        self.disks[name].wipe()
        self.lose_index(name)

    def flush_index(self, name: str) -> None:
        """What is in a node's index survives a crash from now on."""
        self.indexes[name].flush()

    def pause(self, name: str) -> None:
        """Let a node stand still, as a process that was stopped does."""
        if isinstance(self._loop, VirtualLoop):
            self._loop.pause(name)

    def resume(self, name: str) -> None:
        """Let a node go on."""
        if isinstance(self._loop, VirtualLoop):
            self._loop.resume(name)

    def look_on(self, look: Callable[[], float]) -> None:
        """Call `look` now and at each time that it returns, when nothing else happens."""
        if isinstance(self._loop, VirtualLoop):
            self._loop.look_on(look)

    async def stop(self) -> None:
        """End all nodes in order."""
        for name in list(self.nodes):
            await self.stop_one(name)

    def cut_off(self, side: set[str], *, reset: bool = False) -> None:
        """Cut both directions between some nodes and all others."""
        for here in self.disks:
            for there in self.disks:
                if (here in side) != (there in side):
                    self.network.cut(here, there, reset=reset)

    async def replace_the_lost(self, seconds: float = 60.0) -> None:
        """As an operator does where a change can't be agreed on any more: with --force.

        That is so where no majority has kept its directories, or where only a lost one held what
        every member has to hold. Whoever forces it has copied before all that can be had.
        """
        deadline = self._loop.time() + seconds
        while self._loop.time() < deadline and not self._all_sure():  # noqa: ASYNC110 - for a while
            await asyncio.sleep(0.1)
        while self._loop.time() < deadline and ((stuck := self._stuck()) or self._anyone_outside()):
            await asyncio.sleep(_LOOKED_FOR_SECONDS if stuck else 0.1)
            for name in stuck if stuck == self._stuck() else []:
                node = self.nodes[name]
                change = self._forced_at(node)
                if change is not None and self._has_all(node):
                    context = self.contexts[name].copy()
                    await self._loop.create_task(node.membership.force(change), context=context)
                    break

    def _all_sure(self) -> bool:
        """Whether every node knows whether its directory went back in time."""
        return all(node.membership.sureness.sure for node in self.nodes.values())

    def _anyone_outside(self) -> bool:
        """Whether some node is no member, as far as it knows."""
        return any(node.membership.is_outside for node in self.nodes.values())

    def _stuck(self) -> list[str]:
        """The members of an epoch in which too few have a vote for another one."""
        return [name for name, node in self.nodes.items() if self._is_stuck(node)]

    def _is_stuck(self, node: Node) -> bool:
        epoch = node.members.epoch
        if epoch is None or node.membership.is_outside:
            return False
        there = {other.store.origin: other.membership for other in self.nodes.values()}
        voting = [one for one in epoch.origins if one in there and there[one].has_a_vote]
        return len(voting) < epoch.majority

    def _has_all(self, node: Node) -> bool:
        """Whether a node holds all that has a place and that any other one holds."""
        return all(
            node.store.frontier[log] >= node.members.end(log, seq)
            for other in self.nodes.values()
            for log, seq in other.store.frontier.items()
        )

    def _forced_at(self, node: Node) -> Change | None:
        """What a member has to decide by force, once those who come instead of others are there.

        If all members are there, but not what every one of them has to hold, that is given up.
        """
        epoch, there = node.members.epoch, {other.store.origin for other in self.nodes.values()}
        lost = [] if epoch is None else [one for one in epoch.members if one.origin not in there]
        joins = [node.membership.waiting.get(member.name) for member in lost]
        if None in joins:
            return None
        return Change(tuple(joined(one) for one in joins if one), tuple(m.origin for m in lost))

    async def until_settled(self, seconds: float = 30.0) -> None:
        """Wait until nothing is tentative anywhere, all frontiers are equal and nothing is damaged.

        Raises TimeoutError with what is left.
        """
        deadline = self._loop.time() + seconds
        while not self.settled():
            if self._loop.time() > deadline:
                raise TimeoutError(f"not settled after {seconds:g} s: {self.left()}")
            await asyncio.sleep(0.05)

    async def until_linked(self, seconds: float) -> list[str]:
        """Wait until every node talks to every other; what does not in the end."""
        deadline = self._loop.time() + seconds
        while (left := self.unlinked()) and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return left

    def unlinked(self) -> list[str]:
        """The links that carry nothing."""
        return [
            f"the link from {name} to {peer}"
            for name, node in self.nodes.items()
            for peer, dialer in node.replication.dialers.items()
            if peer in node.members and not dialer.pushes._connected  # noqa: SLF001 - looking inside is the point
        ]

    async def scrub_all(self) -> None:
        """Let every node read all of its disk, at once."""
        for name, node in list(self.nodes.items()):
            context = self.contexts[name].copy()
            await self._loop.create_task(node.scrub.read_all(), context=context)

    def settled(self) -> bool:
        """Whether nothing is tentative, all hold the same, are members, and know of no damage."""
        if any(is_damaged(node) for node in self.nodes.values()) or self._anyone_outside():
            return False
        frontiers = [dict(node.store.frontier.items()) for node in self.nodes.values()]
        return all(
            node.history.tentative_commits == 0 and frontier == frontiers[0]
            for node, frontier in zip(self.nodes.values(), frontiers, strict=True)
        )

    def left(self) -> dict[str, object]:
        """What keeps the world from being settled."""
        return {
            name: (
                node.history.tentative_commits,
                dict(node.settler.disputes),
                node.store.missing(),
                {peer: dialer.state for peer, dialer in node.replication.dialers.items()},
            )
            for name, node in self.nodes.items()
        }


def is_damaged(node: Node) -> bool:
    """Whether a node knows of damage that is not healed, or is finding out what it means."""
    looking = node.repair._looking  # noqa: SLF001 - looking inside is the point
    holes = node.store.holes
    return bool(holes.first is not None or holes.lost or (looking and not looking.done()))
