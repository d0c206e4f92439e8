"""The shrinker: what fails stays failing, in the same way, and gets much smaller."""

from __future__ import annotations

import logging

import pytest

from anabranch.node.config import Tuning
from anabranch.simulations.plans.bounds import Bounds
from anabranch.simulations.plans.draw import plan_of
from anabranch.simulations.plans.plan import Client, Fault, Plan, Road, Site
from anabranch.simulations.plans.story import read_story, write_story
from anabranch.simulations.runner import run_plan
from anabranch.simulations.shrink import check_of, shrink, size_of

from .bugs import BUGS

LARGE = Plan(
    7,
    (Site("ny", 2), Site("lon", 3), Site("tok")),
    shards=4,
    tuning=Tuning(heartbeat_seconds=0.05),
    bounds=Bounds(push_bytes=300, roots=2),
    roads=(Road(("ny", "lon"), latency=0.08), Road(("ny", "tok"))),
    sync=0.02,
    start_apart=True,
    clients=tuple(Client(f"c{n}", at=("lon3",), limit=160, retries=0.5) for n in range(4)),
    faults=tuple(
        Fault(kind, 1.2345 + n / 10, 0.3219, ("lon1", "tok1"), amount=0.5)
        for n, kind in enumerate(["cut", "flap", "crash", "stop", "slow", "pause"] * 3)
    ),
    expect={"nothing_refused": True},
)


class Counted:
    """A predicate that knows how often it was asked."""

    def __init__(self, fails):
        self._fails = fails
        self.asked = []

    def __call__(self, plan):
        self.asked.append(plan)
        return self._fails(plan)


def kinds(plan):
    return [fault.kind for fault in plan.faults]


def test_what_always_fails_becomes_nearly_nothing():
    least = shrink(LARGE, lambda _: True, tries=500)
    phases = {part: getattr(least, part) for part in ("warm_up", "trouble", "frozen")}
    assert least == Plan(7, (Site("ny"),), shards=1, **phases)
    assert max(phases.values()) < 0.2


def test_two_faults_that_fail_together_are_kept_and_no_other():
    def fails(plan):
        return {"flap", "pause"} <= set(kinds(plan))

    least = shrink(LARGE, fails, tries=500)
    assert sorted(kinds(least)) == ["flap", "pause"]
    assert least.clients == ()


def test_a_client_keeps_as_many_operations_as_it_takes():
    def fails(plan):
        return sum(client.limit for client in plan.clients) >= 20

    least = shrink(LARGE, fails, tries=500)
    assert [client.limit for client in least.clients] == [20]


def test_faults_of_nodes_that_are_gone_go_and_do_not_become_faults_of_all():
    least = shrink(LARGE, lambda plan: any(s.name == "lon" for s in plan.sites), tries=500)
    assert least.nodes == ("lon1",)
    seen = Counted(lambda plan: plan.sites != LARGE.sites)
    shrink(LARGE, seen, tries=300)
    for plan in seen.asked:
        known = {*plan.nodes, *(site.name for site in plan.sites)}
        assert all(fault.where and set(fault.where) <= known for fault in plan.faults)
        assert all(set(client.at) <= known for client in plan.clients)
        assert all(set(road.between) <= known for road in plan.roads)


def test_nothing_is_asked_twice_and_no_more_often_than_allowed():
    for tries in (0, 1, 17, 500):
        seen = Counted(lambda plan: len(plan.faults) >= 3)
        least = shrink(LARGE, seen, tries=tries)
        assert len(seen.asked) <= tries
        assert len({repr(plan) for plan in seen.asked}) == len(seen.asked)
        assert least == LARGE or least in seen.asked


def test_what_comes_out_fails_and_is_the_same_each_time():
    def fails(plan):
        return len(plan.faults) % 3 == 0 and len(plan.nodes) >= 2

    told = []
    least = shrink(LARGE, fails, tries=200, told=told.append)
    assert fails(least)
    assert told[-1] == size_of(least)
    assert shrink(LARGE, fails, tries=200) == least


def test_a_plan_that_is_as_small_as_can_be_stays():
    seen = Counted(lambda _: False)
    assert shrink(LARGE, seen, tries=1000) == LARGE
    assert len(seen.asked) < 1000


@pytest.mark.parametrize(
    ("violation", "check"),
    [
        ("nothing_lost: commit 1 is gone", "nothing_lost"),
        ("raised KeyError: 3 (fold.py:7)", "raised KeyError"),
        ("expected: whole again within 3s: took 9 s", "expected: whole again within 3s"),
    ],
)
def test_who_noticed_a_violation(violation, check):
    assert check_of(violation) == check


# -- a real bug ----------------------------------------------------------------------------------


def failing(bug):
    """The first seed that finds a bug, and the checker that noticed."""
    for seed in range(200):
        plan = plan_of(seed)
        sound = set(map(check_of, run_plan(plan).violations))
        with BUGS[bug]():
            found = [check_of(one) for one in run_plan(plan).violations]
        if new := [check for check in found if check not in sound]:
            return plan, new[0]
    pytest.fail(f"{bug} was not found")


@pytest.fixture
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.parametrize("bug", ["forget which ids are settled", "take exists for anything"])
def test_a_real_bug_is_found_in_far_less_and_as_a_story_too(bug, quiet):
    plan, check = failing(bug)

    def fails(plan):
        return check in map(check_of, run_plan(plan).violations)

    with BUGS[bug]():
        least = shrink(plan, fails, tries=100)
        assert fails(read_story(write_story(least), "reduced"))
    assert not fails(least)
    assert len(least.faults) <= 2
    assert len(least.clients) == 1
    assert len(least.nodes) < len(plan.nodes)
    assert operations(least) * 2 <= operations(plan)


def operations(plan):
    return sum(client.limit for client in plan.clients)
