"""The demo and a few commands on real node processes, in small."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest


def command(*arguments):
    return [sys.executable, "-m", "anabranch", *arguments]


def ran(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


def test_three_sites_one_history(tmp_path):
    demo = ran("demo", "--events", "1500", "--json", "--data", str(tmp_path))
    assert demo.returncode == 0, demo.stderr + demo.stdout
    told = json.loads(demo.stdout)
    assert told["well"] is True
    assert [node["events"] for node in told["nodes"]] == [1500 + told["conflicts"]["orders"]] * 3
    assert len({node["digest"] for node in told["nodes"]}) == 1
    assert len({node["history_hash"] for node in told["nodes"]}) == 1
    assert all(node["held_back_by"] for node in told["while_cut"])


def test_with_the_heal_taken_out_it_fails(tmp_path):
    demo = ran("demo", "--events", "1000", "--json", "--no-heal", "--data", str(tmp_path))
    assert demo.returncode == 1
    told = json.loads(demo.stdout)
    broken = {check["question"] for check in told["checks"] if not check["well"]}
    assert "All is settled everywhere" in broken
    assert "Every event is there exactly once" in broken
    assert "The cut was real, in both directions" not in broken


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The URLs of a cluster that a demo left up."""
    arguments = ["demo", "--events", "1000", "--keep", "--data", str(tmp_path_factory.mktemp("d"))]
    with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, text=True) as process:
        urls = []
        for line in process.stdout:
            if " process " in line:
                urls.append(line.split()[1])
            if "Ctrl-C stops" in line:
                break
        yield urls
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_kept_cluster_is_one(kept):
    assert len(kept) == 3
    assert ran("compare", *kept, "--wait", "10s").returncode == 0
    assert ran("status", "--url", kept[0]).returncode == 0


def test_append_here_and_read_it_settled_there(kept):
    made = ran(
        *("append", "t/ä b", "--url", kept[0], "--type", "made", "--data", '{"n":1}'),
        *("--ack", "settled", "--expected", "none", "--json"),
    )
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["outcome"] == "accepted"
    assert ran("compare", *kept, "--wait", "10s").returncode == 0
    page = json.loads(ran("read", "t/ä b", "--url", kept[2], "--read", "settled", "--json").stdout)
    assert [(one["type"], one["data"]) for one in page["events"]] == [("made", {"n": 1})]
    again = ran(
        *("append", "t/ä b", "--url", kept[1], "--type", "made", "--data", "2"),
        *("--expected", "none"),
    )
    assert again.returncode == 1
    assert "409" in again.stderr


def test_a_level_of_a_later_version_says_so(kept):
    asked = ran("append", "s", "--url", kept[0], "--type", "t", "--data", "1", "--ack", "quorum")
    if asked.returncode:  # this version
        assert "501" in asked.stderr
        assert "Traceback" not in asked.stderr
