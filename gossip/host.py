"""What links need of the node that they belong to."""

from __future__ import annotations

from typing import Protocol

from .frontier import Frontier, LogKey
from .members import Objection
from .messages import Hello, Message, Refuse, Sender
from .outbox import Outbox
from .reports import Report, Told


class Host(Protocol):
    """A node, as its links see it."""

    @property
    def outbox(self) -> Outbox:
        """Own recent commits."""
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

    async def meet(self, hello: Hello) -> Objection | None:
        """Check who is there, and remember it durably before anything else is said."""
        ...

    def refused(self, name: str, refusal: Refuse) -> None:
        """A peer does not want to talk to this node."""
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

    async def take(self, commits: list[bytes]) -> None:
        """Check commits, store those that fit, and return when they are durable."""
        ...

    async def give(self, wanted: list[tuple[int, int, int]], bytes_max: int) -> list[bytes]:
        """Commits after a sequence, log by log."""
        ...

    async def close_up(self, stamp: int) -> None:
        """Return when this node can promise a stamp that a peer asked for, if it ever can."""
        ...

    def pushes_to(self, name: str) -> bool:
        """Whether this node's own link to a member pushes new commits there."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        ...

    def jitter(self, seconds: float) -> float:
        """A random time up to so many seconds."""
        ...

    @property
    def pulling(self) -> set[LogKey]:
        """Logs that are being pulled by some link."""
        ...
