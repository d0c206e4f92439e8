"""Each family of faults alone, with real processes: nothing is lost, and all sites agree after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anabranch.chaos.draw import base_plan, drawn_kinds, round_of
from anabranch.chaos.injection.needs import missing
from anabranch.chaos.loop import run
from anabranch.chaos.report import problems
from anabranch.chaos.runner import Outcome, Run
from anabranch.node.config import EVICT_AFTER_SECONDS_MIN
from anabranch.simulations.plans.plan import Fault, Site

from .runs import CLIENTS, TUNING, plan_of, well

pytestmark = pytest.mark.chaos


def test_links_that_are_torn_late_narrow_and_lie(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("reset", 0.6, 0.4, ("a",)),
        Fault("drip", 1.0, 1.0, ("b",), ("c",), amount=20_000),
        Fault("slow", 0.5, 2.0, ("c",), amount=50),
        Fault("loss", 1.2, 1.5, ("a",), ("b",), amount=0.2),
        Fault("duplicate", 2.0, 0.5, amount=0.1),
        Fault("reorder", 2.0, 0.5, amount=0.1),
        Fault("garble", 2.6, 0.6, amount=0.05),
        Fault("flap", 1.5, 1.5, ("b",), every=0.3),
        Fault("silent", 3.0, None, ("c",), ("a",)),
    )
    outcome = well(plan, tmp_path)
    assert not outcome.tally.untaken_cut


def test_nodes_that_die_at_any_point_of_a_write(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("kill-at", 0.6, 0.5, ("a",), point="append-write"),
        Fault("kill-at", 0.8, 0.5, ("b",), point="append-sync"),
        Fault("kill-at", 1.0, 0.5, ("c",), point="append-answer"),
        Fault("crash-loop", 4.5, 0.2, ("a",), amount=2),  # a slow machine has started it by then
        Fault("kill-at", 4.6, 0.3, ("b",), point="start-write"),
        trouble=6.0,
    )
    outcome = well(plan, tmp_path)
    assert outcome.tally.kills >= 6


def test_segments_that_are_sealed_while_their_node_dies(tmp_path: Path) -> None:
    points = ("seal-write", "seal-sync", "seal-rename", "seal-name", "seal-remove", "segment-name")
    faults = [
        Fault("kill-at", 0.6 + 0.5 * at, 0.2, ("abc"[at % 3],), point=point)
        for at, point in enumerate(points)
    ]
    clients = tuple(replace(client, rate=40.0, shape="bursts") for client in CLIENTS)
    outcome = well(plan_of(*faults, trouble=5.0, clients=clients), tmp_path)
    assert outcome.tally.kills >= 3


@pytest.mark.slow
def test_nodes_that_die_while_they_heal_or_join(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("kill-at", 1.6, 0.2, ("b",), amount=3, point="heal-write"),
        Fault("kill-at", 1.7, 0.2, ("c",), amount=4, point="join-sync"),
        trouble=5.0,
        clients=tuple(replace(client, rate=40.0) for client in CLIENTS),
    )
    outcome = well(plan, tmp_path)
    assert outcome.tally.kills >= 4
    told = " ".join(moment.label for moment in outcome.timeline.notes)
    assert "died at heal-write" in told and "died at join-sync" in told


def test_power_that_fails_takes_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("power", 0.6, 0.3, ("a",)),
        Fault("power", 2.2, 0.3),
        trouble=4.0,
    )
    outcome = well(plan, tmp_path)
    assert outcome.tally.kills >= 4


def test_disks_that_fail_stall_and_rot(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("disk-fails", 0.6, 0.2, ("a",)),
        Fault("disk-slow", 0.8, 0.8, ("b",)),
        Fault("bit-rot", 1.6, 0.2, ("c",)),
        Fault("live-rot", 2.0, None, ("b",)),
        Fault("misread", 2.2, 0.5, ("b",)),
        Fault("index-rot", 2.6, 0.2, ("a",)),
        Fault("lose-index", 3.9, 0.2, ("b",)),
        trouble=4.0,
        clients=tuple(replace(client, rate=40.0) for client in CLIENTS),
    )
    outcome = well(plan, tmp_path)
    assert len(outcome.history.damages) >= 3


@pytest.mark.slow
def test_writes_that_fail(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("write-full", 0.6, 1.5, ("a",)),
        Fault("write-fails", 0.8, 0.3, ("b",)),
        Fault("write-fails", 2.4, 0.3, ("a",)),
    )
    outcome = well(plan, tmp_path)
    assert outcome.tally.refused["DiskFull"] > 0


def test_clocks_that_drift_jump_and_swing(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("drift", 0.6, 1.0, ("a",)),
        Fault("strobe", 0.8, 1.5, ("b",), every=0.2),
        Fault("clock", 1.0, 1.5, ("c",), amount=-3600.0),
        Fault("reboot", 2.5, 0.5, ("a",), amount=1.0),
    )
    well(plan, tmp_path)


def test_members_that_are_evicted_leave_and_lose_their_disk(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("evict", 0.6, None, ("a",)),
        Fault("lose-disk", 2.5, 0.1, ("b",)),
        Fault("leave", 5.0, 0.8, ("c",)),
        trouble=6.0,
    )
    outcome = well(plan, tmp_path)
    assert any("epoch" in log.read_text() for log in tmp_path.glob("*.log"))
    assert outcome.history.lost_disks.keys() == {"b1"}


@pytest.mark.slow
def test_a_node_that_is_down_for_long_is_removed_by_itself_and_joins_again(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("crash", 0.6, 14.0, ("a2",)),
        trouble=15.0,
        sites=(Site("a", 2), Site("b"), Site("c")),
        tuning=replace(TUNING, evict_after_seconds=EVICT_AFTER_SECONDS_MIN),
    )
    well(plan, tmp_path)
    told = (tmp_path / "b1.log").read_text()
    assert "a2 was not heard of for 10 s, its site and a majority agree: it is removed" in told
    assert "epoch 2: a1, b1, c1" in told and "epoch 3: a1, a2, b1, c1" in told


@pytest.mark.slow
def test_a_directory_that_runs_twice(tmp_path: Path) -> None:
    well(plan_of(Fault("twin", 0.8, 2.0, ("a",)), trouble=4.0), tmp_path)


def test_packets_that_vanish_in_the_kernel(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("cut", 0.6, 1.0, ("a",), ("b",)),
        Fault("one-way", 0.8, 1.0, ("c",), ("a",)),
        Fault("cut", 2.0, None, ("b",)),
    )
    well(plan, tmp_path, kernel=True)


def test_all_of_it_mixed(tmp_path: Path) -> None:
    base = base_plan(2, [Site("a"), Site("b"), Site("c")])
    kinds = [kind for kind in drawn_kinds() if not missing([kind])]

    async def main() -> Outcome:
        made = Run(
            base,
            lambda number, begins: (
                None if number == 2 else round_of(base, number, begins, 4.0, kinds)
            ),
            tmp_path,
            kinds=kinds,
        )
        return await made.run()

    assert problems(run(main())) == []
