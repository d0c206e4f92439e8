"""Who is suspected: since when, what waits for it, and what will happen; in status and log."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from datetime import datetime

import pytest

from anabranch.node.members_api import MembersApi
from anabranch.node.metrics import metrics
from anabranch.node.status import status
from anabranch.tests.simulations.stories import in_virtual_time

from .test_members_api import NEVER, PAIRS, ask, founded, names


@in_virtual_time
async def test_a_silent_member_is_suspected_and_all_is_said_of_it():
    world = await founded()
    await world.crash("tok1")
    await asyncio.sleep(10)
    said = MembersApi(world.nodes["ny1"]).members()
    (tok,) = [one for one in said["members"] if one["name"] == "tok1"]
    assert 9 < tok["silent_seconds"] < 11
    assert tok["suspected_since"] is not None
    assert tok["will_be"] == "not removed by itself: it is the last one of its site"
    said = status(world.nodes["ny1"])
    assert [one["name"] for one in said["suspected"]] == ["tok1"]
    (need,) = [one for one in said["needs"] if one.startswith("tok1 was last heard")]
    assert "nothing new becomes final without it" in need
    assert b'anabranch_suspected_seconds{member="tok1"}' in metrics(world.nodes["ny1"])


@in_virtual_time
async def test_the_status_says_what_waits_for_whom_and_since_when():
    world = await founded()
    node = world.nodes["ny1"]
    calm = {"state": "stable", "wanted": [], "waits_for": []}
    assert status(node)["membership"] == calm
    await world.crash("tok1")
    began = node.clock.wall_ms()
    await asyncio.sleep(10)
    (tok,) = status(node)["suspected"]
    assert tok["waits"] == "settlement"
    assert abs(milliseconds_of(tok["since"]) - began) < 200
    assert status(node)["membership"] == calm
    await world.crash("lon1")
    await asyncio.sleep(10)
    code, said = await ask(world, "ny1", "evict", name="tok1", timeout=0)
    assert (code, said["waits_for"]) == (202, ["lon1", "tok1"])
    assert status(node)["membership"] == {
        "state": "stable",
        "wanted": ["remove tok1"],
        "waits_for": ["lon1", "tok1"],
    }
    waits = [one["waits"] for one in status(node)["suspected"]]
    assert waits == ["settlement and every change of members"] * 2
    (need,) = [one for one in status(node)["needs"] if tok["since"] in one]
    assert need == (
        f"tok1 was last heard 20 s ago ({tok['since']}), and nothing new becomes final without it, "
        "nor do members change without a majority: start it. It is not removed by itself: it is "
        "the last one of its site"
    )


def milliseconds_of(text: str) -> float:
    return 1000 * datetime.fromisoformat(text).timestamp()


@in_virtual_time
async def test_one_of_two_of_a_site_is_said_to_be_removed_and_is():
    world = await founded(PAIRS)
    await world.crash("tok2")
    await asyncio.sleep(20)
    (tok,) = status(world.nodes["ny1"])["suspected"]
    assert tok["will_be"].startswith("removed in 4")
    await asyncio.sleep(60)
    said = MembersApi(world.nodes["ny1"]).members()
    assert "tok2" not in names(said)
    assert names(said, "removed") == ["tok2"]


@in_virtual_time
async def test_without_evict_after_nobody_is_said_to_be_removed():
    world = await founded(PAIRS, NEVER)
    await world.crash("tok2")
    await asyncio.sleep(100)
    (tok,) = status(world.nodes["ny1"])["suspected"]
    assert tok["will_be"] == "not removed by itself: evict_after is off"


def said_of_suspects(caplog: pytest.LogCaptureFixture) -> dict[str, int]:
    """What nodes have logged of suspects, and how many of them have, since one last looked."""
    said = [one.getMessage() for one in caplog.records if one.name.endswith("suspects")]
    caplog.clear()
    when = re.compile(r"[0-9]+ s ago \([0-9-]+T[0-9:.]+Z\)")
    return Counter(
        re.sub("removed in [0-9]+ s", "removed in N s", when.sub("N", one)) for one in said
    )


@in_virtual_time
async def test_the_log_tells_who_is_suspected_and_who_is_heard_again(caplog):
    world = await founded()
    await world.crash("tok1")
    await asyncio.sleep(30)
    assert said_of_suspects(caplog) == {
        "tok1 was last heard N, and nothing new becomes final without it: start it. It is not "
        "removed by itself: it is the last one of its site": 2
    }
    await world.start("tok1")
    await asyncio.sleep(5)
    assert said_of_suspects(caplog) == {"tok1 is heard again": 2}


@in_virtual_time
async def test_the_log_says_so_again_when_something_else_will_happen(caplog):
    world = await founded(PAIRS)
    waits = "was last heard N, and nothing new becomes final without it"
    await world.crash("tok2")
    await asyncio.sleep(20)
    assert said_of_suspects(caplog) == {f"tok2 {waits}: start it. It is removed in N s": 5}
    await world.crash("tok1")
    await asyncio.sleep(20)
    stays = "It is not removed by itself while {} of its site can't say so too"
    assert said_of_suspects(caplog) == {
        f"tok2 {waits}: start it. {stays.format('tok1')}": 4,
        f"tok1 {waits}: start it. {stays.format('tok2')}": 4,
    }
    await world.crash("lon2")
    await asyncio.sleep(20)
    lacking = "It is not removed by itself: 3 of 6 members are there, and a change takes 4"
    waits += ", nor do members change without a majority"
    assert said_of_suspects(caplog) == {
        f"tok2 {waits}: start it. {stays.format('tok1')}": 3,
        f"tok1 {waits}: start it. {stays.format('tok2')}": 3,
        f"lon2 {waits}: start it. {lacking}": 3,
    }
