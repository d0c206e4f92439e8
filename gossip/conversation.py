"""One link as two nodes talk on it: frames in order, reports on every message, answers in turn."""

from __future__ import annotations

from collections import deque

from ..storage.errors import BadFrame, LinkLost, Refused
from ..storage.limits import FRAME_BYTES_MAX
from .host import Host
from .messages import Body, Hello, Message
from .reports import Told
from .traffic import Traffic
from .transport import Link
from .wire import from_frame, sum_of, to_frame


class Conversation:
    """One link with what has been told on it; its bytes are counted in `traffic`."""

    def __init__(self, host: Host, link: Link) -> None:
        self._host = host
        self._link = link
        self._told = Told()
        self._last_sent = 0  # sums of the last frames, either way
        self._last_received = 0
        self._asked: deque[float] = deque()  # when what is not yet answered was sent
        self._start: tuple[str, int, int] | None = None  # name, origin and boot of the other side
        self.traffic = Traffic()

    def count_as(self, traffic: Traffic) -> None:
        """Whose bytes these are is known now."""
        traffic.add(self.traffic)
        self.traffic = traffic

    async def send(self, body: Body, *, reports: bool = True) -> None:
        """Send a message with all reports that are new to the other side.

        Raises LinkLost if a newer start of it has said hello elsewhere: that makes commits now
        which this one would take for its own when they are reported to it.
        """
        if reports and self._outdated() is not None:
            raise LinkLost("a newer start of the other side has said hello")
        told = self._host.tell(self._told) if reports else []
        frame = to_frame(Message(self._host.sender(), body, told), self._last_sent)
        self._last_sent = sum_of(frame)
        self.traffic.add_sent(body, len(frame))
        await self._link.send(frame)

    async def receive(self, bytes_max: int = FRAME_BYTES_MAX) -> Message:
        """The next message, if it has no more bytes than this.

        Raises Refused if a newer start of the other side has said hello elsewhere.
        """
        frame = await self._link.receive()
        message = from_frame(frame, bytes_max, self._last_received)
        self._last_received = sum_of(frame)
        self.traffic.add_received(message.body, len(frame))
        if (why := self._outdated()) is not None:
            raise Refused(why)
        if isinstance(message.body, Hello):
            self._start = message.body.name, message.body.origin, message.sender.boot
        return message

    def _outdated(self) -> str | None:
        return None if self._start is None else self._host.outdated(*self._start)

    async def ask(self, body: Body, *, reports: bool = True) -> None:
        """Send a message that will be answered; answers come in the order of what they answer."""
        self._asked.append(self._host.monotonic())
        await self.send(body, reports=reports)

    def unanswered_since(self, now: float) -> float:
        """When the oldest message was sent that is still to be answered; now if there is none."""
        return self._asked[0] if self._asked else now

    def answered(self) -> float:
        """When the message was sent that the one just received answers."""
        if not self._asked:
            raise BadFrame("an answer that nothing asked for")
        return self._asked.popleft()
