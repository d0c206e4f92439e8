"""`anabranch status`: what one node says of itself, its links and its watermark."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from .client import Client
from .errors import NodeRefused, NodeUnreachable
from .model import Status
from .options import AsJson, Url
from .running import complete

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

WATCH_SECONDS = 1.0

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def status(
    url: Url,
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")
    ] = False,
) -> None:
    """Show a node: its links, how far others lag, and who holds the watermark back.

    Exit status 1 when the node is not ready or needs something.
    """
    if as_json:
        _print_json(url, watch)
    elif watch:
        complete(_watch(url), interrupted=0)
    else:
        from .show import console

        said = complete(_ask(url))
        console().print(picture(said))
        raise typer.Exit(0 if all_is_well(said) else 1)


def all_is_well(said: Status) -> bool:
    """Whether the node is ready and asks for nothing."""
    return said.state == "ready" and not said.needs and not said.disputed_shards


async def _ask(url: str) -> Status:
    async with Client(url) as node:
        return await node.status()


def _print_json(url: str, watch: bool) -> None:
    from .show import print_json

    async def once() -> object:
        async with Client(url) as node:
            return await node.raw("/v1/status")

    async def for_ever() -> None:
        import json

        async with Client(url) as node:
            while True:
                print(json.dumps(await node.raw("/v1/status")), flush=True)
                await asyncio.sleep(WATCH_SECONDS)

    if watch:
        complete(for_ever(), interrupted=0)
    else:
        print_json(complete(once()))


async def _watch(url: str) -> None:
    from rich.live import Live
    from rich.text import Text

    from .show import console

    screen = console()
    async with Client(url) as node:
        with Live(Text(""), console=screen, auto_refresh=False) as live:
            while True:
                try:
                    shown: Group | Text = picture(await node.status())
                except (NodeUnreachable, NodeRefused) as error:
                    shown = Text(str(error), style="red")
                if screen.is_terminal:
                    live.update(shown, refresh=True)
                else:
                    screen.print(shown)
                await asyncio.sleep(WATCH_SECONDS)


def picture(said: Status) -> Group:
    """A node's status for a person."""
    from rich.console import Group

    from .show import cell

    notes = [cell(f"needs: {need}", "yellow") for need in said.needs]
    if said.disputed_shards:
        shards = ", ".join(str(shard) for shard in said.disputed_shards)
        notes.append(cell(f"disputed shards, not settling: {shards}", "bold red"))
    return Group(_facts(said), *notes, _links(said))


def _facts(said: Status) -> Group:
    from rich.console import Group

    from .show import cell, count, duration, number, size

    mark = said.watermark
    style = "bold green" if all_is_well(said) else "bold yellow"
    age = duration(mark.age_seconds)
    return Group(
        cell(f"{said.node} in {said.site}, cluster {said.cluster}: {said.state}", style),
        cell(
            f"up {duration(said.uptime_seconds)}, version {said.version}, epoch {said.epoch}, "
            f"origin {said.origin}, log {size(said.log.bytes)} in "
            f"{count(said.log.segments, 'segment')}, {number(said.log.sealed_segments)} sealed"
        ),
        cell(
            f"settled {count(mark.settled_commits, 'commit')}, "
            f"tentative {number(mark.tentative_commits)}, watermark {age} old"
        ),
        *_changing(said),
        *_on_the_way(said),
        *_repaired(said),
        *(
            cell(
                f"held back by {held.name} for {duration(held.since_seconds)}: {held.why}", "yellow"
            )
            for held in mark.held_back_by
        ),
    )


def _changing(said: Status) -> list[Text]:
    """What is under way among the members."""
    from .show import cell

    change = said.membership
    lines = [] if change.state == "stable" else [cell(f"members: {change.state}", "yellow")]
    away = f"; it waits for {', '.join(change.waits_for)}" if change.waits_for else ""
    wants = [f"wants, and it is not decided: {wanted}{away}" for wanted in change.wanted]
    return lines + [cell(line, "yellow") for line in wants]


def _on_the_way(said: Status) -> list[Text]:
    """What a node that joins has copied, and what waits for a place in the order."""
    from .show import cell, count, number

    lines = []
    if said.joining is not None:
        of = count(said.joining.of, "commit")
        lines.append(cell(f"joining: {number(said.joining.copied)} of {of} copied", "yellow"))
    if said.strays:
        lines.append(cell(f"{count(said.strays, 'commit')} without a place in the order", "yellow"))
    return lines


def _repaired(said: Status) -> list[Text]:
    """What became of damage on the disk, if there was any."""
    from .show import cell, number

    repair = said.repair
    if not repair.missing_commits and not repair.healed_commits:
        return []
    line = f"damage on its disk: {number(repair.healed_commits)} commits healed, "
    style = "yellow" if repair.missing_commits else ""
    return [cell(f"{line}{number(repair.missing_commits)} missing", style)]


def _links(said: Status) -> Table:
    from .show import cell, duration, number, size, table

    right = ["for", "lag", "lag time", "clock", "held back", "sent", "received"]
    made = table("peer", "site", "link", *right, "error", right=right)
    for peer in said.peers:
        clock = "-" if peer.clock_offset_ms is None else f"{peer.clock_offset_ms:+.0f} ms"
        made.add_row(
            cell(peer.name, "bold"),
            cell(peer.site),
            cell(peer.link, "green" if peer.link == "connected" else "red"),
            duration(peer.since_seconds),
            f"{number(peer.lag_commits)}",
            duration(peer.lag_seconds),
            clock,
            number(peer.held_back),
            size(sum(peer.bytes_sent.values())),
            size(sum(peer.bytes_received.values())),
            cell(peer.error or ""),
        )
    return made
