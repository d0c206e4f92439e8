"""`anabranch simulate --seeds`: the same sums whoever runs them, and a clean end."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import pytest
from rich.console import Console

from anabranch.cli import simulate_campaign, simulate_pools
from anabranch.cli.errors import CommandError
from anabranch.cli.simulate_pools import Alone, Processes, Task, in_order, run_task
from anabranch.simulations.campaign import Result
from anabranch.simulations.marks import MARKS


@pytest.fixture
def faked(monkeypatch):
    """Seeds that run at once; those that end in 7 fail."""

    def run_seed(task):
        bad = ("in_order: it is not",) if task.seed % 10 == 7 else ()
        return Result(
            task.seed, bad, f"{task.seed:032x}", 1.0, marks=Counter(["frames came twice"])
        )

    monkeypatch.setattr(simulate_pools, "run_task", run_seed)
    return run_seed


def sums(ran):
    data = json.loads(ran.out)
    assert data.pop("run")["ended_early"] is None
    return data


# -- how many run it -----------------------------------------------------------------------------


def test_the_result_is_the_same_however_many_run_it(run):
    one, two = (
        run("simulate", "--seeds", "0..3", "--jobs", jobs, "--json", "--keep-going")
        for jobs in (1, 2)
    )
    assert sums(one) == sums(two)
    assert one.status == two.status


class Shuffled:
    """Is done with later tasks first."""

    name = "shuffled"
    window = 4

    def __init__(self):
        self.waiting = []

    def submit(self, task):
        future = Future()
        self.waiting.append((task, future))
        if len(self.waiting) == self.window or task.seed > 7:
            for done, waiting in reversed(self.waiting):
                waiting.set_result(Result(done.seed))
            self.waiting.clear()
        return future


def test_results_come_in_the_order_of_the_seeds():
    results = in_order(Shuffled(), (Task(seed) for seed in range(11)))
    assert [result.seed for result in results] == list(range(11))


def test_no_more_is_handed_out_than_fits():
    handed_out = []

    def tasks():
        for seed in range(100):
            handed_out.append(seed)
            yield Task(seed)

    next(in_order(Shuffled(), tasks()))
    assert len(handed_out) == Shuffled.window


def test_a_run_that_raises_is_a_failed_seed(monkeypatch):
    def no_plan(seed):
        raise KeyError(seed)

    monkeypatch.setattr(simulate_pools, "plan_of", no_plan)
    (problem,) = run_task(Task(3)).violations
    assert problem.startswith("raised KeyError: 3 (test_simulate_campaign.py:")


# -- until when ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "seeds", "failed"),
    [
        ([], 7, [7]),
        (["--stop-after", "2"], 17, [7, 17]),
        (["--keep-going"], 40, [7, 17, 27, 37]),
        (["--keep-going", "--stop-after", "2"], 40, [7, 17, 27, 37]),
    ],
    ids=str,
)
def test_it_stops_after_so_many_failures(run, faked, options, seeds, failed):
    ran = run("simulate", "--seeds", "1..40", "--jobs", "1", "--json", *options)
    data = sums(ran)
    assert ran.status == 1
    assert data["seeds"] == seeds
    assert [one["seed"] for one in data["failures"]] == failed


def test_each_failure_has_the_command_that_runs_it_again(run, faked):
    ran = run("simulate", "--seeds", "1..20", "--jobs", "1", "--keep-going")
    assert "2 seeds of 20 failed" in ran.out
    assert "in_order: it is not" in ran.out
    for seed in (7, 17):
        assert f"anabranch simulate --seeds {seed}..{seed} -vv" in ran.out


@pytest.mark.parametrize(
    ("seeds", "options", "status"),
    [("100..199", [], 1), ("100..199", ["--allow-missing"], 0), ("100..198", [], 0)],
)
def test_a_mark_never_reached_fails_a_large_campaign(
    run, monkeypatch, faked, seeds, options, status
):
    monkeypatch.setattr(
        simulate_pools, "run_task", lambda task: Result(task.seed, marks=Counter(list(MARKS)[1:]))
    )
    ran = run("simulate", "--seeds", seeds, "--jobs", "1", *options)
    assert ran.status == status
    assert next(iter(MARKS)) in ran.out


def test_a_seed_that_does_not_repeat_itself_fails(run, monkeypatch):
    traces = iter(["a", "b", "c"])
    monkeypatch.setattr(
        simulate_pools, "run_task", lambda task: Result(task.seed, trace=next(traces))
    )
    ran = run("simulate", "--seeds", "1..2", "--jobs", "1", "--keep-going")
    assert ran.status == 1
    assert "the traces a and b differ" in ran.out


# -- what ends it early --------------------------------------------------------------------------


class Interrupted(Alone):
    """Is interrupted, or fails, at its third task."""

    def __init__(self, error):
        self._left = 3
        self._error = error

    def submit(self, task):
        self._left -= 1
        if not self._left:
            raise self._error
        return super().submit(task)


@pytest.mark.parametrize(
    ("error", "said"),
    [(KeyboardInterrupt(), "It was interrupted."), (CommandError("It is gone."), "It is gone.")],
)
def test_what_was_found_is_told_when_it_ends_early(run, monkeypatch, faked, error, said):
    monkeypatch.setattr(simulate_campaign, "pool_for", lambda _: Interrupted(error))
    ran = run("simulate", "--seeds", "1..9")
    assert ran.status == 1
    assert "1 seed, no violation so far" in ran.out
    assert said in ran.out


def test_a_process_that_dies_is_one_sentence(monkeypatch):
    monkeypatch.setattr(simulate_pools, "run_task", os._exit)  # as if it had been killed
    with pytest.raises(CommandError, match="was killed"), Processes(2) as pool:
        list(in_order(pool, range(20)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_with_all_its_processes(name):
    command = [sys.executable, "-m", "anabranch", "simulate", "--seeds", "1..100000"]
    options = ["--jobs", "2", "--keep-going"]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        children = wait_for_children(process)
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "It was interrupted." in out
    assert "Traceback" not in err
    assert not [child for child in children if is_running(child)]


def wait_for_children(process):
    """The processes that run seeds, once one has said that a first seed is done."""
    assert process.stderr is not None
    process.stderr.readline()
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    children = listed.read_text().split() if listed.exists() else []
    return [int(one) for one in children if is_worker(Path(f"/proc/{one}/cmdline").read_bytes())]


def is_worker(command):
    """Not the process that looks after semaphores, which ends by itself a little later."""
    return b"resource_tracker" not in command


def is_running(pid):
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


# -- how far it is -------------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [True, False])
def test_how_far_it_is_with_rate_and_failures(monkeypatch, terminal):
    written = io.StringIO()
    screen = Console(file=written, force_terminal=terminal, width=100)
    monkeypatch.setattr(simulate_campaign, "console", lambda **_: screen)
    monkeypatch.setattr(simulate_campaign, "LINE_SECONDS", 0.0)
    with simulate_campaign.shown(9) as view:
        for seed, failed in [(1, 0), (1, 0), (2, 1)]:
            view.took(Result(seed), failed)
    assert ("2/9" if terminal else "2 of 9 seeds") in written.getvalue()
    assert "a second" in written.getvalue()
    assert "1 failed" in written.getvalue()
