"""How a run of chaos looks while it goes on, and what is told of it in the end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..chaos.report import figures, problems, spreads, target
from ..chaos.tally import WHOLE_SECONDS, Tally, grown
from ..simulations.report.words import figure
from .show import cell, console, count, duration, listing, number, size, table
from .simulate_sums import listed

if TYPE_CHECKING:
    from ..chaos.runner import Outcome, Run, State

VIOLATIONS_MAX = 8
FAULTS_SHOWN = 6
_PLAIN_SECONDS = 15.0  # between two lines where nobody looks at a terminal
_STYLES = {"ready": "green", "down": "bold red", "paused": "yellow", "silent": "yellow"}


@asynccontextmanager
async def watching(run: Run, *, tell: bool) -> AsyncIterator[None]:
    """Show a run while it goes on: a living table on a terminal, now and then a line elsewhere."""
    screen = console(errors=True)
    run.on_line = screen.print if tell else lambda _: None
    if not screen.is_terminal:
        task = asyncio.create_task(_lines(run))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return
    living = Live(
        get_renderable=lambda: picture(run.state()),
        console=screen,
        refresh_per_second=4,
        transient=True,
    )
    with living:
        yield


async def _lines(run: Run) -> None:
    while True:
        await asyncio.sleep(_PLAIN_SECONDS)
        print(line_of(run.state()), file=sys.stderr, flush=True)


def line_of(state: State) -> str:
    """How it goes, in one line."""
    tally = state.tally
    return (
        f"{state.seconds:6.0f} s  round {state.round}, {state.phase}: {number(tally.acknowledged)} "
        f"acknowledged, {count(tally.faults.total(), 'fault')}, {count(tally.kills, 'kill')}"
        + (f"; {state.waits}" if state.waits and state.phase == "quiesce" else "")
    )


def picture(state: State) -> RenderableType:
    """How it goes, for a terminal."""
    made = table("node", "is", "commits", "settled", "behind", "memory", right=_RIGHT)
    for name, look in state.looks.items():
        made.add_row(
            cell(name, "bold"),
            cell(look.state, _STYLES.get(look.state, "cyan")),
            cell(number(look.commits)),
            cell(number(look.settled)),
            cell(duration(look.lag) if look.lag == look.lag else "-"),
            cell("-" if look.size is None else size(look.size.memory_bytes)),
        )
    on = listing(state.on, FAULTS_SHOWN) or "nothing"
    return Group(cell(line_of(state), "bold"), made, cell(f"On: {on}", "yellow"))


_RIGHT = ["commits", "settled", "behind", "memory"]


def print_outcome(screen: Console, outcome: Outcome, again: str) -> None:
    """Tell a run: its figures, how long heals took, what did not hold."""
    line, tally = outcome.timeline, outcome.tally
    screen.print(cell(line.title, "bold"))
    sites = ", ".join(f"{name} {count(len(of), 'node')}" for name, of in line.sites)
    screen.print(cell(f"Sites: {sites}. {duration(tally.seconds)} of real time."))
    told = [figure(key, of) for key, of in figures(tally).items() if key != "real seconds"]
    screen.print(cell("; ".join(f"{name} {value}" for name, value in told) + "."))
    screen.print(cell(f"Faults: {listed(tally.faults) or 'none'}."))
    screen.print(cell(f"Refused: {listed(tally.refused) or 'none'}."))
    if tally.unknown:
        screen.print(
            cell(
                f"Without an answer: {tally.unknown}; of those "
                f"{tally.resolved['found in the end']} were found to be there in the end."
            )
        )
    screen.print(cell(target(tally)))
    for title, rows in spreads(tally).items():
        screen.print(_histogram(title, rows))
    if grown(tally):
        screen.print(_growth(tally))
    slow = sum(
        took > within for took, within in zip(tally.whole_after, tally.whole_within, strict=False)
    )
    heals = count(len(tally.whole_within), "heal")
    screen.print(
        cell(f"{heals}; {slow} took longer than {WHOLE_SECONDS:g} s and what the bytes need.")
    )
    screen.print(cell(f"Draw it again: {again}"))
    screen.print()
    bad = problems(outcome)
    if not bad:
        screen.print(cell("All that has to hold held.", "bold green"))
        return
    screen.print(cell(f"{count(len(bad), 'violation')}:", "bold red"))
    for problem in bad[:VIOLATIONS_MAX]:
        screen.print(cell(problem, "red"))
    if len(bad) > VIOLATIONS_MAX:
        screen.print(cell(f"and {number(len(bad) - VIOLATIONS_MAX)} more; --json has all", "red"))


def _growth(tally: Tally) -> Table:
    """What each node took up in the first third of the rounds and in the last."""
    made = table("node", "what", "first", "last", right=["first", "last"], title="Growth")
    for one in grown(tally):
        show = size if one.what == "bytes of memory" else number
        style = "red" if one.last > one.limit else ""
        what = one.what.removeprefix("bytes of ")
        made.add_row(cell(one.node), cell(what), cell(show(one.first)), cell(show(one.last), style))
    return made


def _histogram(title: str, rows: list[tuple[str, int]]) -> Group:
    most = max((many for _, many in rows), default=0) or 1
    lines = [
        Text(f"  {name:>14}  {'█' * round(30 * many / most):<30} {number(many)}")
        for name, many in rows
    ]
    return Group(cell(title, "bold"), *lines)
