"""A world of real nodes in one process: one seed, virtual time, no socket and no file.

The nodes are the production `Node`; only the four seams differ. A world can cut and heal, crash
and restart, and let time pass.
"""

from __future__ import annotations

import asyncio
from random import Random as Generator

from ..gossip.members import Member
from ..node.config import ClusterConfig, Tuning
from ..node.node import Node
from ..storage.index import MemoryIndex
from .clock import SimClock, SimRandom
from .disk import SimDisk
from .network import SimNetwork, SimPort


class World:
    """Sites with nodes, and what lies between them."""

    def __init__(
        self,
        seed: int,
        sites: list[tuple[str, int]],
        *,
        shards: int = 4,
        tuning: Tuning | None = None,
    ) -> None:
        self.generator = Generator(seed)
        self._loop = asyncio.get_running_loop()
        self.network = SimNetwork(self.generator)
        members = [
            Member(f"{site}{number + 1}", site, priority, f"sim://{site}{number + 1}")
            for priority, (site, count) in enumerate(sites)
            for number in range(count)
        ]
        self.config = ClusterConfig("sim", shards, tuple(members), tuning or Tuning())
        self._name_of_url = {member.url: member.name for member in members}
        self.names = [member.name for member in members]
        self.disks = {name: SimDisk(self.generator) for name in self.names}
        self.indexes = {name: MemoryIndex() for name in self.names}
        self.clocks = {name: SimClock(self._loop) for name in self.names}
        self.nodes: dict[str, Node] = {}  # those that are up

    async def start(self, *names: str) -> None:
        """Start nodes; all if none is named."""
        for name in names or self.names:
            node = Node(
                self.config,
                name,
                disk=self.disks[name],
                index=self.indexes[name],
                clock=self.clocks[name],
                random=SimRandom(self.generator),
                network=SimPort(self.network, name, self._name_of_url),
            )
            await node.start()
            self.nodes[name] = node
            self.network.listen(name, node.answer)

    async def crash(self, name: str) -> None:
        """Kill a node: what its disk had not confirmed may be lost."""
        node = self.nodes.pop(name)
        self.network.down(name)
        await node.kill()
        self.disks[name].crash()
        self.indexes[name].crash()

    async def stop(self) -> None:
        """End all nodes in order."""
        while self.nodes:
            _, node = self.nodes.popitem()
            await node.stop()

    def cut_off(self, side: set[str], *, reset: bool = False) -> None:
        """Cut both directions between some nodes and all others."""
        for here in self.names:
            for there in self.names:
                if (here in side) != (there in side):
                    self.network.cut(here, there, reset=reset)

    async def until_settled(self, seconds: float = 30.0) -> None:
        """Wait until nothing is tentative anywhere and all frontiers are equal.

        Raises TimeoutError with what is left.
        """
        deadline = self._loop.time() + seconds
        while not self.settled():
            if self._loop.time() > deadline:
                raise TimeoutError(f"not settled after {seconds} s: {self.left()}")
            await asyncio.sleep(0.05)

    def settled(self) -> bool:
        """Whether nothing is tentative, and all hold the same."""
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
                {peer: dialer.state for peer, dialer in node.replication.dialers.items()},
            )
            for name, node in self.nodes.items()
        }
