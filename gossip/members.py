"""Who belongs to the cluster, and which origin each member has.

A cluster is *forming* until every node that its file names was seen once: their origins make
epoch 1. From then on an epoch says who the members are, and the file only where to dial them. A
node that learns an epoch which does not know its origin is *outside*: it takes appends under an
origin of its own until it is let in.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from ..storage.limits import BOOTS_KEPT_MAX, STRANGERS_KEPT_MAX
from .epoch import Epoch
from .epoch import Member as Joined
from .frontier import LogKey
from .messages import PROTOCOL, Hello

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Member:
    """One node as the configuration names it."""

    name: str
    site: str
    priority: int  # of its site: the lower one wins a tie
    url: str


COPIED = (
    "two processes run on copies of one data directory. Stop one of them. Then start this one "
    "again: it joins anew, and what only it has taken comes back"
)


class Cause(StrEnum):
    """Why a link is refused."""

    PROTOCOL = "protocol"
    CLUSTER = "cluster"
    SHARDS = "shards"
    MEMBERS = "members"
    FORK = "fork"  # another epoch with the same number
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
    """The members as this node knows them now."""

    def __init__(self, cluster: str, shards: int, me: str, file: tuple[Member, ...]) -> None:
        self.cluster = cluster
        self.shards = shards
        self.me = me
        self.identity = 0  # this node's origin among the members, or with which it asks to join
        self.epoch: Epoch | None = None
        self._file = {member.name: member for member in file}
        self._urls: dict[str, str] = {}  # learned: of those whom the file does not name
        self._bound: dict[str, int] = {}  # origins by name, while the cluster is forming
        self._mine: set[int] = set()  # origins of this directory, members or not
        self._boots: dict[int, dict[int, None]] = {}  # by origin, in the order in which they came
        self._look()

    # -- who is who ------------------------------------------------------------------------------

    def _look(self) -> None:
        """Work out the tables anew."""
        if self.epoch is None:
            self.table = tuple(self._file.values())
            origins = dict(self._bound)
        else:
            rows = self.epoch.members
            self.table = tuple(Member(m.name, m.site, m.priority, self._url(m)) for m in rows)
            origins = {member.name: member.origin for member in rows}
        self._by_name = {member.name: member for member in self.table}
        self._origins = {m.name: origins[m.name] for m in self.table if m.name in origins}
        self.origins = [*self._origins.values()]  # of the members, in the order of the table
        self.joined = {*self.origins}
        self._homes = {origin: self._by_name[name] for name, origin in self._origins.items()}
        for one in self.epoch.removed if self.epoch is not None else ():
            gone = one.member
            self._homes[gone.origin] = Member(gone.name, gone.site, gone.priority, "")
        me = self._by_name.get(self.me) or self._file.get(self.me)
        if me is not None:
            for origin in {self.identity, *self._mine} - {0}:
                if self._homes.get(origin, me).name in (self.me, ""):
                    self._homes[origin] = me

    def _url(self, member: Joined) -> str:
        known = self._file.get(member.name)
        return known.url if known is not None else member.url or self._urls.get(member.name, "")

    def member(self, name: str) -> Member:
        """The member of a name; this node itself also while it is none."""
        return self._by_name.get(name) or self._file[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    @property
    def others(self) -> list[Member]:
        """Whom this node dials."""
        return [member for member in self.table if member.name != self.me]

    def origin(self, name: str) -> int | None:
        """The origin of a member, once it is known."""
        return self._origins.get(name)

    def name(self, origin: int) -> str | None:
        """Whose origin this is or was."""
        home = self._homes.get(origin)
        return None if home is None else home.name

    def site(self, origin: int) -> str:
        """The site of an origin; empty if it is not known."""
        home = self._homes.get(origin)
        return "" if home is None else home.site

    def priority(self, origin: int) -> int | None:
        """The priority of the site of an origin; None if nobody has or had it."""
        home = self._homes.get(origin)
        return None if home is None else home.priority

    def priority_of(self, site: str, wanted: int) -> int:
        """The priority of a site: the one that it has, or else one that no other has."""
        known = {member.site: member.priority for member in self.table}
        if site in known:
            return known[site]
        return wanted if wanted not in known.values() else max(known.values()) + 1

    @property
    def guides(self) -> list[Member]:
        """Whom the file names, as long as no address of a member is known: they may know one.

        A file need name but one node of a cluster, and that one may be as new as this node: who
        has heard from it who the members are keeps their names, not their addresses.
        """
        others = self.others
        if not others or any(member.url for member in others):
            return []
        return [one for one in self._file.values() if one.name not in self and one.name != self.me]

    @property
    def sought(self) -> list[Member]:
        """Who was cut off by force and may run all the same, as another cluster of the same name.

        Nobody would notice that otherwise: each side has removed the other.
        """
        return self.gone if self.epoch is not None and self.epoch.forced else []

    @property
    def gone(self) -> list[Member]:
        """Who was removed and is no member under another origin, as far as a URL is known."""
        removed = () if self.epoch is None else self.epoch.removed
        gone = {one.member.name: self._url(one.member) for one in removed}
        return [
            Member(name, "", 0, url)
            for name, url in gone.items()
            if url and name and name not in self._by_name and name != self.me
        ]

    def has_place(self, log: LogKey, seq: int) -> bool:
        """Whether a commit of a log has a place in the order."""
        if log[1] in self.joined:
            return True
        limit = None if self.epoch is None else self.epoch.limit(log)
        return limit is not None and seq <= limit

    def end(self, log: LogKey, seq: int) -> int:
        """Up to where a log counts of which somebody holds so much."""
        if log[1] in self.joined:
            return seq
        limit = None if self.epoch is None else self.epoch.limit(log)
        return 0 if limit is None else min(seq, limit)

    # -- how it changes --------------------------------------------------------------------------

    def own(self, origin: int) -> None:
        """This directory stamps, or has stamped, under an origin that is not a member's."""
        self._mine.add(origin)
        self._look()

    def identify(self, origin: int) -> None:
        """The origin that this node has among the members, or asks to join with."""
        self.identity = origin
        if self.epoch is None:
            self._bound.pop(self.me, None)
            self.bind(self.me, origin)
        self._look()

    def bind(self, name: str, origin: int) -> bool:
        """Learn a founder's origin; whether it was new. The last one founds the cluster."""
        if self.epoch is not None or name in self._bound or name not in self._file or not origin:
            return False
        self._bound[name] = origin
        if len(self._bound) == len(self._file):
            self.epoch = Epoch.founded(
                Joined(one.name, one.site, one.priority, self._bound[one.name])
                for one in self._file.values()
            )
        self._look()
        return True

    def found(self, rows: list[tuple[str, str, int, int]]) -> None:
        """Learn the founders that were kept: (name, site, priority, origin), 0 if not known yet."""
        if self.epoch is None and rows and all(origin for *_, origin in rows):
            self.epoch = Epoch.founded(Joined(*row) for row in rows)
            self._look()
        for name, _, _, origin in rows:
            self.bind(name, origin)

    def enter(self, epoch: Epoch) -> None:
        """The membership is this from now on."""
        self.epoch = epoch
        self._look()

    @property
    def complete(self) -> bool:
        """Whether there is an epoch."""
        return self.epoch is not None

    @property
    def number(self) -> int:
        """The number of the epoch; 0 while the cluster is forming."""
        return 0 if self.epoch is None else self.epoch.number

    @property
    def mark(self) -> int:
        """What stands for the epoch; 0 while there is none."""
        return 0 if self.epoch is None else self.epoch.mark

    @property
    def is_member(self) -> bool:
        """Whether this node's origin is a member's, or will be one of the first."""
        return self.epoch is None or self.identity in self.epoch.joined

    @property
    def founders(self) -> list[tuple[str, str, int, int]]:
        """Name, site, priority and origin (0: not known yet) of who makes the first epoch.

        Empty later: then the epoch itself is kept.
        """
        if self.number > 1:
            return []
        return [(m.name, m.site, m.priority, self._origins.get(m.name, 0)) for m in self.table]

    # -- hellos ----------------------------------------------------------------------------------

    def hello(self, before: Iterable[int] = ()) -> Hello:
        """What this node says first on a link. `before`: the boots of its directory until now."""
        origins = self._origins
        rows = [(m.name, m.site, m.priority, origins.get(m.name, 0), m.url) for m in self.table]
        me = (self.me, self.identity)
        return Hello(PROTOCOL, self.cluster, self.shards, *me, rows, self.mark, [*before])

    def objection(self, hello: Hello, epoch: int, boot: int = 0) -> Objection | None:
        """Why not to talk to the sender of this hello; None if all is well. Changes nothing."""
        return (
            self._objection_to_cluster(hello)
            or self._objection_to_members(hello, epoch)
            or self.objection_to_boot(hello.name, hello.origin, boot)
        )

    def learn(self, hello: Hello, epoch: int, boot: int = 0) -> bool:
        """Take what an unobjectionable hello tells; whether an origin was new."""
        self._note_boots(hello.origin, [*hello.before, boot])
        _forget_first(self._boots, self.joined)
        urls = {row[0]: row[4] for row in hello.members if row[4] and row[0] not in self._urls}
        if urls:
            self._urls |= urls
            _forget_first(self._urls, self._by_name)
            self._look()
        if epoch > 1 or self.epoch is not None:
            return False
        new = [] if epoch else [self.bind(hello.name, hello.origin)]
        rows: Iterable[tuple[str, int]] = ((row[0], row[3]) for row in hello.members)
        new += [self.bind(name, origin) for name, origin in rows if not epoch]
        return any(new)

    def _note_boots(self, origin: int, boots: list[int]) -> None:
        """Remember boots of an origin in their order: older ones too, which may still come."""
        known = self._boots[origin] = self._boots.pop(origin, {})  # the last one met
        for boot in boots:
            known.pop(boot, None)
            known[boot] = None
        while len(known) > BOOTS_KEPT_MAX:
            del known[next(iter(known))]

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
        if hello.name == self.me:
            return Objection(
                Cause.MEMBERS,
                f"another node also calls itself {self.me}, or {self.me} dials itself: correct "
                "the url in the file",
            )
        return None

    def _objection_to_members(self, hello: Hello, epoch: int) -> Objection | None:
        if epoch == self.number and hello.mark != self.mark:
            return Objection(
                Cause.FORK,
                f"{hello.name} and {self.me} are in different epochs {epoch}: the cluster was "
                "forced apart. Decide which side goes on, and start the nodes of the other with "
                "empty directories as new members",
            )
        if epoch or self.number:  # who is behind learns, and who is no member may ask to be one
            return None
        return self._objection_to_table(hello) or self._objection_to_origins(hello)

    def _objection_to_table(self, hello: Hello) -> Objection | None:
        mine = {(m.name, m.site, m.priority) for m in self.table}
        theirs = {row[:3] for row in hello.members}
        if hello.name not in self._by_name or mine != theirs:
            odd = ", ".join(
                sorted({row[0] for row in mine ^ theirs} | ({hello.name} - {*self._by_name}))
            )
            return Objection(
                Cause.MEMBERS,
                f"{hello.name} and {self.me} have different members, sites or priorities in their "
                f"files; they differ in: {odd}",
            )
        return None

    def _objection_to_origins(self, hello: Hello) -> Objection | None:
        known = self._bound.get(hello.name)
        if known is not None and known != hello.origin:
            return Objection(
                Cause.ORIGIN,
                f"{hello.name} comes with origin {hello.origin:016x}, but is known here as "
                f"{known:016x}: its data directory was wiped or replaced",
            )
        for name, _, _, origin, _ in hello.members:
            known = self._bound.get(name)
            if known is None or not origin or origin == known:
                continue
            cause = Cause.KNOWN_AS if name == self.me else Cause.MEMBERS
            return Objection(
                cause,
                f"{hello.name} knows {name} as {origin:016x}, {self.me} knows it as {known:016x}: "
                f"the data directory of {name} was wiped or replaced",
            )
        return None

    def objection_to_boot(self, name: str, origin: int, boot: int) -> Objection | None:
        """Why not to listen to a start of a node any more: a newer one has said hello."""
        boots = self._boots.get(origin, {})
        if boot not in boots or boot == next(reversed(boots)):
            return None
        return Objection(
            Cause.COPIED, f"a newer start of {name} with the same origin has been here: {COPIED}"
        )


def _forget_first(told: dict[T, Any], kept: Container[T]) -> None:
    """Forget what was told first, as far as it is too much, but for some."""
    more = len(told) - STRANGERS_KEPT_MAX
    for one in [one for one in told if one not in kept][:more] if more > 0 else ():
        del told[one]
