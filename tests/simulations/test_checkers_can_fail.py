"""Each checker finds nothing in a good history, and finds what was spoilt on purpose.

Those that judge events as they happen have their own table in test_checkers_online.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from anabranch.node.fold import ACCEPTED, REJECTED, SHADOWED
from anabranch.simulations.checkers import WHOLE, violations
from anabranch.simulations.checkers.answers import all_answered
from anabranch.simulations.checkers.bounded import nothing_piles_up
from anabranch.simulations.checkers.calm import (
    nothing_is_refused_in_calm,
    nothing_waits_in_calm,
)
from anabranch.simulations.checkers.check import folded
from anabranch.simulations.checkers.comparing import comparing_is_cheap
from anabranch.simulations.checkers.conditions import conditions_hold
from anabranch.simulations.checkers.conditions_met import conditions_are_checked
from anabranch.simulations.checkers.convergence import all_converged, whole_within
from anabranch.simulations.checkers.damage import damage_is_healed
from anabranch.simulations.checkers.invention import nothing_invented
from anabranch.simulations.checkers.kept import acknowledged_is_kept
from anabranch.simulations.checkers.latest import latest_is_whole
from anabranch.simulations.checkers.liveness import the_rest_goes_on
from anabranch.simulations.checkers.loss import nothing_lost
from anabranch.simulations.checkers.payloads import payloads_are_true
from anabranch.simulations.checkers.quiet import no_alarms
from anabranch.simulations.checkers.reads import reads_are_whole
from anabranch.simulations.checkers.real_time import real_time_respected
from anabranch.simulations.checkers.receipts import receipts_are_true
from anabranch.simulations.checkers.recovery import Recovery, recovery_is_exact
from anabranch.simulations.checkers.shown_once import shown_once
from anabranch.simulations.checkers.transfers import catching_up_is_cheap
from anabranch.simulations.checkers.trees import trees_are_true
from anabranch.simulations.history import (
    Append,
    Calm,
    Comparison,
    Cut,
    Gauge,
    Latest,
    Left,
    Read,
    Recovered,
    Refusal,
    Stamped,
)

from .good_history import (
    DRAFTS,
    MEMBERS,
    ROWS,
    B,
    D,
    E,
    F,
    G,
    H,
    append_of,
    change,
    draft,
    end_with,
    good,
    receipt,
    restarted,
    row,
)


def test_a_good_history_is_good():
    assert violations(good()) == []


def test_a_read_of_what_is_tentative_is_judged_by_all_that_is_held():
    history = good()
    tentative(history, *reversed(ROWS[1:]), settled_ids=[ROWS[0].id], shown=ROWS[1:5])
    assert violations(history) == []


# -- what can go wrong ---------------------------------------------------------------------------


def lose_a_commit(history):
    for node in MEMBERS:
        end_with(history, node, 1, ROWS[5:6])


def lose_a_commit_at_one_node(history):
    end_with(history, "tok1", 1, ROWS[5:6])


def lose_what_others_held_than_a_lost_disk(history):
    history.lost_disks = {"tok1": 100.0}
    end_with(history, "ny1", 1, ROWS[6:])


def lose_what_was_acknowledged_after_a_disk_was_lost(history):
    history.lost_disks = {"ny1": 15.0}
    for node in MEMBERS:
        end_with(history, node, 1, ROWS[6:])


def lose_what_was_settled_before_a_disk_was_lost(history):
    history.lost_disks = {"lon1": 100.0}
    lose_a_commit(history)


def lose_what_was_repeated_elsewhere(history):
    """Two nodes acknowledged A, and the disk of one of them was lost."""
    history.lost_disks = {"ny1": 100.0}
    for node in MEMBERS:
        end_with(history, node, 0, [ROWS[1], ROWS[2], ROWS[4]])


def change_a_body_that_was_acknowledged_after_a_disk_was_lost(history):
    history.lost_disks = {"ny1": 15.0}
    change_a_body(history)


def change_a_body(history):
    history.entries[ROWS[5].hash] = b"another"


def invent_a_commit(history):
    invented = row(1, 70, 3, 1, draft("X", "t"), ACCEPTED, 3)
    for node in MEMBERS:
        end_with(history, node, 1, [*ROWS[5:], invented])


def appended_again(one, sent):
    """A copy of a commit, as ny1 appended it again."""
    return row(1, 70, 1, 2, sent, ACCEPTED, one.first_revision)


def append_again(history, one, sent, before=None):
    """Let all end with a copy of a commit instead of it; None: nobody says whose copy it is."""
    copy = appended_again(one, sent)
    history.entries[copy.hash] = sent.entry
    if before is not None:
        history.again[copy.key] = before
    for node in MEMBERS:
        end_with(history, node, 1, [ROWS[5], copy])
    return copy


def append_again_what_was_not_there(history):
    append_again(history, ROWS[6], F)


def append_again_what_nobody_sent(history):
    append_again(history, ROWS[6], F, before=(61, 2, 3))


def append_again_with_another_body(history):
    copy = append_again(history, ROWS[6], F, before=ROWS[6].key)
    history.entries[copy.hash] = b"another"


def append_again_the_body_of_another(history):
    copy = append_again(history, ROWS[6], F, before=ROWS[6].key)
    history.entries[copy.hash] = E.entry


def append_again_what_was_refused(history):
    append_of(history, G).key = (69, 1, 2)
    append_again(history, ROWS[6], G, before=(69, 1, 2))


def keep_what_was_refused(history):
    refused = row(1, 70, 2, 2, G, ACCEPTED, 3)
    append_of(history, G).key = refused.key
    history.entries[refused.hash] = G.entry
    for node in MEMBERS:
        end_with(history, node, 1, [*ROWS[5:], refused])


def show_what_was_refused_for_its_id(history):
    append = append_of(history, B)
    append.receipt, append.error = None, "Unprocessable"


def give_a_place_to_a_body_that_another_append_had(history):
    append_of(history, B).key, append_of(history, D).key = ROWS[4].key, ROWS[1].key


def flip_a_byte_of_a_payload(history):
    history.bodies[2] = history.bodies[2]._replace(payloads=(b"c 0",))


def show_a_commit_twice(history):
    for node in MEMBERS:
        rows = [*ROWS[:3], ROWS[3]._replace(outcome=ACCEPTED), ROWS[4]._replace(first_revision=3)]
        end_with(history, node, 0, rows)


def shadow_the_first_of_an_id(history):
    end_with(history, "ny1", 0, [ROWS[0]._replace(outcome=SHADOWED), *ROWS[1:5]])


def accept_what_does_not_fit(history):
    for node in MEMBERS:
        end_with(history, node, 0, [*ROWS[:2], ROWS[2]._replace(outcome=ACCEPTED), *ROWS[3:5]])


def reject_what_fits(history):
    end_with(history, "lon1", 1, [ROWS[5], ROWS[6]._replace(outcome=REJECTED)])


def let_two_win(history):
    end_with(history, "tok1", 0, [*ROWS[:2], ROWS[2]._replace(outcome=ACCEPTED), *ROWS[3:5]])


def drop_instead_of_keep(history):
    end_with(history, "tok1", 0, [*ROWS[:4], ROWS[4]._replace(outcome=REJECTED)])


def answer_another_outcome(history):
    append = append_of(history, D)
    append.receipt = replace(append.receipt, outcome="accepted")


def answer_another_revision(history):
    append = append_of(history, F)
    append.receipt = replace(append.receipt, first_revision=7, last_revision=7)


def answer_settled_and_mean_tentative(history):
    append_of(history, F).receipt = receipt(ROWS[6], settled=False)


def order_against_the_clock_on_the_wall(history):
    """B began after D had been answered as final, and stands before it."""
    append = append_of(history, B)
    append.began, append.ended = 58, 59


def never_answer(history):
    append_of(history, H).lost = None


def swallow_an_answer(history):
    append_of(history, H).lost = "cancelled"


def answer_nothing(history):
    append_of(history, G).error = None


def answer_too_late(history):
    append_of(history, G).late = True


def stay_away(history):
    del history.final["tok1"]


def stay_behind(history):
    end_with(history, "tok1", 1, ROWS[5:6])


def never_settle(history):
    history.unsettled = "not settled after 25 s"


def never_settle_without_a_lost_disk(history):
    history.lost_disks = {"tok1": 30.0}
    never_settle(history)


def stay_behind_with_an_empty_disk(history):
    history.lost_disks = {"tok1": 30.0}
    stay_behind(history)


def stay_away_with_an_empty_disk(history):
    history.lost_disks = {"tok1": 30.0}
    stay_away(history)


def take_too_long(history):
    history.whole_after.append(3.1)


def refuse_a_probe(history):
    history.probes[0].error = "Unavailable"


def leave_a_probe_without_an_answer(history):
    history.probes[1].ended = None


def answer_a_probe_late(history):
    history.probes[2].ended = 71.1


def wait_in_calm(history):
    history.calm = Calm(frozenset(MEMBERS), 2.0, 0.0)
    append = next(append for append in history.appends if append.ack == "settled")
    append.ended = append.began + 3


def refuse_in_calm(history):
    history.calm = Calm(frozenset(MEMBERS), 2.0, 0.0)
    history.appends[0].error = "Unavailable"


def take_what_is_ahead(history):
    append = history.appends[0]
    history.calm = Calm(frozenset(), 2.0, 0.0, (append.node, append.began - 5, append.began + 1))


def refuse_what_fits(history):
    append = append_of(history, B)
    append.revision, append.receipt, append.error = 0, None, "RevisionConflict"


def take_what_does_not_fit(history):
    append_of(history, B).revision = 5


def tentative(history, *held, settled_ids=(), shown=None):
    """ny1 has settled the first commit of s; `held` is tentative, and read by a client."""
    shown = tuple(one for one in held if one.stream == "s") if shown is None else tuple(shown)
    history.latest = [Latest("ny1", "s", 0, frozenset(settled_ids), held, shown)]


def show_less_than_there_is(history):
    tentative(history, *ROWS[1:5], shown=ROWS[1:4])


def show_the_order_of_arrival(history):
    tentative(history, *ROWS[1:5], shown=[ROWS[1], ROWS[3], ROWS[2], ROWS[4]])


def show_what_does_not_fit(history):
    tentative(history, ROWS[1], ROWS[2]._replace(outcome=ACCEPTED), settled_ids=[ROWS[0].id])


def show_an_id_again_that_is_settled(history):
    again = ROWS[3]._replace(outcome=ACCEPTED)
    tentative(history, *ROWS[1:3], again, settled_ids=[ROWS[0].id])


def begin_a_read_too_late(history):
    history.reads.append(Read("ny1", "t", 1, 2, 1))


def read_nothing(history):
    history.reads.append(Read("ny1", "t", 1, None, 0))


def pull_everything(history):
    history.transfers.pulled_bytes = 101


def say_much_to_find_nothing(history):
    history.comparisons.append(Comparison("ny1", 110, 1, 0, 0, 0, 0, 0))


def name_the_whole_tree_for_one_commit(history):
    history.comparisons.append(Comparison("ny1", 16 * 16 * 32, 4, 1, 1, 3, 2, 1))


def send_everything_twice(history):
    history.transfers.repeated = 50


def serve_from_a_damaged_disk(history):
    history.damages.append(("tok1", "a bit of log/0 flipped"))
    lose_a_commit_at_one_node(history)


def leave_damage_that_was_refused(history):
    serve_from_a_damaged_disk(history)
    history.refusals.append(Refusal(1.0, "tok1", "DamagedLog"))


def grow_another_tree(history):
    roots = dict.fromkeys(MEMBERS, (b"a", b"b"))
    history.healing.cuts.append(Cut(80.0, 50, {**roots, "tok1": (b"a", b"c")}))


def give_on_what_was_never_made(history):
    history.healing.untrue.append("tok1 gave commit 2 of log 0 as it never was")


def stay_away_for_a_while(history):
    history.absent.add("lon1")


def leave_a_link_dead(history):
    history.unlinked.append("the link from ny1 to lon1")


def see_damage_where_there_is_none(history):
    history.refusals.append(Refusal(1.0, "tok1", "DamagedLog"))


def end_over_a_bug(history):
    history.refusals.append(Refusal(1.0, "tok1", "AnabranchError"))


def leave_a_task_behind(history):
    history.gauges.append(Gauge("all", "tasks", 25, 24))


def raise_an_alarm(history):
    history.alarms.append("ny1 disputes shard 0")


def stay_a_stranger_with_an_empty_disk(history):
    history.lost_disks = {"tok1": 30.0}
    history.alarms.append("tok1 is a stranger: ny1 does not take this node for tok1")


def break_what_always_holds(history):
    history.marks.always(False, "an outbox that is full is not empty")


def die_without_what_was_acknowledged(history):
    change(history, Left, lambda event: event.at == 66, found=frozenset())


TABLE = [
    (nothing_lost, lose_a_commit),
    (nothing_lost, lose_a_commit_at_one_node),
    (nothing_lost, lose_what_others_held_than_a_lost_disk),
    (nothing_lost, lose_what_was_acknowledged_after_a_disk_was_lost),
    (nothing_lost, lose_what_was_settled_before_a_disk_was_lost),
    (nothing_lost, lose_what_was_repeated_elsewhere),
    (nothing_lost, change_a_body),
    (nothing_lost, change_a_body_that_was_acknowledged_after_a_disk_was_lost),
    (nothing_invented, invent_a_commit),
    (nothing_invented, append_again_what_was_not_there),
    (nothing_invented, append_again_what_nobody_sent),
    (nothing_invented, append_again_with_another_body),
    (nothing_invented, append_again_the_body_of_another),
    (nothing_invented, append_again_what_was_refused),
    (nothing_invented, keep_what_was_refused),
    (nothing_invented, show_what_was_refused_for_its_id),
    (nothing_invented, give_a_place_to_a_body_that_another_append_had),
    (nothing_invented, change_a_body),
    (payloads_are_true, flip_a_byte_of_a_payload),
    (shown_once, show_a_commit_twice),
    (shown_once, shadow_the_first_of_an_id),
    (conditions_hold, accept_what_does_not_fit),
    (conditions_hold, reject_what_fits),
    (conditions_hold, let_two_win),
    (conditions_hold, drop_instead_of_keep),
    (receipts_are_true, answer_another_outcome),
    (receipts_are_true, answer_another_revision),
    (receipts_are_true, answer_settled_and_mean_tentative),
    (real_time_respected, order_against_the_clock_on_the_wall),
    (all_answered, never_answer),
    (all_answered, swallow_an_answer),
    (all_answered, answer_nothing),
    (all_answered, answer_too_late),
    (all_converged, stay_away),
    (all_converged, stay_away_for_a_while),
    (all_converged, stay_behind),
    (all_converged, leave_a_link_dead),
    (all_converged, never_settle),
    (all_converged, never_settle_without_a_lost_disk),
    (all_converged, stay_behind_with_an_empty_disk),
    (all_converged, stay_away_with_an_empty_disk),
    (all_converged, take_too_long),
    (the_rest_goes_on, refuse_a_probe),
    (the_rest_goes_on, leave_a_probe_without_an_answer),
    (the_rest_goes_on, answer_a_probe_late),
    (nothing_waits_in_calm, wait_in_calm),
    (nothing_is_refused_in_calm, refuse_in_calm),
    (nothing_is_refused_in_calm, take_what_is_ahead),
    (conditions_are_checked, refuse_what_fits),
    (conditions_are_checked, take_what_does_not_fit),
    (reads_are_whole, begin_a_read_too_late),
    (reads_are_whole, read_nothing),
    (latest_is_whole, show_less_than_there_is),
    (latest_is_whole, show_the_order_of_arrival),
    (latest_is_whole, show_what_does_not_fit),
    (latest_is_whole, show_an_id_again_that_is_settled),
    (catching_up_is_cheap, pull_everything),
    (catching_up_is_cheap, send_everything_twice),
    (comparing_is_cheap, say_much_to_find_nothing),
    (comparing_is_cheap, name_the_whole_tree_for_one_commit),
    (damage_is_healed, serve_from_a_damaged_disk),
    (damage_is_healed, leave_damage_that_was_refused),
    (trees_are_true, grow_another_tree),
    (trees_are_true, give_on_what_was_never_made),
    (damage_is_healed, see_damage_where_there_is_none),
    (damage_is_healed, end_over_a_bug),
    (nothing_piles_up, leave_a_task_behind),
    (acknowledged_is_kept, die_without_what_was_acknowledged),
    (no_alarms, raise_an_alarm),
    (no_alarms, stay_a_stranger_with_an_empty_disk),
    (no_alarms, break_what_always_holds),
]


@pytest.mark.parametrize(("check", "spoil"), TABLE, ids=lambda function: function.__name__)
def test_what_was_spoilt_is_found(check, spoil):
    history = good()
    spoil(history)
    assert check(history) != []


def test_every_checker_is_shown_to_fail():
    assert {check for check, _ in TABLE} == set(WHOLE)


def test_what_may_happen_is_no_violation():
    """A commit that was never answered may be there or not, and a stamp that was lost may come."""
    history = good()
    lost_in_a_crash = Stamped(70, "ny1", 1, 0, 2, 70, 60, 20, 520)
    history.events.append(lost_in_a_crash)
    history.events.append(lost_in_a_crash._replace(stamp=71, origin=4))
    assert violations(history) == []
    unanswered = row(1, 70, 2, 2, H, ACCEPTED, 2)
    append_of(history, H).key = unanswered.key
    history.entries[unanswered.hash] = H.entry
    for node in MEMBERS:
        end_with(history, node, 1, [*ROWS[5:], unanswered])
    assert nothing_invented(history) == []
    assert nothing_lost(history) == []


def test_a_refusal_after_the_write_is_none_if_the_commit_is_shadowed():
    history = good()
    append = history.appends[DRAFTS.index(DRAFTS[3], 1)]
    append.receipt, append.error = None, "Unprocessable"
    assert nothing_invented(history) == []


def test_a_damaged_disk_that_is_healed_or_refused_meanwhile_is_no_violation():
    history = good()
    history.damages.append(("tok1", "a bit of log/0 flipped"))
    history.refusals.append(Refusal(1.0, "tok1", "DamagedLog"))
    assert damage_is_healed(history) == []


@pytest.mark.parametrize("body", [None, b"another"])
def test_what_only_a_lost_disk_had_acknowledged_may_be_lost(body):
    history = good()
    history.lost_disks = {"ny1": 15.6}
    if body is None:
        for node in MEMBERS:
            end_with(history, node, 1, ROWS[6:])
    else:
        history.entries[ROWS[5].hash] = body
    assert nothing_lost(history) == []
    history.lost_disks = {"ny1": 15.4}
    assert nothing_lost(history) != []


def test_a_commit_may_be_appended_again_more_than_once():
    history = good()
    history.again[65, 0, 9] = ROWS[6].key
    append_again(history, ROWS[6], F, before=(65, 0, 9))
    assert nothing_invented(history) == []
    assert nothing_lost(history) == []


# -- strays, at a start (the other ways to spoil one stand in test_checkers_online.py) -----------


def start_with_strays(before, after, **fields):
    """A good history in which ny1 left and read back these ids of commits without a place."""
    history, event = good(), restarted()
    after = event.after._replace(strays=frozenset(after), **fields)
    before = event.before._replace(strays=frozenset(before))
    change(history, Recovered, lambda _: True, before=before, after=after, again=())
    return history


def test_a_stray_that_is_gone_is_found():
    problems = folded(Recovery)(start_with_strays([H.commit_id, G.commit_id], [G.commit_id]))
    assert problems == [f"ny1: commit {H.commit_id.hex()[:8]}, which had no place, is gone"]
    assert recovery_is_exact(start_with_strays([H.commit_id], [])) != []


@pytest.mark.parametrize(("kept", "well"), [([H, G], True), ([G], False), ([], False)])
def test_who_learns_that_it_is_no_founder_keeps_as_strays_what_had_places(kept, well):
    history, event = good(), restarted()
    ids = frozenset(one.commit_id for one in (H, G))
    log, (key,) = (0, 3), event.before.tentative
    before = event.before._replace(ids=ids)
    rest = {other: seq for other, seq in before.frontier.items() if other != log}
    strays = frozenset(one.commit_id for one in kept)
    after = before._replace(frontier=rest, tentative={}, ids=frozenset(), strays=strays, epoch=1)
    assert key[:2] == log
    change(history, Recovered, lambda _: True, before=before, after=after, waiting=(), again=())
    assert (recovery_is_exact(history) == []) is well
    change(history, Recovered, lambda _: True, before=before._replace(epoch=1))
    assert recovery_is_exact(history) != []  # a member's commits have places


@pytest.mark.parametrize(
    ("cut", "kept", "well"),
    [(0, [H, G], True), (0, [G], False), (1, [H, G], False), (None, [H, G], False)],
)
def test_a_crash_may_keep_that_a_log_was_cut_and_then_its_commits_are_strays(cut, kept, well):
    history, event = good(), restarted()
    log = (0, 3)
    ids = frozenset(one.commit_id for one in (H, G))
    before = event.before._replace(ids=ids, epoch=1, cut={} if cut is None else {log: cut})
    rest = {other: seq for other, seq in before.frontier.items() if other != log}
    strays = frozenset(one.commit_id for one in kept)
    after = before._replace(frontier=rest, tentative={}, ids=frozenset(), strays=strays, cut={})
    change(history, Recovered, lambda _: True, before=before, after=after, waiting=(), again=())
    assert (recovery_is_exact(history) == []) is well
    other = after._replace(tentative={(0, 5, 9): bytes(32)})
    change(history, Recovered, lambda _: True, after=other)
    assert recovery_is_exact(history) != []  # what is no part of that has to be as it was


@pytest.mark.parametrize(("torn", "well"), [({(0, 3): 2}, True), ({(0, 3): 1}, False)])
def test_what_was_written_behind_a_hole_was_written_in_turn(torn, well):
    """The first on its way is stranded behind a commit that is damaged; the second is read back."""
    history, event = good(), restarted()
    (log, _, _), (other, seq, found) = event.waiting[1], event.waiting[0]
    waiting = ((log, 2, ROWS[4].hash), (other, seq, found))
    rest = {one: seq for one, seq in event.after.frontier.items() if one != log}
    tentative = {(*other, seq): found}
    after = event.after._replace(frontier=rest, tentative=tentative, torn=torn)
    change(history, Recovered, lambda _: True, waiting=waiting, after=after, hurt=True, again=())
    assert (recovery_is_exact(history) == []) is well


@pytest.mark.parametrize(("had", "well"), [(3, True), (1, False)])
def test_what_was_on_its_way_may_close_a_hole(had, well):
    """What was stranded behind it is read back as well. Found by plans full of damage."""
    history, event = good(), restarted()
    log, seq, _ = event.waiting[0]
    behind = {(*log, seq + 1): bytes(32)}
    before = event.before._replace(tentative={**event.before.tentative, **behind})
    before = before._replace(torn={log: had})
    frontier = {**event.after.frontier, log: seq + 1}
    after = event.after._replace(frontier=frontier, tentative={**event.after.tentative, **behind})
    change(history, Recovered, lambda _: True, before=before, after=after, again=())
    assert (recovery_is_exact(history) == []) is well


def test_a_stray_that_is_settled_only_later_is_gone_all_the_same():
    """It was not settled when its node started: F is, D is not."""
    assert folded(Recovery)(start_with_strays([F.commit_id], [])) == []
    assert folded(Recovery)(start_with_strays([D.commit_id], [])) != []


@pytest.mark.parametrize(
    "fields",
    [
        {"ids": frozenset([H.commit_id])},  # it has a place by now, and is tentative
        {"torn": {(0, 3): 4}},
        {"unsure": True},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_stray_that_may_have_another_place_is_no_violation(fields):
    history = start_with_strays([H.commit_id], [], **fields)
    assert folded(Recovery)(history) == []


def test_strays_that_are_read_otherwise_the_second_time_are_found():
    history = start_with_strays([H.commit_id], [H.commit_id])
    after = restarted().after
    change(history, Recovered, lambda _: True, again=(after, after, after))
    assert folded(Recovery)(history) != []


def test_frames_that_a_proxy_doubled_are_not_the_nodes_fault():
    history = good()
    history.transfers.repeated, history.transfers.excused = 90, True
    assert catching_up_is_cheap(history) == []


def test_an_append_without_a_place_needs_no_commit():
    history = good()
    history.appends.append(Append("ny1", draft("Z", "s"), "local", 1, 2, error="DiskFull"))
    assert violations(history) == []


def test_there_is_time_for_what_has_to_be_carried():
    usual = {"round_trip": 0.1, "heartbeat": 0.1, "pulls": 10, "sync": 0.001, "ahead": -5.0}
    fast = whole_within(missing_bytes=1000, bandwidth=None, **usual)
    slow = whole_within(missing_bytes=1000, bandwidth=100.0, **usual)
    assert slow == pytest.approx(fast + 20)
    ahead = whole_within(missing_bytes=0, bandwidth=None, **{**usual, "ahead": 7.0})
    assert ahead == pytest.approx(fast + 7)


def test_a_directory_that_was_harmed_need_not_hold_what_was_acknowledged_before():
    history = good()
    die_without_what_was_acknowledged(history)
    history.events.insert(0, Left(65.5, "ny1", frozenset(), harmed=True))
    assert acknowledged_is_kept(history) == []


def test_what_was_acknowledged_after_a_harm_has_to_be_there():
    history = good()
    die_without_what_was_acknowledged(history)
    history.damages.append(("ny1", "a bit was flipped"))
    history.events.insert(0, Left(0.0, "ny1", frozenset(), harmed=True))
    assert acknowledged_is_kept(history) != []
