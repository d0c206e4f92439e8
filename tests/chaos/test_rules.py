"""What is pure in chaos: whose append a commit was, what is drawn, what grew, what is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anabranch.chaos.asking import CRASH, Request, is_true
from anabranch.chaos.cluster import cluster_text, free_ports
from anabranch.chaos.draw import _LASTS_SECONDS, _ONCE, base_plan, drawn_kinds, round_of, shifted
from anabranch.chaos.faults.real import drill_order
from anabranch.chaos.judge import resolve
from anabranch.chaos.links.kernel import check_kinds
from anabranch.chaos.polls import Look, parted
from anabranch.chaos.process import Size
from anabranch.chaos.tally import Tally, growth, histogram, share_of
from anabranch.node.config import EVICT_AFTER_SECONDS_MIN, parse
from anabranch.node.fold import ACCEPTED, SHADOWED
from anabranch.simulations.checkers.invention import nothing_invented
from anabranch.simulations.history import Append, History, Row
from anabranch.simulations.plans.clients import Script
from anabranch.simulations.plans.kinds import REAL
from anabranch.simulations.plans.plan import Client, Fault, Plan, Site
from anabranch.simulations.troubles import Course
from anabranch.storage.commit import EXPECT_ANY, REJECT, Draft
from anabranch.storage.errors import ConfigError

THREE = [Site("a"), Site("b"), Site("c")]
DRAFT = Draft("s", ["t"], [b"x"], commit_id=b"1" * 16)
OTHER = Draft("s", ["t"], [b"y"], commit_id=b"1" * 16)


def row(stamp: int, draft: Draft, outcome: int = ACCEPTED) -> Row:
    key = (stamp, 0, 1)
    return Row(
        0, key, stamp, draft.commit_id, "s", 1, EXPECT_ANY, REJECT, b"%d" % stamp, outcome, 0
    )


def history_of(rows: list[tuple[Row, Draft]], *appends: Append) -> History:
    history = History(members=("a1",), appends=list(appends))
    history.final = {"a1": {0: tuple(one for one, _ in rows)}}
    history.entries = {one.hash: draft.entry for one, draft in rows}
    return history


# -- whose append a commit was ---------------------------------------------------------------------


def test_an_append_without_an_answer_is_found_in_the_end():
    lost = Append("a1", DRAFT, "local", 0.0, lost="crash")
    history = history_of([(row(5, DRAFT), DRAFT)], lost)
    assert resolve(history) == {"nobody sent": 0, "found in the end": 1, "never written": 0}
    assert lost.key == (5, 0, 1) and nothing_invented(history) == []


def test_an_append_makes_one_commit_that_counts():
    lost = Append("a1", DRAFT, "local", 0.0, lost="crash")
    rows = [(row(5, DRAFT), DRAFT), (row(6, DRAFT), DRAFT)]
    history = history_of(rows, lost)
    assert resolve(history)["nobody sent"] == 1 and len(nothing_invented(history)) == 1
    again = Append("b1", DRAFT, "local", 0.0, lost="crash")
    assert resolve(history_of(rows, replace(lost, key=None), again))["nobody sent"] == 0


def test_copies_of_a_commit_that_lost_its_place_are_shadowed_but_for_the_first():
    told = Append("a1", DRAFT, "local", 0.0, 1.0, key=(3, 0, 9))
    rows = [(row(5, DRAFT), DRAFT), (row(6, DRAFT, SHADOWED), DRAFT)]
    history = history_of(rows, told)
    assert resolve(history) == {
        "nobody sent": 0,
        "appended again": 1,
        "copies": 1,
        "never written": 0,
    }
    assert told.key == (5, 0, 1) and nothing_invented(history) == []


def test_who_was_told_of_the_first_of_its_id_may_have_made_the_second():
    """Both were appended again; one client was told where the other's commit stands."""
    first = Append("a1", DRAFT, "local", 0.0, 1.0, key=(3, 0, 9))
    second = Append("b1", DRAFT, "settled", 0.0, 1.0, key=(5, 0, 1))
    rows = [(row(5, DRAFT), DRAFT), (row(6, DRAFT, SHADOWED), DRAFT)]
    history = history_of(rows, first, second)
    assert resolve(history)["nobody sent"] == 0
    assert {first.key, second.key} == {(5, 0, 1), (6, 0, 1)}
    assert nothing_invented(history) == []


def test_another_body_is_another_append():
    lost = Append("a1", OTHER, "local", 0.0, lost="crash")
    history = history_of([(row(5, DRAFT), DRAFT)], lost)
    assert resolve(history)["nobody sent"] == 1
    assert lost.key is None and len(nothing_invented(history)) == 1


def test_what_was_refused_makes_nothing():
    refused = Append("a1", DRAFT, "local", 0.0, 1.0, error="RevisionConflict")
    assert resolve(history_of([(row(5, DRAFT), DRAFT)], refused))["nobody sent"] == 1


# -- appends while links are cut -------------------------------------------------------------------


def untaken_cut(*appends: Append) -> dict[str, int]:
    """Why appends were not taken while a1 is cut off from the 10th second to the 20th."""
    plan, tally = Plan(1, (Site("a", 2), Site("b"))), Tally()
    cut = Course(Fault("cut", 10.0, where=("a1",)), 10.0, 20.0)
    pause = Course(Fault("pause", 12.0, where=("a2",)), 12.0, 13.0)
    tally.time(history_of([], *appends), [cut, pause], plan)
    return dict(tally.untaken_cut)


def test_what_a_node_did_not_take_while_cut_is_told_with_the_reason():
    refused = Append("a1", DRAFT, "local", 11.0, 11.5, error="DiskFull")
    silent = Append("b1", DRAFT, "local", 19.0, lost="no answer in time", late=True)
    assert untaken_cut(refused, silent) == {"DiskFull": 1, "no answer in time": 1}


@pytest.mark.parametrize(
    "excused",
    [
        Append("a1", DRAFT, "local", 9.0, error="DiskFull"),  # before the cut
        Append("a1", DRAFT, "local", 11.0, error="RevisionConflict"),  # it could, and did judge
        Append("a1", DRAFT, "local", 11.0, lost=CRASH),  # the node was down or stood still
        Append("a2", DRAFT, "local", 15.5, lost="no answer in time"),  # just after its pause
        Append("a1", DRAFT, "settled", 11.0, lost="Unconfirmed"),  # waited for the others
    ],
)
def test_what_a_node_could_not_take_is_not_held_against_it(excused):
    assert untaken_cut(excused) == {}


# -- drills ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lasts", "now", "seconds"),
    [(3.0, 15.0, 3.0), (16.7, 15.0, 6.0), (None, 15.0, 1.0), (9.0, 22.0, 0.1)],
)
def test_a_drill_does_not_go_past_the_heal(lasts, now, seconds):
    """Seed 61: the node's own drill went on for 6 s after the heal, and the heal was blamed."""
    plan = Plan(1, (Site("a"), Site("b"), Site("c")), warm_up=1.0, trouble=19.0, frozen=1.0)
    drill = Fault("drill", 15.0, lasts, ("b1",))
    assert drill_order(plan, drill, "b1", now) == {"cut": ["a1", "c1"], "for": seconds}


# -- requests -------------------------------------------------------------------------------------


def test_a_request_says_what_a_script_wants():
    script = Script(3, Client("c"), lambda _: 4)
    for _ in range(200):
        for write in script.write(["a1", "b1"]):
            request = Request(write.draft, "settled", 2.5)
            assert request.draft.expected == write.draft.expected
            assert request.draft.policy == write.draft.policy
            assert request.draft.count == write.draft.count
            assert request.query["ack"] == "settled"
            assert all(is_true(3, payload) for payload in request.draft.payloads)


def test_a_payload_without_what_a_node_puts_behind_it_is_not_true():
    (draft,) = [one.draft for one in Script(3, Client("c", shape="hot"), lambda _: 0).write(["a1"])]
    assert not is_true(3, draft.payloads[0])


# -- plans ----------------------------------------------------------------------------------------


def test_what_is_drawn_is_drawn_again_and_lies_in_its_round():
    base, kinds = base_plan(5, THREE), drawn_kinds()
    for number in range(60):
        plan = round_of(base, number, 100.0, 20.0, kinds)
        assert plan == round_of(base, number, 100.0, 20.0, kinds)
        assert all(101 <= fault.at <= 121 for fault in plan.faults)
        assert sum(fault.kind in _ONCE for fault in plan.faults) <= 1
        assert plan.healed_at == 122.0
    seen = {f.kind for n in range(400) for f in round_of(base, n, 0, 20, kinds).faults}
    assert seen == set(kinds)
    assert set(REAL) - set(kinds) == {"lose-end"}


def test_only_some_kinds():
    plans = [round_of(base_plan(5, THREE), n, 0, 20, drawn_kinds(["power"])) for n in range(20)]
    assert {fault.kind for plan in plans for fault in plan.faults} == {"power"}


def test_some_clusters_remove_who_is_down_for_long_within_a_round():
    drawn = {base_plan(seed, THREE).tuning.evict_after_seconds for seed in range(20)}
    assert min(drawn) == EVICT_AFTER_SECONDS_MIN < max(_LASTS_SECONDS) < max(drawn)


def test_a_plan_that_begins_later():
    plan = replace(base_plan(1, THREE), faults=(Fault("cut", 2.0, 1.0),), clients=(Client("c"),))
    later = shifted(plan, 10.0)
    assert later.faults[0].at == 12.0 and later.faults[0].lasts == 1.0
    assert later.clients[0].starts == 10.0 and later.healed_at == plan.healed_at + 10


def test_a_cluster_file_is_read_as_it_was_meant():
    plan = base_plan(5, [Site("x", 2), Site("y")])
    urls = {"x1": "http://127.0.0.1:1", "y1": "http://127.0.0.1:2", "x2": "http://127.0.0.1:3"}
    config = parse(cluster_text(plan, urls))
    assert config.tuning == plan.tuning and config.shards == plan.shards
    assert {m.name: (m.site, m.priority, m.url) for m in config.members} == {
        "x1": ("x", 0, "http://127.0.0.1:1"),
        "x2": ("x", 0, "http://127.0.0.1:3"),
        "y1": ("y", 1, "http://127.0.0.1:2"),
    }


def test_ports_are_given_once():
    assert not set(free_ports(5)) & set(free_ports(5))


def test_the_kernel_can_only_cut():
    check_kinds(["cut", "one-way", "flap", "crash"])
    with pytest.raises(ConfigError, match="drip: not possible with --kernel"):
        check_kinds(["cut", "drip"])


# -- figures --------------------------------------------------------------------------------------


def test_shares_and_histograms():
    assert share_of([], 0.99) == 0
    assert share_of(list(range(100)), 0.5) == 50 and share_of(list(range(100)), 0.99) == 99
    assert histogram([0.1, 1, 5, 7], [1, 5]) == [("under 1", 1), ("under 5", 1), ("5 or more", 2)]


@pytest.mark.parametrize(("last", "held"), [(100, True), (140, True), (400, False)])
def test_memory_that_grows_and_grows_is_found(last: int, held: bool):
    mib = 1024 * 1024
    sizes = [Size(mib * (100 + (last - 100) * at // 9), 30, 8) for at in range(10)]
    gauges = growth(Tally(sizes={"a1": sizes}, tasks={"a1": [20] * 10}))
    assert all(gauge.value <= gauge.limit for gauge in gauges) is held


def test_files_and_tasks_that_are_left_behind_are_found():
    sizes = [Size(1, 30 + 10 * at, 8) for at in range(12)]
    tasks = [20 + at for at in range(12)]
    found = [
        one
        for one in growth(Tally(sizes={"a": sizes}, tasks={"a": tasks}))
        if one.value > one.limit
    ]
    assert [gauge.what for gauge in found] == ["open files in the end", "tasks in the end"]
    assert growth(Tally(sizes={"a": sizes[:5]})) == []


# -- when all is whole ----------------------------------------------------------------------------

READY = Look(up=True, state="ready", digest="d", frontier={"1": {"0": 3}})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"up": False, "state": "down"}, "b is down"),
        ({"state": "healing"}, "b is healing"),
        ({"missing": 2}, "b lacks 2 commits of its own log"),
        ({"strays": 1}, "b has 1 commits without a place"),
        ({"epoch": 2}, "b is in epoch 2, a in 0"),
        ({"frontier": {"1": {"0": 2}}}, "b holds 2 commits, a 3"),
        ({"tentative": 4, "held_back_by": ("c",)}, "b has 4 tentative commits; it waits for c"),
        ({"digest": "e"}, "b has settled another history than a"),
        ({"disputed": (1,)}, "b disputes shards"),
    ],
)
def test_what_keeps_nodes_apart_is_said(change: dict[str, object], says: str):
    assert parted({"a": READY, "b": READY}) is None
    what = parted({"a": READY, "b": replace(READY, **change)})
    assert what is not None and what.startswith(says)
