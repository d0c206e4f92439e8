"""Numbers for people, and text that can't do harm."""

from __future__ import annotations

import pytest

from anabranch.cli import show
from anabranch.cli.options import node_url, seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0123, "12 ms"),
        (0.9999, "1.0 s"),
        (1.44, "1.4 s"),
        (75, "75 s"),
        (720, "12 min"),
        (18_000, "5 h"),
    ],
)
def test_durations(value, text):
    assert show.duration(value) == text


def test_numbers_and_sizes():
    assert show.number(50_414) == "50,414"
    assert (show.count(1, "event"), show.count(1200, "event")) == ("1 event", "1,200 events")
    assert (show.size(512), show.size(3277), show.size(3 * 2**40)) == (
        "512 B",
        "3.2 KiB",
        "3.0 TiB",
    )
    assert show.listing(list("abcdefg")) == "a, b, c, d, e and 2 more"


@pytest.mark.parametrize("text", ["\x1b[31m", "a\x00b", "\u202eevil", "one\ntwo", "\x9b"])
def test_control_characters_become_visible(text):
    assert show.safe(text).isprintable()
    assert show.safe(text) != text


def test_other_text_stays():
    assert show.safe("order-1 ❤ Zürich") == "order-1 ❤ Zürich"


@pytest.mark.parametrize(("text", "value"), [("30s", 30), ("500ms", 0.5), ("2m", 120), ("7", 7)])
def test_times(text, value):
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["localhost:7101", "http://localhost:7101/"])
def test_urls(text):
    assert node_url(text) == "http://localhost:7101"
