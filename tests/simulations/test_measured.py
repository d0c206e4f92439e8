"""Measured latencies and outages: what is drawn is what was published."""

from __future__ import annotations

import re
from importlib.resources import files
from random import Random
from statistics import median, quantiles

import pytest

from anabranch.simulations.plans import measured

DATA = files("anabranch.simulations").joinpath("data")
HOSTS = 120


def test_a_matrix_is_symmetric_with_nothing_on_its_diagonal():
    matrix = measured.planetlab_rtt_seconds(Random(1), 7)
    assert [len(row) for row in matrix] == [7] * 7
    for here in range(7):
        for there in range(7):
            assert matrix[here][there] == matrix[there][here]
            assert (matrix[here][there] == 0) == (here == there)


def test_all_round_trips_have_the_published_distribution():
    matrix = measured.planetlab_rtt_seconds(Random(1), HOSTS)
    pairs = [matrix[here][there] for here in range(HOSTS) for there in range(here)]
    assert quantiles(pairs, n=4) == pytest.approx([0.059, 0.135, 0.202], rel=0.12)
    assert 0 < min(pairs) < max(pairs) < 2.984


def test_more_hosts_than_were_measured_can_not_be_had():
    with pytest.raises(ValueError, match="larger than population"):
        measured.planetlab_rtt_seconds(Random(1), HOSTS + 1)


def test_a_round_trip_varies_about_its_median_and_never_without_end():
    for seed in range(20):
        series = measured.variation(Random(seed))
        assert 650 < len(series) <= 688
        assert median(series) == pytest.approx(1)
        assert 0 < min(series) <= max(series) <= measured.VARIATION_MAX


def test_outages_have_the_published_lengths():
    luck = Random(1)
    lengths = [measured.outage_seconds(luck) for _ in range(4000)]
    assert 877 < median(lengths) < 1225, "between the medians of the two monitors"
    assert 3 <= min(lengths) < max(lengths) <= 749_194
    per_monitor = {row[0]: [int(number) for number in row[1:]] for row in measured._rows("outages")}
    assert {name: (len(row), median(row), row[-1]) for name, row in per_monitor.items()} == {
        "d": (769, 1225, 749_194),
        "n": (641, 877, 112_627),
    }


@pytest.mark.parametrize(
    "draw",
    [
        lambda luck: measured.planetlab_rtt_seconds(luck, 3),
        measured.variation,
        measured.outage_seconds,
    ],
)
def test_the_same_luck_draws_the_same(draw):
    assert draw(Random(7)) == draw(Random(7))
    assert len({repr(draw(Random(seed))) for seed in range(10)}) > 3


def test_who_changes_what_was_drawn_changes_nothing_for_others():
    measured.variation(Random(1)).clear()
    assert measured.variation(Random(1))


def test_every_file_is_named_with_its_licence():
    readme = DATA.joinpath("README.md").read_text("utf-8")
    names = {entry.name for entry in DATA.iterdir()} - {"README.md"}
    assert names == set(re.findall(r"[\w.-]+\.txt(?:\.gz)?", readme))
    assert "MIT License" in DATA.joinpath("LICENSE.planetlab-seattle.txt").read_text("utf-8")
    outages = DATA.joinpath("LICENSE.outages.txt").read_text("utf-8")
    assert "Open Database License" in outages
    for source in ("DHBern/upptime_digitaleditions", "NoPlagiarism/services-personal-upptime"):
        assert source in outages
        assert source in readme


def test_all_of_it_stays_small():
    assert sum(len(entry.read_bytes()) for entry in DATA.iterdir()) < 50_000
