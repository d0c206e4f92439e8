"""Who belongs to the cluster, and which origin each member has (epoch 1: a fixed membership).

The file of every node names the members; their origins are learned from themselves, or from other
members, and then never change: a node that comes with another origin was wiped or replaced, and
its old promises do not bind the new one. `mark` is a digest of the complete table. A report
counts for settlement only if its maker had the same table in mind, so two nodes that learned
different origins for one name never settle with each other: that can only stop settlement, and
it is said.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from ..storage.commit import pack
from ..storage.limits import BOOTS_KEPT_MAX
from .messages import PROTOCOL, Hello


@dataclass(frozen=True, slots=True)
class Member:
    """One node as the configuration names it."""

    name: str
    site: str
    priority: int  # of its site: the lower one wins a tie
    url: str


COPIED = (
    "two processes run on copies of one data directory. Stop one of them, and start it with an "
    "empty directory as a new member"
)


class Cause(StrEnum):
    """Why a link is refused."""

    PROTOCOL = "protocol"
    CLUSTER = "cluster"
    SHARDS = "shards"
    MEMBERS = "members"
    ORIGIN = "origin"  # the one who dials is not who we know by that name
    KNOWN_AS = "known-as"  # the other side knows us by another origin
    COPIED = "copied"  # a newer boot of this origin has been here
    DRILL = "drill"


@dataclass(frozen=True, slots=True)
class Objection:
    """A reason not to talk to a node."""

    cause: Cause
    text: str


class Members:
    """The table of members."""

    epoch = 1

    def __init__(self, cluster: str, shards: int, me: str, table: tuple[Member, ...]) -> None:
        self.cluster = cluster
        self.shards = shards
        self.me = me
        self.table = table
        self._by_name = {member.name: member for member in table}
        self._origins: dict[str, int] = {}
        self._priority: dict[int, int] = {}
        self._names: dict[int, str] = {}
        self._boots: dict[int, dict[int, None]] = {}  # by origin, in the order in which they came
        self._mark = 0  # once all origins are known they never change

    def member(self, name: str) -> Member:
        """The member of a name."""
        return self._by_name[name]

    def origin(self, name: str) -> int | None:
        """The origin of a member, once it is known."""
        return self._origins.get(name)

    def name(self, origin: int) -> str | None:
        """The member that has an origin."""
        return self._names.get(origin)

    def site(self, origin: int) -> str:
        """The site of a member's origin."""
        return self._by_name[self._names[origin]].site

    def priority(self, origin: int) -> int | None:
        """The priority of a member's site, None if no member has this origin."""
        return self._priority.get(origin)

    def bind(self, name: str, origin: int) -> bool:
        """Learn a member's origin; whether it was new."""
        if name in self._origins or name not in self._by_name or not origin:
            return False
        self._origins[name] = origin
        self._names[origin] = name
        self._priority[origin] = self._by_name[name].priority
        return True

    @property
    def complete(self) -> bool:
        """Whether every member's origin is known."""
        return len(self._origins) == len(self.table)

    @property
    def origins(self) -> list[int]:
        """The known origins in the order of the table."""
        return [self._origins[member.name] for member in self.table if member.name in self._origins]

    @property
    def bindings(self) -> list[tuple[str, int]]:
        """The known (name, origin) pairs in the order of the table."""
        return [
            (member.name, self._origins[member.name])
            for member in self.table
            if member.name in self._origins
        ]

    @property
    def mark(self) -> int:
        """A digest of the complete table; 0 while it is not complete."""
        if not self._mark and self.complete:
            rows = sorted((m.name, m.site, m.priority, self._origins[m.name]) for m in self.table)
            self._mark = int.from_bytes(hashlib.sha256(pack(rows)).digest()[:8], "big") or 1
        return self._mark

    def hello(self) -> Hello:
        """What this node says first on a link."""
        rows = [(m.name, m.site, m.priority, self._origins.get(m.name, 0)) for m in self.table]
        return Hello(
            PROTOCOL, self.cluster, self.shards, self.me, self._origins.get(self.me, 0), rows
        )

    def objection(self, hello: Hello, boot: int = 0) -> Objection | None:
        """Why not to talk to the sender of this hello; None if all is well. Changes nothing."""
        return (
            self._objection_to_cluster(hello)
            or self._objection_to_table(hello)
            or self._objection_to_origins(hello)
            or self._objection_to_boot(hello, boot)
        )

    def learn(self, hello: Hello, boot: int = 0) -> bool:
        """Bind what an unobjectionable hello tells; whether anything was new."""
        boots = self._boots.setdefault(hello.origin, {})
        boots[boot] = None
        if len(boots) > BOOTS_KEPT_MAX:
            del boots[next(iter(boots))]
        new = [self.bind(hello.name, hello.origin)]
        new += [self.bind(name, origin) for name, _, _, origin in hello.members]
        return any(new)

    def _objection_to_cluster(self, hello: Hello) -> Objection | None:
        if hello.protocol != PROTOCOL:
            return Objection(
                Cause.PROTOCOL,
                f"{hello.name} speaks protocol {hello.protocol}, {self.me} speaks {PROTOCOL}: "
                "run versions that share one",
            )
        if hello.cluster != self.cluster:
            return Objection(
                Cause.CLUSTER,
                f"{hello.name} belongs to cluster {hello.cluster!r}, {self.me} to "
                f"{self.cluster!r}: one of them has the wrong address or file",
            )
        if hello.shards != self.shards:
            return Objection(
                Cause.SHARDS,
                f"{hello.name} has {hello.shards} shards, {self.me} has {self.shards}: the number "
                "is fixed when a cluster is made, correct `shards` in one of the files",
            )
        return None

    def _objection_to_table(self, hello: Hello) -> Objection | None:
        mine = {(m.name, m.site, m.priority) for m in self.table}
        theirs = {(name, site, priority) for name, site, priority, _ in hello.members}
        if hello.name not in self._by_name or mine != theirs:
            odd = ", ".join(
                sorted({row[0] for row in mine ^ theirs} | ({hello.name} - {*self._by_name}))
            )
            return Objection(
                Cause.MEMBERS,
                f"{hello.name} and {self.me} have different members, sites or priorities in their "
                f"files; they differ in: {odd}",
            )
        if hello.name == self.me:
            return Objection(
                Cause.MEMBERS,
                f"another node also calls itself {self.me}, or {self.me} dials itself: correct "
                "the url in the file",
            )
        return None

    def _objection_to_origins(self, hello: Hello) -> Objection | None:
        known = self._origins.get(hello.name)
        if known is not None and known != hello.origin:
            return Objection(
                Cause.ORIGIN,
                f"{hello.name} comes with origin {hello.origin:016x}, but is known here as "
                f"{known:016x}: its data directory was wiped or replaced",
            )
        for name, _, _, origin in hello.members:
            known = self._origins.get(name)
            if known is None or not origin or origin == known:
                continue
            cause = Cause.KNOWN_AS if name == self.me else Cause.MEMBERS
            return Objection(
                cause,
                f"{hello.name} knows {name} as {origin:016x}, {self.me} knows it as {known:016x}: "
                f"the data directory of {name} was wiped or replaced",
            )
        return None

    def _objection_to_boot(self, hello: Hello, boot: int = 0) -> Objection | None:
        return self.objection_to_boot(hello.name, hello.origin, boot)

    def objection_to_boot(self, name: str, origin: int, boot: int) -> Objection | None:
        """Why not to listen to a start of a node any more: a newer one has said hello."""
        boots = self._boots.get(origin, {})
        if boot not in boots or boot == next(reversed(boots)):
            return None
        return Objection(
            Cause.COPIED, f"a newer start of {name} with the same origin has been here: {COPIED}"
        )
