"""Each kind of fault does what it says, and what it did is taken back."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache

import pytest

from anabranch.node.config import Tuning
from anabranch.simulations.plans.draw import plan_of
from anabranch.simulations.plans.kinds import SIMULATED
from anabranch.simulations.plans.plan import Client, Fault, Plan, Site
from anabranch.simulations.plans.story import read_story
from anabranch.simulations.runner import Outcome, run_plan


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def plan(*faults: Fault) -> Plan:
    return Plan(
        1,
        (Site("ny"), Site("lon"), Site("tok")),
        tuning=Tuning(segment_bytes=2000),
        clients=(Client("c1", rate=20), Client("c2", rate=20, at=("lon",))),
        faults=faults,
        trouble=2.0,
    )


@cache
def ran(*faults: Fault) -> Outcome:
    return run_plan(plan(*faults))


@pytest.mark.parametrize("lasts", [0.7, None], ids=["for a while", "until the heal"])
@pytest.mark.parametrize("kind", SIMULATED)
def test_a_cluster_gets_over_it(kind, lasts):
    outcome = ran(Fault(kind, 1.5, lasts, ("lon",)))
    assert outcome.violations == []
    assert outcome.faults == {kind: 1}


@pytest.mark.parametrize("kind", SIMULATED)
def test_it_changes_what_happens(kind):
    assert ran(Fault(kind, 1.5, 0.7, ("lon",))).trace != ran().trace


FEWER_BEFORE = """
title = "A node joins while another has no room"
why = "What was final before is called so after that."
seed = 9201504
warm_up = "250ms"
trouble = "1.5s"
frozen = "150ms"

[cluster]
shards = 1

[[site]]
name = "ny"
nodes = 2

[[road]]
between = ["ny", "ny"]
latency = "30ms"

[[client]]
name = "c1"
rate = 11.59
limit = 18
shape = "hot"
ack_settled = 0

[[client]]
name = "c3"
rate = 12
limit = 7
ack_settled = 0

[[fault]]
kind = "no-room"
at = "1s"
where = "ny1"

[[fault]]
kind = "join"
at = "1.4s"
where = "ny2"

[[fault]]
kind = "bit-rot"
at = "1.4s"
lasts = "300ms"
where = "ny2"
"""


def test_what_was_final_in_one_epoch_may_be_called_so_in_the_next():
    """For want of room; there were fewer members when it became so. Found by dense plans."""
    outcome = run_plan(read_story(FEWER_BEFORE, "fewer.toml"))
    assert outcome.violations == []
    assert outcome.marks["a new node came"] == 1


def test_a_copy_takes_appends_beside_its_original_and_of_two_commits_one_is_refused():
    cut = Fault("cut", 1.2, 1.5, ("lon",))
    forked = plan(cut, Fault("twin", 1.4, 1.0, ("lon",)))
    outcome = run_plan(replace(forked, tuning=Tuning(all_confirm=True)))
    assert outcome.violations == []
    assert outcome.marks["a fork was refused"]
    answered = {append.node for append in outcome.history.appends if append.receipt is not None}
    assert answered == {"ny1", "lon1", "tok1", "lon1-1"}


def test_no_disk_is_lost_before_all_founders_have_met():
    """Nobody is let in anew before: who met the lost ones only would wait for them for ever.

    Seed 2600329 found it.
    """
    paused = Fault("pause", 0.004, 2.0, ("lon",))
    told: list[str] = []
    lost = Fault("lose-disk", 0.5, 0.1, ("ny", "tok"))
    outcome = run_plan(plan(paused, lost), watch=told.append)
    assert outcome.violations == []
    assert outcome.faults == {"pause": 1}
    assert any("no disk is lost before all founders have met" in line for line in told)


def test_no_disk_is_lost_that_is_the_last_with_something_settled():
    """What only lost disks held is what an operator gives up with --force: seed 2609622."""
    told: list[str] = []
    outcome = run_plan(plan(Fault("lose-disk", 1.5, 0.1)), watch=told.append)
    assert outcome.violations == []
    assert not outcome.faults
    assert any("the last with something settled" in line for line in told)


def test_no_disk_goes_back_that_is_the_last_with_something_settled():
    """A founder went back, a newcomer had not copied all yet, and the other founder was to follow.

    Seed 2721591 found it: what a majority had settled was on no disk any more.
    """
    told: list[str] = []
    outcome = run_plan(plan_of(2721591), watch=told.append)
    assert outcome.violations == []
    assert any("no disk goes back that is the last" in line for line in told)


def test_what_was_held_back_and_has_come_is_held_back_no_more():
    """Seed 2860185: all was settled at the very moment of the heal."""
    outcome = run_plan(plan_of(2860185))
    assert outcome.violations == []
    assert outcome.marks["a commit was held back"]


@pytest.mark.parametrize("seed", [2714594, 2731953])
def test_who_learns_its_excuse_only_when_it_is_asked_may_refuse(seed):
    """A clock was set back, and nobody had read it since; a copy had just started."""
    assert run_plan(plan_of(seed)).violations == []
