"""The report page and its picture, of runs that were made up."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from math import inf, nan
from random import Random as Generator
from xml.etree import ElementTree as ET

import pytest

from anabranch.simulations.report import page, picture
from anabranch.simulations.report.canvas import text_width
from anabranch.simulations.report.charts import scale_of
from anabranch.simulations.report.colours import DARK, LIGHT
from anabranch.simulations.report.frame import Frame
from anabranch.simulations.report.scene import headed
from anabranch.simulations.report.series import rates, runs, thin
from anabranch.simulations.report.strips import Bar, place
from anabranch.simulations.report.svg import SvgCanvas
from anabranch.simulations.report.words import duration, figure, short
from anabranch.simulations.timeline import Span, Verdict

from .made_up_runs import (
    RUNS,
    a_week,
    empty,
    hostile,
    made_up,
    nine_nodes,
    six_seconds,
    three_sites,
    two_sites,
)

FACES = ("ink", "muted", "cut", "worse", "clock", "disk", "node", "good", "bad")


class Outline(HTMLParser):
    """What a page is made of; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in {"meta", "link", "input"}:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {run.__name__: page(run()) for run in RUNS}


@pytest.fixture(params=[run.__name__ for run in RUNS])
def name(request) -> str:
    return request.param


def drawings(text: str) -> list[ET.Element]:
    """The timelines on a page, at all widths."""
    parts = text.split('<div class="course ')[1:]
    return [ET.fromstring(part[part.index("<svg") : part.index("</svg>") + 6]) for part in parts]


def inside(drawing: ET.Element) -> str:
    return " ".join(drawing.itertext())


# -- the page ------------------------------------------------------------------------------------


def test_a_page_is_well_formed(pages, name):
    outline = Outline(pages[name])
    assert outline.tags.count("h1") == 1
    assert len(drawings(pages[name])) == (0 if name == "empty" else 3)


def test_a_page_fetches_nothing(pages, name):
    for attribute, value in Outline(pages[name]).attributes:
        assert attribute not in {"src", "srcset", "action"}
        assert attribute != "href" or value == "data:,"
    assert "http://" not in pages[name]
    assert "https://" not in pages[name]
    assert "@import" not in pages[name]


def test_a_page_names_every_node_and_every_fault(pages):
    for run in (two_sites, three_sites, nine_nodes, a_week, six_seconds):
        line, words = run(), Outline(pages[run.__name__]).words
        assert set(line.nodes) <= set(words)
        assert {fault.label for fault in line.faults} <= set(words)


def test_every_drawing_names_every_node_and_every_fault(pages):
    for run in (two_sites, three_sites, nine_nodes, a_week, six_seconds):
        line = run()
        for drawing in drawings(pages[run.__name__]):
            words = inside(drawing)
            assert all(node in words for node in line.nodes)
            assert all(fault.label in words for fault in line.faults)


def test_texts_stay_texts(pages):
    outline = Outline(pages["hostile"])
    assert "img" not in outline.tags
    assert outline.tags.count("script") == 2
    assert not [attribute for attribute, _ in outline.attributes if attribute.startswith("on")]


def test_ids_are_unique_and_patterns_are_there(pages, name):
    found = [value for attribute, value in Outline(pages[name]).attributes if attribute == "id"]
    assert len(found) == len(set(found))
    for drawing in drawings(pages[name]):
        own = {element.get("id") for element in drawing.iter("pattern")}
        used = {element.get("fill", "") for element in drawing.iter("rect")} - {""}
        assert used == {f"url(#{pattern})" for pattern in own}


def test_nothing_is_drawn_outside(pages, name):
    for drawing in drawings(pages[name]):
        _, _, width, height = map(float, drawing.get("viewBox").split())
        for rect in drawing.iter("rect"):
            assert float(rect.get("x")) >= 0
            assert float(rect.get("x")) + float(rect.get("width")) <= width + 3.1
        for text in drawing.iter("text"):
            assert 0 <= float(text.get("x")) <= width
            assert 0 <= float(text.get("y")) <= height


def test_a_page_is_small(pages, name):
    assert len(pages[name].encode()) < 320_000


@pytest.mark.parametrize("run", [three_sites, hostile])
def test_the_same_run_gives_the_same_bytes(run):
    assert page(run()) == page(run())
    assert picture(run()) == picture(run())


@pytest.mark.parametrize(
    ("change", "says", "looks"),
    [
        ({}, "All as expected. Whole again 1.3&nbsp;s after the last fault.", "verdict held"),
        ({"whole_at": None}, "All as expected. It was not seen whole again.", "verdict open"),
        ({"expected": []}, "All that has to hold held.", "verdict held"),
        ({"expected": [], "checked": []}, "Nothing was checked.", "verdict open"),
        ({"checked": [Verdict("kept", False)]}, "1 of 4 did not hold: kept.", "verdict broke"),
    ],
)
def test_the_verdict_stands_on_top(change, says, looks):
    text = page(replace(two_sites(), **change))
    assert says in text
    assert f'class="{looks}"' in text


def test_what_failed_comes_first_and_is_not_said_by_colour_alone(pages):
    text = pages["failed"]
    checks = text[text.index("What always has to hold") :]
    assert checks.index("oslo2: shard 3, number 41") < checks.index("nothing acknowledged is lost")
    assert 'aria-label="did not hold"' in checks


def test_long_tables_are_folded(pages):
    assert "All 46 of them" in pages["nine_nodes"]
    assert "<details>" not in pages["two_sites"].split("What was expected")[0]


def test_a_restart_that_is_too_short_to_see_is_marked(pages):
    line = two_sites()
    assert "every node restarted" not in pages["two_sites"].split('class="course l"')[1]
    phases = [
        replace(one, ends=one.begins) if one.kind == "restart" else one for one in line.phases
    ]
    text = page(replace(line, phases=phases))
    assert all("every node restarted" in inside(drawing) for drawing in drawings(text))


def test_one_way_says_which_way(pages):
    for drawing in drawings(pages["three_sites"]):
        assert "nothing from paris to oslo" in inside(drawing)
        assert "nothing from rome to paris" in inside(drawing)


def test_a_lag_says_for_whom_it_waits(pages):
    for drawing in drawings(pages["two_sites"]):
        assert "3 min, waits for frankfurt" in inside(drawing)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_every_face_can_be_read_on_every_ground(palette):
    assert set(LIGHT) == set(DARK)
    faces = [*FACES, *(role for role in palette if role.startswith("site") and "-" not in role)]
    for face in faces:
        for ground in ("paper", "card", "trouble", "frozen", "column"):
            assert contrast(palette[face], palette[ground]) >= 4.5, (face, ground)
    for tone in ("good", "bad", "node"):
        assert contrast(palette[tone], palette[f"{tone}-soft"]) >= 4.5, tone


def contrast(one: str, other: str) -> float:
    """As WCAG 2 counts it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    shares = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (s / 12.92 if s <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# -- the picture ---------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [two_sites, hostile, empty])
def test_a_picture_is_a_png_of_the_right_size(run):
    data = picture(run())
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[12:16] == b"IHDR"
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    assert width == 2 * (1120 + 56)
    assert height == round(2 * (headed(run(), 1120).height + 56))


# -- the parts -----------------------------------------------------------------------------------


def test_thinning_keeps_peaks():
    points = [(n / 10, 5.0) for n in range(10_000)]
    points[3333], points[7777] = (333.3, 99.0), (777.7, -40.0)
    thinned = thin(points)
    assert (333.3, 99.0) in thinned
    assert (777.7, -40.0) in thinned
    assert thinned[0] == points[0] and thinned[-1] == points[-1]
    assert len(thinned) < 12


def test_thinning_bounds_noise():
    luck = Generator("noise")
    points = [(n / 20, luck.uniform(0, 50)) for n in range(20_000)]
    thinned = thin(points)
    assert len(thinned) <= 2 * 1000 / 2.5 + 3
    assert thinned == sorted(thinned)
    assert max(y for _, y in thinned) == max(y for _, y in points)


def test_a_gap_parts_a_line():
    points = [(0.0, 1.0), (1.0, nan), (2.0, inf), (3.0, 2.0), (4.0, 3.0)]
    assert list(runs(points)) == [[(0.0, 1.0)], [(3.0, 2.0), (4.0, 3.0)]]


def test_rates_are_told_over_long_enough_stretches():
    times, counts = [0.0, 1.0, 2.0, 3.0, 4.0], [0, 10, 20, 20, 60]
    assert [rate.value for rate in rates(times, counts, 2.0)] == [10.0, 20.0]


@pytest.mark.parametrize("width", [358.0, 680.0, 1120.0])
def test_bars_of_one_lane_and_their_names_do_not_overlap(width):
    luck = Generator("bars")
    bars = [Bar(at, at + luck.uniform(0, 9), "some fault") for at in range(0, 100, 3)]
    placed = place(Frame(width, 100.0), bars)
    assert len(placed) == len(bars)
    for lane in range(5):
        named = [one for one in placed if one.lane == lane and one.label_x is not None]
        for one, following in pairwise(named):
            assert text_width("some fault", 11) + one.label_x <= following.label_x


def test_words_that_a_mark_would_cross_begin_on_its_nearer_side():
    frame = Frame(1_172.0, 100.0, (50.0,))  # ten pixels a second, and the mark at 660
    assert frame.beside_marks(600, 59, (600, 700)) == 600
    assert frame.beside_marks(600, 100, (600, 700)) == 660 - 100 - 4
    assert frame.beside_marks(640, 100, (640, 700)) == 660 + 4
    assert frame.beside_marks(640, 100, (640, 650)) == 660 - 100 - 4  # stays with what it is of
    assert frame.beside_marks(600, 1_000, (600, 700)) == 600  # there is no room


class Sayings(SvgCanvas):
    """Remembers from where to where words go that say something about a part of the drawing."""

    def __init__(self) -> None:
        super().__init__("sayings")
        self.found: list[tuple[float, float]] = []

    def text(self, x, y, words, font):
        wide = text_width(words, font.size)
        left = x - wide / 2 if font.anchor == "middle" else x
        if font.colour not in {"ink", "muted", "good", "bad"}:
            self.found.append((left, left + wide))


@pytest.mark.parametrize("run", RUNS)
def test_no_mark_crosses_what_is_said(run):
    line, sayings = run(), Sayings()
    headed(line, 1120.0).draw(sayings)
    frame = Frame(1120.0, line.length)
    marks = [frame.x(moment) for moment in (line.over_at, line.whole_at) if moment is not None]
    assert not [words for words in sayings.found for mark in marks if words[0] < mark < words[1]]


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (0, "0 s"),
        (0.0123, "12 ms"),
        (0.9996, "1 s"),
        (1.25, "1.2 s"),
        (9.96, "10 s"),
        (60, "1 min"),
        (90, "90 s"),
        (119.6, "2 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7199.7, "2 h"),
        (86_400, "1 d"),
        (531_000, "6 d 4 h"),
        (-2, "-2 s"),
        (nan, "unknown"),
    ],
)
def test_durations_in_words(seconds, says):
    assert duration(seconds) == says


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("simulated seconds", 612.0, ("simulated time", "10 min 12 s")),
        ("longest lag, seconds", 0.25, ("longest lag", "250 ms")),
        ("appends accepted", 11_994, ("appends accepted", "11,994")),
        ("anything", "else", ("anything", "else")),
    ],
)
def test_figures_in_words(key, value, says):
    assert figure(key, value) == says


def test_a_fault_in_short():
    assert short(Span("cut", "cut at a towards b", 0, 1)) == "cut"
    assert short(Span("clock", "clock at a (3600 seconds ahead)", 0, 1)) == "clock, 1 h ahead"


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [([], 0, 1), ([nan, 0.0], 0, 1), ([1, 2, 50], 0, 50), ([0.2] * 9 + [90_000], 0.1, 90_000)],
)
def test_a_scale_is_logarithmic_only_over_many_decades(values, low, high):
    scale = scale_of(values, may_be_log=True)
    assert (scale.low, scale.high) == (low, high)
    assert scale.share(scale.high) == 1.0
    assert scale.share(0.0) == 0.0


@pytest.mark.parametrize("length", [0.0, 1e-6, 0.3, 7.0, 3_600.0, 1e9])
@pytest.mark.parametrize("width", [358.0, 680.0, 1120.0])
def test_an_axis_has_a_few_ticks_at_any_length(length, width):
    assert 1 <= len(Frame(width, length).ticks()) <= 41


def test_links_that_are_too_many_for_rows_are_told_by_where_they_begin():
    sites = {f"s{letter}": 1 for letter in "abcdefgh"}
    nodes = [f"{site}1" for site in sites]
    faults = [
        Span(
            "cut",
            f"cut at {node}",
            n,
            n + 1,
            (node,),
            tuple(other for other in nodes if other != node),
        )
        for n, node in enumerate(nodes)
    ]
    words = inside(drawings(page(made_up("Many", sites, faults, length=20.0, samples=50)))[0])
    assert "links of sa" in words
    assert "links of sh" in words
