"""Every planted bug fits the code as it is, and leaves no trace when it is gone."""

from __future__ import annotations

import pytest

from anabranch.gossip.frontier import Frontier

from .bugs import EVERY
from .bugs.registry import edited


@pytest.mark.parametrize("name", EVERY)
def test_a_bug_can_be_planted(name):
    with EVERY[name]():
        pass


def test_an_edit_lasts_as_long_as_its_context():
    frontier = Frontier()
    with edited(Frontier.advance, ("seq <= self", "seq < self")):
        assert frontier.advance((0, 1), 0)
    assert not frontier.advance((0, 1), 0)


def test_an_edit_reaches_those_who_hold_the_function_already():
    held = Frontier().advance
    with edited(Frontier.advance, ("return True", "return False")):
        assert not held((0, 1), 1)
    assert held((0, 1), 2)


@pytest.mark.parametrize("old", ["no such text", "seq"])
def test_an_edit_that_is_not_one_place_is_refused(old):
    with pytest.raises(AssertionError, match="not once"), edited(Frontier.advance, (old, "")):
        pass
