"""`anabranch tail`: what comes in, as it comes in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Literal

import typer

from .client import PAGE_EVENTS, Client
from .errors import NodeRefused, NodeUnreachable
from .model import Event
from .options import AsJson, Url
from .running import complete

POLL_SECONDS = 0.2
RETRY_SECONDS = 1.0

Paging = Callable[[str | None], Awaitable[tuple[list[Event], str | None, bool]]]

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def tail(
    url: Url,
    stream: Annotated[
        str | None, typer.Argument(metavar="[STREAM]", help="One stream; else all of them.")
    ] = None,
    level: Annotated[
        Literal["settled", "latest"],
        typer.Option("--read", help="Final events only, or all as the node holds them now."),
    ] = "settled",
    beginning: Annotated[
        bool, typer.Option("--beginning", help="Show what is there already, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Follow a stream, or all streams, until Ctrl-C.

    With `--read settled` each event comes once and in its final order. With `--read latest` it
    comes at once; an event that a merge puts before one already shown is then not shown.
    """
    complete(_follow(url, stream, level, beginning, as_json), interrupted=0)


async def _follow(url: str, stream: str | None, level: str, beginning: bool, as_json: bool) -> None:
    from .show_events import event_json, event_line

    async with Client(url) as node, aclosing(arriving(node, stream, level, beginning)) as pages:
        async for events in pages:
            for event in events:
                line = event_json(event) if as_json else event_line(event, streams=stream is None)
                sys.stdout.write(line + "\n")
            sys.stdout.flush()


async def arriving(
    node: Client, stream: str | None, level: str, beginning: bool
) -> AsyncGenerator[list[Event]]:
    """Pages of what is new, for ever; a node that is away for a while is asked again."""
    page_after = _all_streams(node, level) if stream is None else _one_stream(node, stream, level)
    place: str | None = None
    skipping = not beginning
    while True:
        try:
            events, following, end = await page_after(place)
        except (NodeUnreachable, NodeRefused) as error:
            if place is None and not _may_pass(error):
                raise
            print(f"anabranch: {error} Trying again.", file=sys.stderr)
            await asyncio.sleep(RETRY_SECONDS)
            continue
        place = following or place
        if events and not skipping:
            yield events
        skipping = skipping and not end
        if end:
            await asyncio.sleep(POLL_SECONDS)


def _may_pass(error: NodeUnreachable | NodeRefused) -> bool:
    return isinstance(error, NodeRefused) and error.passing


def _all_streams(node: Client, level: str) -> Paging:
    async def page_after(place: str | None) -> tuple[list[Event], str | None, bool]:
        page = await node.events(after=place, read=level)
        return page.events, None if page.next is None else str(page.next), page.end

    return page_after


def _one_stream(node: Client, stream: str, level: str) -> Paging:
    async def page_after(place: str | None) -> tuple[list[Event], str | None, bool]:
        query = [("from", place or "0"), ("limit", str(PAGE_EVENTS)), ("read", level)]
        try:
            page = await node.read(stream, query)
        except NodeRefused as refused:
            if refused.code == 404:  # nobody has written to it yet
                return [], place or "0", True
            raise
        following = page.next
        if following is None and page.events:
            following = page.events[-1].revision + 1
        return page.events, None if following is None else str(following), page.end

    return page_after
