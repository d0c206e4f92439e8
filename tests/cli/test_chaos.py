"""`anabranch chaos`: wrong use is a sentence; one short run with its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anabranch.cli.app import run
from anabranch.simulations.plans.kinds import REAL

PLAN = """
seed = 4
title = "One dies"
trouble = "2s"
warm_up = "500ms"
frozen = "500ms"
{sites}
[[client]]
name = "c1"
rate = 20.0
[[fault]]
kind = "{kind}"
at = "1s"
lasts = "500ms"
where = "a"
"""
SITES = "".join(f'[[site]]\nname = "{name}"\n' for name in "abc")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "cot"], "there is no fault 'cot'"),
        (["no-such-story"], "there is no file and no story"),
        (["two-sites-split", "--only", "cut"], "a plan says its own faults"),
        (["--nodes", "4"], "--nodes"),
        (["--for", "soon"], "is no duration"),
        (["--kernel", "--only", "drip"], "not possible with --kernel"),
        (["--config", "nowhere.toml"], "does not exist"),
        (["--report", "nowhere/out.html"], "the folder nowhere is not there"),
    ],
)
def test_wrong_use_is_a_sentence(capfd, arguments, says):
    assert run(["chaos", *arguments]) == 2
    told = " ".join(capfd.readouterr().err.replace("│", " ").split())
    assert says in told and "Traceback" not in told


def test_a_directory_that_is_in_use_is_refused(capfd, tmp_path):
    (tmp_path / "file").touch()
    assert run(["chaos", "--data", str(tmp_path)]) == 2
    assert "is not empty" in " ".join(capfd.readouterr().err.replace("│", " ").split())


def test_a_plan_in_which_nobody_appends_is_refused(capfd, tmp_path):
    file = tmp_path / "plan.toml"
    text = PLAN.format(sites=SITES, kind="crash")
    file.write_text(text[: text.index("[[client]]")] + text[text.index("[[fault]]") :])
    assert run(["chaos", str(file)]) == 1
    assert "has no [[client]]" in capfd.readouterr().err


def test_all_kinds_are_listed(capfd):
    assert run(["chaos", "--list"]) == 0
    listed = capfd.readouterr().out
    assert all(kind in listed for kind in REAL) and "seal-rename" in listed
    assert run(["chaos", "--list", "--json"]) == 0
    assert [one["kind"] for one in json.loads(capfd.readouterr().out)] == list(REAL)


@pytest.mark.chaos
def test_a_plan_is_run_and_told(capfd, tmp_path: Path):
    file, page, data = tmp_path / "plan.toml", tmp_path / "out.html", tmp_path / "data"
    file.write_text(PLAN.format(sites=SITES, kind="crash"))
    assert run(["chaos", str(file), "--report", str(page), "--data", str(data)]) == 0
    told = capfd.readouterr()
    assert "All that has to hold held." in told.out and "crash 1" in told.out
    assert f"Draw it again: anabranch chaos {file} --seed 4" in " ".join(told.out.split())
    assert f"logs of all nodes are in {data}" in " ".join(told.err.split())
    text = page.read_text()
    assert (
        "One dies" in text
        and "Seconds from a heal, or the last restart, until all nodes were equal" in text
    )
    assert page.with_suffix(".png").stat().st_size > 1000


def test_the_sites_and_settings_of_a_cluster_file_are_tried(tmp_path):
    from anabranch.cli.chaos import _like

    file = tmp_path / "cluster.toml"
    members = [("n1", "dc1", 1), ("n2", "dc1", 2), ("n3", "dc2", 3)]
    text = '[cluster]\nname = "x"\nshards = 5\nevict_after = 12\n[tuning]\nheartbeat = 0.3\n'
    text += "".join(
        f'[[member]]\nname = "{name}"\nsite = "{site}"\nurl = "http://10.0.0.{port}:7000"\n'
        for name, site, port in members
    )
    file.write_text(text)
    plan = _like(file, 3)
    assert plan.nodes == ("dc1-1", "dc1-2", "dc2-1") and plan.shards == 5
    assert [plan.site_of(name) for name in plan.nodes] == ["dc1-", "dc1-", "dc2-"]
    assert plan.tuning.heartbeat_seconds == 0.3 and plan.tuning.evict_after_seconds == 12
