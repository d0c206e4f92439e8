"""`anabranch demo`: the guided run on one machine."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .demo_cluster import Cluster
from .demo_plan import SITES, Planned, plan
from .errors import CommandError
from .mapping import load_mapping, to_outgoing
from .options import AsJson
from .rows import rows
from .running import complete

if TYPE_CHECKING:
    from rich.console import Console

    from .demo_story import Outcome

ORDERS = Path(__file__).resolve().parent.parent / "examples" / "bitstamp-orders"
EVENTS_MIN = 1000  # fewer leave no order to fight for

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@dataclass
class Run:
    """One run of the demo."""

    directory: Path
    keep: bool
    as_json: bool
    heal: bool
    planned: list[Planned] = field(default_factory=list)
    outcome: Outcome | None = None


@app.command()
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the cluster running until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
    events: Annotated[
        int | None,
        typer.Option(min=EVENTS_MIN, metavar="N", help="Replay the first N events only."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", file_okay=False, metavar="DIR", help="Where the nodes keep data."),
    ] = None,
    no_heal: Annotated[bool, typer.Option("--no-heal", hidden=True)] = False,
) -> None:
    """Three sites on this machine: cut one off, write on, heal, and see one history.

    Replays 50,414 order events of a real exchange through three node processes. Exit status 0 only
    if in the end all three show the same history with every event in it exactly once.
    """
    run = Run(_directory(data), keep, as_json, heal=not no_heal)
    wanted = data is not None
    try:
        complete(_run(run, events))
        wanted = wanted or run.outcome is None or not run.outcome.well
    except CommandError:
        wanted = True
        raise
    finally:
        _clear_away(run.directory, wanted=wanted)
    raise typer.Exit(0 if run.outcome is not None and run.outcome.well else 1)


def _directory(given: Path | None) -> Path:
    if given is None:
        return Path(tempfile.mkdtemp(prefix="anabranch-demo-"))
    given.mkdir(parents=True, exist_ok=True)
    if any(given.iterdir()):
        raise typer.BadParameter(f"{given} is not empty; the demo begins with new nodes")
    return given


def _clear_away(directory: Path, *, wanted: bool) -> None:
    """Remove what the nodes wrote, unless it was asked for or shows what went wrong."""
    if wanted:
        typer.echo(f"Data and logs are in {directory}", err=True)
    else:
        shutil.rmtree(directory, ignore_errors=True)


async def _run(run: Run, events: int | None) -> None:
    from .demo_view import print_report, report_json, terminal
    from .show import print_json

    screen = terminal(errors=run.as_json)
    run.planned = await recording(events)
    async with Cluster(run.directory, SITES) as cluster:
        await cluster.ready()
        run.outcome = await _told(run, cluster, screen)
        if run.as_json:
            print_json(report_json(run.outcome, {site.name: site.url for site in cluster.sites}))
        else:
            print_report(screen, run.outcome)
        if run.keep:
            await _stay(cluster, screen)


async def _told(run: Run, cluster: Cluster, screen: Console) -> Outcome:
    """Tell the story, unless a node ends before it does."""
    from .demo_story import Story
    from .demo_view import view_for

    names = ", ".join(f"{site.node} {site.url}" for site in cluster.sites)
    screen.print(f"Three nodes are up: {names}")
    with view_for(screen) as view:
        async with Story(cluster.sites, run.planned, view, heal=run.heal) as story:
            telling = asyncio.create_task(story.tell())
            watching = asyncio.create_task(cluster.watch())
            try:
                await asyncio.wait({telling, watching}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended = [await _end(watching), await _end(telling)]
            for error in ended:  # a node's end explains more than what it did to the story
                if error is not None:
                    raise error
            return telling.result()


async def _end(task: asyncio.Task[Any]) -> BaseException | None:
    """End a task that may have ended already, and say what it failed with."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    return None if task.cancelled() else task.exception()


async def recording(events: int | None = None) -> list[Planned]:
    """The recorded orders, with the site at which each event arrives."""
    path = ORDERS / "orders.csv.gz"
    if not path.is_file():
        raise CommandError(
            f"The recorded orders are not at {path}. They come with the source tree, not with the "
            "installed package: run the demo from a checkout (make demo)."
        )
    mapping = load_mapping(ORDERS / "mapping.toml")
    found = []
    async for row in rows(path, "csv"):
        found.append(to_outgoing(row, mapping))
        if len(found) == events:
            break
    return plan(found)


async def _stay(cluster: Cluster, screen: Console) -> None:
    first = cluster.sites[0].url
    screen.print("\nThe cluster stays up:")
    for site in cluster.sites:
        screen.print(f"  {site.node:<9} {site.url}   process {cluster.pids()[site.node]}")
    screen.print(f"Try: anabranch status --url {first}")
    screen.print(f"     anabranch drill cut tokyo --for 30s --url {first}")
    screen.print("Ctrl-C stops all three. Their data is kept only with --data.")
    with suppress(asyncio.CancelledError):
        await cluster.watch()
