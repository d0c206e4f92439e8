"""The HTTP face (the surface that programs see).

One handler a path; each turns a request into a call of the node and the result into bytes. What
goes wrong becomes problem+json (RFC 9457) here and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web, web_protocol
from multidict import istr

from ..gossip.transport import LINK_PATH, accept_websocket
from ..storage.commit import EXPECT_ANY, EXPECT_EXISTS, EXPECT_NONE, KEEP, REJECT
from ..storage.errors import (
    AnabranchError,
    BadRequest,
    DamagedLog,
    NotBuiltYet,
    NotFound,
    RejectedForGood,
    RevisionConflict,
    TooLarge,
    Unavailable,
    WrongMethod,
)
from ..storage.limits import (
    ACK_TIMEOUT_SECONDS_MAX,
    BODY_BYTES_MAX,
    KEY_BYTES_MAX,
)
from . import render
from .digest import digest, read_cut
from .http_read import Reads
from .intake import draft_of
from .members_api import MembersApi
from .metrics import CONTENT_TYPE, metrics
from .node import Node
from .position import commit_position, position
from .query import Query, stream_name
from .receipt import Receipt
from .status import state_of, status

_log = logging.getLogger(__name__)
_PROBLEM: Final = "application/problem+json"
_ACKS: Final = ("local", "settled")
_LATER_ACKS: Final = ("site", "quorum", "each_site", "all")
_EXPECTED: Final = {"any": EXPECT_ANY, "none": EXPECT_NONE, "exists": EXPECT_EXISTS}
_LATER_PATHS: Final = ("/openapi.json",)
_READY_STATES: Final = {"ready", "forming", "joining", "unsure"}  # they take appends
_DRILL_SECONDS_MAX: Final = 3600.0

# Names of headers, made once: looking one up by a plain text costs as much as the rest.
_KEY: Final = istr("Idempotency-Key")
_TOKEN: Final = istr("Anabranch-Token")
_CONTENT_TYPE: Final = istr("Content-Type")
_CONTENT_ENCODING: Final = istr("Content-Encoding")
_SPECVERSION: Final = istr("ce-specversion")

Handler = Callable[[web.BaseRequest, Query], Awaitable[web.StreamResponse]]


class Face:
    """Serves one node over HTTP. `drills`: whether POST /v1/drills may cut links."""

    def __init__(self, node: Node, *, drills: bool = False) -> None:
        self._node = node
        self._drills = drills
        self._reads = Reads(node)
        self._api = MembersApi(node)
        self._events: dict[str, Handler] = {
            "POST": self._append,
            "GET": self._reads.stream_events,
        }
        self._stream: dict[str, Handler] = {"GET": self._reads.stream}
        self._commit: dict[str, Handler] = {"GET": self._reads.commit}
        self._fixed: dict[str, dict[str, Handler]] = {
            "/v1/events": {"GET": self._reads.all_events},
            "/v1/streams": {"GET": self._reads.streams},
            "/v1/conflicts": {"GET": self._reads.conflicts},
            "/v1/status": {"GET": self._status},
            "/v1/digest": {"GET": self._digest},
            "/v1/members": {"GET": self._members, "POST": self._order},
            "/v1/drills": {"POST": self._drill},
            "/livez": {"GET": self._live},
            "/readyz": {"GET": self._ready},
            "/metrics": {"GET": self._metrics},
            LINK_PATH: {"GET": self._link},
        }

    def server(self) -> web.Server:
        """The aiohttp server, to be run by a ServerRunner."""
        return _Server(self.handle, access_log=None)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        try:
            try:
                return await self._answer(request)
            except RevisionConflict as error:
                return self._problem(error, await self._reads.unseen(error))
        except AnabranchError as error:
            return self._problem(error)
        except (ConnectionError, web.HTTPException):
            raise
        except Exception:  # noqa: BLE001 - no input may end a connection without an answer
            _log.exception("a bug: %s %s", request.method, request.raw_path[:500])
            return self._problem(AnabranchError("this is a bug of the node; its log has more"))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        handler = self._handler(request.method, path)
        if request.method == "GET":
            return await self._node.repair.around(lambda: handler(request, Query(path, query)))
        return await handler(request, Query(path, query))

    def _handler(self, method: str, path: str) -> Handler:
        handlers = self._fixed.get(path) or self._of_one(path.split("/"))
        if handlers is None:
            if path in _LATER_PATHS:
                raise NotBuiltYet(f"{path} is not part of this version")
            raise NotFound(f"there is nothing at {path[:200]}; the paths are under /v1")
        handler = handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            appends = method == "POST" and handlers is self._stream
            hint = f"; append at {path[:200]}/events" if appends else ""
            takes = " and ".join(handlers)
            raise WrongMethod(f"{path[:200]} takes {takes}, not {method[:20]}{hint}")
        return handler

    def _of_one(self, parts: list[str]) -> dict[str, Handler] | None:
        """The handlers of a path that names a stream or a commit."""
        match parts:
            case ["", "v1", "streams", _, "events"]:
                return self._events
            case ["", "v1", "streams", _]:
                return self._stream
            case ["", "v1", "commits", _]:
                return self._commit
            case _:
                return None

    # -- append ----------------------------------------------------------------------------------

    async def _append(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        headers = request.headers
        stream = stream_name(query.path.split("/")[3])
        how = _append_options(query) if query else _AS_USUAL
        if _TOKEN in headers:
            raise NotBuiltYet("session tokens are not part of this version")
        key = headers.get(_KEY)
        if key is not None and not 0 < len(key.encode("utf-8", "replace")) <= KEY_BYTES_MAX:
            raise BadRequest(f"Idempotency-Key has 1 to {KEY_BYTES_MAX} bytes")
        body = await _body(request)
        media_type = headers.get(_CONTENT_TYPE, "").partition(";")[0].strip().lower()
        draft = draft_of(
            stream,
            media_type,
            body,
            headers=_cloud_headers(request),
            key=key,
            expected=how.expected,
            policy=how.policy,
            token=self._node.random.token,
        )
        receipt = await self._node.append(draft, ack=how.ack, timeout=how.timeout)
        if receipt.outcome == "rejected" and how.ack == "settled":
            raise RejectedForGood(
                f"stream {stream!r} was at revision {receipt.found} at this commit's final place, "
                f"not as expected: the commit is rejected for good",
                stream,
                draft.expected,
                receipt.found,
                {
                    "outcome": receipt.outcome,
                    "commit": receipt.commit.hex(),
                    "position": position(receipt.key, 0),
                },
            )
        return web.Response(
            status=201 if receipt.reached else 202,
            body=_receipt_json(receipt),
            content_type="application/json",
        )

    # -- watch and operate -----------------------------------------------------------------------

    async def _status(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        query.only()
        return _json({**status(self._node), "tasks": _tasks()})

    async def _digest(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        query.only("cut")
        return _json(digest(self._node, read_cut(query.get("cut", ""))))

    async def _members(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        query.only()
        return _json(self._api.members())

    async def _order(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        query.only()
        code, answer = await self._api.order(await _body(request))
        return _json(answer, code)

    async def _live(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        return _json({"status": "live"})

    async def _ready(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        state = state_of(self._node)
        if state not in _READY_STATES:
            raise Unavailable(f"this node is {state.replace('_', ' ')}; /v1/status says more")
        return _json({"status": state})

    async def _metrics(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        query.only()
        return web.Response(body=metrics(self._node), headers={"Content-Type": CONTENT_TYPE})

    async def _drill(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        query.only()
        if not self._drills:
            raise NotFound("drills are not allowed here; start the node with --drills")
        names, seconds = self._drill_order(await _body(request))
        self._node.replication.cut(names, seconds)
        until = self._node.clock.wall_ms() + int(seconds * 1000)
        return _json({"cut": names, "until": render.time_text(until)})

    def _drill_order(self, body: bytes) -> tuple[list[str], float]:
        try:
            order = msgspec.json.decode(body)
            wanted, seconds = order["cut"], float(order["for"])
            if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
                raise TypeError
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError, RecursionError):
            raise BadRequest('send {"cut": ["site or node", …], "for": seconds}') from None
        if not 0 <= seconds <= _DRILL_SECONDS_MAX:
            raise BadRequest(f"a drill lasts 0 to {_DRILL_SECONDS_MAX:.0f} seconds")
        others = [m for m in self._node.members.table if m.name != self._node.me.name]
        names: list[str] = []
        for one in wanted:
            found = [m.name for m in others if one in (m.name, m.site)]
            if not found:
                raise BadRequest(f"{one[:100]!r} is no other member, nor the site of one")
            names += found
        return sorted(set(names)), seconds

    async def _link(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise BadRequest(f"{LINK_PATH} is for nodes: it takes a WebSocket upgrade")
        socket, link = await accept_websocket(request)
        await self._node.answer(link)
        return socket

    # -- problems --------------------------------------------------------------------------------

    def _problem(self, error: AnabranchError, more: dict[str, Any] | None = None) -> web.Response:
        problem: dict[str, Any] = {
            "type": "about:blank",
            "title": type(error).__name__,
            "status": error.status,
            "detail": str(error),
        }
        problem |= more or {}
        if isinstance(error, RejectedForGood):
            problem |= error.answer
        if isinstance(error, DamagedLog) and error.end:
            size = error.end - error.position
            problem["damaged_range"] = {"position": error.position, "bytes": size}
        headers = {"Retry-After": "1"} if error.status in (429, 503) else None
        return web.Response(
            status=error.status,
            body=msgspec.json.encode(problem),
            content_type=_PROBLEM,
            headers=headers,
        )


class _Connection(web_protocol.RequestHandler):
    """A connection whose malformed requests are answered like all other problems."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        lines = (message or "").strip().splitlines()
        problem = {
            "type": "about:blank",
            "title": "BadRequest",
            "status": status,
            "detail": f"this is not well-formed HTTP: {lines[0] if lines else 'unreadable'}",
        }
        response = web.Response(
            status=status, body=msgspec.json.encode(problem), content_type=_PROBLEM
        )
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> web_protocol.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _AppendOptions(NamedTuple):
    """How an append is to be made, from its query."""

    ack: str = "local"
    timeout: float = 10.0
    expected: int = EXPECT_ANY
    policy: int = REJECT


_AS_USUAL: Final = _AppendOptions()


def _append_options(query: Query) -> _AppendOptions:
    query.only("expected", "on_conflict", "ack", "timeout")
    return _AppendOptions(
        _ack(query.get("ack", "local")),
        query.seconds("timeout", _AS_USUAL.timeout, ACK_TIMEOUT_SECONDS_MAX),
        _expected(query.get("expected", "any")),
        query.one_of("on_conflict", {"reject": REJECT, "keep": KEEP}, REJECT),
    )


def _ack(text: str) -> str:
    if text in _LATER_ACKS:
        raise NotBuiltYet(f"ack={text} is not part of this version; use {' or '.join(_ACKS)}")
    if text not in _ACKS:
        raise BadRequest(f"ack={text[:40]!r} is not known; use {' or '.join(_ACKS)}")
    return text


def _expected(text: str) -> int:
    known = _EXPECTED.get(text)
    if known is not None:
        return known
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadRequest(
            f"expected={text[:40]!r} is not known; use any, none, exists, or the revision of the "
            "stream's last event"
        )
    return int(text)


async def _body(request: web.BaseRequest) -> bytes:
    length = request.content_length
    if length is not None and length > BODY_BYTES_MAX:
        raise TooLarge(f"a body of {length} bytes; {BODY_BYTES_MAX} are the most")
    if length is not None and _CONTENT_ENCODING not in request.headers:
        return await request.content.read()
    parts, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise TooLarge(f"the body has more than {BODY_BYTES_MAX} bytes, which are the most")
        parts.append(part)
    return b"".join(parts)


def _cloud_headers(request: web.BaseRequest) -> dict[str, str]:
    if _SPECVERSION not in request.headers:
        return {}
    return {name.lower(): value for name, value in request.headers.items()}


def _tasks() -> int:
    """How many tasks run in this process, but for those that serve a connection each."""
    served = web_protocol.RequestHandler.start.__qualname__
    return sum(
        getattr(task.get_coro(), "__qualname__", "") != served for task in asyncio.all_tasks()
    )


def _receipt_json(receipt: Receipt) -> bytes:
    return msgspec.json.encode(
        {
            "commit": receipt.commit.hex(),
            "stream": receipt.stream,
            "position": f"{commit_position(receipt.key)}00000000",
            "first_revision": receipt.first_revision,
            "last_revision": receipt.last_revision,
            "settled": receipt.settled,
            "acked": receipt.acked,
            "duplicate": receipt.duplicate,
            "outcome": receipt.outcome,
        }
    )


def _json(value: Any, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json")
