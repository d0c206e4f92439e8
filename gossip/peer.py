"""Links to other nodes: the side that dials, and the side that answers.

Every node dials every other, so between two nodes there are two links, one for each direction of
service. The one who dials pushes its new commits and pulls what it lacks; the one who answers
acknowledges and gives. Reports ride on every message of both.

- Push: one in flight. What becomes durable meanwhile is the next. The outbox says where a peer
  has to begin; a peer that is further behind is told so (`live` is false) and pulls.
- Pull: one in flight, bounded, and pushes go first, but not for ever: under constant load there is
  always one in flight. A log is pulled from its own node if that does not push, and from anyone
  who has more of it once nothing has come of it by itself for a while: so commits find their way
  around a broken link.
- A link on which an answer takes longer than two seconds is dead. It is dialled again after a pause
  that doubles, with full jitter, and carries half as much at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ..storage.errors import BadFrame, LinkLost, PeerError, Refused
from ..storage.limits import (
    BACKOFF_SECONDS_MAX,
    BACKOFF_SECONDS_MIN,
    CONNECT_SECONDS,
    FRAME_BYTES_MAX,
    HELLO_BYTES_MAX,
    PULL_BYTES_MAX,
    PULL_LOGS_MAX,
    PUSH_BYTES_MAX,
    RELAY_GRACE_SECONDS,
    SILENCE_SECONDS,
)
from .frontier import LogKey
from .host import Host
from .members import Cause, Member, Objection
from .messages import Ack, Body, Give, Hello, Message, Pull, Push, Refuse, ReportMessage
from .pace import Pace
from .reports import Told
from .transport import Link, Network
from .wire import from_frame, sum_of, to_frame

RETRY_SECONDS = 0.5  # before trying again what a peer just did not take or did not have
PULL_TURN_SECONDS = 0.05  # a pull lets pushes go first for so long


class Wire:
    """One link with what has been told on it."""

    def __init__(self, host: Host, link: Link) -> None:
        self._host = host
        self._link = link
        self._told = Told()
        self._last_sent = 0  # sums of the last frames, either way
        self._last_received = 0
        self._asked: deque[float] = deque()  # when what is not yet answered was sent
        self.bytes_sent = 0

    async def send(self, body: Body, *, reports: bool = True) -> None:
        """Send a message with all reports that are new to the other side."""
        told = self._host.tell(self._told) if reports else []
        frame = to_frame(Message(self._host.sender(), body, told), self._last_sent)
        self._last_sent = sum_of(frame)
        self.bytes_sent += len(frame)
        await self._link.send(frame)

    async def receive(self, bytes_max: int = FRAME_BYTES_MAX) -> Message:
        """The next message, if it has no more bytes than this."""
        frame = await self._link.receive()
        message = from_frame(frame, bytes_max, self._last_received)
        self._last_received = sum_of(frame)
        return message

    async def ask(self, body: Body) -> None:
        """Send a message that will be answered; answers come in the order of what they answer."""
        self._asked.append(self._host.monotonic())
        await self.send(body)

    def unanswered_since(self, now: float) -> float:
        """When the oldest message was sent that is still to be answered; now if there is none."""
        return self._asked[0] if self._asked else now

    def answered(self) -> float:
        """When the message was sent that the one just received answers."""
        if not self._asked:
            raise BadFrame("an answer that nothing asked for")
        return self._asked.popleft()


async def answer(host: Host, link: Link, opened: dict[str, list[Link]]) -> None:
    """Serve a link that another node has dialled, until it ends.

    `opened` is kept up to date with the links by the name of who dialled them.
    """
    wire = Wire(host, link)
    name = ""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            hello = await _expect_hello(host, wire)
            await wire.send(host.hello(), reports=False)
        name = hello.name
        opened.setdefault(name, []).append(link)
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                message = await wire.receive()
            host.learn(hello.origin, message)
            await wire.send(await _reply(host, name, message.body))
    except (PeerError, TimeoutError):
        pass  # the one who dialled sees it and dials again
    finally:
        if link in opened.get(name, ()):
            opened[name].remove(link)
        await link.close()


async def _reply(host: Host, name: str, body: Body) -> Body:
    match body:
        case Push(commits):
            await host.take(commits)
            return Ack()
        case Pull(wanted, bytes_max):
            return Give(await host.give(wanted[:PULL_LOGS_MAX], min(bytes_max, PULL_BYTES_MAX)))
        case ReportMessage(close):
            await host.close_up(close)
            return ReportMessage(0, host.pushes_to(name))
        case _:
            raise BadFrame(f"{type(body).__name__} is not for the side that answers")


async def _expect_hello(host: Host, wire: Wire) -> Hello:
    """The other side's hello; refuses and raises if it is not welcome."""
    message = await wire.receive(HELLO_BYTES_MAX)
    if isinstance(message.body, Refuse):
        raise Refused(message.body.reason)
    if not isinstance(message.body, Hello):
        raise BadFrame("a link begins with a hello")
    hello = message.body
    if host.is_cut(hello.name):
        objection: Objection | None = Objection(Cause.DRILL, "a drill has cut this link")
    else:
        objection = await host.meet(hello)
    if objection is not None:
        await wire.send(Refuse(objection.cause, objection.text), reports=False)
        raise Refused(objection.text)
    return hello


class Dialer:
    """The link to one peer: dialled, kept, dialled again."""

    def __init__(self, host: Host, network: Network, member: Member) -> None:
        self._host = host
        self._network = network
        self.member = member
        self.state = "connecting"
        self.since = host.monotonic()
        self.error: str | None = None
        self.bytes_sent = 0
        self._origin = 0
        self._awake = False  # whether there may be something to send
        self._sleeper: asyncio.Future[None] | None = None
        self._pace = Pace(PUSH_BYTES_MAX)
        self._reset()

    def _reset(self) -> None:
        self._number: int | None = None  # in the outbox: the next to push; None: it has to pull
        self._pushed: dict[int, int] | None = None  # last sequences of the push in flight
        self._pushed_bytes = 0
        self._pulled: list[tuple[int, int, int]] | None = None  # the pull in flight
        self._push_again = 0.0
        self._pull_again = 0.0
        self._pull_looked = 0.0
        self._close = 0
        self._peer_live = True
        self._stuck: dict[LogKey, tuple[int, float]] = {}

    @property
    def live(self) -> bool:
        """Whether new commits are pushed to the peer as they come."""
        return self._number is not None

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
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                link = await self._network.connect(self.member.url)
                wire = Wire(self._host, link)
                await self._introduce(wire)
            connected = True
            self._now("connected", None)
            await self._talk(wire)
        except Refused as error:
            self._now("refused", str(error))
        except PeerError as error:
            self._now("connecting", str(error))
        except TimeoutError:
            self._now("connecting", f"no answer from {self.member.url} in time")
        finally:
            self._slow_down()
            self._release_pull()
            self._number = self._pushed = None
            if link is not None:
                await link.close()
        return connected

    def _slow_down(self) -> None:
        """The link ends: what was under way may have been too much for it."""
        if self._pushed is not None:
            self._pace.lost(self._pushed_bytes)
        elif self._pulled is not None:
            self._pace.lost(PULL_BYTES_MAX)

    def _now(self, state: str, error: str | None) -> None:
        if state != self.state:
            self.since = self._host.monotonic()
        self.state, self.error = state, error

    async def _introduce(self, wire: Wire) -> None:
        await wire.send(self._host.hello(), reports=False)
        message = await wire.receive(HELLO_BYTES_MAX)
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
        objection = await self._host.meet(message.body)
        if objection is not None:
            raise Refused(objection.text)
        self._origin = message.body.origin

    async def _talk(self, wire: Wire) -> None:
        self._reset()
        await self._report(wire)  # the answer tells what the peer holds
        self._hear(await self._receive_in_time(wire), wire.answered())
        self._aim()
        reader = asyncio.get_running_loop().create_task(self._listen(wire))
        try:
            await self._speak(wire, reader)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            self.bytes_sent += wire.bytes_sent

    async def _receive_in_time(self, wire: Wire) -> Message:
        async with asyncio.timeout(SILENCE_SECONDS):
            return await wire.receive()

    # -- listening ---------------------------------------------------------------------------

    async def _listen(self, wire: Wire) -> None:
        while True:
            message = await wire.receive()  # `_speak` ends a link on which no answer comes
            asked = wire.answered()
            if isinstance(message.body, Give):
                if self._pulled is None:
                    raise BadFrame("commits that nobody asked for")
                self._pace.arrived(sum(map(len, message.body.commits)))
                await self._host.take(message.body.commits)
            self._hear(message, asked)
            self.wake()

    def _hear(self, message: Message, asked: float) -> None:
        self._host.learn(self._origin, message, asked)
        match message.body:
            case Ack():
                self._acknowledged()
            case Give():
                self._given()
            case ReportMessage(_, live):
                self._peer_live = live
            case _:
                raise BadFrame(f"{type(message.body).__name__} is not for the side that dials")

    def _acknowledged(self) -> None:
        if self._pushed is None:
            raise BadFrame("an acknowledgement of nothing")
        frontier, me = self._host.frontier_of(self._origin), self._host.hello().origin
        if any(frontier[shard, me] < seq for shard, seq in self._pushed.items()):
            self._number = None  # it lacks something before, or holds ours back
            self._push_again = self._host.monotonic() + RETRY_SECONDS
        self._pushed = None
        self._pace.arrived(self._pushed_bytes)

    def _given(self) -> None:
        behind = self._host.behind(self._origin)
        nothing_came, now = True, self._host.monotonic()
        for shard, origin, after in self._pulled or ():
            own, _ = behind.get((shard, origin), (-1, 0))
            nothing_came = nothing_came and own == after
            _, since = self._stuck.get((shard, origin), (own, now))
            self._stuck[shard, origin] = own, since  # it did not come by itself, so go on
        if nothing_came:
            self._pull_again = now + RETRY_SECONDS
        self._release_pull()

    def _release_pull(self) -> None:
        for shard, origin, _ in self._pulled or ():
            self._host.pulling.discard((shard, origin))
        self._pulled = None

    # -- speaking ----------------------------------------------------------------------------

    async def _speak(self, wire: Wire, reader: asyncio.Task[None]) -> None:
        reported = self._host.monotonic()
        while not self._host.is_cut(self.member.name):
            if reader.done():
                await reader
            self._awake = False
            now = self._host.monotonic()
            if await self._push(wire, now) or await self._pull(wire, now):
                continue
            if self._close or now - reported >= self._host.heartbeat_seconds:
                await self._report(wire)
                reported = now
            if now - wire.unanswered_since(now) > SILENCE_SECONDS:
                raise LinkLost(f"no answer from {self.member.name} for {SILENCE_SECONDS} s")
            await self._sleep(max(0.001, reported + self._host.heartbeat_seconds - now))
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

    async def _report(self, wire: Wire) -> None:
        close, self._close = self._close, 0
        await wire.ask(ReportMessage(close, self.live))

    def _aim(self) -> None:
        self._number = self._host.outbox.start_for(self._host.frontier_of(self._origin))

    async def _push(self, wire: Wire, now: float) -> bool:
        if self._pushed is not None:
            return False
        if self._number is None:
            if now < self._push_again:
                return False
            self._aim()
            self._push_again = now + RETRY_SECONDS
        if self._number is None or self._number >= self._host.outbox.end:
            return False
        batch = self._host.outbox.batch(self._number, self._pace.bytes)
        if batch is None:
            self._number = None
            return False
        commits, self._pushed, self._number = batch
        self._pushed_bytes = sum(map(len, commits))
        await wire.ask(Push(commits))
        return True

    async def _pull(self, wire: Wire, now: float) -> bool:
        if self._pulled is not None or now < self._pull_again:
            return False
        if self._pushed is not None and now - self._pull_looked < PULL_TURN_SECONDS:
            return False
        self._pull_looked = now
        wanted = self._wanted(now)
        if not wanted:
            return False
        self._pulled = wanted
        self._host.pulling.update((shard, origin) for shard, origin, _ in wanted)
        await wire.ask(Pull(wanted, min(self._pace.bytes, PULL_BYTES_MAX)))
        return True

    def _wanted(self, now: float) -> list[tuple[int, int, int]]:
        """The logs to pull from this peer, from where."""
        wanted = []
        behind = self._host.behind(self._origin)
        for log, (own, _) in behind.items():
            before, since = self._stuck.get(log, (-1, now))
            if own != before:
                since = now
            self._stuck[log] = (own, since)
            if log in self._host.pulling:
                continue  # from another peer
            own_log_not_pushed = log[1] == self._origin and not self._peer_live
            if own_log_not_pushed or now - since >= RELAY_GRACE_SECONDS:
                wanted.append((*log, own))
        self._stuck = {log: self._stuck[log] for log in behind}
        return wanted[:PULL_LOGS_MAX]
