"""What others lost data by, with real processes, each by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anabranch.node.fold import REJECTED
from anabranch.simulations.plans.plan import Client, Fault, Plan

from .runs import CLIENTS, plan_of, well

pytestmark = pytest.mark.chaos


def contested(plan: Plan) -> Plan:
    """The same, with clients at every site that all expect revisions of the same streams."""
    clients = tuple(
        Client(f"k{site}", at=(site,), rate=15, conditional=0.8, ack_settled=0.0, retries=0.0)
        for site in "abc"
    )
    return replace(plan, clients=clients)


def test_all_three_are_killed_within_a_second(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("crash", 1.5, 0.4, ("a",)),
        Fault("crash", 1.9, 0.4, ("b",)),
        Fault("crash", 2.3, 0.4, ("c",)),
        Fault("power", 3.6, 0.4),
        trouble=4.5,
    )
    outcome = well(plan, tmp_path)
    assert outcome.tally.kills >= 6


def test_a_minority_and_a_majority_write_conditions_while_cut(tmp_path: Path) -> None:
    plan = contested(plan_of(Fault("cut", 0.7, 3.0, ("a",)), trouble=3.5))
    outcome = well(plan, tmp_path)
    during = [a for a in outcome.history.appends if a.receipt is not None]
    assert {append.node for append in during} == {"a1", "b1", "c1"}
    assert any(row.outcome == REJECTED for row in outcome.history.rows())
    assert not outcome.tally.untaken_cut


def test_a_partial_cut_goes_around(tmp_path: Path) -> None:
    clients = tuple(replace(client, ack_settled=0.5) for client in CLIENTS)
    cut = Fault("cut", 0.6, 3.0, ("a",), ("c",))
    outcome = well(plan_of(cut, trouble=4.0, clients=clients), tmp_path)
    (span,) = outcome.timeline.faults
    settled = {
        append.node
        for append in outcome.history.appends
        if append.receipt is not None
        and append.receipt.settled
        and append.ended is not None
        and span.begins < append.began <= append.ended < span.ends
    }
    assert settled == {"a1", "b1", "c1"}


def test_a_full_disk_and_a_restart_on_it(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("no-room", 0.8, 3.0, ("a",)),
        Fault("disk-full", 1.0, 2.5, ("b",)),
        Fault("stop", 2.0, 0.3, ("b",)),
        trouble=4.0,
    )
    outcome = well(plan, tmp_path)
    assert outcome.tally.refused["DiskFull"] > 5


def test_a_link_that_passes_one_way_only(tmp_path: Path) -> None:
    plan = plan_of(Fault("one-way", 0.7, None, ("a",), ("b",)), trouble=3.0)
    outcome = well(plan, tmp_path)
    assert not outcome.tally.untaken_cut


def test_a_clock_an_hour_ahead_is_not_believed(tmp_path: Path) -> None:
    plan = plan_of(Fault("clock", 1.0, 2.0, ("a",), amount=3600.0))
    outcome = well(plan, tmp_path)
    assert outcome.tally.refused["Unavailable"] > 0  # by the node whose clock it is
    others = [one for one in outcome.history.appends if one.node != "a1"]
    assert all(append.error != "Unavailable" for append in others)


def test_a_snapshot_that_is_put_back_while_the_others_wrote_on(tmp_path: Path) -> None:
    plan = plan_of(Fault("roll-back", 1.5, 2.0, ("a",)), trouble=4.5)
    outcome = well(plan, tmp_path)
    assert [name for name, _, _ in outcome.history.rolled_back] == ["a1"]


def test_a_paused_node_that_wakes_with_old_beliefs(tmp_path: Path) -> None:
    plan = plan_of(
        Fault("pause", 0.8, 4.0, ("a",)),
        Fault("evict", 1.5, None, ("a",)),
        trouble=5.5,
        clients=CLIENTS,
    )
    well(plan, tmp_path)
