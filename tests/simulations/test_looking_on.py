"""A run that somebody looks on at is the run that nobody looks on at, frame by frame.

Otherwise a seed that failed in a campaign might not fail when it is run again to be looked at.
"""

from __future__ import annotations

import logging
from copy import deepcopy

import pytest

from anabranch.cli.simulate_run import LOGS, run
from anabranch.node.node import Node
from anabranch.simulations.plans.draw import plan_of
from anabranch.simulations.plans.plan import Client, Fault, Plan, Site
from anabranch.simulations.recorder import Recorder
from anabranch.simulations.risks import FINAL
from anabranch.simulations.runner import Outcome, run_plan

# What once made another run of them: timers of the report (201), watermarks that it moved (776), a
# reserve that was made again because it had asked for room (960). Of 488 there was no report.
SEEDS = (201, 203, 488, 776, 960)
MORE_SEEDS = (3, 6, 8, 75, 191, 200, 202, 206, 208, 213, 214, 512, 693, 868, 908, 913, 971, 1416)


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def all_of(outcome: Outcome) -> tuple[object, ...]:
    """What has to be the same, however it is looked at."""
    marks, faults = dict(outcome.marks), dict(outcome.faults)
    return outcome.trace, outcome.violations, outcome.seconds, marks, faults


def hold_all_ways(seed: int) -> None:
    """Run a seed as a campaign does, with a report, and with all that can be told of it."""
    plan = plan_of(seed)
    unseen, reported = all_of(run_plan(plan)), run_plan(plan, timeline=True)
    assert all_of(reported) == unseen
    assert reported.timeline is not None
    assert reported.timeline.trace == reported.trace
    logging.disable(logging.NOTSET)
    assert all_of(run(plan, "", LOGS).outcome) == unseen


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_leaves_the_same_trace_however_it_is_looked_at(seed):
    hold_all_ways(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MORE_SEEDS)
def test_more_seeds_leave_the_same_trace_however_they_are_looked_at(seed):
    hold_all_ways(seed)


def known_to(node: Node) -> list[object]:
    """What a node keeps that a question could change: an answer may be kept for the next one."""
    room, clock, settlement = node.room, node.clock, node.settler.settlement
    kept: list[object] = [dict(node.store.frontier.items()), room._free, room._looked_up]
    kept += [room._reserve_due, *vars(clock).values()]
    if settlement is not None:
        kept += [dict(settlement._watermark), deepcopy(settlement._queue)]
    return kept


@pytest.mark.parametrize("kind", ["disk-full", "no-room", "twin"])
def test_what_the_report_asks_of_a_node_changes_nothing_there(kind, monkeypatch):
    look, looks = Recorder.look, 0

    def guarded(self: Recorder) -> float:
        nonlocal looks
        nodes = self._world.nodes
        before = {name: known_to(node) for name, node in nodes.items()}
        again = look(self)
        assert {name: known_to(node) for name, node in nodes.items()} == before
        looks += 1
        return again

    monkeypatch.setattr(Recorder, "look", guarded)
    cut = Fault("cut", 1.0, 3.0, ("lon",))  # so that somebody is waited for, and is named
    plan = Plan(
        1,
        (Site("ny"), Site("lon"), Site("tok")),
        clients=(Client("c1", rate=20),),
        faults=(cut, Fault(kind, 1.5, 2.0, ("ny", "lon"))),
        trouble=4.0,
    )
    line = run_plan(plan, timeline=True).timeline
    assert line is not None
    assert looks > 100
    assert FINAL in {risk.kind for risk in line.risks}
