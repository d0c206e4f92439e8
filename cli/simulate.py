"""`anabranch simulate`: a story, or many seeds, in virtual time."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import BadInput
from .options import AsJson, Page, new_file

if TYPE_CHECKING:
    from ..simulations.plans.plan import Plan
    from .simulate_campaign import Held

STORIES = Path(__file__).resolve().parent.parent / "simulations" / "stories"
FRESH_SEEDS = 400
SHRUNK_MAX = 5  # seeds of a campaign that are reduced
_SEEDS = re.compile(r"(\d{1,18})(?:\.\.(\d{1,18}))?", re.ASCII)

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@dataclass(frozen=True)
class Wanted:
    """What was asked for, beside the story and the seeds."""

    jobs: int | None
    dask: str | None
    stop_after: int | None
    allow_missing: bool
    shrink: bool
    page: Path | None
    picture: Path | None
    as_json: bool
    verbosity: int


def seeds_of(text: str) -> Sequence[int]:
    """`1..400`, or one seed, or `fresh`: so many that nobody has run before."""
    if text.strip() == "fresh":
        first = secrets.randbelow(10**9) * 1000
        return range(first, first + FRESH_SEEDS)
    found = _SEEDS.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} are no seeds; 1..400, 17 or fresh would be")
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise typer.BadParameter(f"{text!r} ends before it begins; the last seed comes last")
    return range(first, last + 1)


Story = Annotated[
    str | None,
    typer.Argument(metavar="[STORY]", help="A story file, or the name of one from --list."),
]
Seeds = Annotated[
    Sequence[int] | None,
    typer.Option(
        "--seeds",
        parser=seeds_of,
        metavar="A..B",
        help="Run these seeds: of the story, or drawn. `fresh`: 400 that nobody ran.",
    ),
]
Picture = Annotated[
    Path | None,
    typer.Option(
        "--png",
        metavar="PNG",
        dir_okay=False,
        callback=new_file,
        help="Its picture; else beside the page.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, metavar="N", help="Processes; else one for each core."),
]
Cluster = Annotated[
    str | None,
    typer.Option("--dask", metavar="ADDRESS", help="Run the seeds on this Dask cluster."),
]


@app.command()
def simulate(  # noqa: PLR0913, PLR0917
    story: Story = None,
    seeds: Seeds = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="Run the story with this seed.")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List the stories that come along.")
    ] = False,
    report: Page = None,
    png: Picture = None,
    jobs: Jobs = None,
    dask: Cluster = None,
    stop_after: Annotated[
        int, typer.Option("--stop-after", min=1, metavar="N", help="Stop at so many failures.")
    ] = 1,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Run all seeds, however many fail.")
    ] = False,
    shrink: Annotated[
        bool, typer.Option("--shrink", help="Reduce what fails to a story, failed-SEED.toml.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Let marks stay unreached in 100 seeds.")
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v", "--verbose", count=True, help="Tell faults; -vv appends too; -vvv nodes' logs."
        ),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Run whole datacenters in virtual time: real nodes, faults, and every promise checked.

    A story is one run that a person wrote; `--seeds` draws a run from each seed. The same seed
    runs the same way each time. Exit status 1 when something did not hold.
    """
    if list_:
        _list(as_json)
        return
    if story is None and seeds is None:
        raise typer.BadParameter(
            "name a story (--list shows those that come along), or give --seeds 1..400"
        )
    if seed is not None and (story is None or seeds is not None):
        raise typer.BadParameter("--seed is for one run of a story; --seeds runs several")
    stops = None if keep_going else stop_after
    wanted = Wanted(jobs, dask, stops, allow_missing, shrink, report, png, as_json, verbose)
    well = _do(story, seeds if seed is None else [seed], wanted)
    raise typer.Exit(0 if well else 1)


def _do(story: str | None, seeds: Sequence[int] | None, wanted: Wanted) -> bool:
    plan = None if story is None else load(story)
    if plan is not None and seeds is None:
        return _one(plan, f"anabranch simulate {story}", f"failed-{_stem(story)}.toml", wanted)
    assert seeds is not None
    if len(seeds) == 1 and wanted.dask is None:
        seed = seeds[0]
        return _one(_plan_of(plan, seed), _replay(story, seed), f"failed-{seed}.toml", wanted)
    return _many(story, plan, seeds, wanted)


def _replay(story: str | None, seed: int) -> str:
    """The command that runs a seed again."""
    if story is None:
        return f"anabranch simulate --seeds {seed}..{seed}"
    return f"anabranch simulate {story} --seed {seed}"


# -- stories -------------------------------------------------------------------------------------


def load(story: str, *, real: bool = False) -> Plan:
    """The plan of a story: a file, or one that comes along, by its name.

    `real`: it is for real processes, which know kinds of faults that a simulation does not.
    """
    from ..simulations.plans.story import read_story

    file = Path(story)
    if not file.is_file():
        known = {path.stem: path for path in STORIES.glob("*.toml")}
        if _stem(story) not in known or (file.suffix and len(file.parts) > 1):
            near = get_close_matches(_stem(story), sorted(known), 1)
            meant = (
                f"did you mean {near[0]}?"
                if near
                else "`anabranch simulate --list` shows those that come along."
            )
            raise typer.BadParameter(f"there is no file and no story {story!r}; {meant}")
        file = known[_stem(story)]
    try:
        return read_story(file.read_text(encoding="utf-8"), file.name, real=real)
    except UnicodeDecodeError:
        raise BadInput(f"{file} is not UTF-8 text.") from None


def _stem(story: str | None) -> str:
    return Path(story or "").name.removesuffix(".toml")


def _list(as_json: bool) -> None:
    from .show import cell, console, print_json, table

    stories = [(path.stem, load(str(path)).title) for path in sorted(STORIES.glob("*.toml"))]
    if as_json:
        print_json([{"name": name, "title": title} for name, title in stories])
        return
    made = table("story", "what happens")
    for name, title in stories:
        made.add_row(cell(name, "bold"), cell(title))
    console().print(made)
    print("Run one: anabranch simulate two-sites-split --report out.html")


# -- running -------------------------------------------------------------------------------------


def _one(plan: Plan, replay: str, story_file: str, wanted: Wanted) -> bool:
    from .show import console, print_json
    from .simulate_run import DidNotEnd, run, write_report
    from .simulate_show import print_run, run_data

    try:
        ran = run(plan, replay, wanted.verbosity)
    except DidNotEnd as error:
        if wanted.shrink:
            _reduce(plan, error.problem, Path(story_file))
        raise
    files = write_report(ran.timeline, wanted.page, wanted.picture)
    if wanted.as_json:
        print_json(run_data(ran) | {"files": [str(file) for file in files]})
    else:
        print_run(console(), ran)
        for file in files:
            print(f"Written: {file}")
    if wanted.shrink and not ran.well:
        _reduce(plan, ran.problems[0], Path(story_file))
    return ran.well


def _many(story: str | None, plan: Plan | None, seeds: Sequence[int], wanted: Wanted) -> bool:
    from .show import console, print_json
    from .simulate_campaign import Wanted as Campaign
    from .simulate_campaign import hold
    from .simulate_sums import campaign_data, print_campaign

    held = hold(Campaign(seeds, plan, wanted.jobs, wanted.dask, wanted.stop_after))
    lacking = plan is None and not wanted.allow_missing and held.campaign.lacks_marks
    well = not (held.campaign.failures or held.ended or lacking)
    if wanted.as_json:
        print_json(campaign_data(held, well=well))
    else:
        print_campaign(console(), held, partial(_replay, story), marks=plan is None)
    for result in held.campaign.failures[:SHRUNK_MAX] if wanted.shrink else ():
        problem = held.campaign.problems(result)[0]
        _reduce(_plan_of(plan, result.seed), problem, Path(f"failed-{result.seed}.toml"))
    if wanted.page is not None or wanted.picture is not None:
        _report_first(held, plan, story, wanted)
    return well


def _report_first(held: Held, plan: Plan | None, story: str | None, wanted: Wanted) -> None:
    """The page of the first seed that fails."""
    from .simulate_run import run, write_report

    if not held.campaign.failures:
        print("No seed failed, so there is no page to write.", file=sys.stderr)
        return
    seed = held.campaign.failures[0].seed
    ran = run(_plan_of(plan, seed), _replay(story, seed), 0)
    for file in write_report(ran.timeline, wanted.page, wanted.picture):
        print(f"Written, of seed {seed}: {file}", file=sys.stderr)


def _plan_of(plan: Plan | None, seed: int) -> Plan:
    from ..simulations.plans.draw import plan_of

    return plan_of(seed) if plan is None else replace(plan, seed=seed)


def _reduce(plan: Plan, problem: str, file: Path) -> None:
    """Reduce a plan that fails, and say on standard error how far that went."""
    from .show import console
    from .simulate_shrink import reduced, write_reduced

    screen = console(errors=True)
    with screen.status(f"reducing seed {plan.seed}") as status:
        found = reduced(plan, problem, lambda size: status.update(f"reducing: {size}"))
    if found is None:
        screen.print(f"Seed {plan.seed} can't be reduced: as a story, it does not fail like that.")
        return
    write_reduced(found, file)
    screen.print(
        f"Reduced in {found.tries} runs from {found.before}\n  to {found.after}.\n"
        f"It still fails: {found.violation}\n"
        f"Run it: anabranch simulate {file} -vv",
        soft_wrap=True,
    )
