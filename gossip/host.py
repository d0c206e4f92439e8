"""What links need of the node that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from .coming import Coming
from .frontier import Frontier, LogKey
from .members import Objection
from .messages import (
    Agree,
    Compare,
    Compared,
    Hello,
    Join,
    Message,
    Recall,
    Recalled,
    Refuse,
    Sender,
)
from .outbox import Outbox
from .pace import Budget
from .reports import Report, Told
from .traffic import Traffic


class Membership(Protocol):
    """What links need of a node's part in agreeing on epochs."""

    @property
    def number(self) -> int:
        """The number of the epoch that this node is in."""
        ...

    @property
    def missed(self) -> list[tuple[int, int]]:
        """(origin, seconds) of members that were not heard of for long."""
        ...

    def to_say(self, name: str, origin: int, epoch: int) -> Agree | Recall | Join | None:
        """What to say about epochs to a node that is in this one, before anything else."""
        ...

    async def agree(self, origin: int, agree: Agree) -> Agree:
        """Take what a node says about epochs; the answer."""
        ...

    async def recall(self, recall: Recall, boot: int, before: list[int]) -> Recalled:
        """What was seen of a node before this boot of it; `before`: its boots before that."""
        ...

    def recalled(self, name: str, answer: Recalled) -> None:
        """A node has said what it saw of this one."""
        ...

    def joins(self, join: Join) -> None:
        """A node says that it is no member."""
        ...


class Forks(Protocol):
    """What links need to find forks of logs. A tip: (shard, origin, sequence, hash)."""

    def tips(self, logs: Mapping[LogKey, int]) -> list[tuple[int, int, int, bytes]]:
        """The commits at these places, where there are any."""
        ...

    def heard(self, member: int, tips: list[tuple[int, int, int, bytes]]) -> None:
        """What a member goes on from."""
        ...


class Comparing(Protocol):
    """What links need of comparisons."""

    def question(self, name: str) -> Compare | None:
        """What to ask a member about what both have settled; None: nothing now."""
        ...

    def answered(self, name: str, answer: Compared) -> None:
        """A member has answered the question."""
        ...

    def unanswered(self, name: str) -> None:
        """The link was lost before the question was answered."""
        ...

    def compare(self, question: Compare, name: str) -> Compared:
        """The answer to a member's question."""
        ...


class Host(Protocol):
    """A node, as its links see it."""

    @property
    def outbox(self) -> Outbox:
        """Recent commits, own ones and those to pass on."""
        ...

    @property
    def heartbeat_seconds(self) -> float:
        """How often to report when there is nothing else to say."""
        ...

    def hello(self) -> Hello:
        """What to say first."""
        ...

    def sender(self) -> Sender:
        """The head of every message."""
        ...

    async def meet(self, hello: Hello, sender: Sender) -> Objection | None:
        """Check who is there, and remember it durably before anything else is said."""
        ...

    def outdated(self, name: str, origin: int, boot: int) -> str | None:
        """Why not to talk to a start of a node any more; None unless a newer one has said hello."""
        ...

    def refused(self, name: str, refusal: Refuse) -> None:
        """A peer does not want to talk to this node."""
        ...

    @property
    def membership(self) -> Membership:
        """This node's part in agreeing on epochs."""
        ...

    @property
    def comparing(self) -> Comparing:
        """Comparisons with the other members."""
        ...

    def is_cut(self, name: str) -> bool:
        """Whether a drill has cut the links with a member."""
        ...

    def learn(self, origin: int, message: Message, asked: float | None = None) -> None:
        """Take what a message says of its sender, and the reports that it carries.

        `asked` is when the message was sent that it answers; None if it answers none.
        """
        ...

    def tell(self, told: Told) -> list[Report]:
        """Reports that a link has not carried yet."""
        ...

    def frontier_of(self, origin: int) -> Frontier:
        """What a member was last heard to hold."""
        ...

    def behind(self, origin: int) -> dict[LogKey, tuple[int, int]]:
        """Logs of which a member holds more, and may be asked for: (own last, its last)."""
        ...

    @property
    def forks(self) -> Forks:
        """What shows whether two nodes hold different commits for one place."""
        ...

    async def take(self, commits: list[bytes], name: str) -> None:
        """Check commits of a member, store those that fit, and return when they are durable."""
        ...

    async def give(
        self, wanted: list[tuple[int, int, int, int]], bytes_max: int, name: str
    ) -> list[bytes]:
        """Commits for a member, after a sequence and up to another (0: to the end), log by log.

        What this node's own link pushes to the member anyway is left out.
        """
        ...

    def ended(self, name: str) -> None:
        """A link that a member dialled has ended: what it was given may not have come."""
        ...

    def lacking(self, origin: int) -> list[tuple[int, int, int, int]]:
        """Stretches of logs that this node's disk has lost and that a member holds.

        (shard, origin, after, until), as a pull names them.
        """
        ...

    async def close_up(self, stamp: int) -> None:
        """Promise what is true now; return when that is a stamp that a peer asked for, if ever."""
        ...

    def pushes_to(self, name: str) -> bool:
        """Whether own commits are pushed to a member, or to its site's relay."""
        ...

    def is_relay(self, name: str) -> bool:
        """Whether own commits are to be pushed to this member: a mate, or its site's relay."""
        ...

    def is_ahead_beside(self, name: str) -> bool:
        """Whether another node of a member's site has own commits that it will pass on to it."""
        ...

    def is_there(self, name: str) -> None:
        """A member has dialled: it can be dialled now too."""
        ...

    @property
    def coming(self) -> Coming:
        """Since when commits come by themselves."""
        ...

    def before(self, origin: int) -> list[str]:
        """The mates that come before this node in fetching an origin's commits."""
        ...

    def mate_ahead(self, log: LogKey, seq: int) -> str | None:
        """A mate that can be reached and holds more of a log than up to a sequence."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        ...

    def jitter(self, seconds: float) -> float:
        """A random time up to so many seconds."""
        ...

    @property
    def budget(self) -> Budget:
        """What may still be pulled now."""
        ...

    @property
    def traffic(self) -> dict[str, Traffic]:
        """Bytes to and from each member."""
        ...

    @property
    def pulling(self) -> set[LogKey]:
        """Logs that are being pulled by some link."""
        ...
