"""Bytes of frames between two nodes, by what they are for."""

from __future__ import annotations

from typing import Final

from .messages import Body, Give, Pull, Push

PUSHES: Final = "pushes"
PULLS: Final = "pulls"
REST: Final = "rest"  # reports, acknowledgements, hellos, comparing
_USE: Final[dict[type[Body], str]] = {Push: PUSHES, Pull: PULLS, Give: PULLS}


class Traffic:
    """What was sent to a peer and received from it, over both links and all their lives."""

    def __init__(self) -> None:
        self.sent = dict.fromkeys((PUSHES, PULLS, REST), 0)
        self.received = dict(self.sent)

    def add_sent(self, body: Body, size: int) -> None:
        """A frame has been sent."""
        self.sent[_USE.get(type(body), REST)] += size

    def add_received(self, body: Body, size: int) -> None:
        """A frame has come."""
        self.received[_USE.get(type(body), REST)] += size

    def add(self, other: Traffic) -> None:
        """Count in what was counted elsewhere."""
        for use in self.sent:
            self.sent[use] += other.sent[use]
            self.received[use] += other.received[use]
