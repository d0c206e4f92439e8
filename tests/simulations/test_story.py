"""Stories are plans in TOML: read, written, and refused with a sentence that helps."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.node.config import Tuning
from anabranch.simulations.plans.bounds import Bounds
from anabranch.simulations.plans.clients import SHAPES
from anabranch.simulations.plans.draw import plan_of
from anabranch.simulations.plans.durations import duration_text, seconds_of
from anabranch.simulations.plans.kinds import KINDS, SIMULATED
from anabranch.simulations.plans.plan import Client, Fault, Plan, Road, Site
from anabranch.simulations.plans.story import read_story, write_story
from anabranch.storage.errors import ConfigError

# -- every plan comes back as it was -------------------------------------------------------------

SITES = ("london", "new-york", "tok")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SECONDS = st.floats(0, allow_infinity=False, allow_nan=False)
NAMES = st.from_regex(r"[a-zA-Z0-9.-]{1,60}", fullmatch=True)
SHARES = st.floats(0, 1)
COUNTS = st.integers(1, 1 << 40)
NUMBERS = st.floats(allow_infinity=False, allow_nan=False)


def maybe(strategy):
    return st.none() | strategy


def faults(sites: tuple[Site, ...]):
    @st.composite
    def draw(draw):
        alone = sum(site.nodes for site in sites) == 1
        kind = draw(st.sampled_from(sorted(set(SIMULATED) - {"join" if alone else ""})))
        if kind == "join":
            return Fault(kind, draw(st.floats(0, 0.9)), where=(f"{sites[0].name}1",))
        places = st.lists(st.sampled_from([site.name for site in sites]), max_size=3).map(tuple)
        unit = KINDS[kind].unit
        amounts = SHARES if unit.startswith("share") else NUMBERS
        if unit.startswith(("times", "bytes")):
            amounts = st.floats(0, exclude_min=True, allow_infinity=False)
        every = st.floats(0, exclude_min=True, allow_infinity=False)
        return Fault(
            kind,
            draw(st.floats(0, 0.9)),
            draw(maybe(SECONDS)),
            draw(places),
            draw(places) if KINDS[kind].family == "network" else (),
            draw(maybe(amounts)) if KINDS[kind].amount is not None else None,
            draw(maybe(every)) if kind in {"flap", "strobe"} else None,
        )

    return draw()


@st.composite
def plans(draw):
    sites = tuple(Site(name, draw(st.integers(1, 4))) for name in SITES[: draw(st.integers(1, 3))])
    names = [site.name for site in sites]
    places = st.lists(st.sampled_from([*names, "london1"]), max_size=2).map(tuple)
    pairs = [(here, there) for i, here in enumerate(names) for there in names[: i + 1]]
    positive = st.floats(0, exclude_min=True, allow_infinity=False)
    roads = [
        Road(pair, draw(SECONDS), draw(SHARES), draw(SHARES), draw(maybe(positive)), draw(SHARES))
        for pair in draw(st.lists(st.sampled_from(pairs), unique=True))
    ]
    clients = [
        Client(
            name,
            draw(places),
            draw(positive),
            draw(COUNTS),
            draw(SECONDS),
            draw(maybe(SECONDS)),
            draw(st.sampled_from(sorted(SHAPES))),
            *(draw(SHARES), draw(SECONDS), draw(SHARES), draw(SHARES), draw(SHARES), draw(SHARES)),
        )
        for name in draw(st.lists(NAMES, unique=True, max_size=2))
    ]
    return Plan(
        draw(st.integers(-(1 << 62), 1 << 62)),
        sites,
        draw(TEXTS),
        draw(st.lists(TEXTS | st.sampled_from(['"', '"""', "\\", ""]), max_size=4).map("\n".join)),
        draw(st.integers(1, 4096)),
        Tuning(
            draw(SECONDS),
            draw(COUNTS),
            draw(COUNTS),
            draw(COUNTS),
            draw(st.integers(0, 1 << 40)),
        ),
        Bounds(*(draw(maybe(COUNTS)) for _ in fields(Bounds))),
        tuple(roads),
        draw(SECONDS),
        draw(st.booleans()),
        tuple(clients),
        tuple(draw(st.lists(faults(sites), max_size=3))),
        draw(SECONDS),
        draw(st.floats(0.5, allow_infinity=False, max_value=1e12)),
        draw(st.floats(0.5, allow_infinity=False, max_value=1e12)),
        draw(SECONDS),
        draw(st.sampled_from(EXPECTED)),
    )


EXPECTED = [
    {},
    {"nothing_refused": True, "refused_only": [], "conflicts_at_most": 3},
    {"whole_again_within": "1m 2.5s", "refused_at": ["london", "london1"]},
    {"settles": [{"is": False, "at": "london", "from": "1s"}, {"is": True, "during": "cut"}]},
    {"lag_at_least": {"is": "2s", "at": ["london1"], "until": "2s"}, "notes_say": ['a "b" \n']},
]


@given(plans())
def test_what_is_written_is_read_as_the_same_plan(plan):
    assert read_story(write_story(plan), "x.toml") == plan


@pytest.mark.parametrize("seed", range(200))
def test_what_seeds_draw_is_read_as_the_same_plan(seed):
    plan = plan_of(seed)
    assert read_story(write_story(plan), "x.toml") == plan


def test_only_what_differs_from_the_default_is_written():
    plan = Plan(
        7,
        (Site("london"), Site("tokyo", 2)),
        title="A cut",
        why="One line.\nAnother.\n",
        tuning=Tuning(heartbeat_seconds=1.5),
        bounds=Bounds(roots=2),
        roads=(Road(("london", "tokyo"), 0.12),),
        clients=(Client("traders", ("london",), rate=2),),
        faults=(Fault("cut", 90, 5400.035, ("london",)),),
        trouble=36_000,
        expect={"whole_again_within": "5s", "settles": {"is": False, "at": "tokyo"}},
    )
    assert (
        write_story(plan)
        == '''title = "A cut"
why = """
One line.
Another.
"""

seed = 7
trouble = "10h"

[cluster]
heartbeat = "1.5s"
roots = 2

[[site]]
name = "london"

[[site]]
name = "tokyo"
nodes = 2

[[road]]
between = ["london", "tokyo"]
latency = "120ms"

[[client]]
name = "traders"
at = "london"
rate = 2

[[fault]]
kind = "cut"
at = "1m 30s"
lasts = "1h 30m 0.035s"
where = "london"

[expect]
whole_again_within = "5s"
settles = { is = false, at = "tokyo" }
'''
    )


# -- lengths of time -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("10m", 600.0),
        ("1h 30m", 5400.0),
        ("1h30m", 5400.0),
        ("7d", 604_800.0),
        ("35ms", 0.035),
        ("0.5 ms", 0.0005),
        ("20us", 2e-5),
        ("-1h", -3600.0),
        ("0s", 0.0),
        ("1e-09s", 1e-9),
    ],
)
def test_lengths_of_time_are_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "s", "1.s", "1 hour", "1h-30m", "--1s", "1s 2", "nans"])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(ValueError, match="is no length of time"):
        seconds_of(text)


@given(st.floats(allow_infinity=False, allow_nan=False))
def test_a_length_of_time_is_written_exactly(seconds):
    assert seconds_of(duration_text(seconds)) == seconds


# -- what is measured ----------------------------------------------------------------------------

STORY = """
seed = 5
trouble = "30m"
[[site]]
name = "london"
nodes = 2
[[site]]
name = "tokyo"
[[client]]
name = "c"
at = "london"
[[fault]]
kind = "cut"
at = "10s"
where = "tokyo"
"""


def test_what_is_measured_is_drawn_from_the_seed():
    text = STORY + 'lasts = "measured"\n[[road]]\nbetween = ["london", "tokyo"]\n'
    text += 'latency = "measured"\n'
    plan = read_story(text, "x.toml")
    assert read_story(text, "x.toml") == plan
    assert 0 < plan.faults[0].lasts <= plan.healed_at - 10
    assert 0 < plan.roads[0].latency < 1
    assert read_story(write_story(plan), "x.toml") == plan
    assert read_story(text.replace("seed = 5", "seed = 6"), "x.toml") != plan


# -- what is refused -----------------------------------------------------------------------------


def changed(old: str, new: str) -> str:
    assert old in STORY
    return STORY.replace(old, new)


REFUSED = [
    ("seed = ", "x.toml is not TOML: "),
    ("", "there is no `seed`"),
    ("seed = 1", "there is no [[site]]; a story needs one"),
    (changed("seed = 5", 'seed = "5"'), "seed is '5'; write a whole number"),
    (changed("seed = 5", "seeds = 5"), "'seeds' means nothing; write 'seed'"),
    (changed('"30m"', '"0s"'), 'trouble is "0s"; write how long faults may begin'),
    (changed('"30m"', '"-5m"'), "trouble is '-5m'; write a length of time, as \"90s\""),
    (changed('"30m"', "30"), 'trouble is 30; write a length of time, as "90s"'),
    (changed("nodes = 2", "node = 2"), "[[site]] 1: 'node' means nothing; write 'nodes'"),
    (changed("nodes = 2", "nodes = 0"), "[[site]] 1: nodes is 0; write a whole number from 1 to"),
    (changed("nodes = 2", "nodes = 64"), "65 nodes; 64 are the most"),
    (changed('name = "tokyo"', 'name = "tok2"'), "[[site]] 2: name is 'tok2'; write letters"),
    (changed('name = "tokyo"', 'name = "london"'), "two sites are named 'london'"),
    (changed('name = "tokyo"', ""), "[[site]] 2: there is no `name`"),
    (changed("[[site]]", "[site]"), "not TOML"),
    ("seed = 1\nsite = 5", "[site] stands alone; write it as [[site]]"),
    ("seed = 1\nsite = [5]", "[[site]] 1 is 5; write it as a table"),
    (changed('at = "london"', 'at = "londn"'), "client 'c': there is no site or node 'londn'; "),
    (changed('name = "c"', 'name = "the c"'), "name is 'the c'; write letters"),
    (changed('name = "c"', 'name = "c"\nshape = "hotter"'), "shape is 'hotter'; write 'hot'"),
    (changed('name = "c"', 'name = "c"\nreads = 2'), "reads is 2; write a share"),
    (changed('name = "c"', 'name = "c"\nrate = 0'), "rate is 0; write a number above 0"),
    (changed('name = "c"', 'name = "c"\nrate = nan'), "rate is nan; write a number"),
    (changed('"cut"', '"cutt"'), "[[fault]] 1: kind is 'cutt'; write 'cut'"),
    (changed('"tokyo"\n', '"tokio"\n').replace("tokio", "tokyo", 1), "no site or node 'tokio'"),
    (changed('"10s"', '"2h"'), 'at is "2h", but all is healed at "30m 2s"; write an earlier'),
    (changed('"cut"', '"join"') + 'lasts = "1s"', "`lasts` means nothing for 'join'"),
    (changed('"cut"', '"join"').replace("where", "#"), "every node joins; write in `where`"),
    (STORY + "amount = 3", "[[fault]] 1: `amount` means nothing for 'cut'; leave it out"),
    (STORY + 'every = "3s"', "`every` means nothing for 'cut'"),
    (changed('"cut"', '"loss"') + "amount = 3", "amount is 3; it is a share of frames"),
    (changed('"cut"', '"slow"') + "amount = 0", "amount is 0; it is times the latency"),
    (changed('"cut"', '"flap"') + 'every = "0s"', 'every is "0s"; write how long'),
    (changed('"cut"', '"clock"') + 'amount = "one"', "amount is 'one'; write a number"),
    (changed('"cut"', '"crash"') + 'towards = "london"', "`towards` is for links"),
    (STORY + '[[road]]\nbetween = ["london"]', "between is ['london']; write two sites"),
    (STORY + '[[road]]\nbetween = ["london", "ny"]', "[[road]] 1: there is no site 'ny'"),
    (STORY + 2 * '[[road]]\nbetween = ["london", "tokyo"]\n', "[[road]] 2: there is a road"),
    (STORY + "[cluster]\nheartbeats = 1", "[cluster]: 'heartbeats' means nothing; write"),
    (STORY + "[cluster]\nshards = 5000", "[cluster]: shards is 5000; write a whole number from"),
    (STORY + "[expect]\nlag_at_mots = 1", "[expect]: lag_at_mots is 1; it means nothing; write"),
    (STORY + "[expect]\nlag_at_most = 1", "lag_at_most is 1; write a length of time"),
    (STORY + "[expect]\nsettles = { at = 'london' }", "the table has no `is`"),
    (STORY + "[expect]\nsettles = { is = true, in = 'x' }", "'in' means nothing there; write 'is'"),
    (STORY + "[expect]\nsettles = { is = true, at = 'x' }", "there is no site or node 'x'"),
    (STORY + "[expect]\nsettles = { is = true, during = 'cuts' }", "or fault 'cuts'; write 'cut'"),
    (
        STORY + "[expect]\nsettles = { is = true, during = 'cut', from = '1s' }",
        "contradict each other",
    ),
    (STORY + "[expect]\nsettles = 1", "settles is 1; write true or false"),
    (STORY + "[expect]\nnothing_refused = false", "write true, or leave it out"),
    (STORY + "[expect]\nconflicts_at_most = -1", "write a whole number from 0"),
    (STORY + "[expect]\nrefused_only = ['DiskFul']", "no error 'DiskFul'; write 'DiskFull'"),
    (STORY + "[expect]\nrefused_at = 5", "write a list of texts"),
]


@pytest.mark.parametrize(("text", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_what_makes_no_sense_is_refused_with_a_sentence(text, says):
    with pytest.raises(ConfigError) as caught:
        read_story(text, "x.toml")
    assert str(caught.value).startswith("x.toml")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_needs_real_processes_is_refused_in_a_simulation():
    text = 'seed = 1\n[[site]]\nname = "ny"\n[[fault]]\nkind = "kill-at"\nat = "1s"\n'
    text += 'point = "append-sync"\n'
    with pytest.raises(ConfigError, match="'kill-at' needs real processes; run this with"):
        read_story(text, "story.toml")
    assert read_story(text, "story.toml", real=True).faults[0].point == "append-sync"
    with pytest.raises(ConfigError, match="`point` means nothing for 'crash'"):
        read_story(text.replace("kill-at", "crash"), "story.toml", real=True)
