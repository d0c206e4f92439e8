"""Marks say what a campaign has reached, and what it has not."""

from __future__ import annotations

import pytest

from anabranch.simulations.marks import MARKS, SELDOM, SELDOM_FROM, Marks, merged, missing


def test_only_what_is_in_the_table_can_be_reached():
    with pytest.raises(KeyError):
        Marks().reach("a pig was seen flying")


def test_what_no_run_has_reached_is_missing():
    runs = [Marks() for _ in range(2)]
    first, *others = MARKS
    runs[0].reach(first)
    for name in others[1:]:
        runs[1].reach(name, 2)
    runs[1].reach(others[0], 0)
    total = merged(run.counts for run in runs)
    assert total[first] == 1
    assert total[others[1]] == 2
    assert missing(total) == [others[0]]
    assert missing({}) == list(MARKS)


def test_what_is_reached_seldom_is_missing_in_large_campaigns_only():
    reached = dict.fromkeys(set(MARKS) - SELDOM, 1)
    assert missing(reached, SELDOM_FROM - 1) == []
    assert set(missing(reached, SELDOM_FROM)) == SELDOM


def test_what_always_holds_is_told_at_once_when_it_does_not():
    told = []
    marks = Marks(on_broken=told.append)
    marks.always(True, "two and two are four")
    marks.always(False, "two and two are five")
    assert told == marks.broken == ["two and two are five"]
