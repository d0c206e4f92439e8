"""The reading half of the HTTP face."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from ..storage.commit import EXPECT_EXISTS, EXPECT_NONE, KEEP, Commit, shard_of
from ..storage.errors import (
    BadRequest,
    DamagedLog,
    NotBuiltYet,
    NotFound,
    RevisionConflict,
    UnsupportedMedia,
)
from ..storage.keys import Place
from ..storage.limits import PAGE_EVENTS_MAX
from . import cloudevents, render
from .fold import KEPT, OUTCOMES, Held
from .intake import JSON, MSGPACK, NDJSON
from .node import Node
from .pages import Page, order_page, stream_page
from .position import position, read_position
from .query import Query, stream_name

_READS: Final = ("latest", "settled")
_LATER_READS: Final = ("session", "bounded", "strong")
_LIMIT_DEFAULT: Final = 100
_REVISION_MAX: Final = (1 << 53) - 1
_UNSEEN_MAX: Final = 100
_EXPECTED: Final = {-1: "none", -2: "any", -3: "exists"}


class Reads:
    """Handlers of the paths that read."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def _site(self, origin: int) -> str:
        return self._node.members.site(origin)

    def _before(self, stream: str | None = None) -> int:
        """What was here is not missing; the stamp up to which readers may see, as that is on disk.

        Raises DamagedLog.
        """
        shard = None if stream is None else shard_of(stream, self._node.config.shards)
        self._node.repair.check_whole(shard)
        return self._node.store.unwritten()

    # -- events ----------------------------------------------------------------------------------

    async def stream_events(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        """GET /v1/streams/{stream}/events."""
        name = stream_name(query.path.split("/")[3])
        query.only("from", "limit", "direction", "read", "max_lag", "type")
        accept = _accept(request)
        read = _read(query.get("read", "latest"))
        backward = query.one_of("direction", {"forward": False, "backward": True}, default=False)
        start = query.whole("from", None, 0, _REVISION_MAX)
        limit = query.whole("limit", _LIMIT_DEFAULT, 1, PAGE_EVENTS_MAX)
        before = self._before(name)
        page = stream_page(
            self._node.history,
            name,
            self._node.config.shards,
            start=start,
            limit=limit or _LIMIT_DEFAULT,
            backward=backward,
            before=before if read == "latest" else 0,
            types=frozenset(query.all("type")),
        )
        envelope = {
            "stream": name,
            "settled_revision": page.settled_revision,
            "last_revision": page.last_revision,
            "next": page.next,
            "end": page.end,
        }
        return self._page(page, accept, envelope, stream=name)

    async def all_events(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        """GET /v1/events."""
        query.only("after", "limit", "read", "type", "stream_prefix")
        accept = _accept(request)
        read = _read(query.get("read", "settled"))
        limit = query.whole("limit", _LIMIT_DEFAULT, 1, PAGE_EVENTS_MAX)
        after = query.get("after", "")
        before = self._before()
        page = order_page(
            self._node.history,
            after=read_position(after) if after else None,
            limit=limit or _LIMIT_DEFAULT,
            until=self._node.settler.final_until(),
            before=before if read == "latest" else 0,
            types=frozenset(query.all("type")),
            stream_prefix=query.get("stream_prefix", ""),
        )
        return self._page(page, accept, {"next": page.next, "end": page.end}, stream=None)

    def _page(
        self, page: Page, accept: str, envelope: dict[str, Any], stream: str | None
    ) -> web.Response:
        all_streams = stream is None
        headers = {
            "Anabranch-Next": "" if page.next is None else str(page.next),
            "Anabranch-End": "true" if page.end else "false",
        }
        if not all_streams:
            headers["Anabranch-Settled-Revision"] = str(page.settled_revision)
            headers["Anabranch-Last-Revision"] = str(page.last_revision)
        if accept in (JSON, NDJSON):
            lines = render.json_lines(page, self._site, with_stream=all_streams)
            body = render.ndjson(lines) if accept == NDJSON else render.json_page(lines, envelope)
        else:
            maps = render.maps(page, self._site, with_stream=all_streams)
            if accept == MSGPACK:
                body = render.msgpack_page(maps, envelope)
            else:
                body = render.cloudevents_page(maps, stream)
        return web.Response(body=body, content_type=accept, headers=headers)

    async def unseen(self, conflict: RevisionConflict) -> dict[str, Any]:
        """For a 409: where the stream is, and events that the caller had not seen."""
        await self._node.durable_before_read()  # what was in the way may be on its way to the disk
        start = max(0, conflict.expected + 1) if conflict.expected >= 0 else 0
        try:
            page = stream_page(
                self._node.history,
                conflict.stream,
                self._node.config.shards,
                start=start,
                limit=_UNSEEN_MAX,
                backward=False,
                before=self._node.store.unwritten(),
                types=frozenset(),
            )
        except (NotFound, DamagedLog):
            page = Page()
        lines = render.json_lines(page, self._site, with_stream=False)
        return {
            "stream": conflict.stream,
            "expected": _EXPECTED.get(conflict.expected, conflict.expected),
            "revision": conflict.revision,
            "settled_revision": page.settled_revision,
            "events": [msgspec.Raw(line) for line in lines],
        }

    # -- streams ---------------------------------------------------------------------------------

    async def streams(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        """GET /v1/streams."""
        query.only("prefix", "after", "limit")
        prefix, after = query.get("prefix", ""), query.get("after", "")
        limit = query.whole("limit", _LIMIT_DEFAULT, 1, PAGE_EVENTS_MAX) or _LIMIT_DEFAULT
        before = self._before()
        history, shards = self._node.history, self._node.config.shards
        settled = dict(history.names(prefix, after or None, limit + 1))
        tentative = [
            name
            for name in history.tentative_names(prefix)
            if (not after or name > after) and history.stream(name).below(before)
        ]
        names = sorted({*settled, *tentative[: limit + 1]}, key=str.encode)
        shown = names[:limit]
        rows = [
            {
                "stream": name,
                "settled_revision": history.stream(name).settled_revision,
                "last_revision": history.last_revision(name, shard_of(name, shards), before),
            }
            for name in shown
        ]
        more = len(names) > limit
        return _json({"streams": rows, "next": shown[-1] if more else None, "end": not more})

    async def stream(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        """GET /v1/streams/{stream}."""
        query.only()
        name = stream_name(query.path.split("/")[3])
        before = self._before(name)
        first = self._edge(name, before, backward=False)
        last = self._edge(name, before, backward=True)
        return _json(
            {
                "stream": name,
                "shard": shard_of(name, self._node.config.shards),
                "settled_revision": last.settled_revision,
                "last_revision": last.last_revision,
                "first_position": _edge_position(first),
                "last_position": _edge_position(last),
                "metadata": {},
            }
        )

    def _edge(self, name: str, before: int, *, backward: bool) -> Page:
        return stream_page(
            self._node.history,
            name,
            self._node.config.shards,
            start=None,
            limit=1,
            backward=backward,
            before=before,
            types=frozenset(),
        )

    # -- commits ---------------------------------------------------------------------------------

    async def commit(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        """GET /v1/commits/{commit}."""
        query.only()
        text = query.path.split("/")[3]
        try:
            commit_id = bytes.fromhex(text)
        except ValueError:
            commit_id = b""
        if len(commit_id) != 16 or len(text) != 32:
            raise BadRequest(f"{text[:60]!r} is no commit id; it has 32 hexadecimal digits")
        for shard in range(self._node.config.shards):
            found = self._node.history.find(commit_id, shard)
            while isinstance(found, Held) and not found.durable:
                await self._node.durable_before_read()
                found = self._node.history.find(commit_id, shard)
            if found is not None:
                return _json(self._standing(found))
        raise NotFound(f"commit {text} is not here")

    def _standing(self, found: Held | Place) -> dict[str, Any]:
        history = self._node.history
        commit = history.header(found.position, found.length)
        if isinstance(found, Place):
            key = (found.stamp, found.priority, found.origin)
            outcome, first, settled = found.outcome, found.first_revision, True
        else:
            key = found.key
            (outcome, first), settled = history.tentative_outcome(found), False
        shown = outcome in (1, KEPT)
        log = (commit.shard, commit.origin)
        standings = self._node.settler.standings
        holding = [
            self._node.members.name(origin)
            for origin in self._node.members.origins
            if origin in standings and standings.of(origin).frontier[log] >= commit.seq
        ]
        return {
            "commit": commit.id.hex(),
            "stream": commit.stream,
            "position": position(key, 0),
            "events": commit.count,
            "first_revision": first if shown else None,
            "last_revision": first + commit.count - 1 if shown else None,
            "settled": settled,
            "outcome": OUTCOMES[outcome] if settled else "tentative",
            "origin": f"{commit.origin:016x}",
            "site": self._site(commit.origin),
            "recorded": render.recorded(commit.hlc),
            "held_by": holding,
        }

    async def conflicts(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        """GET /v1/conflicts."""
        query.only("after", "limit")
        limit = query.whole("limit", _LIMIT_DEFAULT, 1, PAGE_EVENTS_MAX) or _LIMIT_DEFAULT
        after = query.get("after", "")
        self._before()
        key, _ = read_position(after) if after else ((0, 0, 0), 0)
        until = self._node.settler.final_until()
        rows: list[dict[str, Any]] = []
        last: str | None = after or None
        end = True
        for place in self._node.history.settled_order(key, until, conflicts=True):
            order = (place.stamp, place.priority, place.origin)
            if after and order == key:
                continue
            if len(rows) == limit:
                end = False
                break
            rows.append(self._conflict(place))
            last = position(order, 0)
        return _json({"conflicts": rows, "next": last, "end": end})

    def _conflict(self, place: Place) -> dict[str, Any]:
        commit = self._node.history.header(place.position, place.length)
        return {
            "stream": commit.stream,
            "commit": commit.id.hex(),
            "position": position((place.stamp, place.priority, place.origin), 0),
            "site": self._site(commit.origin),
            "recorded": render.recorded(commit.hlc),
            "expected": _EXPECTED.get(commit.expected, commit.expected),
            "policy": "keep" if commit.policy == KEEP else "reject",
            "found": place.first_revision - 1,
            "outcome": OUTCOMES[place.outcome],
            "winner": self._winner(commit, place.first_revision - 1),
            "events": [
                {"id": render.event_id(commit, at), "type": commit.types[at % len(commit.types)]}
                for at in range(min(commit.count, _UNSEEN_MAX))
            ],
        }

    def _winner(self, commit: Commit, found: int) -> str | None:
        """The commit that took the place which this one had expected."""
        if commit.expected == EXPECT_EXISTS or (
            commit.expected < 0 and commit.expected != EXPECT_NONE
        ):
            return None
        taken = commit.expected + 1
        if taken > found:
            return None
        history = self._node.history
        place = next(iter(history.settled_places(commit.stream, taken)), None)
        if place is None or not place.first_revision <= taken < place.first_revision + place.events:
            return None
        return history.header(place.position, place.length).id.hex()


def _edge_position(page: Page) -> str | None:
    if not page.slices:
        return None
    one = page.slices[0]
    return position(one.key, one.places[0])


def _read(text: str) -> str:
    if text in _LATER_READS:
        raise NotBuiltYet(f"read={text} is not part of this version; use {' or '.join(_READS)}")
    if text not in _READS:
        raise BadRequest(f"read={text[:40]!r} is not known; use {' or '.join(_READS)}")
    return text


def _accept(request: web.BaseRequest) -> str:
    """The content type to answer with: the first of those asked for that is known."""
    header = request.headers.get("Accept", "")
    if not header:
        return JSON
    for part in header.split(","):
        media_type = part.partition(";")[0].strip().lower()
        if media_type in (JSON, NDJSON, MSGPACK, cloudevents.BATCH):
            return media_type
        if media_type in ("*/*", "application/*"):
            return JSON
        if media_type == cloudevents.STRUCTURED:
            return cloudevents.BATCH
        if media_type == "text/event-stream":
            raise NotBuiltYet("subscriptions are not part of this version; read in pages")
    raise UnsupportedMedia(f"can't answer with {header[:80]!r}; ask for {JSON}, {NDJSON}, …")


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type=JSON)
