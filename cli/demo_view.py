"""What the audience of the demo sees: a living picture on a terminal, lines elsewhere, a report."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from .demo_checks import Check, short
from .demo_plan import SITES
from .demo_story import ACTS, Outcome
from .model import Status
from .order_book import UNITS_IN_BITCOIN, BookSummary
from .show import cell, count, duration, number, table

LINE_SECONDS = 5.0
PROBLEMS_MAX = 20  # of each check in the JSON
TITLES = {
    "before": "all three sites write",
    "while cut": "one site is cut off, all three write on",
    "after": "the cut is healed, all three write on",
    "settling": "waiting until all is settled",
    "reading back": "reading every history back",
}


class LineView:
    """For logs and pipes: a line for each thing that happens, and one now and then."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._title = ""
        self._total = 0
        self._done = 0
        self._said = 0.0
        self._seen: dict[str, Status] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to clear away."""

    def act(self, title: str, events: int) -> None:
        """Begin an act."""
        self._title, self._total, self._done = title, events, 0
        self._said = asyncio.get_running_loop().time()
        many = f", {count(events, 'event')}" if events else ""
        self._screen.print(f"- {TITLES.get(title, title)}{many}")

    def written(self, site: str) -> None:
        """Count an event."""
        self._done += 1

    def statuses(self, seen: dict[str, Status]) -> None:
        """Say now and then how far things are."""
        self._seen = seen
        now = asyncio.get_running_loop().time()
        if now - self._said < LINE_SECONDS:
            return
        self._said = now
        parts = [_in_short(status) for status in seen.values()]
        self._screen.print(
            f"  {self._title}: {number(self._done)}/{number(self._total)}; {'; '.join(parts)}"
        )

    def note(self, text: str) -> None:
        """Say something that stays."""
        self._screen.print(f"  {text}")


def _in_short(status: Status) -> str:
    mark = status.watermark
    held = ", ".join(held.name for held in mark.held_back_by)
    waiting = f", waits for {held}" if held else ""
    return f"{status.node} {number(mark.tentative_commits)} tentative{waiting}"


class LiveView:
    """For a terminal: a bar for the act, and the nodes below it."""

    def __init__(self, screen: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=screen
        )
        self._bar: TaskID | None = None
        self._written: Counter[str] = Counter()
        self._seen: dict[str, Status] = {}
        self._live = Live(
            get_renderable=self._picture, console=screen, refresh_per_second=8, transient=True
        )
        self._screen = screen

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def act(self, title: str, events: int) -> None:
        """Begin an act."""
        text = TITLES.get(title, title)
        self._screen.print(Text(f"- {text}", style="bold"))
        if self._bar is not None:
            self._progress.remove_task(self._bar)
        self._bar = self._progress.add_task(text, total=events) if events else None

    def written(self, site: str) -> None:
        """Count an event."""
        self._written[site] += 1
        if self._bar is not None:
            self._progress.advance(self._bar)

    def statuses(self, seen: dict[str, Status]) -> None:
        """Show what the nodes say of themselves."""
        self._seen = seen

    def note(self, text: str) -> None:
        """Say something that stays."""
        self._screen.print(Text(f"  {text}"))

    def _picture(self) -> Group:
        right = ["written here", "settled", "tentative", "watermark age"]
        made = table("node", *right, "waits for", right=right)
        for site, status in self._seen.items():
            mark = status.watermark
            made.add_row(
                cell(status.node, "bold"),
                number(self._written[site]),
                number(mark.settled_commits),
                number(mark.tentative_commits),
                duration(mark.age_seconds),
                cell(", ".join(held.name for held in mark.held_back_by), "yellow"),
            )
        return Group(self._progress, made)


def view_for(screen: Console) -> LineView | LiveView:
    """The view that suits where the output goes."""
    return LiveView(screen) if screen.is_terminal else LineView(screen)


def print_report(screen: Console, outcome: Outcome) -> None:
    """The tables at the end."""
    screen.print(_written_table(outcome))
    screen.print(_cut_table(outcome))
    screen.print(_node_table(outcome))
    for line in _sentences(outcome):
        screen.print(line)
    screen.print()
    for check in outcome.checks:
        well = not check.problems
        mark = "yes" if well else "NO "
        screen.print(Text(f"{mark}  {check.question}", style="green" if well else "bold red"))
        for problem in short(check.problems):
            screen.print(cell(f"     {problem}", "red"))
    screen.print()
    verdict = "Three sites, one history." if outcome.well else "The sites do not have one history."
    screen.print(Text(verdict, style="bold green" if outcome.well else "bold red"))


def _written_table(outcome: Outcome) -> Table:
    right = [*ACTS, "total", "sent twice"]
    made = table("written at", *right, right=right, title="Events written")
    for site in SITES:
        counts = [outcome.written[act][site] for act in ACTS]
        made.add_row(
            site,
            *(number(one) for one in counts),
            number(sum(counts)),
            number(outcome.again[site]),
        )
    totals = [outcome.written[act].total() for act in ACTS]
    row = [*totals, sum(totals), outcome.again.total()]
    made.add_row("all", *(number(one) for one in row), style="bold")
    rates = [
        f"{total / outcome.seconds[act]:,.0f}/s" if outcome.seconds.get(act) else "-"
        for act, total in zip(ACTS, totals, strict=True)
    ]
    made.add_row("rate", *rates, "", "", style="dim")
    return made


def _cut_table(outcome: Outcome) -> Table:
    right = ["tentative", "lag, commits", "lag, time", "watermark age"]
    made = table(
        "node", "cut from", *right, "held back by", right=right, title="Just before the heal"
    )
    for status in outcome.while_cut:
        mark = status.watermark
        cut = [peer for peer in status.peers if peer.link == "cut"]
        lags = [peer.lag_seconds for peer in cut if peer.lag_seconds is not None]
        made.add_row(
            cell(status.node, "bold"),
            cell(", ".join(peer.name for peer in cut) or "-"),
            number(mark.tentative_commits),
            number(max((peer.lag_commits for peer in cut), default=0)),
            duration(max(lags, default=None)),
            duration(mark.age_seconds),
            cell(", ".join(held.name for held in mark.held_back_by) or "-"),
        )
    return made


def _node_table(outcome: Outcome) -> Table:
    right = ["events", "best bid", "best ask", "open orders"]
    made = table(
        "node",
        "digest",
        *right,
        "depth, bid / ask",
        right=right,
        title="What each node shows at the end",
    )
    for told in outcome.told:
        book = outcome.books[told.name]
        made.add_row(
            cell(told.name, "bold"),
            told.digest[:16],
            number(len(told.history)),
            book.best_bid,
            book.best_ask,
            number(book.open_orders),
            _depth(book),
        )
    return made


def _depth(book: BookSummary) -> str:
    bid, ask = (volume / UNITS_IN_BITCOIN for volume in (book.bid_volume, book.ask_volume))
    return f"{bid:,.1f} / {ask:,.1f} BTC"


def _sentences(outcome: Outcome) -> list[str]:
    won = ", ".join(f"{site} won {many}" for site, many in sorted(outcome.winners.items()))
    caught_up, settled = outcome.caught_up_seconds, outcome.settled_seconds
    conflicts = (
        f"Conflicts: {count(outcome.contested, 'order')} cancelled at two sites while these could "
        f"not see each other; {won or 'nobody won'}."
    )
    converged = (
        f"Converged: what was written during the cut is settled everywhere {duration(caught_up)} "
        f"after the heal, all of it {duration(settled)} after the last event."
    )
    return [conflicts, converged]


def report_json(outcome: Outcome, urls: dict[str, str]) -> dict[str, Any]:
    """The outcome for programs."""
    return {
        "well": outcome.well,
        "events": sum(counts.total() for counts in outcome.written.values()),
        "written": {act: dict(counts) for act, counts in outcome.written.items()},
        "sent_twice": dict(outcome.again),
        "seconds": {act: round(spent, 3) for act, spent in outcome.seconds.items()},
        "while_cut": [_cut_json(status) for status in outcome.while_cut],
        "caught_up_seconds": outcome.caught_up_seconds,
        "settled_seconds": outcome.settled_seconds,
        "conflicts": {"orders": outcome.contested, "won": dict(outcome.winners)},
        "nodes": [
            {
                "node": told.name,
                "site": told.site,
                "url": urls[told.site],
                "digest": told.digest,
                "commits": told.settled_commits,
                "tentative_commits": told.tentative,
                "events": len(told.history),
                "history_hash": outcome.hashes[told.name],
                "book": asdict(outcome.books[told.name]),
            }
            for told in outcome.told
        ],
        "checks": [
            {
                "question": check.question,
                "well": not check.problems,
                "problems": check.problems[:20],
            }
            for check in outcome.checks
        ],
    }


def _check_json(check: Check) -> dict[str, Any]:
    well = not check.problems
    return {"question": check.question, "well": well, "problems": check.problems[:PROBLEMS_MAX]}


def _cut_json(status: Status) -> dict[str, Any]:
    mark = status.watermark
    return {
        "node": status.node,
        "cut": [peer.name for peer in status.peers if peer.link == "cut"],
        "lag_commits": {peer.name: peer.lag_commits for peer in status.peers},
        "lag_seconds": {peer.name: peer.lag_seconds for peer in status.peers},
        "watermark_age_seconds": mark.age_seconds,
        "held_back_by": [held.name for held in mark.held_back_by],
        "tentative_commits": mark.tentative_commits,
    }


def terminal(*, errors: bool) -> Console:
    """The console of the demo; on standard error when standard output is for a program."""
    from .show import console

    made = console(errors=errors)
    if not (sys.stderr if errors else sys.stdout).isatty():
        made.soft_wrap = True
    return made
