"""`anabranch members`: what is asked of which node, what a person sees, and the exit status."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

CHECK = {"change": "remove c", "possible": True, "says": ["3 commits of c are cut off."]}


class Member:
    """A node that says what it is told to, and remembers its orders."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.check: dict[str, Any] = dict(CHECK)
        self.waiting: list[dict[str, Any]] = []
        self.done = True
        self.loop = asyncio.new_event_loop()
        app = web.Application()
        app.router.add_get("/v1/members", self._get)
        app.router.add_post("/v1/members", self._post)
        self.server = TestServer(app)
        self._thread = threading.Thread(target=self.loop.run_forever)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start_server(), self.loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    def _said(self) -> dict[str, Any]:
        silent = {"suspected_since": "2026-01-01T00:00:00Z", "silent_seconds": 12.0}
        lost = {"link": "connecting", "will_be": "removed in 48 s"} | silent
        return {
            "node": "a",
            "cluster": "test",
            "epoch": 3,
            "wanted": [] if self.done else ["remove c"],
            "members": [
                {"name": "a", "site": "x", "url": "http://a:1", "self": True},
                {"name": "b", "site": "x", "url": self.url, "link": "connected"},
                {"name": "c", "site": "x", "url": "http://c:1"} | lost,
            ],
            "waiting": self.waiting,
        }

    async def _get(self, _: web.Request) -> web.Response:
        return web.json_response(self._said())

    async def _post(self, request: web.Request) -> web.Response:
        order = await request.json()
        self.orders.append(order)
        if order.get("check"):
            return web.json_response(self.check)
        answer = self._said() | {"done": self.done}
        if self.done:
            return web.json_response(answer)
        return web.json_response(answer | {"why": "b can't be reached"}, status=202)


@pytest.fixture
def node() -> Iterator[Member]:
    one = Member()
    one.start()
    yield one
    one.stop()


def test_without_a_verb_it_is_a_table(run, node):
    node.waiting = [{"name": "d", "site": "y", "url": "http://d:1", "asks": False}]
    ran = run("members", "--url", node.url)
    assert ran.status == 0
    assert "test, epoch 3: stable" in ran.out
    assert "removed in 48 s" in ran.out and "12 s" in ran.out
    assert "`anabranch members join d`" in ran.out
    assert json.loads(run("members", "--url", node.url, "--json").out)["epoch"] == 3
    assert node.orders == []


def test_join_is_done_without_asking(run, node):
    ran = run("members", "join", "d", "--url", node.url)
    assert (ran.status, "done: epoch 3, members a, b, c" in ran.out) == (0, True)
    assert [one.get("check") for one in node.orders] == [True, None]
    assert node.orders[1] == {"action": "join", "name": "d", "force": False, "timeout": 30.0}


@pytest.mark.parametrize(
    ("words", "order"),
    [
        (["evict", "c"], {"action": "evict", "name": "c"}),
        (["evict", "b", "c"], {"action": "evict", "name": ["b", "c"]}),
        (["replace", "c", "d"], {"action": "replace", "name": "c", "with": "d"}),
        (["join", "d", "--force"], {"action": "join", "name": "d", "force": True}),
    ],
)
def test_what_takes_something_away_is_asked_before(run, node, monkeypatch, words, order):
    asked = []

    def confirm(text: str) -> bool:
        asked.append(text)
        return len(asked) > 1

    monkeypatch.setattr("typer.confirm", confirm)
    ran = run("members", *words, "--url", node.url)
    assert (ran.status, ran.err) == (1, "anabranch: Nothing was changed.\n")
    assert "3 commits of c are cut off." in ran.out
    assert [one["check"] for one in node.orders] == [True]
    assert run("members", *words, "--url", node.url).status == 0
    assert asked == ["remove c: do it?"] * 2
    assert node.orders[-1] == {"force": False, "timeout": 30.0} | order
    assert run("members", *words, "--url", node.url, "--yes").status == 0
    assert len(asked) == 2


def test_who_leaves_is_told_itself(run, node):
    ran = run("members", "leave", "b", "--url", node.url, "--yes", "--timeout", "5s")
    assert ran.status == 0
    assert node.orders[-1]["timeout"] == 5.0
    ran = run("members", "leave", "z", "--url", node.url, "--yes")
    assert (ran.status, "the members are a, b, c" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("check", "says"),
    [
        ({"objection": "a cluster keeps one member at least"}, "keeps one member"),
        ({"needs_force": "1 of 3 members are there: use --force"}, "use --force"),
    ],
)
def test_what_can_not_be_is_said_and_not_tried(run, node, check, says):
    node.check |= {"possible": False} | check
    ran = run("members", "evict", "c", "--url", node.url, "--yes")
    assert (ran.status, says in ran.err) == (1, True)
    assert len(node.orders) == 1


def test_what_is_not_done_in_time_is_status_1(run, node):
    node.done = False
    ran = run("members", "evict", "c", "--url", node.url, "--yes")
    assert (ran.status, "Not done yet: b can't be reached." in ran.err) == (1, True)
    ran = run("members", "evict", "c", "--url", node.url, "--yes", "--json")
    assert (ran.status, json.loads(ran.out)["done"]) == (1, False)
    assert "it is not decided: remove c" in run("members", "--url", node.url).out
    node.done = True
    assert run("members", "withdraw", "--url", node.url).status == 0
    assert node.orders[-1]["action"] == "withdraw"


@pytest.mark.parametrize(
    "words",
    [
        ["explode"],
        ["join"],
        ["leave"],
        ["leave", "a", "b"],
        ["replace", "a"],
        ["evict"],
        ["withdraw", "a"],
        ["leave", "a", "--force"],
        ["evict", "a", "--json"],
        ["evict", "a", "--timeout", "soon"],
    ],
)
def test_wrong_use_is_status_2(run, node, words):
    assert run("members", *words, "--url", node.url).status == 2
    assert node.orders == []


def test_a_node_without_an_answer_is_status_1(run):
    ran = run("members", "--url", "http://127.0.0.1:1")
    assert (ran.status, "Is the node running" in ran.err) == (1, True)
