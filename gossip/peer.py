"""A link to another node, from the side that dials.

Every node dials every other, so between two nodes there are two links, one for each direction of
service. The one who dials pushes its new commits (`pushing`) and pulls what it lacks (`pulling`);
the one who answers (`answering`) acknowledges and gives. Reports ride on every message of both.

A link on which an answer takes longer than two seconds is dead. It is dialled again after a pause
that doubles, with full jitter, and carries half as much at a time.
"""

from __future__ import annotations

import asyncio

from ..storage.errors import BadFrame, DiskFull, LinkLost, PeerError, Refused
from ..storage.limits import (
    BACKOFF_SECONDS_MAX,
    BACKOFF_SECONDS_MIN,
    CONNECT_SECONDS,
    HELLO_BYTES_MAX,
    PULL_BYTES_MAX,
    PUSH_BYTES_MAX,
    RELAY_GRACE_SECONDS,
    SILENCE_SECONDS,
)
from .conversation import Conversation
from .host import Host
from .members import Member
from .messages import (
    Ack,
    Agree,
    Compared,
    Give,
    Hello,
    Join,
    Message,
    Recall,
    Recalled,
    Refuse,
    ReportMessage,
)
from .pace import Pace
from .pulling import Pulls
from .pushing import Pushes
from .transport import Link, Network

_NO_ADDRESS = (
    "its address is not known here: start a node that the file names, which may know it; or name "
    "it in the file, with its url, and start this node again"
)


class Dialer:
    """The link to one peer: dialled, kept, dialled again."""

    def __init__(self, host: Host, network: Network, member: Member, *, near: bool) -> None:
        self._host = host
        self._network = network
        self.member = member
        self.state = "connecting"
        self.since = host.monotonic()
        self.error: str | None = None
        self._origin = 0
        self._awake = False  # whether there may be something to send
        self._sleeper: asyncio.Future[None] | None = None
        self._pace = Pace(PUSH_BYTES_MAX)
        self.pushes = Pushes(host, member.name, self._pace, near=near)
        self._pulls = Pulls(host, self._pace, near=near)
        self._close = 0
        self._asking = False  # a question is in flight
        self._epoch = 0  # in which the peer is, as it last said
        self._dealt_with = (0, 0)  # its epoch and the own: who is behind was told once
        self._saying = False  # something about epochs is not answered yet
        self._answers: list[bytes] = []  # to what the peer has said about them
        self._open: Conversation | None = None  # after the hellos

    @property
    def origin(self) -> int:
        """Who answered last."""
        return self._origin

    @property
    def epoch(self) -> int:
        """The epoch in which the peer said to be, last."""
        return self._epoch

    @property
    def works(self) -> bool:
        """Whether the peer is close behind, and answers in time."""
        now = self._host.monotonic()
        return (
            self.pushes.ready
            and self._open is not None
            and now - self._open.unanswered_since(now) <= RELAY_GRACE_SECONDS
        )

    def is_near(self, *, near: bool) -> None:
        """Whether the peer is in this node's own site now."""
        self.pushes.near = self._pulls.near = near

    def wake(self) -> None:
        """There may be something to send."""
        self._awake = True
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    def ask_to_close(self, stamp: int) -> None:
        """Ask at once for a report that promises at least this stamp."""
        self._close = max(self._close, stamp)
        self.wake()

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        pause = BACKOFF_SECONDS_MIN
        while True:
            if self._host.is_cut(self.member.name):
                self._now("cut", "a drill has cut this link")
                pause = BACKOFF_SECONDS_MIN
            else:
                connected = await self._try()
                pause = BACKOFF_SECONDS_MIN if connected else min(2 * pause, BACKOFF_SECONDS_MAX)
            self._awake = False
            await self._sleep(self._host.jitter(pause))

    async def _try(self) -> bool:
        """Dial and talk until the link ends; whether it came to talking."""
        connected = False
        link: Link | None = None
        if not self.member.url:
            self._now("connecting", _NO_ADDRESS)
            return False
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                link = await self._network.connect(self.member.url)
                talk = Conversation(self._host, link)
                await self._introduce(talk)
            connected = True
            self._now("connected", None)
            await self._talk(talk)
        except Refused as error:
            self._now("refused", str(error))
        except (PeerError, DiskFull) as error:
            self._now("connecting", str(error))
        except TimeoutError:
            self._now("connecting", f"no answer from {self.member.url} in time")
        finally:
            self._end()
            if link is not None:
                await link.close()
        return connected

    def _end(self) -> None:
        """The link ends: what was under way may have been too much for it."""
        if self.pushes.in_flight:
            self._pace.lost(self.pushes.bytes)
        elif self._pulls.in_flight:
            self._pace.lost(PULL_BYTES_MAX)
        self.pushes.end()
        self._pulls.release()
        self._open = None
        self._saying = False
        self._dealt_with = (0, 0)
        self._answers = []
        if self._asking:
            self._asking = False
            self._host.comparing.unanswered(self.member.name)

    def _now(self, state: str, error: str | None) -> None:
        if state != self.state:
            self.since = self._host.monotonic()
        self.state, self.error = state, error

    async def _introduce(self, talk: Conversation) -> None:
        await talk.send(self._host.hello(), reports=False)
        message = await talk.receive(HELLO_BYTES_MAX)
        if isinstance(message.body, Refuse):
            self._host.refused(self.member.name, message.body)
            raise Refused(message.body.reason)
        if not isinstance(message.body, Hello):
            raise BadFrame("a link begins with a hello")
        if message.body.name != self.member.name:
            raise Refused(
                f"{message.body.name} answers at {self.member.url}, where {self.member.name} "
                "should be: correct the url in the file"
            )
        objection = await self._host.meet(message.body, message.sender)
        if objection is not None:
            raise Refused(objection.text)
        self._origin = message.body.origin
        self._epoch = message.sender.epoch

    async def _talk(self, talk: Conversation) -> None:
        talk.count_as(self._host.traffic[self.member.name])
        self._pulls.begin(self._origin, self._host.monotonic())
        self._close = 0
        while (said := self._say()) is not None:  # who is behind learns before it hears the rest
            await talk.ask(said, reports=False)
            await self._hear_of_epochs(await self._receive_in_time(talk), talk.answered())
        await self._report(talk)  # the answer tells what the peer holds
        self._hear(await self._receive_in_time(talk), talk.answered())
        self._open = talk
        self.pushes.begin(self._origin, self._host.monotonic())
        reader = asyncio.get_running_loop().create_task(self._listen(talk))
        try:
            await self._speak(talk, reader)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _receive_in_time(self, talk: Conversation) -> Message:
        async with asyncio.timeout(SILENCE_SECONDS):
            return await talk.receive()

    # -- listening ---------------------------------------------------------------------------

    async def _listen(self, talk: Conversation) -> None:
        while True:
            message = await talk.receive()  # `_speak` ends a link on which no answer comes
            asked = talk.answered()
            if isinstance(message.body, Agree | Recalled):
                await self._hear_of_epochs(message, asked)
                self.wake()
                continue
            if isinstance(message.body, Give):
                self._pulls.come(message.body.commits, self._host.monotonic())
                self._host.forks.heard(self._origin, message.body.tips)
                await self._host.take(message.body.commits, self.member.name)
            self._hear(message, asked)
            if not isinstance(message.body, ReportMessage) or any(
                report.moved for report in message.reports
            ):
                self.wake()

    async def _hear_of_epochs(self, message: Message, asked: float) -> None:
        """Take an answer to what was said about epochs; what that leads to is said later."""
        self._host.learn(self._origin, message, asked)
        self._saying = False
        self._epoch = max(self._epoch, message.sender.epoch)
        if isinstance(message.body, Recalled):
            self._host.membership.recalled(self.member.name, message.body)
        elif isinstance(message.body, Agree) and message.body.parts:
            answer = await self._host.membership.agree(self._origin, message.body)
            self._answers += answer.parts

    def _hear(self, message: Message, asked: float) -> None:
        self._host.learn(self._origin, message, asked)
        self._epoch = max(self._epoch, message.sender.epoch)
        now = self._host.monotonic()
        match message.body:
            case Ack():
                self.pushes.acknowledged(now)
            case Give():
                self._pulls.given(now)
            case ReportMessage(live=live):
                self._pulls.told(now, live=live)
            case Compared() as answer if self._asking:
                self._asking = False
                self._host.comparing.answered(self.member.name, answer)
            case _:
                raise BadFrame(f"{type(message.body).__name__} is not for the side that dials")

    # -- speaking ----------------------------------------------------------------------------

    async def _speak(self, talk: Conversation, reader: asyncio.Task[None]) -> None:
        reported = self._host.monotonic()
        while not self._host.is_cut(self.member.name):
            if reader.done():
                await reader
            self._awake = False
            now = self._host.monotonic()
            if (said := self._say()) is not None:
                await talk.ask(said)
                continue
            if await self._serve(talk, now) or await self._compare(talk):
                continue
            if self._close or now - reported >= self._host.heartbeat_seconds:
                await self._report(talk)
                reported = now
            if now - talk.unanswered_since(now) > SILENCE_SECONDS:
                raise LinkLost(f"no answer from {self.member.name} for {SILENCE_SECONDS} s")
            until = min(reported + self._host.heartbeat_seconds, self._pulls.due)
            await self._sleep(max(0.001, until - now))
        raise LinkLost("a drill has cut this link")

    async def _sleep(self, seconds: float) -> None:
        """Return when woken, or the time is up; cheaper than a time-out around an event."""
        if self._awake:
            return
        loop = asyncio.get_running_loop()
        self._sleeper = loop.create_future()
        timer = loop.call_later(seconds, self.wake)
        try:
            await self._sleeper
        finally:
            timer.cancel()
            self._sleeper = None

    async def _report(self, talk: Conversation) -> None:
        close, self._close = self._close, 0
        await self._host.close_up(0)
        live = self._host.pushes_to(self.member.name)
        await talk.ask(ReportMessage(close, live, self._host.membership.missed))

    def _say(self) -> Agree | Recall | Join | None:
        """What to say about epochs now: one thing at a time."""
        if self._saying:
            return None
        said: Agree | Recall | Join | None
        if self._answers:
            said, self._answers = Agree(self._answers), []
        else:
            mine = self._host.membership.number
            about = (self._epoch, mine)
            epoch = mine if about == self._dealt_with else self._epoch
            self._dealt_with = about
            said = self._host.membership.to_say(self.member.name, self._origin, epoch)
        self._saying = said is not None
        return said

    async def _serve(self, talk: Conversation, now: float) -> bool:
        """Push or pull; whether there was something."""
        body = self.pushes.next(now) or self._pulls.next(now, pushing=self.pushes.in_flight)
        if body is None:
            return False
        await talk.ask(body)
        return True

    async def _compare(self, talk: Conversation) -> bool:
        """Ask a question of a comparison, if there is one; a healthy one is tiny."""
        question = None if self._asking else self._host.comparing.question(self.member.name)
        if question is None:
            return False
        self._asking = True
        await talk.ask(question, reports=False)
        return True
