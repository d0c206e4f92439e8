"""What a simulated run says in the end, for people and for programs."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..simulations.campaign import answers, first_of
from ..simulations.report.words import duration as in_words
from ..simulations.report.words import figure, verdict
from ..simulations.timeline import Span, Timeline, Verdict
from .show import cell, count, duration, number, table
from .simulate_run import Ran
from .simulate_sums import listed

FAULTS_MAX = 40  # that are listed one by one
VIOLATIONS_MAX = 6
IS_TOTAL = {"nodes", "simulated seconds", "faults", "replay"}  # told in their own way


def print_run(screen: Console, ran: Ran) -> None:
    """Tell a run: why, its course, what was expected, what always has to hold, figures."""
    line = ran.timeline
    screen.print(cell(line.title, "bold"))
    if line.why:
        screen.print(cell(" ".join(line.why.split())))
    screen.print()
    screen.print(_course(line))
    if line.expected:
        screen.print(_verdicts("What was expected", line.expected))
    screen.print(_always(ran))
    screen.print(_figures(ran))
    style = "bold green" if ran.well else "bold red"
    screen.print(cell(verdict(line), style))


def _course(line: Timeline) -> Table:
    made = table("at", "lasts", "what", right=["at", "lasts"], title="Course")
    happened = [*line.phases, *line.faults]
    left = max(0, len(line.faults) - FAULTS_MAX)
    if left:
        happened = [*line.phases, *line.faults[:FAULTS_MAX]]
    for span in sorted(happened, key=lambda span: span.begins):
        if span in line.phases:
            made.add_row(_at(span), "", cell(span.label, "dim"))
        else:
            made.add_row(_at(span), in_words(span.ends - span.begins), cell(span.label, "yellow"))
    if left:
        made.add_row("", "", cell(f"and {count(left, 'more fault')}; --json has them all", "dim"))
    elif not line.faults:
        made.add_row("", "", cell("no fault", "dim"))
    return made


def _at(span: Span) -> str:
    return f"{span.begins:,.2f} s" if span.begins < 120 else in_words(span.begins)


def _verdicts(title: str, found: list[Verdict]) -> Table:
    made = table("", "what", "found", title=title)
    for one in found:
        mark = cell("yes", "green") if one.held else cell("NO", "bold red")
        made.add_row(mark, cell(one.label), cell(one.detail, "" if one.held else "red"))
    return made


def _always(ran: Ran) -> RenderableType:
    """What always has to hold: one line if it did."""
    failed = [one for one in ran.timeline.checked if not one.held]
    if not failed and not ran.outcome.violations:
        held = count(len(ran.timeline.checked), "check")
        return Group(cell(f"What always has to hold, held: {held}.", "green"), Text())
    told = [cell(problem, "red") for problem in first_of(ran.outcome.violations, VIOLATIONS_MAX)]
    more = len(ran.outcome.violations) - len(told)
    rest = [cell(f"and {count(more, 'more violation')}", "red")] if more > 0 else []
    return Group(cell("What always has to hold, did not:", "bold red"), *told, *rest, Text())


def _figures(ran: Ran) -> Group:
    outcome, line = ran.outcome, ran.timeline
    times = outcome.seconds / max(ran.took, 1e-6)
    nodes = ", ".join(f"{name} {count(len(of), 'node')}" for name, of in line.sites)
    totals = [figure(key, of) for key, of in line.totals.items() if key not in IS_TOTAL]
    return Group(
        cell(f"Sites: {nodes}."),
        cell(
            f"Simulated: {duration(outcome.seconds)} in {duration(ran.took)}, "
            f"{number(times)} times real time."
        ),
        cell(f"Faults: {listed(outcome.faults) or 'none'}."),
        cell(f"Answers: {listed(answers(outcome)) or 'none'}."),
        cell("; ".join(f"{name} {value}" for name, value in totals) + "."),
        cell(f"Trace: {outcome.trace}, the same each time."),
        cell(f"Run it again: {ran.replay}"),
        Text(),
    )


def run_data(ran: Ran) -> dict[str, object]:
    """A run for programs."""
    outcome, line = ran.outcome, ran.timeline
    return {
        "title": line.title,
        "seed": line.seed,
        "well": ran.well,
        "verdict": verdict(line),
        "trace": outcome.trace,
        "simulated_seconds": round(outcome.seconds, 3),
        "real_seconds": round(ran.took, 3),
        "healed_at": line.healed_at,
        "whole_at": line.whole_at,
        "whole_after": outcome.history.whole_after,
        "violations": outcome.violations,
        "expected": [_verdict_data(one) for one in line.expected],
        "checked": [_verdict_data(one) for one in line.checked],
        "phases": [one.data() for one in line.phases],
        "faults": [one.data() for one in line.faults],
        "injected": dict(sorted(outcome.faults.items())),
        "answers": dict(sorted(answers(outcome).items())),
        "marks": dict(sorted(outcome.marks.items())),
        "totals": line.totals,
    }


def _verdict_data(one: Verdict) -> dict[str, object]:
    return {"label": one.label, "held": one.held, "detail": one.detail}
