"""Which commits were made, and by which processes: nothing else may be given, and of two one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...node.fold import Held
from ...node.node import Node
from ...storage.commit import read_header

Place = tuple[int, int, int]  # shard, origin, sequence


class Making:
    """All commits that were stamped in a world, by nodes and by those that run on copies."""

    def __init__(self) -> None:
        self._made: dict[Place, dict[bytes, str]] = {}  # by hash: which process
        self._forks: set[Place] = set()  # where two processes made different commits

    def made(self, name: str, held: Held) -> None:
        """A process stamped a commit."""
        place = (held.shard, held.key[2], held.seq)
        made = self._made.setdefault(place, {})
        made[held.hash] = name
        if len(made) > 1 and len({*made.values()}) > 1:
            self._forks.add(place)

    def untrue(self, name: str, commits: Iterable[bytes]) -> Iterator[str]:
        """What a node gave to another one, and nobody ever made."""
        for body in commits:
            commit = read_header(body)
            if commit.hash not in self._made.get((commit.shard, commit.origin, commit.seq), ()):
                yield f"{name} gave commit {commit.seq} of log {commit.shard} as it never was"

    def refused(self, nodes: Iterable[Node]) -> int:
        """How many forks there were of which all nodes hold the same side, or neither."""
        histories = [node.history for node in nodes]
        return sum(
            len({history.leaf((shard, origin), seq) for history in histories} - {None}) < 2
            for shard, origin, seq in self._forks
        )
