"""Each expectation holds where it should, and fails on a course that was spoilt on purpose."""

from __future__ import annotations

from collections import Counter
from math import nan
from types import SimpleNamespace

import pytest

from anabranch.simulations.expectations import EXPECTATIONS, checked, verdicts
from anabranch.simulations.history import Append, History
from anabranch.simulations.plans.plan import Plan, Site
from anabranch.simulations.risks import FINAL
from anabranch.simulations.runner import Outcome
from anabranch.simulations.timeline import Moment, NodeSeries, Span, Timeline
from anabranch.storage.commit import Draft


def append(
    node: str, began: float, *, took: float = 0.01, error: str | None = None, **of
) -> Append:
    draft = Draft("s", ["t"], [b""], commit_id=bytes(16))
    receipt = None if error or of.get("lost") else SimpleNamespace(reached=True)
    ended = None if of.get("lost") else began + took
    return Append(node, draft, of.get("ack", "local"), began, ended, receipt, error)


def series(up: str, settled: list[int], lag: list[float], missing: list[int]) -> NodeSeries:
    return NodeSeries(up=[one == "1" for one in up], settled=settled, lag=lag, missing=missing)


def outcome(expect: dict) -> Outcome:
    """Ten seconds of two sites, cut from 4 to 7; ny1 is down at 5 and 6."""
    plan = Plan(1, (Site("lon"), Site("ny")), warm_up=2, trouble=7, frozen=1, expect=expect)
    line = Timeline(
        "t",
        "w",
        1,
        healed_at=10.0,
        over_at=7.0,
        whole_at=7.7,
        times=[float(second) for second in range(11)],
    )
    line.phases = [Span("trouble", "trouble", 2, 9)]
    line.faults = [Span("cut", "cut", 4, 7)]
    line.nodes = {
        "lon1": series(
            "1" * 11,
            [0, 1, 2, 3, 4, 4, 4, 4, 8, 9, 10],
            [0.1] * 5 + [1, 2, 3] + [0.1] * 3,
            [0] * 11,
        ),
        "ny1": series(
            "11111001111",
            [0, 1, 2, 3, 4, 4, 4, 4, 8, 9, 10],
            [0.1] * 5 + [nan, nan, 3.5] + [0.1] * 3,
            [0] * 7 + [5, 2, 0, 0],
        ),
    }
    line.risks = [Span(FINAL, "nothing becomes final at lon1: it waits for ny1", 5, 7, ("lon1",))]
    line.conflicts = [Moment(5.0, "lon1", "a conflict"), Moment(6.0, "ny1", "a conflict")]
    line.notes = [Moment(5.0, "ny1", "does not start: damage")]
    history = History(("lon1", "ny1"), whole_after=[0.7, 0.1])
    history.appends = [append(node, at + 0.5) for at in range(10) for node in ("lon1", "ny1")]
    history.appends = [
        one for one in history.appends if one.node == "lon1" or not 5 < one.began < 7
    ]
    history.appends += [
        append("ny1", 7.2, error="DiskFull"),
        append("lon1", 7.3, error="RevisionConflict"),
        append("ny1", 4.9, lost=True),
        append("lon1", 8.0, took=3.0, ack="settled"),
    ]
    return Outcome(
        plan, history, "trace", [], 20.0, timeline=line, marks=Counter({"an index was lost": 1})
    )


HOLD_AND_FAIL = {
    "whole_again_within": [("800ms", "600ms")],
    "lag_at_least": [
        ({"is": "3s", "during": "cut"}, {"is": "3.2s", "during": "cut"}),
        ({"is": "3.5s", "at": "ny"}, {"is": "1s", "at": "ny", "from": "8s"}),
        ({"is": "3s", "at": "ny"}, {"is": "1s", "at": "ny", "from": "5s", "until": "6s"}),
        ({"is": "100ms", "during": "trouble"}, {"is": "0s", "during": "drip"}),
    ],
    "lag_at_most": [
        ("3.5s", "3s"),
        ({"is": "100ms", "until": "4s"}, {"is": "100ms", "until": "5s"}),
        ({"is": "3s", "at": "lon"}, {"is": "9s", "at": "ny", "from": "5s", "until": "6s"}),
    ],
    "misses_at_least": [({"is": 5, "at": "ny1"}, {"is": 6, "at": "ny1"}), (0, 1)],
    "misses_at_most": [(5, 4), ({"is": 2, "from": "8s"}, {"is": 1, "from": "8s"})],
    "settles": [
        ({"is": False, "during": "cut"}, {"is": True, "during": "cut"}),
        ({"is": True, "until": "4s"}, {"is": False, "until": "1s"}),
        ([{"is": True, "at": "lon"}, {"is": True}], [{"is": True}, {"is": True, "during": "drip"}]),
    ],
    "waits_for": [
        ({"is": "ny", "at": "lon"}, {"is": "lon", "at": "lon"}),
        ({"is": "ny1", "at": "lon", "during": "cut"}, {"is": "ny", "at": "lon", "from": "8s"}),
        ({"is": "ny1", "at": "lon"}, {"is": ["ny1", "lon"], "at": "lon"}),
        ({"is": "ny1", "at": "lon"}, {"is": "lon", "at": "ny"}),
    ],
    "conflicts_at_least": [(2, 3), ({"is": 1, "at": "ny"}, {"is": 1, "until": "4s"})],
    "conflicts_at_most": [(2, 1), ({"is": 0, "from": "8s"}, {"is": 0, "at": "ny"})],
    "nothing_refused": [({"is": True, "at": "lon"}, True)],
    "refused_only": [("DiskFull", "Unavailable"), (["DiskFull"], ["DiskFull", "Unavailable"])],
    "refused_at": [("ny", "lon"), ("ny1", []), ({"is": [], "until": "7s"}, ["ny", "lon"])],
    "unanswered_at": [("ny", "lon"), ("ny1", []), ({"is": [], "from": "5s"}, ["ny", "lon"])],
    "accepted_at_least": [(8, 9), ({"is": 11, "at": "lon"}, {"is": 1, "at": "ny", "from": "9.6s"})],
    "accepted_at_most": [(11, 10), ({"is": 0, "at": "ny", "from": "9.6s"}, {"is": 7, "at": "ny"})],
    "writes_every": [
        ("1.6s", "900ms"),  # ny is excused while it is down
        ({"is": "1s", "at": "lon"}, {"is": "900ms", "at": "lon"}),
    ],
    "answered_within": [
        ("11ms", "9ms"),
        ({"is": "11ms", "at": "lon"}, {"is": "1s", "from": "11s"}),
    ],
    "up": [
        ({"is": True, "at": "lon"}, True),
        ({"is": False, "at": "ny", "from": "5s", "until": "6s"}, {"is": False, "at": "ny"}),
    ],
    "notes_say": [
        ("does not start", "starts at once"),
        ({"is": "does not start", "at": "ny1"}, {"is": "does not start", "at": "lon1"}),
        ({"is": "damage", "from": "5s"}, {"is": "damage", "from": "6s"}),
    ],
    "reaches": [("an index was lost", "the disk was full")],
}
ROWS = [(key, *row) for key, rows in HOLD_AND_FAIL.items() for row in rows]


def test_every_expectation_is_held_against_a_course():
    assert set(HOLD_AND_FAIL) == set(EXPECTATIONS)


@pytest.mark.parametrize(("key", "holds", "fails"), ROWS)
def test_an_expectation_holds_and_can_fail(key, holds, fails):
    assert all(one.held for one in verdicts(outcome({key: holds})))
    assert not all(one.held for one in verdicts(outcome({key: fails})))


def test_what_was_never_whole_is_not_whole_again():
    found = outcome({"whole_again_within": "1h"})
    found.history.unsettled = "3 commits are tentative"
    assert [(one.held, one.detail) for one in verdicts(found)] == [
        (False, "3 commits are tentative")
    ]


def test_a_verdict_says_what_where_when_and_what_was_found():
    (found,) = verdicts(
        outcome({"lag_at_most": {"is": "2s", "at": "ny", "from": "3s", "until": "8s"}})
    )
    assert found.label == "finality is 2s behind at most at ny, from 3s until 8s"
    assert found.detail == "at most: ny1 3.5 s at 7s"


def test_what_always_has_to_hold_is_told_by_checker():
    found = outcome({})
    assert all(one.held for one in checked(found.violations))
    found.violations.append("nothing_lost: commit 5")
    assert [(one.label, one.detail) for one in checked(found.violations) if not one.held] == [
        ("nothing lost", "commit 5")
    ]
