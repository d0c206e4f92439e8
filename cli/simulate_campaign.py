"""A campaign: many seeds, run by whoever there is, until one fails or all are done."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from ..simulations.campaign import Campaign, Result, tasks
from ..simulations.plans.plan import Plan
from .errors import CommandError
from .show import console, count, duration, number
from .simulate_pools import Alone, Dask, Pool, Processes, Task, in_order

LINE_SECONDS = 10.0


@dataclass(frozen=True)
class Wanted:
    """What to run, where, and until when."""

    seeds: Sequence[int]
    plan: Plan | None = None  # None: each seed draws its own
    jobs: int | None = None
    dask: str | None = None
    stop_after: int | None = 1  # failures; None: go on to the end


@dataclass(frozen=True)
class Held:
    """A campaign that has been held."""

    campaign: Campaign
    took: float  # seconds of real time
    by: str  # who ran it
    ended: str | None = None  # why it ended before its time


def hold(wanted: Wanted) -> Held:
    """Run the seeds. What ends a campaign early does not take away what it has found."""
    campaign, began, by, ended = Campaign(), time.perf_counter(), "nobody", None
    with shown(len(wanted.seeds)) as view:
        try:
            with ending_on_sigterm(), pool_for(wanted) as pool:
                by = pool.name
                for result in in_order(pool, _tasks(wanted)):
                    campaign.take(result)
                    view.took(result, len(campaign.failures))
                    if len(campaign.failures) == wanted.stop_after:
                        break
        except KeyboardInterrupt:
            ended = "It was interrupted."
        except CommandError as error:
            if not campaign.results:
                raise
            ended = str(error)
    return Held(campaign, time.perf_counter() - began, by, ended)


def _tasks(wanted: Wanted) -> Iterator[Task]:
    for seed in tasks(wanted.seeds):
        yield Task(seed, None if wanted.plan is None else replace(wanted.plan, seed=seed))


def pool_for(wanted: Wanted) -> Pool:
    """Who is to run it: a cluster if there is one, else as many processes as there are cores."""
    if wanted.dask is not None:
        return Dask(wanted.dask)
    jobs = min(wanted.jobs or os.cpu_count() or 1, len(wanted.seeds))
    return Processes(jobs) if jobs > 1 else Alone()


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM be as Ctrl-C."""
    before = signal.getsignal(signal.SIGTERM)
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, before)


# -- how far it is -------------------------------------------------------------------------------


class View(Protocol):
    """Is told of each result."""

    def took(self, result: Result, failed: int) -> None:
        """One more has come."""
        ...


class _Lines:
    """For logs and pipes: a line now and then."""

    def __init__(self, screen: Console, total: int) -> None:
        self._screen = screen
        self._total = total
        self._seeds: set[int] = set()
        self._began = self._said = time.perf_counter()

    def took(self, result: Result, failed: int) -> None:
        """Say now and then how far it is."""
        self._seeds.add(result.seed)
        now = time.perf_counter()
        if now - self._said < LINE_SECONDS:
            return
        self._said, done = now, len(self._seeds)
        rate = done / (now - self._began)
        self._screen.print(
            f"{number(done)} of {count(self._total, 'seed')}, {rate:.1f} a second, "
            f"{duration((self._total - done) / rate)} to go, {failed} failed"
        )


class _Bar:
    """For a terminal: a bar with rate and time to go."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._bar = progress.add_task("seeds", total=total, rate="", failed="")
        self._last: int | None = None
        self._done = 0
        self._began = time.perf_counter()

    def took(self, result: Result, failed: int) -> None:
        """Move the bar."""
        self._done += result.seed != self._last
        self._last = result.seed
        rate = self._done / (time.perf_counter() - self._began)
        said = f", {failed} failed" if failed else ""
        self._progress.update(
            self._bar, completed=self._done, rate=f"{rate:.1f} a second", failed=said
        )


@contextmanager
def shown(total: int) -> Iterator[View]:
    """A view of the campaign, on standard error."""
    screen = console(errors=True)
    if not screen.is_terminal:
        yield _Lines(screen, total)
        return
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}{task.fields[failed]}"),
        TimeRemainingColumn(compact=True),
        console=screen,
        transient=True,
    )
    with progress:
        yield _Bar(progress, total)
