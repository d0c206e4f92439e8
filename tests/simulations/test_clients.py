"""What clients send follows from the seed, the client and a number, and can be worked out again."""

from __future__ import annotations

import pytest

from anabranch.simulations.plans.clients import SHAPES, Script, payload, payload_is_true
from anabranch.simulations.plans.plan import Client


@pytest.mark.parametrize("size", [0, 1, 63, 64, 1000])
def test_a_payload_is_recognised(size):
    data = payload(7, "c1", 3, 0, size)
    assert payload_is_true(7, data)
    assert not payload_is_true(8, data + b"x")


def test_a_payload_that_was_changed_anywhere_is_not():
    data = payload(7, "c1", 3, 0, 100)
    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 1
        assert not payload_is_true(7, bytes(spoilt))


def test_a_payload_of_another_seed_is_not():
    assert not payload_is_true(8, payload(7, "c1", 3, 0, 100))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_script_says_the_same_each_time_and_keeps_its_rate(shape):
    def course() -> list[object]:
        script = Script(5, Client("c", shape=shape, rate=10), lambda _: -1)
        said: list[object] = []
        for _ in range(200):
            said.append((script.pause(), script.together()))
            said += [(w.draft.stream, w.draft.entry, w.at) for w in script.write(["a1", "b1"])]
        return said

    assert course() == course()
    script = Script(5, Client("c", shape=shape, rate=10), lambda _: -1)
    rounds = [(script.pause(), script.together()) for _ in range(5000)]
    rate = sum(count for _, count in rounds) / sum(pause for pause, _ in rounds)
    assert rate == pytest.approx(10, rel=0.1)
