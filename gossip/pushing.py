"""What one peer is pushed: from which number of the outbox on, and whether it is pushed at all.

One push is in flight. What becomes durable meanwhile is the next. A mate is pushed all that is in
the outbox, a node of another site only this node's own commits, and only while it is the relay.
What the peer is being given by the other link is not pushed as well: until it says that it has
that, or has not, no place is found to go on from. Nor is a new relay pushed what another node of
its site got before: that one passes it on.
"""

from __future__ import annotations

from ..storage.errors import BadFrame
from ..storage.limits import RELAY_GRACE_SECONDS
from .frontier import Frontier, LogKey
from .host import Host
from .messages import Push
from .pace import Pace

RETRY_SECONDS = 0.5  # before trying again what a peer just did not take or did not have


class Pushes:
    """What is pushed to one peer, over all links to it."""

    def __init__(self, host: Host, name: str, pace: Pace, *, near: bool) -> None:
        self._host = host
        self._name = name
        self._pace = pace
        self.near = near
        self._origin = 0
        self._given: dict[LogKey, int] = {}  # by the last give, which may still be on its way
        self.end()

    def begin(self, origin: int, now: float) -> None:
        """A link is up, and the peer has said what it holds."""
        self._origin = origin
        self._connected = True
        self._aim(now)

    def end(self) -> None:
        """The link is lost."""
        self._connected = False
        self.bytes = 0  # in flight
        self.ready = False  # close enough behind to be pushed to
        self._waits: float | None = None  # since when, for what another node of its site has
        self._number: int | None = None  # in the outbox: the next to push
        self._last: dict[LogKey, int] | None = None  # sequences of the push in flight
        self._again = 0.0
        self._pushed_at = 0.0

    @property
    def live(self) -> bool:
        """Whether own new commits are pushed to this peer as they come, or will be in a moment."""
        return self._number is not None or self._waits is not None

    @property
    def in_flight(self) -> bool:
        """Whether a push has not been acknowledged yet."""
        return self._last is not None

    def next(self, now: float) -> Push | None:
        """What to push now."""
        outbox = self._host.outbox
        if self.in_flight or not self._has_a_place(now) or self._number == outbox.end:
            return None
        assert self._number is not None
        batch = outbox.batch(
            self._number,
            self._host.frontier_of(self._origin),
            self._pace.bytes,
            on_its_way=self._given,
            own_only=not self.near,
        )
        if batch is None:
            self._lose_the_place(now)
            return None
        self._number = batch.number
        if not batch.commits:
            return None
        self._last, self.bytes = batch.last, sum(map(len, batch.commits))
        self._pushed_at = now
        return Push(batch.commits, self._host.forks.tips(batch.before))

    def acknowledged(self, now: float) -> None:
        """The peer has taken what it could of the push in flight, and has said what it holds."""
        if self._last is None:
            raise BadFrame("an acknowledgement of nothing")
        frontier, mine = self._host.frontier_of(self._origin), self._host.outbox.origin
        if any(log[1] == mine and frontier[log] < seq for log, seq in self._last.items()):
            self._lose_the_place(now)  # it lacks something before, or holds ours back
        self._last = None
        self._pace.arrived(self.bytes, now - self._pushed_at)

    def _has_a_place(self, now: float) -> bool:
        if not self.near and not self._host.is_relay(self._name):
            self._number = self._waits = None
        elif self._number is None and self.ready:
            self._aim(now)
        if self._number is None and now >= self._again:
            self._again = now + RETRY_SECONDS
            self._aim(now)
        return self._number is not None

    def _lose_the_place(self, now: float) -> None:
        self._number = self._waits = None
        self.ready = False
        self._again = now + RETRY_SECONDS

    def _aim(self, now: float) -> None:
        host = self._host
        frontier, mine = host.frontier_of(self._origin), host.outbox.origin
        start = None if self.ahead_of(frontier, mine) else host.outbox.start_for(frontier)
        self.ready = start is not None
        self._number = None
        if not self.ready or not host.is_relay(self._name):
            self._waits = None
        elif self.near or not host.is_ahead_beside(self._name) or self._has_waited(now):
            self._number, self._waits = start, None

    def _has_waited(self, now: float) -> bool:
        if self._waits is None:
            self._waits = now
        return now - self._waits > RELAY_GRACE_SECONDS

    def ahead_of(self, frontier: Frontier, origin: int) -> bool:
        """Whether the peer is about to have more of an origin's commits than a frontier says."""
        on_their_way = (self._given, self._last or {})
        return any(
            log[1] == origin and frontier[log] < seq
            for last in on_their_way
            for log, seq in last.items()
        )

    # -- what the other link gives ---------------------------------------------------------------

    def asked(self, now: float) -> None:
        """The peer pulls, and has said what it holds: the last give has come, or was not taken."""
        self._given.clear()
        if self._connected and self._number is None:
            self._aim(now)

    def bring(self, log: LogKey, after: int) -> bool:
        """Whether pushes bring the peer what follows in a log, so that it need not be given."""
        if log[1] == self._host.outbox.origin and self._number is not None:
            return True
        return self._last is not None and self._last.get(log, 0) > after

    def given(self, log: LogKey, seq: int) -> None:
        """The peer is given a log so far."""
        self._given[log] = seq

    def not_given(self) -> None:
        """The link of the peer is lost: what it was given may not have come."""
        self._given.clear()
