"""The commands as a shell sees them: status, output, and a sentence when something is wrong."""

from __future__ import annotations

import io
import json

import pytest
from fake_cluster import Serving

NOWHERE = ["--url", "http://127.0.0.1:1"]
DATUM = ["append", "s", *NOWHERE, "--type", "t", "--data"]
WRONG_USE = [
    ["nonsense"],
    ["append", "s"],
    ["append", "s", "--url", "ftp://x:1"],
    ["append", "s", *NOWHERE, "--data", "1"],
    [*DATUM, "{"],
    [*DATUM, "1", "--ack", "most"],
    [*DATUM, "1", "--expected", "-2"],
    [*DATUM, "1", "--file", __file__],
    ["append", "s", *NOWHERE, "--file", "/nowhere/at/all"],
    ["read", "s", *NOWHERE, "--limit", "0"],
    ["tail", "s", *NOWHERE, "--read", "strong"],
    ["compare", "http://127.0.0.1:1"],
    ["compare", "http://127.0.0.1:1", "127.0.0.1:2", "--wait", "soon"],
    ["drill", "cut"],
    ["drill", "cut", "ny", *NOWHERE, "--for", "0"],
    ["node", "ny1", "--config", "/nowhere/cluster.toml", "--data", "d"],
    ["demo", "--events", "3"],
]


@pytest.mark.parametrize("arguments", WRONG_USE, ids=" ".join)
def test_wrong_use_is_status_2(run, arguments):
    ran = run(*arguments)
    assert ran.status == 2
    assert "Traceback" not in ran.err


def test_help_names_every_command(run):
    from anabranch.cli.app import COMMANDS

    ran = run("--help")
    assert ran.status == 0
    assert all(name in ran.out for name in COMMANDS)


def test_version(run):
    ran = run("--version")
    assert (ran.status, ran.out.split()[0]) == (0, "anabranch")


@pytest.mark.parametrize(
    "arguments",
    [
        ["append", "s", "--type", "t", "--data", "1", "--url"],
        ["read", "s", "--url"],
        ["status", "--url"],
        ["tail", "--url"],
        ["drill", "cut", "ny", "--url"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_nobody_there_is_one_sentence(run, arguments):
    ran = run(*arguments, "http://127.0.0.1:1")
    assert ran.status == 1
    assert ran.err.startswith("anabranch: No answer from http://127.0.0.1:1: ")
    assert "Is the node running" in ran.err


def test_a_problem_is_told_in_its_own_words(run, alone: Serving):
    node = alone.nodes["ny"]
    node.refuse = [(422, {"title": "x", "detail": "The key k had another body."})]
    ran = run("append", "s", "--url", node.url, "--type", "t", "--data", "1", "--key", "k")
    assert ran.status == 1
    assert ran.err == f"anabranch: {node.url} answered 422: The key k had another body.\n"


def test_an_answer_without_a_problem_is_told_too(run, alone: Serving):
    ran = run("read", "s", "--url", alone.urls[0] + "/elsewhere")
    assert ran.status == 1
    assert ran.err.startswith("anabranch: ")


def test_append_and_read(run, alone: Serving):
    url = alone.urls[0]
    ran = run("append", "a/b", "--url", url, "--type", "made", "--data", '{"n": 1}')
    assert (ran.status, ran.out.splitlines()[0]) == (0, "a/b: 1 event at revision 0, tentative")
    ran = run("read", "a/b", "--url", url, "--json")
    assert ran.status == 0
    assert [one["data"] for one in json.loads(ran.out)["events"]] == [{"n": 1}]
    ran = run("read", "a/b", "--url", url)
    assert "made" in ran.out
    assert ran.out.splitlines()[-1] == "a/b: 1 shown, last revision 0, all settled"


def test_append_takes_events_from_a_file_and_from_a_pipe(run, alone, tmp_path, monkeypatch):
    url = alone.urls[0]
    file = tmp_path / "events.ndjson"
    file.write_text('{"type": "a"}\n\n{"type": "b"}\n')
    assert run("append", "s", "--url", url, "--file", str(file)).status == 0
    piped = io.TextIOWrapper(io.BytesIO(b"1\n2\n"))
    monkeypatch.setattr("sys.stdin", piped)
    assert run("append", "s", "--url", url, "--type", "c").status == 0
    page = json.loads(run("read", "s", "--url", url, "--json").out)
    assert [one["type"] for one in page["events"]] == ["a", "b", "c", "c"]
    assert [one["data"] for one in page["events"]][2:] == [1, 2]


def test_append_names_the_line_that_is_no_json(run, alone, tmp_path):
    file = tmp_path / "events.ndjson"
    file.write_text('{"type": "a"}\n[1]\n')
    ran = run("append", "s", "--url", alone.urls[0], "--file", str(file))
    assert ran.status == 1
    assert ran.err.startswith("anabranch: Line 2 is no JSON object")


def test_append_that_does_not_fit_shows_what_was_not_seen(run, alone):
    url = alone.urls[0]
    for n in range(2):
        run("append", "s", "--url", url, "--type", f"t{n}", "--data", str(n))
    ran = run("append", "s", "--url", url, "--type", "x", "--data", "1", "--expected", "0")
    assert ran.status == 1
    assert "409: s is at revision 1, not 0" in ran.err
    assert "revision 1: t1" in ran.err


def test_read_of_a_stream_that_never_was(run, alone):
    ran = run("read", "nothing", "--url", alone.urls[0])
    assert ran.status == 1
    assert ran.err.startswith("anabranch: There is no stream 'nothing' at ")


def test_read_goes_over_pages(run, alone):
    world = alone.world
    for n in range(1500):
        world.append("ny", "s", f"c{n}", "any", [{"id": f"e{n}", "type": "t"}])
    ran = run("read", "s", "--url", alone.urls[0], "--limit", "1200", "--json")
    page = json.loads(ran.out)
    assert [one["revision"] for one in page["events"]] == list(range(1200))
    assert page["next"] == 1200


def test_names_can_not_steer_a_terminal(run, alone):
    alone.world.append("ny", "s", "c", "any", [{"id": "e", "type": "\x1b[2Jx"}])
    ran = run("read", "s", "--url", alone.urls[0])
    assert "\x1b" not in ran.out
    assert "\\x1b[2Jx" in ran.out


def test_status_is_a_table_and_json(run, cluster):
    ran = run("status", "--url", cluster.urls[0])
    assert ran.status == 0
    assert "ny1 in ny, cluster fake: ready" in ran.out
    assert "\x1b" not in ran.out
    ran = run("status", "--url", cluster.urls[0], "--json")
    assert json.loads(ran.out)["node"] == "ny1"


def test_status_shows_what_is_under_way_among_the_members(run, cluster):
    cluster.nodes["ny"].membership = {
        "state": "changing",
        "wanted": ["remove tokyo1"],
        "waits_for": ["london1", "tokyo1"],
    }
    said = run("status", "--url", cluster.urls[0]).out
    assert "members: changing\n" in said
    assert "wants, and it is not decided: remove tokyo1; it waits for london1, tokyo1" in said


def test_drill_cuts_one_site_off_in_both_directions(run, cluster, world):
    ran = run("drill", "cut", "tokyo", "--for", "30s", "--url", cluster.urls[0])
    assert ran.status == 0
    assert world.cuts == {"ny": {"tokyo"}, "london": {"tokyo"}, "tokyo": {"london", "ny"}}
    assert "tokyo is cut off for 30 s" in ran.out
    assert run("status", "--url", cluster.urls[0]).out.count("held back by tokyo1") == 1
    ran = run("drill", "heal", "--url", cluster.urls[0])
    assert (ran.status, any(world.cuts.values())) == (0, False)


def test_drill_of_a_site_that_is_not_there(run, cluster):
    ran = run("drill", "cut", "paris", "--url", cluster.urls[0])
    assert ran.status == 1
    assert ran.err == "anabranch: There is no site 'paris' in fake; it has london, ny, tokyo.\n"


def test_drill_says_who_did_not_take_part(run, cluster):
    cluster.nodes["ny"].urls["london"] = "http://127.0.0.1:1"
    ran = run("drill", "cut", "tokyo", "--url", cluster.urls[0])
    assert ran.status == 1
    assert "1 of 3 members did not take part" in ran.err
