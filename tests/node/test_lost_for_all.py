"""What every member has to hold and nobody has any more: who says so, and how it is given up."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock

import pytest

from anabranch.node.members_api import MembersApi
from anabranch.simulations.world.world import World
from anabranch.storage.errors import NotFound
from anabranch.tests.simulations.stories import append, draft, in_virtual_time

from .test_members_api import ask, founded, names


async def only_tok1_has_what_it_made(monkeypatch: pytest.MonkeyPatch) -> World:
    """A cluster whose second epoch names a commit of tok1, which is out, and gives it to nobody."""
    world = await founded()
    replication = world.nodes["tok1"].replication
    monkeypatch.setattr(replication.outbox, "add", lambda *_: None)
    monkeypatch.setattr(replication, "give", AsyncMock(return_value=[]))
    await append(world, "tok1", "mine alone")
    await world.crash("lon1")  # so it takes the vote of tok1
    assert (await ask(world, "ny1", "evict", name="tok1"))[0] == 200
    await world.start("lon1")
    await asyncio.sleep(5)
    return world


async def nobody_has_what_tok1_made(monkeypatch: pytest.MonkeyPatch) -> World:
    """The same, and tok1 lost its disk."""
    world = await only_tok1_has_what_it_made(monkeypatch)
    await world.crash("tok1")
    world.lose_disk("tok1")
    await asyncio.sleep(35)  # it waits to join no more
    return world


@in_virtual_time
async def test_what_somebody_has_who_waits_to_join_is_not_lost(monkeypatch):
    world = await only_tok1_has_what_it_made(monkeypatch)
    assert names(MembersApi(world.nodes["ny1"]).members(), "waiting") == ["tok1"]
    _, check = await ask(world, "ny1", "evict", name="lon1", check=True)
    assert check["needs_force"] is None


@in_virtual_time
async def test_who_would_leave_is_told_what_is_lost(monkeypatch):
    world = await nobody_has_what_tok1_made(monkeypatch)
    _, check = await ask(world, "lon1", "leave", name="lon1", check=True)
    assert check["says"][-1].startswith("It has to wait. 1 commit of tok1")


@in_virtual_time
async def test_what_nobody_has_any_more_is_given_up_by_force(monkeypatch):
    world = await nobody_has_what_tok1_made(monkeypatch)
    late = world.nodes["ny1"].append(draft("s", "waits"), ack="settled", timeout=5)
    assert not (await late).settled
    _, check = await ask(world, "ny1", "evict", name="lon1", check=True)
    assert not check["possible"]
    assert check["needs_force"].startswith("1 commit of tok1, which every member has to hold")
    _, check = await ask(world, "ny1", "evict", name="tok1", force=True, check=True)
    assert (check["possible"], check["change"]) == (True, "go on with what there is")
    assert check["says"][0].startswith("1 commit of tok1")
    code, said = await ask(world, "ny1", "evict", name="tok1", force=True)
    assert (code, said["done"], said["epoch"], names(said)) == (200, True, 3, ["lon1", "ny1"])
    assert (await append(world, "lon1", "goes on", ack="settled")).settled
    await world.start("tok1")
    await asyncio.sleep(5)
    assert names(MembersApi(world.nodes["ny1"]).members()) == ["lon1", "ny1", "tok1"]


@in_virtual_time
async def test_without_force_who_is_out_already_is_not_found(monkeypatch):
    world = await nobody_has_what_tok1_made(monkeypatch)
    with pytest.raises(NotFound, match="no member is named 'tok1'"):
        await ask(world, "ny1", "evict", name="tok1")
