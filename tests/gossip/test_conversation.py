"""One link as two nodes talk on it: an older start than another hears no more, nor is it heard."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from anabranch.gossip.conversation import Conversation
from anabranch.gossip.messages import PROTOCOL, Ack, Hello, Message, ReportMessage, Sender
from anabranch.gossip.wire import from_frame, sum_of, to_frame
from anabranch.storage.errors import LinkLost, Refused

BOOT = 7
HELLO = Hello(PROTOCOL, "c", 4, "lon1", 22, [], 0, [])
REPORT = ReportMessage(0, True, [])


class Wire:
    """The frames of both sides, in memory."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self._coming: list[bytes] = []
        self._sums = [0, 0]

    def comes(self, body: Any, boot: int = BOOT) -> None:
        """The other side says something."""
        frame = to_frame(Message(Sender(1, boot, 1, 1), body), self._sums[0])
        self._sums[0] = sum_of(frame)
        self._coming.append(frame)

    async def receive(self) -> bytes:
        return self._coming.pop(0)

    async def send(self, frame: bytes) -> None:
        self.sent.append(from_frame(frame, 1 << 20, self._sums[1]))
        self._sums[1] = sum_of(frame)


async def met() -> tuple[Conversation, Wire, set[int]]:
    """A link after the hellos, its frames, and the boots of which a newer one said hello."""
    wire, outdated = Wire(), set[int]()
    host = SimpleNamespace(
        tell=lambda told: [],
        sender=lambda: Sender(1, 1, 1, 1),
        outdated=lambda name, origin, boot: f"{name} is older" if boot in outdated else None,
    )
    talk = Conversation(host, wire)  # type: ignore[arg-type]
    wire.comes(HELLO)
    assert (await talk.receive()).body == HELLO
    return talk, wire, outdated


async def test_the_newest_start_is_told_and_heard() -> None:
    talk, wire, outdated = await met()
    outdated.add(BOOT + 1)
    await talk.send(REPORT)
    wire.comes(Ack())
    assert (await talk.receive()).body == Ack()
    assert [message.body for message in wire.sent] == [REPORT]


async def test_nothing_is_reported_to_a_start_that_has_a_newer_one() -> None:
    """What the newer one has made there are commits of the older one's own, as far as it can tell.

    It would settle what nobody else has.
    """
    talk, wire, outdated = await met()
    outdated.add(BOOT)
    with pytest.raises(LinkLost, match="newer start"):
        await talk.send(REPORT)
    assert wire.sent == []


async def test_a_start_that_has_a_newer_one_is_not_heard() -> None:
    talk, wire, outdated = await met()
    outdated.add(BOOT)
    wire.comes(Ack())
    with pytest.raises(Refused, match="lon1 is older"):
        await talk.receive()
