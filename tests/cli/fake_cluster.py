"""Three nodes of the interface alone: enough for the commands to talk to, on loopback.

They share a `World` that keeps each node's set of commits, makes links and cuts, and folds by the
rules of DESIGN.md. A test damages it by setting `World.shown`, which stands between the fold and
what a node serves.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Self
from urllib.parse import unquote

from aiohttp import web
from aiohttp.test_utils import TestServer

Events = list[dict[str, Any]]


@dataclass
class Commit:
    at: int
    site: str
    stream: str
    id: str
    expected: str
    events: Events


@dataclass
class World:
    sites: tuple[str, ...]
    time: int = 0
    commits: dict[str, list[Commit]] = field(default_factory=dict)
    cuts: dict[str, set[str]] = field(default_factory=dict)
    cut_at: int | None = None
    shown: Callable[[str, Events], Events] = lambda _, events: events
    disputes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    deduplicates: bool = True
    decides: bool = True
    _folded: dict[str, tuple[int, Events, list[dict[str, Any]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for site in self.sites:
            self.commits[site] = []
            self.cuts[site] = set()

    def linked(self, one: str, other: str) -> bool:
        return other not in self.cuts[one] and one not in self.cuts[other]

    def append(self, site: str, stream: str, id_: str, expected: str, events: Events) -> Commit:
        self.time += 1
        commit = Commit(self.time, site, stream, id_, expected, events)
        for other in self.sites:
            if self.linked(site, other):
                self.commits[other].append(commit)
        return commit

    def drill(self, site: str, cut: set[str]) -> None:
        self.cuts[site] = cut
        if any(self.cuts.values()):
            self.cut_at = self.time if self.cut_at is None else self.cut_at
            return
        self.cut_at = None
        every = {(one.at, one.site): one for held in self.commits.values() for one in held}
        for other in self.sites:
            self.commits[other] = list(every.values())

    def settled(self, at: int) -> bool:
        return self.cut_at is None or at <= self.cut_at

    def fold(self, site: str) -> tuple[Events, list[dict[str, Any]]]:
        version = len(self.commits[site]) * 2 + (self.cut_at is None)
        known = self._folded.get(site)
        if known is None or known[0] != version:
            known = self._folded[site] = (version, *self._fold(site))
        return known[1], known[2]

    def _fold(self, site: str) -> tuple[Events, list[dict[str, Any]]]:
        revisions: dict[str, int] = {}
        last: dict[str, str] = {}
        seen: set[str] = set()
        events: Events = []
        conflicts: list[dict[str, Any]] = []
        for commit in sorted(self.commits[site], key=lambda one: (one.at, one.site)):
            if commit.id in seen and self.deduplicates:
                continue
            seen.add(commit.id)
            found = revisions.get(commit.stream, -1)
            if commit.expected.isdecimal() and int(commit.expected) != found and self.decides:
                conflicts.append(self._conflict(commit, found, last[commit.stream]))
                continue
            for event in commit.events:
                revisions[commit.stream] = revisions.get(commit.stream, -1) + 1
                events.append(self._event(commit, event, revisions[commit.stream]))
            last[commit.stream] = commit.id
        return self.shown(site, events), conflicts

    def _event(self, commit: Commit, event: dict[str, Any], revision: int) -> dict[str, Any]:
        return {
            "stream": commit.stream,
            "revision": revision,
            "position": f"{commit.at:012d}",
            "settled": self.settled(commit.at),
            "commit": commit.id,
            "origin": commit.site,
            "site": commit.site,
            "recorded": "2026-01-01T00:00:00.000Z",
            **event,
        }

    @staticmethod
    def _conflict(commit: Commit, found: int, winner: str) -> dict[str, Any]:
        return {
            "stream": commit.stream,
            "commit": commit.id,
            "position": f"{commit.at:012d}",
            "expected": commit.expected,
            "policy": "reject",
            "found": found,
            "outcome": "rejected",
            "winner": winner,
            "events": [],
        }


class FakeNode:
    """One node's HTTP face over the world."""

    def __init__(self, world: World, site: str) -> None:
        self.world = world
        self.site = site
        self.urls: dict[str, str] = {}
        self.refuse: list[tuple[int, dict[str, Any]]] = []
        self.appends = 0
        self.membership: dict[str, Any] = {"state": "stable"}
        app = web.Application()
        app.router.add_post("/v1/streams/{stream}/events", self._append)
        app.router.add_get("/v1/streams/{stream}/events", self._read)
        app.router.add_get("/v1/events", self._events)
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/digest", self._digest)
        app.router.add_get("/v1/conflicts", self._conflicts)
        app.router.add_post("/v1/drills", self._drills)
        app.router.add_get("/readyz", self._ready)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    async def _append(self, request: web.Request) -> web.Response:
        self.appends += 1
        if self.refuse:
            status, problem = self.refuse.pop()
            return web.json_response(
                problem, status=status, content_type="application/problem+json"
            )
        body = await request.text()
        if request.content_type == "application/x-ndjson":
            events = [json.loads(line) for line in body.splitlines()]
        else:
            value = json.loads(body)
            events = value if isinstance(value, list) else [value]
        stream = unquote(request.match_info["stream"])
        key = request.headers.get("Idempotency-Key", body)
        id_ = sha256(f"{stream}\n{key}".encode()).hexdigest()[:32]
        for number, event in enumerate(events):
            event.setdefault("id", f"{id_}-{number}")
        known = [one for one in self.world.commits[self.site] if one.id == id_]
        expected = request.query.get("expected", "any")
        if expected.isdecimal() and not known:
            mine = [one for one in self.world.fold(self.site)[0] if one["stream"] == stream]
            if int(expected) != len(mine) - 1:
                return self._conflicting(stream, expected, mine)
        commit = known[0] if known else self.world.append(self.site, stream, id_, expected, events)
        answer = {
            "commit": commit.id,
            "stream": stream,
            "position": f"{commit.at:012d}",
            "first_revision": 0,
            "last_revision": len(events) - 1,
            "settled": False,
            "acked": "local",
            "duplicate": bool(known),
            "outcome": "tentative",
        }
        headers = {"Anabranch-Token": f"t{commit.at}"}
        return web.json_response(answer, status=201, headers=headers)

    @staticmethod
    def _conflicting(stream: str, expected: str, mine: Events) -> web.Response:
        problem = {
            "title": "the stream is not where it was expected",
            "detail": f"{stream} is at revision {len(mine) - 1}, not {expected}: read it again.",
            "revision": len(mine) - 1,
            "events": mine[int(expected) + 1 :],
        }
        return web.json_response(problem, status=409, content_type="application/problem+json")

    def _visible(self, request: web.Request) -> Events:
        events, _ = self.world.fold(self.site)
        if request.query.get("read") == "settled":
            return [one for one in events if one["settled"]]
        return events

    async def _read(self, request: web.Request) -> web.Response:
        stream = unquote(request.match_info["stream"])
        events = [one for one in self._visible(request) if one["stream"] == stream]
        if not events:
            problem = {"title": "not found", "detail": f"There is no stream {stream}."}
            return web.json_response(problem, status=404, content_type="application/problem+json")
        start = int(request.query.get("from", 0))
        limit = int(request.query.get("limit", 100))
        page = events[start : start + limit]
        end = start + limit >= len(events)
        last = len(events) - 1
        settled = sum(one["settled"] for one in events) - 1
        return web.json_response(
            {
                "stream": stream,
                "events": page,
                "settled_revision": settled,
                "last_revision": last,
                "next": None if end else start + limit,
                "end": end,
            }
        )

    async def _events(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "")
        limit = int(request.query.get("limit", 100))
        events = [one for one in self._visible(request) if one["position"] > after]
        page = events[:limit]
        body = "".join(json.dumps(one) + "\n" for one in page)
        headers = {
            "Anabranch-Next": page[-1]["position"] if page else after,
            "Anabranch-End": "true" if len(events) <= limit else "false",
        }
        return web.Response(text=body, content_type="application/x-ndjson", headers=headers)

    async def _status(self, _: web.Request) -> web.Response:
        world = self.world
        others = [site for site in world.sites if site != self.site]
        away = [site for site in others if not world.linked(self.site, site)]
        held = (
            []
            if world.cut_at is None
            else away
            or [site for site in others if any(not world.linked(site, one) for one in others)]
        )
        now = datetime.now(UTC).isoformat()
        tentative = [one for one in world.commits[self.site] if not world.settled(one.at)]
        peers = [
            {
                "name": f"{site}1",
                "site": site,
                "link": "cut" if site in away else "connected",
                "lag_commits": len(tentative) if site in away else 0,
            }
            for site in others
        ]
        members = [
            {"name": f"{site}1", "site": site, "url": self.urls.get(site, self.url)}
            for site in world.sites
        ]
        return web.json_response(
            {
                "node": f"{self.site}1",
                "site": self.site,
                "cluster": "fake",
                "state": "ready",
                "members": members,
                "peers": peers,
                "membership": self.membership,
                "watermark": {
                    "time": now if world.cut_at is None else "2026-01-01T00:00:00Z",
                    "age_seconds": 0.1,
                    "held_back_by": [
                        {"name": f"{site}1", "since_seconds": 1.0, "why": "no report"}
                        for site in held
                    ],
                    "tentative_commits": len(tentative),
                    "settled_commits": len(world.commits[self.site]) - len(tentative),
                },
            }
        )

    async def _digest(self, _: web.Request) -> web.Response:
        world = self.world
        settled = [one for one in world.commits[self.site] if world.settled(one.at)]
        events = [one for one in world.fold(self.site)[0] if one["settled"]]
        content = json.dumps(events, sort_keys=True).encode()
        return web.json_response(
            {
                "node": f"{self.site}1",
                "site": self.site,
                "settled": {
                    "commits": len(settled),
                    "events": len(events),
                    "hash": sha256(content).hexdigest(),
                },
                "tentative_commits": len(world.commits[self.site]) - len(settled),
                "shards": [],
                "disputes": world.disputes.get(self.site, []),
            }
        )

    async def _conflicts(self, _: web.Request) -> web.Response:
        _, conflicts = self.world.fold(self.site)
        return web.json_response({"conflicts": conflicts, "next": None, "end": True})

    async def _drills(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.world.drill(self.site, set(asked["cut"]))
        cut = [f"{site}1" for site in asked["cut"]]
        return web.json_response({"cut": cut, "until": "2026-01-01T00:00:00Z"})

    async def _ready(self, _: web.Request) -> web.Response:
        return web.json_response({})


class Serving:
    """Fake nodes in a thread of their own, for commands that bring their own event loop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.nodes = {site: FakeNode(world, site) for site in world.sites}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes.values()]

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> None:
        for node in self.nodes.values():
            await node.server.start_server()
        for node in self.nodes.values():
            node.urls = {site: other.url for site, other in self.nodes.items()}

    async def _stop(self) -> None:
        for node in self.nodes.values():
            await node.server.close()
