"""`anabranch replay`: a file of events, sent to several nodes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import typer

from .client import Client
from .errors import BadInput, CommandError
from .lanes import Lanes
from .mapping import Mapping, Outgoing, load_mapping, to_outgoing
from .options import AsJson, node_url
from .rows import Format, format_of, rows
from .running import complete
from .sending import Sender, Sent, batches

CONNECTIONS = 16
WINDOW_ROWS = 500
REPORT_SECONDS = 2.0

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@dataclass(frozen=True)
class Plan:
    """What to send, and how."""

    file: Path
    format: Format
    urls: list[str]
    mapping: Mapping | None
    by_stream: bool
    window: int
    rate: float | None


@app.command()
def replay(  # noqa: PLR0913, PLR0917
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="NDJSON or CSV, or .gz."),
    ],
    to: Annotated[
        list[str],
        typer.Option("--to", parser=node_url, metavar="URL", help="A node; give several."),
    ],
    more: Annotated[
        list[str] | None,
        typer.Argument(parser=node_url, metavar="[URL]...", help="More nodes."),
    ] = None,
    map_: Annotated[
        Path | None,
        typer.Option("--map", metavar="TOML", exists=True, dir_okay=False, help="A mapping file."),
    ] = None,
    stream: Annotated[
        str | None,
        typer.Option(metavar="COL", help='Column of the stream, or a text like "order-{id}".'),
    ] = None,
    type_: Annotated[
        str | None, typer.Option("--type", metavar="COL", help='Column of the type, or "=a type".')
    ] = None,
    time: Annotated[str | None, typer.Option(metavar="COL", help="Column of the time.")] = None,
    time_unit: Annotated[
        Literal["rfc3339", "s", "ms", "us"], typer.Option(help="What the time column holds.")
    ] = "rfc3339",
    format_: Annotated[
        Literal["csv", "ndjson"] | None,
        typer.Option("--format", help="When the file's name does not say it."),
    ] = None,
    spread: Annotated[
        Literal["stream", "round-robin"], typer.Option(help="Which node gets which events.")
    ] = "stream",
    group: Annotated[
        int,
        typer.Option(min=1, max=10_000, metavar="ROWS", help="Rows that share requests by stream."),
    ] = WINDOW_ROWS,
    rate: Annotated[
        float | None, typer.Option(min=0.001, metavar="N", help="Events a second at most.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a file of events to one or more nodes, in the order of the file within each stream.

    Every request has a key made from the file's name, its line and its content: run the same
    command again after a failure, and nothing is there twice. If a node does not answer, the
    next one gets the request.
    """
    plan = Plan(
        file=file,
        format=_format(file, format_),
        urls=list(dict.fromkeys([*to, *(more or [])])),
        mapping=_mapping(map_, stream, type_, time, time_unit),
        by_stream=spread == "stream",
        window=group,
        rate=rate,
    )
    _report(complete(_replay(plan)), as_json)


def _format(file: Path, given: Format | None) -> Format:
    found = given or format_of(file)
    if found is None:
        raise typer.BadParameter(f"{file.name}: say with --format whether it is csv or ndjson")
    return found


def _mapping(
    file: Path | None, stream: str | None, type_: str | None, time: str | None, unit: str
) -> Mapping | None:
    if file is not None:
        if stream or type_ or time:
            raise typer.BadParameter("--map already says what --stream, --type and --time would")
        return load_mapping(file)
    if stream is None and type_ is None:
        return None
    if stream is None or type_ is None:
        raise typer.BadParameter("--stream and --type belong together")
    return Mapping(stream, type_, time, unit)


async def _replay(plan: Plan) -> list[Sent]:
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(Client(url, connections=CONNECTIONS))
            for url in plan.urls
        ]
        await _reachable(nodes)
        counter = stack.enter_context(Counter())
        lanes = await stack.enter_async_context(Lanes(plan.urls, CONNECTIONS))
        sender = Sender(
            nodes, plan.file.name, plan.by_stream, lanes, plan.rate, progress=counter.add
        )
        try:
            async with aclosing(_events(plan)) as events:
                async for batch in batches(events, plan.window):
                    await sender.send(batch)
            await lanes.finish()
        except BadInput as error:
            raise BadInput(
                f"{error} Mend it and run the same replay again: what was sent already is not "
                "doubled."
            ) from None
    return list(sender.sent.values())


async def _reachable(nodes: list[Client]) -> None:
    """One node must answer; a wrong URL is better said now than after a minute of trying."""
    answers = await asyncio.gather(*(node.status() for node in nodes), return_exceptions=True)
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    if len(failures) == len(nodes):
        raise failures[0]
    for failure in failures:
        print(f"anabranch: {failure} Going on without it.", file=sys.stderr)


async def _events(plan: Plan) -> AsyncGenerator[Outgoing]:
    async with aclosing(rows(plan.file, plan.format)) as all_rows:
        async for row in all_rows:
            yield to_outgoing(row, plan.mapping)


class Counter:
    """Says on standard error how many events are sent: one living line, or a line now and then."""

    def __init__(self) -> None:
        self._events = 0
        self._loop = asyncio.get_running_loop()
        self._begun = self._said = self._loop.time()
        self._live = sys.stderr.isatty()
        self._every = 0.1 if self._live else REPORT_SECONDS

    def add(self, events: int) -> None:
        """Count what a node has taken."""
        self._events += events
        now = self._loop.time()
        if now - self._said >= self._every:
            self._said = now
            self._say("\r" if self._live else "", "" if self._live else "\n")

    def _say(self, before: str, after: str) -> None:
        rate = self._events / max(self._loop.time() - self._begun, 0.001)
        text = f"{self._events:,} events sent, {rate:,.0f}/s"
        print(f"{before}{text:<40}", end=after, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._say("\r", "\n")


def _report(sent: list[Sent], as_json: bool) -> None:
    from .show import cell, console, number, print_json, table

    total = sum(one.events for one in sent)
    if as_json:
        print_json({"events": total, "nodes": [asdict(one) for one in sent]})
    else:
        right = ["events", "commits", "there already", "unanswered"]
        made = table("node", *right, right=right)
        for one in sent:
            numbers = (one.events, one.commits, one.duplicates, one.unreached)
            made.add_row(cell(one.url), *(number(value) for value in numbers))
        console().print(made)
    if total == 0:
        raise CommandError("The file holds no events.")
