"""`anabranch chaos`: real node processes, real faults, and every promise checked."""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import BadInput
from .options import AsJson, Page, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..chaos.runner import Outcome, Rounds
    from ..simulations.plans.plan import Plan

ROUND_SECONDS = 15.0
EVERY_SECONDS = 3.0  # as chaos/draw.py has it, which is not loaded for the help
RUN_SECONDS = 120.0
SITES = ("a", "b", "c")


@dataclass(frozen=True)
class Drawn:
    """A run without a plan: what is drawn."""

    seed: int
    lasts: float  # seconds in which rounds begin
    round: float  # seconds of faults in each
    every: float  # seconds between two faults, in the mean
    nodes: int  # of each site
    only: tuple[str, ...]
    config: Path | None

    @property
    def words(self) -> list[str]:
        """The options that draw the same."""
        told = [f"--for {self.lasts:g}s", f"--round {self.round:g}s", f"--every {self.every:g}s"]
        told += [f"--nodes {self.nodes}"] if self.config is None else [f"--config {self.config}"]
        return told + [f"--only {kind}" for kind in self.only]


app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


Plan_ = Annotated[
    str | None,
    typer.Argument(metavar="[PLAN]", help="A story file, as `simulate` takes; else drawn."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, metavar="N", help="Draw from this seed.")
]
For = Annotated[
    float,
    typer.Option("--for", parser=seconds, metavar="TIME", help="How long to begin rounds: 5m, 1h."),
]
Round = Annotated[
    float,
    typer.Option("--round", parser=seconds, metavar="TIME", help="Of faults, then a heal."),
]
Every = Annotated[
    float,
    typer.Option("--every", parser=seconds, metavar="TIME", help="Between two faults, mean."),
]
Nodes = Annotated[
    int, typer.Option("--nodes", min=1, max=3, metavar="N", help="Of each of three sites.")
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="KIND", help="Only this kind of fault; may be repeated."),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Try this cluster's sites and settings, with nodes on this machine.",
    ),
]
Kernel = Annotated[
    bool, typer.Option("--kernel", help="Cut links in the kernel, by network namespaces (root).")
]
Data = Annotated[
    Path | None,
    typer.Option("--data", file_okay=False, metavar="DIR", help="Where nodes keep data; stays."),
]


@app.command()
def chaos(  # noqa: PLR0913, PLR0917
    plan: Plan_ = None,
    seed: Seed = None,
    for_: For = RUN_SECONDS,
    round_: Round = ROUND_SECONDS,
    every: Every = EVERY_SECONDS,
    nodes: Nodes = 1,
    only: Only = None,
    config: Config = None,
    kernel: Kernel = False,
    list_: Annotated[bool, typer.Option("--list", help="List the kinds of faults.")] = False,
    report: Page = None,
    data: Data = None,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Tell each fault, start and end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a cluster of real processes on this machine, break it in every way, and judge it.

    Rounds of faults, each with a heal after which all nodes have to be equal; then every node is
    restarted, and the checkers of `anabranch simulate` look at all that was acknowledged, read and
    kept. Exit status 1 when something did not hold; then all logs and directories stay.
    """
    if list_:
        _list(as_json)
        return
    if plan is not None and (only or config):
        raise typer.BadParameter("a plan says its own faults and sites: leave --only, --config out")
    again = ["anabranch chaos"]
    if plan is not None:
        base, rounds, kinds = _of_story(plan, seed)
        again += [plan, f"--seed {base.seed}"]
    else:
        seed = secrets.randbelow(1_000_000) if seed is None else seed
        drawn = Drawn(seed, for_, round_, every, nodes, tuple(only or ()), config)
        base, rounds, kinds = _rounds_of(drawn, kernel)
        again += [f"--seed {seed}", *drawn.words]
    again += ["--kernel"] if kernel else []
    directory = _directory(data)
    wanted = True
    try:
        outcome = _run(base, rounds, kinds, directory, kernel, verbose)
        well = _tell(outcome, " ".join(again), report, as_json)
        wanted = data is not None or not well
    finally:
        if wanted and any(directory.iterdir()):
            print(f"Directories and logs of all nodes are in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    raise typer.Exit(0 if well else 1)


def _list(as_json: bool) -> None:
    from ..chaos.injection.needs import NEEDS
    from ..chaos.injection.points import POINTS
    from ..simulations.plans.kinds import KINDS, REAL
    from .show import cell, console, print_json, table

    kinds = {kind: KINDS[kind] for kind in REAL}
    if as_json:
        print_json(
            [{"kind": kind, "family": of.family, "says": of.says} for kind, of in kinds.items()]
        )
        return
    made = table("kind", "family", "what happens", "needs")
    for kind, of in kinds.items():
        needs = ", ".join(need.name for need in NEEDS.get(kind, ()))
        made.add_row(cell(kind, "bold"), cell(of.family), cell(of.says), cell(needs, "dim"))
    console().print(made)
    points = table("point of kill-at", "a process dies")
    for name, point in POINTS.items():
        points.add_row(cell(name, "bold"), cell(point.says))
    console().print(points)


# -- what to run ---------------------------------------------------------------------------------


def _of_story(name: str, seed: int | None) -> tuple[Plan, Rounds, Sequence[str]]:
    from ..chaos.draw import shifted
    from ..chaos.runner import kinds_of
    from .simulate import load

    plan = load(name, real=True)
    plan = plan if seed is None else replace(plan, seed=seed)
    if not plan.clients:
        raise BadInput(f"{name} has no [[client]], so nobody would append and nothing is checked.")

    def rounds(number: int, begins: float) -> Plan | None:
        return shifted(plan, begins) if number == 0 else None

    return plan, rounds, kinds_of(plan)


def _rounds_of(drawn: Drawn, kernel: bool) -> tuple[Plan, Rounds, Sequence[str]]:
    from ..chaos.draw import base_plan, drawn_kinds, round_of
    from ..simulations.claims import nearest
    from ..simulations.plans.kinds import REAL
    from ..simulations.plans.plan import Site

    for kind in drawn.only:
        if kind not in REAL:
            raise typer.BadParameter(f"there is no fault {kind!r}; {nearest(kind, REAL)}")
    if drawn.config is None:
        base = base_plan(drawn.seed, [Site(name, drawn.nodes) for name in SITES])
    else:
        base = _like(drawn.config, drawn.seed)
    kinds = drawn_kinds(drawn.only)
    if not drawn.only:
        kinds = _possible(kinds, kernel)

    def rounds(number: int, begins: float) -> Plan | None:
        if number and begins >= drawn.lasts:
            return None
        return round_of(base, number, begins, drawn.round, kinds, drawn.every)

    return base, rounds, kinds


def _possible(kinds: Sequence[str], kernel: bool) -> tuple[str, ...]:
    """The kinds that this machine has the tools for; the others are named."""
    from ..chaos.injection.needs import missing
    from ..chaos.links.kernel import POSSIBLE
    from ..simulations.plans.kinds import KINDS

    if kernel:
        kinds = [one for one in kinds if one in POSSIBLE or KINDS[one].family != "network"]
    here = tuple(kind for kind in kinds if not missing([kind]))
    for sentence in missing(kinds):
        print(f"Left out: {sentence}", file=sys.stderr)
    return here


def _like(file: Path, seed: int) -> Plan:
    """A plan with the sites and settings of a cluster file."""
    from collections import Counter

    from ..chaos.draw import base_plan
    from ..node.config import load as load_config
    from ..simulations.plans.plan import Site

    config = load_config(file)
    if len(config.members) > 9:
        raise BadInput(f"{file} has {len(config.members)} members; this machine runs 9 at most.")
    counts = Counter(member.site for member in sorted(config.members, key=lambda m: m.priority))
    # A site's name with a digit at its end would not tell it from its nodes.
    sites = [
        Site(f"{site}-" if site[-1].isdigit() else site, many) for site, many in counts.items()
    ]
    return base_plan(seed, sites, shards=config.shards, tuning=config.tuning)


def _directory(given: Path | None) -> Path:
    if given is None:
        return Path(tempfile.mkdtemp(prefix="anabranch-chaos-"))
    given.mkdir(parents=True, exist_ok=True)
    if any(given.iterdir()):
        raise typer.BadParameter(f"{given} is not empty; the nodes of a run are new")
    return given


# -- running it ----------------------------------------------------------------------------------


def _run(
    base: Plan, rounds: Rounds, kinds: Sequence[str], directory: Path, kernel: bool, verbose: bool
) -> Outcome:
    from ..chaos.injection.needs import require
    from ..chaos.links.kernel import check_kinds
    from ..chaos.loop import run as run_loop
    from ..chaos.runner import Run
    from ..storage.errors import ConfigError
    from .chaos_view import watching
    from .running import complete

    try:
        require([*kinds, *(["namespaces"] if kernel else [])])
        if kernel:
            check_kinds(kinds)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None

    async def main() -> Outcome:
        run = Run(base, rounds, directory, kinds=kinds, kernel=kernel)
        async with watching(run, tell=verbose):
            return await run.run()

    return complete(main(), run=run_loop)


def _tell(outcome: Outcome, again: str, page_file: Path | None, as_json: bool) -> bool:
    from ..chaos.report import fill, problems, run_data
    from .chaos_view import print_outcome
    from .show import console, print_json
    from .simulate_run import write_report

    line = fill(outcome, again)
    files = write_report(line, page_file, None)
    if as_json:
        print_json(run_data(outcome, again) | {"files": [str(file) for file in files]})
    else:
        print_outcome(console(), outcome, again)
        for file in files:
            print(f"Written: {file}")
    return not problems(outcome)
