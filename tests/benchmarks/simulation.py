"""How fast simulated time passes, and how much of it the checkers take."""

from __future__ import annotations

import cProfile
import logging
import pstats
import statistics
from collections import Counter
from pathlib import Path, PurePath
from typing import Any

from anabranch.cli.simulate_pools import Processes, Task
from anabranch.node.config import Tuning
from anabranch.simulations import campaign
from anabranch.simulations.plans.draw import plan_of
from anabranch.simulations.plans.plan import Client, Plan, Site
from anabranch.simulations.runner import run_plan
from anabranch.tests.benchmarks.rows import Bench, Measured, Row
from anabranch.tests.benchmarks.servers import CannotMeasure

SITES = (Site("ny"), Site("lon"), Site("tok"))
SEEDS = range(20)
CHECKING = ("checkers", "watch")  # folders of simulations/
ROOT = Path(campaign.__file__).parents[1]
ELSE = "asyncio and the rest"


def _times_real_time(bench: Bench, plan: Plan, detail: str) -> Measured:
    """Virtual seconds for each real one, all checks included, in a process as campaigns use it."""
    ratios = []
    with Processes(1) as pool:
        for number in range(bench.rounds):
            bench.say(f"round {number + 1} of {bench.rounds}")
            result = pool.submit(Task(plan.seed, plan)).result()
            if result.violations:
                raise CannotMeasure(result.violations[0])
            ratios.append(result.seconds / result.took)
    return Measured(statistics.median(ratios), min(ratios), max(ratios), detail)


def loaded(bench: Bench) -> Measured:
    """Three sites of one node, ten operations a second, a third of them waiting for `settled`."""
    plan = Plan(1, SITES, clients=(Client("c1", rate=10.0),), trouble=20.0 if bench.quick else 60.0)
    return _times_real_time(bench, plan, "10 operations a second, heartbeat 100 ms")


def idle(bench: Bench) -> Measured:
    """The same, and nobody asks for anything."""
    seconds = 600.0 if bench.quick else 3600.0  # what begins and ends a run takes its time as well
    return _times_real_time(bench, Plan(1, SITES, trouble=seconds), "heartbeat 100 ms")


def idle_slow_beat(bench: Bench) -> Measured:
    """The same with ten times fewer heartbeats, as in stories that last for days."""
    plan = Plan(1, SITES, trouble=600.0, tuning=Tuning(heartbeat_seconds=1.0))
    return _times_real_time(bench, plan, "heartbeat 1 s")


def checks(bench: Bench) -> Measured:
    """The share of a run's time that looking on and checking take, over some drawn seeds."""
    logging.disable(logging.CRITICAL)
    profile = cProfile.Profile()
    try:
        for number, seed in enumerate(SEEDS):
            bench.say(f"seed {number + 1} of {len(SEEDS)}")
            plan = plan_of(seed)
            profile.enable()
            run_plan(plan)
            profile.disable()
    finally:
        logging.disable(logging.NOTSET)
    parts = _by_part(profile)
    whole = parts.total()
    share = sum(parts[name] for name in CHECKING) / whole
    where = ", ".join(f"{name} {spent / whole:.0%}" for name, spent in parts.most_common(7))
    return Measured(share, share, share, f"{len(SEEDS)} drawn seeds under a profiler: {where}")


def _by_part(profile: cProfile.Profile) -> Counter[str]:
    """Seconds by package, or folder of the simulator; what C code takes counts for its caller."""
    parts: Counter[str] = Counter()
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, _, _), (_, _, own, _, callers) in stats.items():
        if _part(file) != ELSE:
            parts[_part(file)] += own
            continue
        for (caller, _, _), (_, _, spent, _) in callers.items():
            parts[_part(caller)] += spent
    return parts


def _part(file: str) -> str:
    try:
        folder, *below = PurePath(file).relative_to(ROOT).parts
    except ValueError:
        return ELSE
    return below[0] if folder == "simulations" else folder


ROWS = (
    Row("simulation", "simulated under load", "x real time", loaded, at_least=50),
    Row("simulation-idle", "simulated idle", "x real time", idle, at_least=500),
    Row("simulation-beat", "simulated idle, slow beat", "x real time", idle_slow_beat),
    Row("simulation-checks", "share of the checkers", "", checks, below=0.33),
)
