"""The side of a link that answers: it takes pushes, gives what is pulled, reports and compares."""

from __future__ import annotations

import asyncio

from ..storage.errors import BadFrame, PeerError, Refused
from ..storage.limits import (
    CONNECT_SECONDS,
    HELLO_BYTES_MAX,
    PULL_BYTES_MAX,
    PULL_LOGS_MAX,
    SILENCE_SECONDS,
)
from .conversation import Conversation
from .host import Host
from .members import Cause, Objection
from .messages import (
    Ack,
    Agree,
    Body,
    Compare,
    Compared,
    Give,
    Hello,
    Join,
    Message,
    Pull,
    Push,
    Recall,
    Refuse,
    ReportMessage,
)
from .transport import Link


async def answer(host: Host, link: Link, opened: dict[str, list[Link]]) -> None:
    """Serve a link that another node has dialled, until it ends.

    `opened` is kept up to date with the links by the name of who dialled them.
    """
    talk = Conversation(host, link)
    name = ""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            hello = await _expect_hello(host, talk)
            await talk.send(host.hello(), reports=False)
        name = hello.name
        opened.setdefault(name, []).append(link)
        talk.count_as(host.traffic[name])
        host.is_there(name)
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                message = await talk.receive()
            host.learn(hello.origin, message)
            if isinstance(message.body, Push):
                host.coming.pushed(hello.origin)
            body = await _reply(host, hello, message)
            await talk.send(body, reports=not isinstance(body, Compared))
    except (PeerError, TimeoutError):
        pass  # the one who dialled sees it and dials again
    finally:
        if link in opened.get(name, ()):
            opened[name].remove(link)
            host.ended(name)
        await link.close()


async def _reply(host: Host, hello: Hello, message: Message) -> Body:
    name = hello.name
    match message.body:
        case Push(commits, tips):
            host.forks.heard(hello.origin, tips)
            await host.take(commits, name)
            return Ack()
        case Pull(wanted, bytes_max):
            bytes_max, wanted = min(bytes_max, PULL_BYTES_MAX), wanted[:PULL_LOGS_MAX]
            commits = await host.give(wanted, bytes_max, name)
            after = {(shard, origin): after for shard, origin, after, _ in wanted if commits}
            return Give(commits, host.forks.tips(after))
        case ReportMessage(close):
            await host.close_up(close)
            return ReportMessage(0, host.pushes_to(name), host.membership.missed)
        case Compare() as question:
            return host.comparing.compare(question, name)
        case Agree() as agree:
            return await host.membership.agree(hello.origin, agree)
        case Recall() as recall:
            return await host.membership.recall(recall, message.sender.boot, hello.before)
        case Join(name, _, _, origin) as join if (name, origin) == (hello.name, hello.origin):
            host.membership.joins(join)
            return Agree([])
        case body:
            raise BadFrame(f"{type(body).__name__} is not for the side that answers")


async def _expect_hello(host: Host, talk: Conversation) -> Hello:
    """The other side's hello; refuses and raises if it is not welcome."""
    message = await talk.receive(HELLO_BYTES_MAX)
    if isinstance(message.body, Refuse):
        raise Refused(message.body.reason)
    if not isinstance(message.body, Hello):
        raise BadFrame("a link begins with a hello")
    hello = message.body
    if host.is_cut(hello.name):
        objection: Objection | None = Objection(Cause.DRILL, "a drill has cut this link")
    else:
        objection = await host.meet(hello, message.sender)
    if objection is not None:
        await talk.send(Refuse(objection.cause, objection.text), reports=False)
        raise Refused(objection.text)
    return hello
