"""The demo: its plan, and its story told on fake nodes, whole and with each rule broken."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from fake_cluster import FakeNode, World

from anabranch.cli import demo, demo_story
from anabranch.cli.demo_cluster import Cluster, Site, free_ports, log_tail
from anabranch.cli.demo_plan import CONTESTS, SITES, contests, draw, home_of, thirds
from anabranch.cli.demo_story import Outcome, Story
from anabranch.cli.errors import CommandError

EVENTS = 900


class Silent:
    def act(self, title, events):
        pass

    def written(self, site):
        pass

    def statuses(self, seen):
        pass

    def note(self, text):
        pass


@pytest.fixture(scope="module")
def whole():
    import asyncio

    return asyncio.run(demo.recording())


def test_the_recording_is_whole(whole):
    assert len(whole) == 50_414
    assert len({event.event_id for event in whole}) == 50_414
    assert len({event.stream for event in whole}) == 25_076
    kinds = Counter(event.type for event in whole)
    assert kinds == {"created": 24_894, "deleted": 24_918, "changed": 602}


def test_every_site_gets_its_share(whole):
    share = {site: many / len(whole) for site, many in Counter(e.site for e in whole).items()}
    assert share["ny"] > share["london"] > share["tokyo"] > 0.15
    away = sum(event.site != home_of(event.stream) for event in whole) / len(whole)
    assert 0.06 < away < 0.09
    assert 0.025 < sum(event.again is not None for event in whole) / len(whole) < 0.035
    assert all(event.again != event.site for event in whole)


def test_an_order_begins_at_home(whole):
    first = {}
    for event in whole:
        first.setdefault(event.stream, event)
    assert all(event.site == home_of(stream) for stream, event in first.items())


def test_contested_orders_are_open_and_left_alone(whole):
    cut_at, heal_at = thirds(len(whole))
    fights = contests(whole, cut_at)
    assert len(fights) == CONTESTS
    streams = {fight.stream for fight in fights}
    events = [event for event in whole if event.stream in streams]
    assert all(event.number < cut_at < heal_at for event in events)
    assert not any(event.type == "deleted" for event in events)
    lengths = Counter(event.stream for event in events)
    assert all(fight.expected == lengths[fight.stream] - 1 for fight in fights)


def test_draws_are_the_same_for_ever():
    assert draw("home order-65595247") == pytest.approx(0.8885232579295632, abs=1e-12)
    assert 0 <= min(draw(str(n)) for n in range(1000)) < 0.01


async def tell(world: World, whole, monkeypatch, *, heal=True) -> Outcome:
    monkeypatch.setattr(demo_story, "SETTLE_SECONDS_UNHEALED", 0)
    monkeypatch.setattr(demo_story, "SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(demo_story, "LINKS_SECONDS", 0.2)
    monkeypatch.setattr(demo_story, "HELD_SECONDS", 0)
    monkeypatch.setattr(demo_story, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(demo_story, "HOP_SECONDS", 0)
    async with AsyncExitStack() as stack:
        sites = []
        for name in SITES:
            node = FakeNode(world, name)
            await node.server.start_server()
            stack.push_async_callback(node.server.close)
            sites.append(Site(name, f"{name}1", node.url, Path(), Path()))
        story = await stack.enter_async_context(Story(sites, whole[:EVENTS], Silent(), heal=heal))
        return await story.tell()


def broken(outcome: Outcome) -> set[str]:
    return {check.question for check in outcome.checks if check.problems}


async def test_a_story_that_ends_well(world, whole, monkeypatch):
    outcome = await tell(world, whole, monkeypatch)
    assert broken(outcome) == set()
    assert outcome.well
    assert sum(counts.total() for counts in outcome.written.values()) == EVENTS
    assert all(outcome.written[act].total() == EVENTS // 3 for act in demo_story.ACTS)
    assert outcome.winners.total() == outcome.contested > 0
    assert len(outcome.winners) == 2
    assert outcome.again.total() > 0
    assert outcome.caught_up_seconds is not None


async def test_without_the_heal_it_fails(world, whole, monkeypatch):
    outcome = await tell(world, whole, monkeypatch, heal=False)
    assert not outcome.well
    assert "All is settled everywhere" in broken(outcome)
    assert "Every event is there exactly once" in broken(outcome)


async def test_a_fold_without_duplicates_rule_fails(world, whole, monkeypatch):
    world.deduplicates = False
    outcome = await tell(world, whole, monkeypatch)
    assert "Every event is there exactly once" in broken(outcome)


async def test_a_fold_that_decides_no_conflict_fails(world, whole, monkeypatch):
    world.decides = False
    outcome = await tell(world, whole, monkeypatch)
    assert "Every contested order has exactly one winner" in broken(outcome)


async def test_a_fold_in_order_of_arrival_at_one_node_fails(world, whole, monkeypatch):
    def by_arrival(site, events):
        if site != "tokyo" or world.cut_at is not None:
            return events
        return sorted(events, key=lambda one: (one["site"] != "tokyo", one["position"]))

    world.shown = by_arrival
    outcome = await tell(world, whole, monkeypatch)
    assert "The nodes name one digest" in broken(outcome)
    assert "The histories, read and hashed here, are one" in broken(outcome)


async def test_a_cut_that_cuts_nothing_fails(world, whole, monkeypatch):
    monkeypatch.setattr(world, "drill", lambda site, cut: None)
    outcome = await tell(world, whole, monkeypatch)
    assert "The cut was real, in both directions" in broken(outcome)
    assert "Every contested order has exactly one winner" in broken(outcome)


async def test_one_id_for_the_same_request_or_the_story_ends(world, whole, monkeypatch):
    real = World.append

    def forgetful(self, site, stream, id_, expected, events):
        return real(self, site, stream, f"{site}{self.time}", expected, events)

    monkeypatch.setattr(World, "append", forgetful)
    with pytest.raises(CommandError, match="The same request got commit"):
        await tell(world, whole, monkeypatch)


def test_the_report_is_a_table_and_json(world, whole, monkeypatch, capsys):
    import asyncio
    import json

    from anabranch.cli.demo_view import print_report, report_json, terminal

    outcome = asyncio.run(tell(world, whole, monkeypatch))
    print_report(terminal(errors=False), outcome)
    said = capsys.readouterr().out
    assert "Three sites, one history." in said
    assert "\x1b" not in said
    made = report_json(outcome, dict.fromkeys(SITES, "http://x"))
    assert json.loads(json.dumps(made))["well"] is True
    assert [node["book"]["open_orders"] for node in made["nodes"]] == [
        made["nodes"][0]["book"]["open_orders"]
    ] * 3


def test_without_the_recording_it_says_where_it_would_be(run, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "ORDERS", tmp_path)
    ran = run("demo", "--data", str(tmp_path / "new"))
    assert ran.status == 1
    assert f"The recorded orders are not at {tmp_path}" in ran.err


def test_a_directory_that_is_not_empty_is_wrong_use(run, tmp_path):
    (tmp_path / "x").touch()
    assert run("demo", "--data", str(tmp_path)).status == 2


def test_ports_differ():
    assert len(set(free_ports(5))) == 5


async def test_a_node_that_ends_is_told_with_the_end_of_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "anabranch.cli.demo_cluster.sys.executable", str(_program(tmp_path, "echo broken; exit 3"))
    )
    async with Cluster(tmp_path, SITES) as cluster:
        with pytest.raises(CommandError, match=r"(?s)1 has ended with status 3.*broken"):
            await cluster.ready()


async def test_nodes_that_do_not_listen_are_killed(tmp_path, monkeypatch):
    program = _program(tmp_path, "trap '' TERM; while :; do read line < /dev/zero; done")
    monkeypatch.setattr("anabranch.cli.demo_cluster.sys.executable", str(program))
    monkeypatch.setattr("anabranch.cli.demo_cluster.STOP_SECONDS", 0.05)
    async with Cluster(tmp_path, ("ny",)) as cluster:
        process = cluster._processes["ny1"]
        assert process.poll() is None
    assert process.poll() is not None


def _program(directory: Path, body: str) -> Path:
    program = directory / "program"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


def test_the_tail_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert "no log" in log_tail(log)
    log.write_text("\n".join(str(n) for n in range(40)))
    assert log_tail(log).splitlines() == [f"  {n}" for n in range(25, 40)]
