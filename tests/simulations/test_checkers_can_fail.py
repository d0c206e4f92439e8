"""Each checker finds nothing in a good history, and finds what was spoilt on purpose.

The history here is small and written by hand: two shards, three members, seven commits of which
one is rejected, one is kept and one is a repetition.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest

from anabranch.node.fold import ACCEPTED, KEPT, OUTCOMES, REJECTED, SHADOWED
from anabranch.node.receipt import Receipt
from anabranch.storage.commit import EXPECT_ANY, KEEP, REJECT, Draft

from .checkers import ALL, violations
from .checkers.causality import causality_respected
from .checkers.conditions import conditions_hold
from .checkers.convergence import all_converged
from .checkers.invention import nothing_invented
from .checkers.loss import nothing_lost
from .checkers.majority import settled_is_held
from .checkers.order import in_order
from .checkers.prefixes import prefixes_agree, prefixes_never_change
from .checkers.promises import promises_kept
from .checkers.quiet import no_alarms
from .checkers.real_time import real_time_respected
from .checkers.receipts import receipts_are_true
from .checkers.shown_once import shown_once
from .checkers.stamps import stamps_grow
from .history import Append, Held, History, Prefix, Promised, Row, Stamped

MEMBERS = ("ny1", "lon1", "tok1")


def draft(name, stream, expected=EXPECT_ANY, policy=REJECT, count=1):
    payloads = [f"{name} {number}".encode() for number in range(count)]
    return Draft(
        stream,
        ["t"],
        payloads,
        commit_id=name.encode() * 16,
        expected=expected,
        policy=policy,
    )


def row(shard, stamp, origin, seq, one, outcome, first):
    key = (stamp, origin - 1, origin)
    return Row(
        shard,
        key,
        seq,
        one.commit_id,
        one.stream,
        one.count,
        one.expected,
        one.policy,
        one.entry,
        outcome,
        first,
    )


A = draft("A", "s")
B = draft("B", "s", expected=0)
C = draft("C", "s", expected=0)
D = draft("D", "s", expected=0, policy=KEEP)
E = draft("E", "t", count=2)
F = draft("F", "t")
ROWS = [
    row(0, 10, 1, 1, A, ACCEPTED, 0),
    row(0, 20, 2, 1, B, ACCEPTED, 1),
    row(0, 30, 3, 1, C, REJECTED, 2),
    row(0, 40, 2, 2, A, SHADOWED, 2),
    row(0, 50, 3, 2, D, KEPT, 2),
    row(1, 15, 1, 1, E, ACCEPTED, 0),
    row(1, 60, 2, 1, F, ACCEPTED, 2),
]


def receipt(one, settled):
    shown = one.outcome in (ACCEPTED, KEPT)
    return Receipt(
        one.id,
        one.stream,
        one.key,
        one.first_revision if shown else None,
        one.first_revision + one.count - 1 if shown else None,
        settled=settled,
        acked="settled" if settled else "local",
        duplicate=False,
        outcome=OUTCOMES[one.outcome] if settled else "tentative",
    )


def good():
    """Every append took one second; those of A, D and F waited until they were settled."""
    history = History(MEMBERS)
    drafts = [A, B, C, A, D, E, F]
    for one, sent in zip(ROWS, drafts, strict=True):
        stamp, _, origin = one.key
        append = Append(MEMBERS[origin - 1], sent, "local", began=stamp - 0.5, ended=stamp + 0.5)
        if sent in (D, F):
            append.ack = "settled"
        append.receipt = receipt(ROWS[0] if sent is A else one, settled=append.ack == "settled")
        history.appends.append(append)
    history.appends.append(Append("lon1", draft("G", "s"), "local", began=70, error="Unavailable"))
    history.appends.append(Append("lon1", draft("H", "s"), "local", began=70))
    frontier: dict[tuple[int, int], int] = {}
    for one in sorted(ROWS, key=lambda row: row.key):
        stamp, _, origin = one.key
        history.steps.append(Promised(origin, stamp - 1))
        history.steps.append(Stamped(origin, one.shard, one.seq, stamp, dict(frontier)))
        frontier[one.shard, origin] = one.seq
    for name in MEMBERS:
        history.final[name] = {0: tuple(ROWS[:5]), 1: tuple(ROWS[5:])}
        for shard, rows in history.final[name].items():
            history.prefixes.append(Prefix(name, 1, "as it happened", shard, rows[:2]))
            history.prefixes.append(Prefix(name, 2, "final", shard, rows))
        history.held += [Held(name, one, MEMBERS) for one in ROWS]
    return history


def test_a_good_history_is_good():
    assert violations(good()) == []


# -- what can go wrong ---------------------------------------------------------------------------


def settle(history, node, shard, rows):
    """Let a node have settled something else in the end."""
    history.final[node] = {**history.final[node], shard: tuple(rows)}
    history.prefixes.append(Prefix(node, 2, "final", shard, tuple(rows)))


def lose_a_commit(history):
    for node in MEMBERS:
        settle(history, node, 1, ROWS[5:6])


def lose_a_commit_at_one_node(history):
    settle(history, "tok1", 1, ROWS[5:6])


def change_a_body(history):
    for node in MEMBERS:
        settle(history, node, 1, [ROWS[5]._replace(entry=b"another"), ROWS[6]])


def invent_a_commit(history):
    invented = row(1, 70, 3, 1, draft("X", "t"), ACCEPTED, 3)
    for node in MEMBERS:
        settle(history, node, 1, [*ROWS[5:], invented])


def keep_what_was_refused(history):
    refused = row(1, 70, 3, 1, draft("G", "s"), ACCEPTED, 3)
    for node in MEMBERS:
        settle(history, node, 1, [*ROWS[5:], refused])


def show_a_commit_twice(history):
    for node in MEMBERS:
        rows = [*ROWS[:3], ROWS[3]._replace(outcome=ACCEPTED), ROWS[4]._replace(first_revision=3)]
        settle(history, node, 0, rows)


def shadow_the_first_of_an_id(history):
    settle(history, "ny1", 0, [ROWS[0]._replace(outcome=SHADOWED), *ROWS[1:5]])


def change_an_outcome_over_a_restart(history):
    history.prefixes.append(Prefix("ny1", 3, "read back", 1, (ROWS[5]._replace(outcome=KEPT),)))


def change_the_order_while_running(history):
    history.prefixes.insert(0, Prefix("lon1", 1, "read", 0, (ROWS[1], ROWS[0])))


def settle_otherwise_at_one_node(history):
    history.prefixes.append(Prefix("tok1", 2, "final", 0, (ROWS[0], ROWS[2])))


def swap_two_commits(history):
    rows = (ROWS[1], ROWS[0])
    history.prefixes.append(Prefix("ny1", 1, "read", 0, rows))


def settle_a_commit_twice(history):
    history.prefixes.append(Prefix("ny1", 1, "read", 0, (ROWS[0], ROWS[0])))


def leave_a_revision_out(history):
    rows = (ROWS[5], ROWS[6]._replace(first_revision=3))
    history.prefixes.append(Prefix("ny1", 1, "read", 1, rows))


def leave_a_sequence_out(history):
    history.prefixes.append(Prefix("ny1", 1, "read", 0, (ROWS[0], ROWS[3])))


def stamp_at_the_promise(history):
    number = history.steps.index(Promised(2, 59))
    history.steps[number] = Promised(2, 60)


def stamp_below_a_promise_from_before_a_restart(history):
    history.steps.insert(0, Promised(3, 40))


def stamp_twice_the_same(history):
    """Over two shards, as a clock that forgot would."""
    late = row(1, 50, 3, 1, draft("I", "t"), ACCEPTED, 3)
    history.steps.append(Stamped(3, 1, 1, 50, {}))
    for node in MEMBERS:
        settle(history, node, 1, [ROWS[5], late, ROWS[6]])


def stamp_below_what_was_held(history):
    step = next(step for step in history.steps if isinstance(step, Stamped) and step.stamp == 20)
    history.steps[history.steps.index(step)] = step._replace(held={(0, 3): 1})


def accept_what_does_not_fit(history):
    for node in MEMBERS:
        settle(history, node, 0, [*ROWS[:2], ROWS[2]._replace(outcome=ACCEPTED), *ROWS[3:5]])


def reject_what_fits(history):
    settle(history, "lon1", 1, [ROWS[5], ROWS[6]._replace(outcome=REJECTED)])


def let_two_win(history):
    settle(history, "tok1", 0, [*ROWS[:2], ROWS[2]._replace(outcome=ACCEPTED), *ROWS[3:5]])


def drop_instead_of_keep(history):
    settle(history, "tok1", 0, [*ROWS[:4], ROWS[4]._replace(outcome=REJECTED)])


def answer_another_outcome(history):
    append = next(append for append in history.appends if append.draft is D)
    append.receipt = replace(append.receipt, outcome="accepted")


def answer_another_revision(history):
    append = next(append for append in history.appends if append.draft is F)
    append.receipt = replace(append.receipt, first_revision=7, last_revision=7)


def answer_settled_and_mean_tentative(history):
    append = next(append for append in history.appends if append.draft is F)
    append.receipt = receipt(ROWS[6], settled=False)


def order_against_the_clock_on_the_wall(history):
    """B began after D had been answered as final, and stands before it."""
    append = next(append for append in history.appends if append.draft is B)
    append.began, append.ended = 58, 59


def settle_what_a_minority_holds(history):
    history.held.append(Held("ny1", ROWS[0], ("ny1",)))


def settle_what_others_hold(history):
    history.held.append(Held("ny1", ROWS[0], ("lon1", "tok1")))


def stay_away(history):
    del history.final["tok1"]


def stay_behind(history):
    settle(history, "tok1", 1, ROWS[5:6])


def never_settle(history):
    history.unsettled = "not settled after 25 s"


def raise_an_alarm(history):
    history.alarms.append("ny1 disputes shard 0")


@pytest.mark.parametrize(
    ("check", "spoil"),
    [
        (nothing_lost, lose_a_commit),
        (nothing_lost, lose_a_commit_at_one_node),
        (nothing_lost, change_a_body),
        (nothing_invented, invent_a_commit),
        (nothing_invented, keep_what_was_refused),
        (nothing_invented, change_a_body),
        (shown_once, show_a_commit_twice),
        (shown_once, shadow_the_first_of_an_id),
        (prefixes_never_change, change_an_outcome_over_a_restart),
        (prefixes_never_change, change_the_order_while_running),
        (prefixes_agree, settle_otherwise_at_one_node),
        (prefixes_agree, let_two_win),
        (in_order, swap_two_commits),
        (in_order, settle_a_commit_twice),
        (in_order, leave_a_revision_out),
        (in_order, leave_a_sequence_out),
        (promises_kept, stamp_at_the_promise),
        (promises_kept, stamp_below_a_promise_from_before_a_restart),
        (stamps_grow, stamp_twice_the_same),
        (causality_respected, stamp_below_what_was_held),
        (conditions_hold, accept_what_does_not_fit),
        (conditions_hold, reject_what_fits),
        (conditions_hold, let_two_win),
        (conditions_hold, drop_instead_of_keep),
        (receipts_are_true, answer_another_outcome),
        (receipts_are_true, answer_another_revision),
        (receipts_are_true, answer_settled_and_mean_tentative),
        (real_time_respected, order_against_the_clock_on_the_wall),
        (settled_is_held, settle_what_a_minority_holds),
        (settled_is_held, settle_what_others_hold),
        (all_converged, stay_away),
        (all_converged, stay_behind),
        (all_converged, never_settle),
        (no_alarms, raise_an_alarm),
    ],
    ids=lambda function: function.__name__,
)
def test_what_was_spoilt_is_found(check, spoil):
    history = good()
    history.appends = [copy(append) for append in history.appends]
    spoil(history)
    assert check(history) != []


def test_every_checker_is_shown_to_fail():
    marks = test_what_was_spoilt_is_found.pytestmark
    shown = {check for mark in marks for check, _ in mark.args[1]}
    assert shown == set(ALL)


def test_what_may_happen_is_no_violation():
    """A commit that was never answered may be there or not; a receipt may be overtaken."""
    history = good()
    lost_in_a_crash = Stamped(1, 0, 2, 25, {})
    history.steps.append(lost_in_a_crash)
    history.steps.append(lost_in_a_crash._replace(stamp=61))
    unanswered = row(1, 70, 3, 1, draft("H", "s"), ACCEPTED, 2)
    assert violations(history) == []
    for node in MEMBERS:
        settle(history, node, 1, [*ROWS[5:], unanswered])
    assert nothing_invented(history) == []
    assert nothing_lost(history) == []
