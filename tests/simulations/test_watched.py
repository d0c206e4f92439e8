"""A watched world writes down what happens, judges it at once, and changes nothing."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

from anabranch.simulations.checkers import ONLINE, violations
from anabranch.simulations.checkers.check import folded
from anabranch.simulations.history import Fed
from anabranch.simulations.watch.watched import WatchedWorld
from anabranch.storage.commit import Draft
from anabranch.storage.limits import SILENCE_SECONDS
from anabranch.storage.stamp import HybridClock

from .stories import THREE, in_virtual_time


def draft(number):
    return Draft(f"s{number % 3}", ["t"], [b"%d" % number], commit_id=b"%16d" % number)


async def busy(world, *, appends=40):
    """Appends at all nodes, a crash and a lost index amid them."""
    await world.start()
    for number in range(appends):
        name = world.names[number % 3]
        if world.is_up(name):
            world.append(name, draft(number), "local", 4.0)
        if number == appends // 2:
            await world.crash("tok1")
            world.lose_index("tok1")
            await world.start("tok1")
            world.append("tok1", draft(2000), "local", 4.0)  # it is not sure of its directory yet
        await world.append("ny1", draft(1000 + number), "settled", 4.0)
        world.note_prefixes("lon1", "read")
    world.note_heal()
    await world.until_settled()
    world.history.whole_after.append(0.0)
    await world.calm_down()
    world.finish()


@in_virtual_time
async def test_a_busy_world_is_found_good_and_everything_is_seen():
    world = WatchedWorld(1, THREE, record=True)
    await busy(world)
    history = world.history
    assert violations(history) == []
    kinds = {type(event) for event in history.events}
    over_http = {Fed}  # readers of real processes
    assert kinds == {kind for check in ONLINE for kind in check.takes} - over_http
    assert [problem for check in ONLINE for problem in folded(check)(history)] == []
    assert len(history.rows()) == len(history.bodies) > 70
    assert history.starts == {"ny1": 1, "lon1": 1, "tok1": 2}
    assert history.seen >= {
        "an index was lost",
        "a lost index came back",
        "a stray was appended again",
    }
    placed = {row.key: row.id for row in history.rows()}
    taken = {append.key: append.draft.commit_id for append in history.appends}
    assert [(placed[copy], before in placed) for copy, before in history.again.items()] == [
        (draft(2000).commit_id, False)
    ]
    assert [taken[before] for before in history.again.values()] == [draft(2000).commit_id]
    assert history.whole_within > SILENCE_SECONDS
    assert {gauge.what: gauge.value for gauge in history.gauges}["tasks"] == 39
    await world.stop()


@in_virtual_time
async def test_what_is_judged_at_once_and_in_the_end_is_the_same():
    """A clock that does not move for what it sees stamps effects before their causes."""
    world = WatchedWorld(2, THREE, record=True)
    world.clocks["tok1"].offset_ms = 200
    with patch.object(HybridClock, "observe", lambda self, stamp: None):
        await world.start()
        for number in range(12):
            await world.append(world.names[2 - number % 3], draft(number), "local", 4.0)
            await asyncio.sleep(0.05)
    live = {(violation.check, violation.problem) for violation in world.history.violations}
    later = {(c.name, problem) for c in ONLINE for problem in folded(c)(world.history)}
    assert live == later != set()
    assert world.history.first_violation.at < world.loop_time()
    await world.stop()


@in_virtual_time
async def test_an_append_is_lost_for_a_reason():
    world = WatchedWorld(3, THREE)
    await world.start("ny1")
    task = world.append("ny1", draft(1), "settled", 60.0)
    await world.crash("ny1")
    await task
    assert [append.lost for append in world.history.appends] == ["crash"]
    assert "an append was lost in a crash" in world.history.seen


@in_virtual_time
async def test_a_node_with_an_excuse_is_not_probed():
    world = WatchedWorld(4, THREE)
    await world.start("ny1", "lon1")
    world.clocks["lon1"].offset_ms = 3_600_000
    world.clocks["lon1"].wall_ms()
    await world.probe("ny1", draft(1), 1.0)
    await world.probe("tok1", draft(2), 1.0)
    assert world.history.probes == []


@in_virtual_time
async def test_a_node_that_is_cut_off_takes_appends_and_serves_reads():
    world = WatchedWorld(5, THREE)
    await world.start()
    world.cut_off({"ny1"})
    await world.probe("ny1", draft(1), 1.0)
    probes = [(p.kind, p.error, p.ended - p.at < 0.1) for p in world.history.probes]
    assert probes == [("read", None, True), ("append", None, True)]
    await world.stop()


@in_virtual_time
async def test_ends_and_starts_of_one_node_may_wait_for_each_other():
    """Seed 3208: a node that had come back was stopped by who had waited for its crash."""
    world = WatchedWorld(1, THREE)
    await world.start()
    waiting = world.append("ny1", draft(1), "settled", 4.0)
    ends = (world.crash("ny1"), world.start("ny1"), world.stop_one("ny1"), world.crash("ny1"))
    assert await asyncio.gather(*ends) == [True, None, True, False]
    await asyncio.gather(waiting, return_exceptions=True)
    assert world.history.appends[0].lost == "crash"
    await world.stop()
