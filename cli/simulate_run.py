"""One simulated run: what is said while it goes, its report, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..simulations.campaign import result_of
from ..simulations.expectations import checked, verdicts
from ..simulations.plans.plan import Plan
from ..simulations.runner import Outcome, run_plan
from ..simulations.timeline import Timeline
from ..simulations.world.loop import OWNER
from .errors import CommandError
from .simulate_pools import raised

if TYPE_CHECKING:
    from rich.text import Text

# How much -v, -vv and -vvv tell.
FAULTS, APPENDS, LOGS = 1, 2, 3
LOGGER = "anabranch"


@dataclass(frozen=True)
class Ran:
    """A run and how long it took."""

    outcome: Outcome
    timeline: Timeline
    took: float  # seconds of real time
    replay: str  # the command that runs it again

    @property
    def problems(self) -> tuple[str, ...]:
        """All that was not as it should be."""
        return result_of(self.outcome, self.timeline.expected).violations

    @property
    def well(self) -> bool:
        """Whether all was as it should be."""
        return not self.problems


class DidNotEnd(CommandError):
    """A run ended with an error that nobody had thought of."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"The run did not come to its end: {problem}.")
        self.problem = problem


def run(plan: Plan, replay: str, verbosity: int) -> Ran:
    """Run a plan, tell what happens in it, and judge it."""
    began = time.perf_counter()
    teller = Teller(verbosity)
    with logs_to(teller) if verbosity >= LOGS else quiet(), live(plan, teller):
        try:
            outcome = run_plan(plan, timeline=True, watch=teller)
        except BaseException as error:
            teller.end(())
            if not isinstance(error, Exception):
                raise
            traceback.print_exc()
            raise DidNotEnd(raised(error)) from None
    teller.end(appends(outcome) if verbosity >= APPENDS else ())
    took = time.perf_counter() - began
    timeline = outcome.timeline
    assert timeline is not None
    timeline.expected = verdicts(outcome)
    timeline.checked = checked(outcome.violations)
    timeline.totals["replay"] = replay
    return Ran(outcome, timeline, took, replay)


def write_report(
    timeline: Timeline, page_file: Path | None, picture_file: Path | None
) -> list[Path]:
    """Write the page of a run, and its picture beside it or where it is wanted; the files."""
    from ..simulations.report import page, picture

    written = []
    if page_file is not None:
        page_file.write_text(page(timeline), encoding="utf-8")
        written.append(page_file)
        picture_file = picture_file or page_file.with_suffix(".png")
    if picture_file is not None:
        picture_file.write_bytes(picture(timeline))
        written.append(picture_file)
    return written


# -- what happens, line by line ------------------------------------------------------------------


class Teller:
    """Takes a line for each thing that happens, and prints it if it is wanted.

    With appends, all is printed at the end, in the order of time: what became of an append is only
    known later than that it was sent.
    """

    def __init__(self, verbosity: int, say: Callable[[str], None] | None = None) -> None:
        self._verbosity = verbosity
        self._say = say or _print_error
        self._kept: list[tuple[float, str]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.phase = ""

    def __call__(self, line: str) -> None:
        """Take a line of the runner: its time, and what it is."""
        self._loop = self._loop or asyncio.get_running_loop()
        what = line.partition(" s  ")[2]
        if what.startswith("-- "):
            self.phase = what[3:]
        if self._verbosity >= FAULTS:
            self.tell(line)

    @property
    def now(self) -> float:
        """The virtual time; may be asked for in another thread."""
        return 0.0 if self._loop is None else self._loop.time()

    def tell(self, line: str) -> None:
        """Print a line, now or with the others."""
        if self._verbosity >= APPENDS:
            self._kept.append((self.now, line))
        else:
            self._say(line)

    def end(self, more: Iterator[tuple[float, str]] | tuple[()]) -> None:
        """Print what was kept and what else is known."""
        for _, line in sorted([*self._kept, *more], key=lambda told: told[0]):
            self._say(line)
        self._kept.clear()


def _print_error(line: str) -> None:
    print(line, file=sys.stderr)


def appends(outcome: Outcome) -> Iterator[tuple[float, str]]:
    """A line for each append, and one for its answer."""
    for append in outcome.history.appends:
        what = f"{append.node}: append {append.draft.commit_id.hex()[:8]}"
        asked = f"{what} to {append.draft.stream}, ack {append.ack}"
        yield append.began, f"{append.began:10.3f} s  {asked}"
        if append.ended is None:
            continue
        if append.receipt is None:
            answer = append.error or append.lost or "no answer"
        else:
            answer = append.receipt.outcome
            answer += ", again" if append.receipt.duplicate else ""
            answer += "" if append.receipt.reached else ", not as final as asked"
        yield append.ended, f"{append.ended:10.3f} s  {what}: {answer}"


@contextmanager
def quiet() -> Iterator[None]:
    """Without the nodes' logs: in trouble they have much to say."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def logs_to(teller: Teller) -> Iterator[None]:
    """With the nodes' logs, in virtual time."""
    logger = logging.getLogger(LOGGER)
    handler, level, goes_up = _Logs(teller), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = goes_up


class _Logs(logging.Handler):
    def __init__(self, teller: Teller) -> None:
        super().__init__()
        self._teller = teller

    def emit(self, record: logging.LogRecord) -> None:
        who = OWNER.get("-")
        part = record.name.removeprefix(LOGGER + ".")
        said = f"{who}: {record.levelname.lower()} {part}: {record.getMessage()}"
        self._teller.tell(f"{self._teller.now:10.3f} s  {said}")


# -- a living line -------------------------------------------------------------------------------


@contextmanager
def live(plan: Plan, teller: Teller) -> Iterator[None]:
    """On a terminal: phase, virtual time, and how many times real time that is."""
    from rich.live import Live

    from .show import console

    screen = console(errors=True)
    began = time.perf_counter()

    def picture() -> Text:
        return progress(plan, teller.phase, teller.now, time.perf_counter() - began)

    living = Live(get_renderable=picture, console=screen, refresh_per_second=8, transient=True)
    with living if screen.is_terminal else nullcontext():
        yield


def progress(plan: Plan, phase: str, now: float, spent: float) -> Text:
    """How far a run is."""
    from .show import cell, duration

    share = min(1.0, now / plan.healed_at) if plan.healed_at else 1.0
    bar = ("━" * round(30 * share)).ljust(30, "·")
    times = f", {now / spent:,.0f} times real time" if spent > 0.2 else ""
    return cell(f"{bar} {phase or 'starting'}, {duration(now)} simulated{times}", "cyan")
