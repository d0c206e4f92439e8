"""`anabranch simulate` with a story, or one seed."""

from __future__ import annotations

import json
import logging

import pytest

from anabranch.cli import simulate
from anabranch.cli.simulate_run import Teller, live, progress
from anabranch.simulations.plans.draw import plan_of
from anabranch.simulations.plans.plan import Plan, Site
from anabranch.simulations.plans.story import read_story

STORY = """
title = "A cut between two"
why = "Writing goes on at both sides."
seed = 5
warm_up = "500ms"
trouble = "2s"

[[site]]
name = "ny"

[[site]]
name = "lon"

[[client]]
name = "c"
rate = 10

[[fault]]
kind = "cut"
at = "700ms"
lasts = "1s"
where = ["lon"]

[expect]
{expect}
"""


@pytest.fixture
def story(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(expect="accepted_at_least = 1", name="cut.toml"):
        (tmp_path / name).write_text(STORY.format(expect=expect))
        return name

    return write


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["no-such-story"],
        ["nowhere/no-such-story.toml"],
        ["--seeds", "9..1"],
        ["--seeds", "some"],
        ["--seeds", "1..2", "--seed", "3"],
        ["--seed", "3"],
        ["--seeds", "1..2", "--jobs", "0"],
        ["--seeds", "1..2", "--dask", "nonsense"],
        ["two-sites-split", "--report", "nowhere/out.html"],
        ["two-sites-split", "--png", "nowhere/out.png"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_status_2(run, arguments):
    ran = run("simulate", *arguments)
    assert ran.status == 2
    assert "Traceback" not in ran.err


def test_a_story_is_told_from_why_to_trace(run, story):
    ran = run("simulate", story('whole_again_within = "20s"'))
    assert ran.status == 0, ran.out
    for said in ("A cut between two", "Writing goes on", "cut at lon", "Trace: ", "Answers: "):
        assert said in ran.out
    assert "anabranch simulate cut.toml" in ran.out
    assert ran.err == ""


def test_what_was_expected_and_did_not_come_is_status_1(run, story):
    ran = run("simulate", story("conflicts_at_least = 1000"))
    assert ran.status == 1
    assert "NO" in ran.out


def test_json_is_one_document_and_the_same_each_time(run, story):
    first, second = (run("simulate", story(), "--json") for _ in range(2))
    data = json.loads(first.out)
    assert data["faults"][0]["kind"] == "cut"
    assert data["seed"] == 5
    again = json.loads(second.out)
    assert data.pop("real_seconds") > 0 < again.pop("real_seconds")
    assert data == again


def test_another_seed_runs_another_way(run, story):
    name = story()
    traces = [
        json.loads(run("simulate", name, "--json", *more).out)["trace"]
        for more in ([], ["--seed", "6"], ["--seeds", "6..6"])
    ]
    assert traces[0] != traces[1] == traces[2]


def test_a_story_that_can_not_be_read_is_one_sentence(run, story):
    ran = run("simulate", story("nonsense = 1"))
    assert ran.status == 1
    assert ran.err.startswith("anabranch: cut.toml: ")
    assert ran.err.count("\n") == 1


def test_bytes_that_are_no_text_are_one_sentence(run, tmp_path):
    (tmp_path / "story.toml").write_bytes(b"\xff\xfe")
    ran = run("simulate", tmp_path / "story.toml")
    assert ran.status == 1
    assert "not UTF-8" in ran.err


def test_the_report_is_a_page_and_a_picture_beside_it(run, story, tmp_path):
    ran = run("simulate", story(), "--report", "out.html")
    assert "Written: out.html" in ran.out and "Written: out.png" in ran.out
    assert "A cut between two" in (tmp_path / "out.html").read_text()
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_may_be_elsewhere(run, story, tmp_path):
    run("simulate", story(), "--png", "other.png")
    assert [path.name for path in tmp_path.glob("*.png")] == ["other.png"]
    assert not list(tmp_path.glob("*.html"))


def test_stories_that_come_along_are_listed_and_run_by_their_names(
    run, story, monkeypatch, tmp_path
):
    story(name="a-cut.toml")
    monkeypatch.setattr(simulate, "STORIES", tmp_path)
    assert "a-cut  " in run("simulate", "--list").out
    listed = json.loads(run("simulate", "--list", "--json").out)
    assert listed == [{"name": "a-cut", "title": "A cut between two"}]
    assert simulate.load("a-cut") == simulate.load("a-cut.toml")
    assert "did you mean a-cut?" in " ".join(run("simulate", "a-cat").err.replace("│", "").split())


def test_all_that_come_along_can_be_read():
    for path in simulate.STORIES.glob("*.toml"):
        assert simulate.load(path.stem).title


# -- verbosity -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "there", "absent"),
    [
        ("-v", ["-- heal", "cut at lon", "begins"], [": append "]),
        ("-vv", ["-- heal", "begins", ": append ", ", ack local", ": tentative"], [": info "]),
        ("-vvv", ["begins", ": append ", ": info "], []),
    ],
)
def test_verbosity(run, story, flag, there, absent):
    ran = run("simulate", story(), flag)
    assert all(text in ran.err for text in there)
    assert not any(text in ran.err for text in absent)
    times = [float(line.split(" s  ")[0]) for line in ran.err.splitlines() if " s  " in line]
    assert times == sorted(times)


def test_logs_are_as_before_afterwards(run, story):
    before = logging.root.manager.disable, logging.getLogger("anabranch").handlers[:]
    run("simulate", story(), "-vvv")
    assert (logging.root.manager.disable, logging.getLogger("anabranch").handlers) == before


def test_how_far_a_run_is_can_be_read():
    plan = Plan(1, (Site("ny"),))
    assert str(progress(plan, "trouble", 3.5, 0.5)).endswith(
        " trouble, 3.5 s simulated, 7 times real time"
    )
    with live(plan, Teller(0)):
        pass  # no terminal: nothing is shown


# -- what fails ----------------------------------------------------------------------------------


def test_what_fails_is_reduced_to_a_story_that_still_does(run, story, tmp_path):
    ran = run("simulate", story("accepted_at_least = 1000"), "--shrink")
    assert ran.status == 1
    assert "Reduced in" in ran.err
    reduced = read_story((tmp_path / "failed-cut.toml").read_text(), "failed")
    assert reduced.faults == ()
    assert reduced.seed == 5
    assert run("simulate", "failed-cut.toml").status == 1


def test_one_seed_is_told_as_a_story_is(run):
    ran = run("simulate", "--seeds", "3..3")
    assert "Seed 3" in ran.out
    assert "anabranch simulate --seeds 3..3" in ran.out
    assert plan_of(3).nodes[0].rstrip("0123456789") in ran.out


def test_a_run_that_raises_says_where_and_can_be_reduced(run, story, tmp_path, monkeypatch):
    from anabranch.cli import simulate_pools, simulate_run

    def broken(plan, **_):
        raise KeyError(len(plan.faults))

    monkeypatch.setattr(simulate_run, "run_plan", broken)
    monkeypatch.setattr(simulate_pools, "run_plan", broken)
    ran = run("simulate", story(), "--shrink")
    assert ran.status == 1
    assert "Traceback" in ran.err
    assert "The run did not come to its end: raised KeyError: 1 (test_simulate.py:" in ran.err
    assert read_story((tmp_path / "failed-cut.toml").read_text(), "failed").faults == ()


def test_fresh_seeds_are_others_each_time():
    first, second = simulate.seeds_of("fresh"), simulate.seeds_of("fresh")
    assert len(first) == len(second) == simulate.FRESH_SEEDS
    assert first != second
