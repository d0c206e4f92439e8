"""Situations are drawn now and then, are stories too, and say where nothing has an excuse."""

from __future__ import annotations

from random import Random as Generator

import pytest

from anabranch.simulations.plans.calm import calm_of
from anabranch.simulations.plans.plan import Fault, Plan, Site
from anabranch.simulations.plans.situations import SITUATIONS, situation_of
from anabranch.simulations.plans.story import read_story, write_story
from anabranch.simulations.world.index import SimIndex

THREE = (Site("ny"), Site("lon"), Site("tok"))


def test_few_seeds_draw_a_situation():
    drawn = sum(situation_of(seed) is not None for seed in range(10_000))
    assert 0.1 < drawn / 10_000 < 0.2
    assert sum(SITUATIONS.values()) < 0.2


@pytest.mark.parametrize("draw", SITUATIONS, ids=lambda draw: draw.__name__)
def test_a_situation_can_be_told_as_a_story(draw):
    for seed in range(10):
        plan = draw(Generator(seed), seed)
        assert read_story(write_story(plan), "situation") == plan


def test_one_clock_that_is_ahead_is_the_trouble_of_its_own_node():
    fault = Fault("clock", 1.0, 2.0, ("lon1",), amount=3.0)
    calm = calm_of(Plan(1, THREE, faults=(fault,)))
    assert calm.nodes == {"ny1", "tok1"}
    assert calm.ahead == ("lon1", 1.0, 3.0)
    assert calm_of(Plan(1, THREE[:2], faults=(fault,))) is None
    assert calm_of(Plan(1, THREE, faults=(fault, fault))) is None


def test_an_index_keeps_what_was_flushed_and_a_first_part_of_the_rest():
    kept = set()
    for seed in range(40):
        index = SimIndex(Generator(seed))
        index.write([(b"0", b"")])
        index.flush()
        for number in (1, 2, 3):
            index.write([(b"%d" % number, b""), (b"x", b"%d" % number)])
        index.crash()
        count = len(list(index.scan(b"0", b"9")))
        assert index.get(b"x") == (b"%d" % (count - 1) if count > 1 else None)
        kept.add(count)
    assert kept == {1, 2, 3, 4}
