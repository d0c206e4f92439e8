"""`anabranch read`: a part of one stream."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import typer

from .client import PAGE_EVENTS, Client
from .errors import CommandError, NodeRefused
from .model import Page
from .options import AsJson, ReadLevel, Url
from .running import complete

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def read(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream to read.")],
    url: Url,
    start: Annotated[
        int | None,
        typer.Option("--from", min=0, metavar="REVISION", help="The first revision to read."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many events at most.")] = 100,
    direction: Annotated[
        Literal["forward", "backward"], typer.Option(help="From the oldest, or from the newest.")
    ] = "forward",
    level: Annotated[
        ReadLevel, typer.Option("--read", help="What to show: all, or the final part only.")
    ] = "latest",
    types: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="T", help="Only this type; may be given several times."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read events of one stream, with what of them is final and what is tentative."""
    query = [("direction", direction), ("read", level), *(("type", one) for one in types or [])]
    page = complete(_collect(url, stream, query, start, limit))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(page)).decode("utf-8"))
        return
    _show(page, stream)


async def _collect(
    url: str, stream: str, query: list[tuple[str, str]], start: int | None, limit: int
) -> Page:
    """Pages up to `limit`, as one."""
    async with Client(url) as node:
        whole = await _page(node, stream, query, start, limit)
        while not whole.end and len(whole.events) < limit and whole.next is not None:
            left = limit - len(whole.events)
            more = await _page(node, stream, query, whole.next, left)
            whole.events += more.events
            whole.next, whole.end = more.next, more.end
    for event in whole.events:
        event.stream = whole.stream
    return whole


async def _page(
    node: Client,
    stream: str,
    query: list[tuple[str, str]],
    start: int | str | None,
    limit: int,
) -> Page:
    place = [] if start is None else [("from", str(start))]
    try:
        return await node.read(stream, [*query, *place, ("limit", str(min(limit, PAGE_EVENTS)))])
    except NodeRefused as refused:
        if refused.code == 404:
            raise CommandError(f"There is no stream {stream!r} at {node.url}.") from None
        raise


def _show(page: Page, stream: str) -> None:
    from .show import console, safe
    from .show_events import event_table

    if page.events:
        console().print(event_table(page.events))
    last = -1 if page.last_revision is None else page.last_revision
    settled = -1 if page.settled_revision is None else page.settled_revision
    state = "all settled" if settled >= last else f"settled up to {settled}"
    if settled < 0 <= last:
        state = "nothing settled yet"
    more = "" if page.end else f"; go on with --from {page.next}"
    print(f"{safe(stream)}: {len(page.events)} shown, last revision {last}, {state}{more}")
