"""Bugs that the simulator found in the real code, each as the smallest story that shows it.

Each is shown to fail again where the bug is planted again.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from anabranch.simulations.plans.story import read_story
from anabranch.simulations.runner import run_plan

from .bugs import EVERY

FOLDER = Path(__file__).parent / "regressions"
BUG_OF = {
    "a-block-read-wrong-before": "know damage that was read wrong",
    "a-copy-reported-to-its-original": "report to a start that has a newer one",
    "a-copy-met-first": "tell nobody which starts were before",
    "a-late-report": "keep the counter of another start",
    "a-newcomer-in-doubt": "number again what a founder made",
    "a-newcomer-without-addresses": "dial nobody but members",
    "a-start-without-room": "count a start that is not kept",
    "a-witness-that-was-removed": "ask none but the members of now",
    "an-answer-from-a-damaged-disk": "answer damage as if nothing was written",
    "a-write-that-failed": "answer a failed write as if nothing was written",
    "a-flipped-bit": "take a frame whatever its sum says",
    "a-narrow-link": "send a batch that was too much again in full",
    "a-slow-link": "take a message for as new as it is read",
    "an-overtaken-report": "sum each frame by itself",
    "founders-that-met-first": "refuse what a founder made who never was one",
    "much-that-nobody-got": "wait for what only the one before had",
    "two-commits-with-one-key": "remove the first of two that have one key",
    "two-starts-at-once": "vouch for two starts",
}


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def plan_of(name):
    file = FOLDER / f"{name}.toml"
    return read_story(file.read_text("utf-8"), file.name)


def test_every_regression_has_its_bug():
    assert sorted(BUG_OF) == sorted(file.stem for file in FOLDER.glob("*.toml"))


@pytest.mark.parametrize("name", BUG_OF)
def test_it_is_mended(name):
    assert run_plan(plan_of(name)).violations == []


@pytest.mark.parametrize("name", BUG_OF)
def test_it_would_be_found_again(name):
    with EVERY[BUG_OF[name]]():
        assert run_plan(plan_of(name)).violations != []
