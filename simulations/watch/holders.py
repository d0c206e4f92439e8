"""Who has a commit on disk, or had it on a disk that is gone, or on a copy of it."""

from __future__ import annotations

from collections.abc import Mapping

from ...gossip.frontier import Frontier, LogKey
from ...node.node import Node
from .onlooker import Life


class Holders:
    """What lies on the disks of a world; `nodes` are those that are up, copies too."""

    def __init__(self, lives: Mapping[str, Life], nodes: Mapping[str, Node]) -> None:
        self._lives = lives
        self._nodes = nodes
        self._gone: dict[str, dict[LogKey, int]] = {}  # the ends of logs on disks that are gone
        self._copies: dict[str, str] = {}  # by node that runs on a copy: whose it is

    def of(self, log: LogKey, seq: int) -> tuple[str, ...]:
        """The nodes that have a commit on disk, or had it; what a copy has counts for its name."""
        copied = {
            name
            for copy, name in self._copies.items()
            if copy in self._nodes and self._nodes[copy].store.frontier[log] >= seq
        }
        return tuple(
            name
            for name, life in self._lives.items()
            if name in copied
            or max(life.node.store.frontier[log], self._gone.get(name, {}).get(log, 0)) >= seq
        )

    def beside(self, name: str) -> list[Frontier]:
        """What the disks of all other nodes hold, whether these are up or not."""
        return [life.node.store.frontier for other, life in self._lives.items() if other != name]

    def lose(self, name: str, node: Node) -> None:
        """All that a node has may be on no disk any more."""
        gone = self._gone.setdefault(self._copies.get(name, name), {})
        for log, seq in node.store.frontier.items():
            gone[log] = max(seq, gone.get(log, 0))

    def copied(self, name: str, copy: str) -> None:
        """A second node runs on a copy of a directory."""
        self._copies[copy] = name

    def is_copy(self, name: str) -> bool:
        """Whether a node runs on a copy."""
        return name in self._copies
