"""Who runs the seeds of a campaign: this process, several, or a Dask cluster.

Results come in the order of their tasks, whoever is done first, so a campaign ends at the same
seed and with the same sums however many run it.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import re
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from typer import BadParameter

from ..simulations.campaign import Result, result_of
from ..simulations.expectations import verdicts
from ..simulations.plans.draw import plan_of
from ..simulations.plans.plan import Plan
from ..simulations.runner import run_plan
from .errors import CommandError

AHEAD = 8  # tasks that are handed out for each that can run at once
CONNECT_SECONDS = 10
_ADDRESS = re.compile(r"([a-z]+://)?[^/:\s]+:\d{1,5}(/\S*)?", re.ASCII)
_GC_THRESHOLDS = (50_000, 20, 100)  # runs make much that dies young: a tenth of the time
_ONE_AT_A_TIME = threading.Lock()  # a run sets bounds for its whole process


@dataclass(frozen=True)
class Task:
    """A seed to run: its own plan, or another one."""

    seed: int
    plan: Plan | None = None


class Pending(Protocol):
    """A result that will come."""

    def result(self) -> Any:
        """Wait for it."""
        ...


class Pool(AbstractContextManager["Pool"], Protocol):
    """Runs tasks."""

    name: str
    window: int  # tasks that may wait in it

    def submit(self, task: Task) -> Pending:
        """Begin a task, soon."""
        ...


def run_task(task: Task) -> Result:
    """Run a seed. Whatever is raised is what is wrong with it."""
    began = time.perf_counter()
    with _ONE_AT_A_TIME:
        gc.collect()  # the world of the run before is one large cycle
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # nodes in trouble have much to say
        try:
            plan = task.plan or plan_of(task.seed)
            outcome = run_plan(plan, timeline=bool(plan.expect))
            return result_of(outcome, verdicts(outcome), time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001 - a bug may show in any way
            return Result(task.seed, (raised(error),), took=time.perf_counter() - began)
        finally:
            logging.disable(before)


def raised(error: Exception) -> str:
    """What a run ended with, and where, as a violation."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"raised {type(error).__name__}: {error} ({place})"


def in_order(pool: Pool, tasks: Iterable[Task]) -> Iterator[Result]:
    """The results of tasks, in order; only so many are handed out ahead."""
    waiting: deque[Pending] = deque()
    for task in tasks:
        waiting.append(pool.submit(task))
        if len(waiting) >= pool.window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


# -- this process --------------------------------------------------------------------------------


class _Later:
    def __init__(self, task: Task) -> None:
        self._task = task

    def result(self) -> Result:
        return run_task(self._task)


class Alone:
    """Runs each task in this process, when its result is asked for."""

    name = "1 process"
    window = 1

    def submit(self, task: Task) -> Pending:
        """Remember a task."""
        return _Later(task)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


# -- processes -----------------------------------------------------------------------------------


class Processes:
    """Runs tasks in processes of this machine; they end when this one does, however it ends."""

    def __init__(self, jobs: int) -> None:
        self.name = f"{jobs} processes"
        self.window = AHEAD * jobs
        self._others = set(multiprocessing.active_children())
        self._executor = ProcessPoolExecutor(
            jobs, multiprocessing.get_context("spawn"), initializer=_prepare
        )

    def submit(self, task: Task) -> Pending:
        """Hand a task out. Raises CommandError when a process has died."""
        try:
            return self._executor.submit(run_task, task)
        except BrokenProcessPool:
            raise _one_died() from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:  # nobody wants to wait for what was begun
            for child in set(multiprocessing.active_children()) - self._others:
                child.terminate()
        self._executor.shutdown(cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise _one_died() from None


def _one_died() -> CommandError:
    return CommandError(
        "A process of the campaign was killed, perhaps because memory ran out. Run the rest with "
        "fewer --jobs, or find the seed with --jobs 1."
    )


def _prepare() -> None:
    """Leave Ctrl-C to the parent, end when it has gone, and look for cycles less often."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


# -- Dask ----------------------------------------------------------------------------------------


class Dask:
    """Runs tasks on the workers of a Dask cluster that is there already."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = _connected(address)
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # one sentence is enough
        try:
            threads = sum(self._client.nthreads().values())
            self._hold_versions()
        except BaseException:
            self._client.close()
            raise
        self.name = f"{threads} threads of Dask"
        self.window = AHEAD * threads

    def submit(self, task: Task) -> Pending:
        """Hand a task out; each is run even if it is the same as another."""
        future: Pending = self._client.submit(run_task, task, pure=False)
        return future

    def _hold_versions(self) -> None:
        """Every worker needs this package. Raises CommandError."""
        mine = version()
        found = self._client.run(version, on_error="return")
        if not found:
            raise CommandError(f"The Dask cluster at {self._address} has no workers: start some.")
        for worker, theirs in sorted(found.items()):
            if theirs != mine:
                raise CommandError(
                    f"The Dask worker {worker} has no anabranch {mine} ({theirs}). "
                    "Install it there as it is here."
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()
        if error is not None and not isinstance(error, KeyboardInterrupt | CommandError):
            raise CommandError(
                f"The Dask cluster at {self._address} was lost amid the campaign "
                f"({type(error).__name__}). Are its scheduler and workers still running?"
            ) from None


def version() -> str:
    """The version of this package, asked for at each worker."""
    from .. import __version__

    return __version__


def _connected(address: str) -> Any:
    if not _ADDRESS.fullmatch(address):
        raise BadParameter(f"{address!r} is no address of Dask; tcp://10.0.0.1:8786 would be one")
    try:
        distributed: Any = import_module("distributed")
    except ModuleNotFoundError:
        raise CommandError(
            "--dask needs the package `distributed`, which is not installed: "
            "pip install 'anabranch[dask]'"
        ) from None
    try:
        return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # no answer, or a protocol that Dask does not know
        raise CommandError(f"No Dask scheduler answers at {address}: {error}") from None
