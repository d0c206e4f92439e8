"""What seeds draw: swarm testing, within the legal ranges, the same each time."""

from __future__ import annotations

from collections import Counter

from anabranch.simulations.plans.draw import plan_of
from anabranch.simulations.plans.kinds import SIMULATED
from anabranch.simulations.plans.situations import situation_of
from anabranch.storage.limits import MAX_CLOCK_OFFSET_MS

PLANS = [plan_of(seed) for seed in range(600)]


def test_a_seed_always_draws_the_same_plan():
    assert plan_of(17) == PLANS[17]


def test_one_run_in_ten_has_no_fault_and_one_in_ten_has_one():
    counts = Counter(min(len(plan.faults), 2) for plan in PLANS)
    assert 0.06 < counts[0] / len(PLANS) < 0.14
    assert 0.06 < counts[1] / len(PLANS) < 0.14


def test_every_kind_of_fault_is_drawn_and_some_last_until_the_heal():
    faults = [fault for plan in PLANS for fault in plan.faults]
    assert {fault.kind for fault in faults} == set(SIMULATED)
    frozen = {fault.kind for fault in faults if fault.lasts is None}
    assert frozen == set(SIMULATED)


def test_most_plans_leave_most_kinds_out():
    kinds = [len({fault.kind for fault in plan.faults}) for plan in PLANS]
    assert max(kinds) <= 6


def test_faults_begin_in_their_time_and_end_before_the_heal():
    for plan in PLANS:
        drawn = situation_of(plan.seed) is None
        latest = plan.warm_up + plan.trouble if drawn else plan.healed_at
        for fault in plan.faults:
            assert 0 <= fault.at <= latest
            assert fault.at + (fault.lasts or 0) <= plan.healed_at
            assert set(fault.where) | set(fault.towards) <= set(plan.nodes)


def test_clusters_of_all_sizes_are_drawn():
    assert {len(plan.nodes) for plan in PLANS} == {1, 2, 3, 4, 5, 6}


def test_in_one_run_in_five_limits_come_from_their_whole_ranges():
    wide = [plan for plan in PLANS if plan.tuning.max_clock_offset_ms != MAX_CLOCK_OFFSET_MS]
    assert 0.1 < len(wide) / len(PLANS) < 0.25
    rates = [plan.tuning.pull_bytes_per_second for plan in wide]
    assert min(rates) < 20_000
    assert max(rates) > 10_000_000


def test_a_disk_is_lost_beside_other_trouble():
    plans = (plan_of(seed) for seed in range(600, 4500))
    lost = [plan for plan in plans if any(fault.kind == "lose-disk" for fault in plan.faults)]
    assert {len(plan.faults) for plan in lost} == {1, 4}
    assert all("lose-segment" not in {fault.kind for fault in plan.faults} for plan in lost)
