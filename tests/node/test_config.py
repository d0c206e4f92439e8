"""The file of a cluster: which numbers come of it, and what is wrong with it in a sentence."""

from __future__ import annotations

import pytest

from anabranch.node.config import Tuning, parse
from anabranch.storage.errors import ConfigError
from anabranch.storage.limits import EVICT_AFTER_SECONDS

MEMBER = '[[member]]\nname = "a"\nsite = "x"\nurl = "http://127.0.0.1:7101"\n'


def tuning(line: str) -> Tuning:
    return parse(f'[cluster]\nname = "c"\n{line}\n{MEMBER}').tuning


def test_nothing_said_is_the_usual():
    assert tuning("") == Tuning()
    assert tuning("").evict_after_seconds == EVICT_AFTER_SECONDS


@pytest.mark.parametrize(
    ("line", "seconds"),
    [("evict_after = 90", 90.0), ("evict_after = 12.5", 12.5), ('evict_after = "off"', None)],
)
def test_evict_after(line, seconds):
    assert tuning(line).evict_after_seconds == seconds


@pytest.mark.parametrize(("word", "all_confirm"), [("all", True), ("majority", False)])
def test_confirm(word, all_confirm):
    assert tuning(f'confirm = "{word}"').all_confirm is all_confirm


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("evict_after = 0", 'evict_after is 0; use seconds, 10 or more, as 60, or "off"'),
        ("evict_after = inf", "evict_after is inf"),
        ("evict_after = nan", "evict_after is nan"),
        ("evict_after = true", "evict_after is True"),
        ('evict_after = "never"', "evict_after is 'never'"),
        ("confirm = 2", 'confirm is 2; use "majority" or "all"'),
        ('confirm = "most"', "confirm is 'most'"),
        ("evict = 1", "known are confirm, evict_after, name, shards"),
    ],
)
def test_what_makes_no_sense_is_refused(line, says):
    with pytest.raises(ConfigError) as caught:
        tuning(line)
    assert says in str(caught.value)


def tuned(line):
    return parse(f'[cluster]\nname = "c"\n[tuning]\n{line}\n{MEMBER}').tuning


def test_numbers_for_speed_and_memory():
    got = tuned("heartbeat = 0.2\nsegment_bytes = 65536\ncompare = 2\nmax_clock_offset = 1.5")
    assert got == Tuning(
        heartbeat_seconds=0.2, segment_bytes=65536, compare_seconds=2, max_clock_offset_ms=1500
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("heartbeat = 0", "heartbeat is 0; use seconds from 0.01 to 1"),
        ("heartbeat = nan", "heartbeat is nan"),
        ("segment_bytes = 1e6", "segment_bytes is 1000000.0; use a whole number from 4096 to"),
        ("segment_bytes = true", "segment_bytes is True"),
        ('scrub = "7d"', "scrub is '7d'; use seconds"),
        ("sync = 1", "[tuning] has sync, which means nothing; known are compare, heartbeat"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(line, says):
    with pytest.raises(ConfigError) as caught:
        tuned(line)
    assert says in str(caught.value)
