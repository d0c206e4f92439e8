"""GET and POST /v1/members: what is said, what an order does, and why one is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from anabranch.gossip.members import Member
from anabranch.node.config import ClusterConfig, Tuning
from anabranch.node.members_api import MembersApi, read_order
from anabranch.node.node import Node
from anabranch.node.status import state_of, status
from anabranch.simulations.world.clock import SimClock, SimRandom
from anabranch.simulations.world.disk import SimDisk
from anabranch.simulations.world.network import SimPort
from anabranch.simulations.world.weather import Route
from anabranch.simulations.world.world import World
from anabranch.storage.errors import BadRequest, ChangeRefused, NotFound, Unavailable
from anabranch.storage.index import MemoryIndex
from anabranch.tests.simulations.stories import THREE, append, draft, in_virtual_time

from .served import served

PAIRS = [("ny", 2), ("lon", 2), ("tok", 2)]
NEVER = Tuning(evict_after_seconds=None)


async def founded(
    sites: list[tuple[str, int]] = THREE, tuning: Tuning | None = None, seed: int = 1
) -> World:
    world = World(seed, sites, tuning=tuning)
    await world.start()
    await asyncio.sleep(3)
    return world


async def ask(world: World, at: str, action: str, **order: Any) -> tuple[int, dict[str, Any]]:
    """Send an order to a node; nothing of the answer may be lost on its way as JSON."""
    body = json.dumps({"action": action, **order}).encode()
    code, answer = await MembersApi(world.nodes[at]).order(body)
    assert json.loads(json.dumps(answer)) == answer
    return code, answer


def names(answer: dict[str, Any], what: str = "members") -> list[str]:
    return [one["name"] for one in answer[what]]


async def start_new(world: World, name: str, site: str, knows: str, *, join: bool = False) -> Node:
    """A node that nobody's file names; its own names itself and one member."""
    luck = world.generator
    url = f"sim://{name}"
    world._name_of_url[url] = name
    table = (Member(name, site, 9, url), world.config.member(knows))
    node = Node(
        ClusterConfig(world.config.name, world.config.shards, table, world.config.tuning),
        name,
        disk=SimDisk(luck),
        index=MemoryIndex(),
        clock=SimClock(asyncio.get_running_loop()),
        random=SimRandom(luck),
        network=SimPort(world.network, name, world._name_of_url),
    )
    await node.start()
    node.membership.asks = join
    world.network.listen(name, node.answer)
    return node


# -- what is said --------------------------------------------------------------------------------


@in_virtual_time
async def test_who_is_there_is_said_and_nobody_is_suspected():
    world = await founded()
    said = MembersApi(world.nodes["ny1"]).members()
    assert (said["epoch"], said["state"], said["wanted"]) == (1, "stable", [])
    assert [(one["name"], one["self"], one["link"]) for one in said["members"]] == [
        ("lon1", False, "connected"),
        ("ny1", True, None),
        ("tok1", False, "connected"),
    ]
    assert all(one["suspected_since"] is None for one in said["members"])
    assert status(world.nodes["ny1"])["suspected"] == []
    assert state_of(world.nodes["ny1"]) == "ready"


@in_virtual_time
async def test_a_forming_cluster_says_whom_it_waits_for():
    world = World(1, THREE)
    await world.start("ny1", "lon1")
    await asyncio.sleep(2)
    assert MembersApi(world.nodes["ny1"]).members()["state"] == "forming"
    with pytest.raises(Unavailable, match="once tok1 were seen"):
        await ask(world, "ny1", "evict", name="tok1")


@in_virtual_time
async def test_a_start_that_nobody_confirms_says_whom_it_waits_for():
    world = await founded()
    for name in world.names:
        await world.crash(name)
    await world.start("ny1")
    await asyncio.sleep(6)
    node = world.nodes["ny1"]
    assert state_of(node) == "unsure"
    (need,) = [one for one in status(node)["needs"] if "went back in time" in one]
    assert need.startswith("start lon1, tok1: until a majority said")
    assert (await append(world, "ny1", "meanwhile")).outcome == "tentative"
    assert status(node)["strays"] == 1
    await world.start("lon1", "tok1")
    await asyncio.sleep(6)
    assert (state_of(node), status(node)["strays"]) == ("ready", 0)
    await world.until_settled()


# -- joining -------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_new_node_waits_takes_appends_and_is_let_in():
    world = await founded()
    await append(world, "ny1", "old")
    new = await start_new(world, "sfo1", "sfo", "ny1")
    await asyncio.sleep(5)
    assert state_of(new) == "joining"
    assert any("members join sfo1" in need for need in status(new)["needs"])
    assert status(new)["joining"] == {"copied": 1, "of": 1}
    receipt = await new.append(draft("s", "early"), ack="local")
    assert receipt.outcome == "tentative"
    assert names(MembersApi(world.nodes["ny1"]).members(), "waiting") == ["sfo1"]
    peers = {peer["name"]: peer["site"] for peer in status(world.nodes["ny1"])["peers"]}
    assert peers["sfo1"] == "sfo"
    _, check = await ask(world, "ny1", "join", name="sfo1", check=True)
    assert check["possible"] and "sfo1 at sim://sfo1" in check["says"][0]
    code, said = await ask(world, "ny1", "join", name="sfo1")
    assert (code, said["done"], said["epoch"]) == (200, True, 2)
    assert names(said) == ["lon1", "ny1", "sfo1", "tok1"]
    await asyncio.sleep(5)
    assert state_of(new) == "ready"
    assert status(new)["needs"] == []
    assert status(world.nodes["tok1"])["watermark"]["settled_commits"] == 2
    code, said = await ask(world, "ny1", "join", name="sfo1")
    assert (code, said["done"], said["epoch"]) == (200, True, 2)
    await new.stop()


@in_virtual_time
async def test_who_is_let_in_before_it_has_copied_says_how_far_it_is_and_so_do_the_others():
    world = await founded([("ny", 1)])
    for number in range(200):
        await append(world, "ny1", f"old {number}", size=9_000)
    await world.until_settled()
    world.add("ny2", "ny", ["ny1"])
    for ends in (("ny1", "ny2"), ("ny2", "ny1")):
        world.network.set_route(*ends, Route(latency_seconds=0.05, bandwidth=3_000))
    await world.start("ny2")
    await asyncio.sleep(2)
    _, check = await ask(world, "ny1", "join", name="ny2", check=True)
    assert "nothing becomes final before it has copied them" in check["says"][0]
    code, _ = await ask(world, "ny1", "join", name="ny2")
    assert code == 200
    old, new = world.nodes["ny1"], world.nodes["ny2"]
    far = []
    for _ in range(60):
        await asyncio.sleep(3)
        if state_of(new) != "joining":
            break
        far.append(status(new)["joining"]["copied"])
        for said in (status(old), status(new)):
            assert any("wait for ny2: it has to copy" in need for need in said["needs"])
    assert far == sorted({*far}) and len(far) > 3, "it gets on, and shows it"
    assert status(new)["joining"] is None
    assert (await append(world, "ny1", "after", ack="settled")).settled


@in_virtual_time
async def test_a_cluster_of_one_grows():
    world = await founded([("ny", 1)])
    await append(world, "ny1", "old")
    new = await start_new(world, "ny2", "ny", "ny1", join=True)
    await asyncio.sleep(10)
    said = MembersApi(world.nodes["ny1"]).members()
    assert (said["epoch"], names(said)) == (2, ["ny1", "ny2"])
    assert state_of(new) == "ready"
    await new.stop()


@in_virtual_time
async def test_who_is_no_member_decides_nothing():
    world = await founded()
    new = await start_new(world, "sfo1", "sfo", "ny1")
    await asyncio.sleep(5)
    with pytest.raises(ChangeRefused, match=r"no member of epoch 1: ask .*ny1 at sim://ny1"):
        await MembersApi(new).order(b'{"action": "evict", "name": "tok1"}')
    await new.stop()


# -- evicting and replacing ----------------------------------------------------------------------


@in_virtual_time
async def test_a_check_says_what_would_be_cut_off_and_changes_nothing():
    world = await founded()
    await append(world, "tok1", "held", ack="settled")
    _, check = await ask(world, "ny1", "evict", name="tok1", check=True)
    assert check["cut_off"][0]["commits"] == 0
    assert "`anabranch members leave tok1` would cut nothing off." in check["says"][1]
    await world.crash("tok1")
    await asyncio.sleep(10)
    _, check = await ask(world, "ny1", "evict", name="tok1", check=True)
    assert check["possible"] and not check["done"] and check["needs_force"] is None
    assert check["cut_off"][0]["silent_seconds"] > 9
    assert any("What it took since then is not known" in one for one in check["says"])
    assert "Site tok has no member then." in check["says"]
    assert world.nodes["ny1"].members.number == 1


@in_virtual_time
async def test_what_only_the_evicted_and_the_unreachable_hold_is_counted():
    world = await founded()
    await append(world, "tok1", "one", ack="settled")
    node, tok = world.nodes["ny1"], world.nodes["ny1"].members.origin("tok1")
    for log, seq in list(node.store.frontier.items()):
        if log[1] == tok:
            node.settler.standings.of(tok).frontier.advance(log, seq + 3)
    _, check = await ask(world, "ny1", "evict", name="tok1", check=True)
    assert check["cut_off"][0]["commits"] == 3
    assert check["says"][0].startswith("3 commits of tok1 are known that nobody")


@in_virtual_time
async def test_a_dead_member_is_evicted_and_settlement_goes_on():
    world = await founded()
    await world.crash("tok1")
    await asyncio.sleep(5)
    code, said = await ask(world, "ny1", "evict", name="tok1")
    assert (code, said["done"], names(said)) == (200, True, ["lon1", "ny1"])
    assert names(said, "removed") == ["tok1"]
    receipt = await append(world, "lon1", "new", ack="settled")
    assert receipt.settled


@in_virtual_time
async def test_a_dead_member_is_replaced_by_a_new_one():
    world = await founded()
    await world.crash("tok1")
    new = await start_new(world, "tok9", "tok", "ny1")
    await asyncio.sleep(5)
    with pytest.raises(NotFound, match="there wait: tok9"):
        await ask(world, "ny1", "replace", name="tok1", **{"with": "tok8"})
    code, said = await ask(world, "ny1", "replace", name="tok1", **{"with": "tok9"})
    assert (code, names(said), said["epoch"]) == (200, ["lon1", "ny1", "tok9"], 2)
    await new.stop()


@in_virtual_time
async def test_without_a_majority_it_is_not_done_and_who_has_to_come_back_is_said():
    world = await founded()
    await world.crash("tok1")
    await world.crash("lon1")
    await asyncio.sleep(5)
    _, check = await ask(world, "ny1", "evict", name="tok1", check=True)
    assert not check["possible"] and "use --force" in check["needs_force"]
    code, said = await ask(world, "ny1", "evict", name="tok1", timeout=2)
    assert (code, said["done"], said["epoch"]) == (202, False, 1)
    assert "lon1 can't be reached" in said["why"] and "goes on wanting it" in said["why"]
    assert said["wanted"] == ["remove tok1"]
    code, said = await ask(world, "ny1", "withdraw")
    assert (code, said["wanted"]) == (200, [])


@in_virtual_time
async def test_what_is_wanted_is_done_once_the_others_are_back():
    world = await founded()
    await world.crash("tok1")
    await world.crash("lon1")
    await asyncio.sleep(5)
    code, _ = await ask(world, "ny1", "evict", name="tok1", timeout=0)
    assert code == 202
    await world.start("lon1")
    await asyncio.sleep(10)
    said = MembersApi(world.nodes["ny1"]).members()
    assert (names(said), said["wanted"]) == (["lon1", "ny1"], [])


@in_virtual_time
async def test_force_says_what_it_gives_up_and_does_it():
    world = await founded()
    await world.crash("tok1")
    await world.crash("lon1")
    await asyncio.sleep(5)
    _, check = await ask(world, "ny1", "evict", name="tok1", force=True, check=True)
    assert check["possible"] and len(check["gives_up"]) == 3
    assert "lon1 can't be reached: start them" in check["says"][-1]
    both = ["lon1", "tok1"]
    _, check = await ask(world, "ny1", "evict", name=both, force=True, check=True)
    assert "can't be reached" not in " ".join(check["says"])
    code, said = await ask(world, "ny1", "evict", name=both, force=True)
    assert (code, said["epoch"], names(said)) == (200, 2, ["ny1"])
    assert (await append(world, "ny1", "alone", ack="settled")).settled


@in_virtual_time
async def test_force_that_somebody_does_not_answer_is_not_done():
    world = await founded()
    await world.crash("tok1")
    await world.crash("lon1")
    await asyncio.sleep(5)
    code, said = await ask(world, "ny1", "evict", name="tok1", force=True, timeout=4)
    assert (code, said["done"], said["wanted"]) == (202, False, [])
    assert "lon1 did not answer" in said["why"]


# -- leaving -------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_node_that_leaves_hands_over_all_and_goes():
    world = await founded(PAIRS)
    for number in range(20):
        await append(world, "tok2", f"k{number}")
    tok = world.nodes["tok2"]
    _, check = await ask(world, "tok2", "leave", name="tok2", check=True)
    assert check["possible"] and "takes no more appends" in check["says"][0]
    code, said = await ask(world, "tok2", "leave", name="tok2")
    assert (code, said["done"], said["epoch"]) == (200, True, 2)
    assert "tok2" not in names(said)
    assert state_of(tok) == "left"
    assert "has left the cluster" in status(tok)["needs"][0]
    with pytest.raises(Unavailable, match="append at another one"):
        await append(world, "tok2", "late")
    await world.stop_one("tok2")
    await world.until_settled()
    assert status(world.nodes["ny1"])["watermark"]["settled_commits"] == 20


@in_virtual_time
async def test_leaving_that_takes_longer_goes_on():
    world = await founded()
    world.cut_off({"tok1"})
    await append(world, "tok1", "not handed over")
    await asyncio.sleep(3)
    code, said = await ask(world, "tok1", "leave", name="tok1", timeout=1)
    assert (code, said["done"]) == (202, False)
    assert "hands over what it has, and lon1, ny1 can't be reached" in said["why"]
    assert state_of(world.nodes["tok1"]) == "leaving"
    world.network.heal()
    await asyncio.sleep(20)
    assert state_of(world.nodes["tok1"]) == "left"
    assert names(MembersApi(world.nodes["ny1"]).members()) == ["lon1", "ny1"]


# -- what is refused -----------------------------------------------------------------------------


@in_virtual_time
async def test_orders_that_make_no_sense_are_refused_with_a_sentence():
    world = await founded()
    with pytest.raises(NotFound, match="members are lon1, ny1, tok1"):
        await ask(world, "ny1", "evict", name="osa1")
    with pytest.raises(NotFound, match="there wait: nobody"):
        await ask(world, "ny1", "join", name="osa1")
    with pytest.raises(ChangeRefused, match="this is ny1: use leave"):
        await ask(world, "ny1", "evict", name="ny1")
    with pytest.raises(BadRequest, match="send this to sim://tok1"):
        await ask(world, "ny1", "leave", name="tok1")
    with pytest.raises(NotFound, match="no member is named 'osa1'"):
        await ask(world, "ny1", "leave", name="osa1")
    with pytest.raises(BadRequest, match="evict it instead"):
        await ask(world, "ny1", "leave", name="ny1", force=True)
    assert world.nodes["ny1"].members.number == 1


@in_virtual_time
async def test_the_last_one_does_not_leave():
    world = await founded([("ny", 1)])
    with pytest.raises(ChangeRefused, match="one member at least"):
        await ask(world, "ny1", "leave", name="ny1")
    _, check = await ask(world, "ny1", "leave", name="ny1", check=True)
    assert not check["possible"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff",
        b'{"action": "explode", "name": "a"}',
        b'{"action": "join"}',
        b'{"action": "join", "name": []}',
        b'{"action": "join", "name": "a", "other": 1}',
        b'{"action": "join", "name": "a", "timeout": -1}',
        b'{"action": "join", "name": "a", "timeout": 1e9}',
        b'{"action": "join", "name": "a", "with": "b"}',
        b'{"action": "replace", "name": "a"}',
        b'{"action": "leave", "name": ["a", "b"]}',
    ],
)
def test_nonsense_is_a_bad_request(body):
    with pytest.raises(BadRequest):
        read_order(body)


async def test_over_http(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        code, said = await one.ask("GET", "/v1/members")
        assert (code, said["epoch"], names(said)) == (200, 1, ["one"])
        code, problem = await one.ask("POST", "/v1/members", {"action": "evict", "name": "two"})
        assert code == 404 and "the members are one" in problem["detail"]
        code, problem = await one.ask("POST", "/v1/members", {"action": "leave", "name": "one"})
        assert code == 409 and "one member at least" in problem["detail"]
        code, problem = await one.ask("POST", "/v1/members", b"nonsense")
        assert code == 400 and problem["title"] == "BadRequest"
        code, _ = await one.ask("GET", "/v1/members?what=1")
        assert code == 400
        code, said = await one.ask("GET", "/readyz")
        assert (code, said) == (200, {"status": "ready"})
