"""What a campaign says in the end, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ..simulations.campaign import Campaign, Result, first_of
from ..simulations.marks import MARKS
from .show import cell, count, duration, listing, number, table
from .simulate_campaign import Held

Replay = Callable[[int], str]
FAILURES_MAX = 10  # seeds that are told one by one


def print_campaign(screen: Console, held: Held, replay: Replay, *, marks: bool) -> None:
    """Tell a campaign; `replay` makes the command that runs a seed again."""
    campaign = held.campaign
    screen.print(_head(held))
    for text in _sums(campaign, all_kinds=marks):
        screen.print(cell(text))
    if marks:
        screen.print(_marks(campaign))
    if campaign.results:
        screen.print(_spreads(campaign))
    for result in campaign.failures[:FAILURES_MAX]:
        screen.print(_failure(campaign, result, replay))
    if len(campaign.failures) > FAILURES_MAX:
        seeds = [str(one.seed) for one in campaign.failures[FAILURES_MAX:]]
        screen.print(cell(f"More seeds that fail: {', '.join(seeds)}", "red"))
    if held.ended:
        screen.print(cell(f"The campaign did not come to its end. {held.ended}", "bold red"))


def _head(held: Held) -> Group:
    campaign = held.campaign
    failed, many = len(campaign.failures), len(campaign.results)
    if failed:
        said = cell(f"{count(failed, 'seed')} of {number(many)} failed", "bold red")
    elif held.ended:
        said = cell(f"{count(many, 'seed')}, no violation so far", "bold")
    else:
        said = cell(f"{count(many, 'seed')}, no violation", "bold green")
    slowest = max(campaign.results, key=lambda one: one.took, default=None)
    slow = f" The slowest was {slowest.seed} ({duration(slowest.took)})." if slowest else ""
    return Group(
        said,
        cell(
            f"{duration(campaign.seconds)} simulated in {duration(held.took)} by {held.by}: "
            f"{number(campaign.seconds / max(held.took, 1e-6))} times real time, "
            f"{many / max(held.took, 1e-6):.1f} seeds a second.{slow}"
        ),
    )


def _sums(campaign: Campaign, *, all_kinds: bool) -> Iterator[str]:
    families = campaign.families()
    yield f"Faults injected: {number(sum(of.total() for of in families.values()))}"
    for family, kinds in families.items():
        if all_kinds or kinds.total():
            yield f"  {family} {number(kinds.total())}: {listed(kinds, zeros=all_kinds)}"
    yield f"Appends: {number(campaign.sum('appends'))}: {listed(campaign.total('answers'))}"
    settled = listed(campaign.total("settled"))
    yield f"Commits settled: {number(campaign.sum('commits'))}: {settled}"
    alike = "their traces are alike" if not campaign.unlike else f"{len(campaign.unlike)} differ"
    yield f"Run twice: {count(campaign.repeated, 'seed')}" + (
        f", {alike}" if campaign.repeated else ""
    )


def _marks(campaign: Campaign) -> Group:
    never = campaign.never_reached()
    said = f"Marks reached: {len(MARKS) - len(never)} of {len(MARKS)}"
    if not campaign.lacks_marks:  # too few seeds to expect all
        return Group(cell(f"{said}{f', but not: {listing(never)}' if never else ''}"))
    told = [cell(f"  never: {name} ({MARKS[name]})", "red") for name in never]
    return Group(cell(f"{said}, in {len(campaign.results)} seeds:", "bold red"), *told)


def _spreads(campaign: Campaign) -> Table:
    right = ["least", "median", "9 in 10 up to", "most"]
    made = table("of a seed", *right, right=right)
    for name, of in campaign.spreads().items():
        seconds = name.startswith("seconds")
        shown = [duration(value) if seconds else number(value) for value in of]
        label = {"seconds": "simulated", "seconds to whole": "time to whole"}.get(name, name)
        made.add_row(cell(label), *shown)
    return made


def _failure(campaign: Campaign, result: Result, replay: Replay) -> Group:
    problems = campaign.problems(result)
    told = first_of(problems)
    more = len(problems) - len(told)
    return Group(
        cell(f"Seed {result.seed} fails:", "bold red"),
        *(cell(f"  {problem}", "red") for problem in told),
        *([cell(f"  and {number(more)} more", "red")] if more else []),
        cell(f"  run it again: {replay(result.seed)} -vv"),
        Text(),
    )


def campaign_data(held: Held, *, well: bool) -> dict[str, Any]:
    """A campaign for programs. What depends on the machine is in `run` alone."""
    by = {"by": held.by, "real_seconds": round(held.took, 3), "ended_early": held.ended}
    return {"well": well, **held.campaign.as_data(), "run": by}


def listed(counts: Mapping[str, int], *, zeros: bool = False) -> str:
    """Counts as `cut 12, reset 3`, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{name} {number(many)}" for name, many in ordered if many or zeros)
