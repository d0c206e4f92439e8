"""The sums of a campaign."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from anabranch.simulations.campaign import (
    MARKS_NEEDED_FROM,
    Campaign,
    Result,
    Spread,
    first_of,
    spread,
    tasks,
)
from anabranch.simulations.marks import MARKS
from anabranch.simulations.plans.kinds import SIMULATED


def campaign_of(*results):
    campaign = Campaign()
    for result in results:
        campaign.take(result)
    return campaign


def many(count, **fields):
    return [Result(seed, **fields) for seed in range(count)]


def test_one_seed_in_a_hundred_is_run_twice():
    assert list(tasks(range(7, 9))) == [7, 7, 8]
    assert Counter(tasks(range(250))).total() == 253
    assert [seed for seed, times in Counter(tasks(range(250))).items() if times > 1] == [
        0,
        100,
        200,
    ]


def test_a_seed_that_runs_the_same_way_twice_counts_once():
    campaign = campaign_of(Result(1, trace="a", took=1.0), Result(1, trace="a", took=2.0))
    assert (len(campaign.results), campaign.repeated, campaign.failures) == (1, 1, [])


@pytest.mark.parametrize(
    ("again", "said"), [({"trace": "b"}, "a and b differ"), ({"commits": 3}, "are alike")]
)
def test_a_seed_that_runs_another_way_fails(again, said):
    first = Result(1, trace="a")
    campaign = campaign_of(first, replace(first, **again), Result(2))
    assert [one.seed for one in campaign.failures] == [1]
    (problem,) = campaign.problems(first)
    assert problem.startswith("same seed, same run: ")
    assert said in problem


def test_faults_are_summed_by_family_and_those_never_injected_are_named():
    campaign = campaign_of(
        Result(1, faults=Counter({"cut": 2, "crash": 1})), Result(2, faults=Counter({"cut": 1}))
    )
    families = campaign.families()
    assert families["network"]["cut"] == 3
    assert families["node"]["crash"] == 1
    assert {kind for kinds in families.values() for kind in kinds} == set(SIMULATED)


def test_marks_are_lacking_only_in_a_campaign_that_is_large_enough():
    most = Counter(dict.fromkeys(list(MARKS)[1:], 1))
    assert not campaign_of(*many(MARKS_NEEDED_FROM - 1, marks=most)).lacks_marks
    campaign = campaign_of(*many(MARKS_NEEDED_FROM, marks=most))
    assert campaign.lacks_marks
    assert campaign.never_reached() == list(MARKS)[:1]
    campaign.take(Result(999, marks=Counter(list(MARKS)[:1])))
    assert not campaign.lacks_marks


def test_a_spread_is_of_numbers_that_were_there():
    assert spread(range(1, 101)) == Spread(1, 50, 90, 100)
    assert spread([3.0]) == Spread(3.0, 3.0, 3.0, 3.0)
    assert spread([]) == Spread(0.0, 0.0, 0.0, 0.0)


def test_the_sums_name_the_failures():
    data = campaign_of(Result(1, seconds=2.5), Result(2, ("in_order: x",), "t")).as_data()
    assert data["seeds"] == 2
    assert data["simulated_seconds"] == 2.5
    assert data["failures"] == [{"seed": 2, "trace": "t", "violations": ["in_order: x"]}]


def test_the_first_problems_are_of_different_checkers():
    problems = ["a: 1", "a: 2", "b: 1", "a: 3", "c: 1"]
    assert first_of(problems) == ["a: 1", "b: 1", "c: 1"]
    assert first_of(problems, 4) == ["a: 1", "b: 1", "c: 1", "a: 2"]
    assert first_of(["a: 1", "a: 1"], 5) == ["a: 1", "a: 1"]
