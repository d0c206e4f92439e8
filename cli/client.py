"""One node's HTTP face, as the commands use it.

Every request has a time-out. Whatever goes wrong comes out as one of the errors of `errors`: no
answer is `NodeUnreachable`, a status of 400 or more is `NodeRefused` with the node's own sentence,
and bytes that make no sense are `BadAnswer`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from .errors import BadAnswer, NodeRefused, NodeUnreachable
from .model import (
    Appended,
    Conflict,
    ConflictsPage,
    Digest,
    DrillAnswer,
    Event,
    MembersAnswer,
    MembersCheck,
    Page,
    Status,
)

JSON = "application/json"
NDJSON = "application/x-ndjson"
REQUEST_SECONDS = 15.0
PAGE_EVENTS = 1000

Answer = TypeVar("Answer")
_EVENTS = msgspec.json.Decoder(Event)


def stream_path(stream: str) -> str:
    """The path of a stream, with every byte of its name that could mean something escaped."""
    return f"/v1/streams/{quote(stream, safe='')}"


def _parameters(**given: object) -> dict[str, str]:
    return {name: str(value) for name, value in given.items() if value is not None}


class Client:
    """Talks to one node; use it as `async with Client(url) as node`."""

    def __init__(
        self, url: str, *, timeout: float = REQUEST_SECONDS, connections: int = 16
    ) -> None:
        self.url = url
        self._timeout = timeout
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._connections)
        limit = aiohttp.ClientTimeout(total=self._timeout)
        self._session = aiohttp.ClientSession(connector=connector, timeout=limit)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def append(
        self,
        stream: str,
        body: bytes,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Appended, str]:
        """Append one commit; returns the status (201 or 202), the answer and the session token."""
        status, content, answered = await self._ask(
            "POST",
            f"{stream_path(stream)}/events",
            query=query,
            body=body,
            headers={"Content-Type": JSON} | (headers or {}),
        )
        return status, self._decode(content, Appended), answered.get("Anabranch-Token", "")

    async def read(self, stream: str, query: list[tuple[str, str]]) -> Page:
        """Read one page of a stream."""
        return await self._get(f"{stream_path(stream)}/events", Page, query)

    async def events(
        self, *, after: str | None, limit: int = PAGE_EVENTS, read: str = "settled"
    ) -> Page:
        """Read one page of all streams in the one order, as NDJSON: the fast way."""
        query = _parameters(after=after, limit=limit, read=read)
        _, content, headers = await self._ask(
            "GET", "/v1/events", query=query, headers={"Accept": NDJSON}
        )
        try:
            events = _EVENTS.decode_lines(content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadAnswer(self.url, str(error)) from error
        following = headers.get("Anabranch-Next") or (events[-1].position if events else None)
        end = headers.get("Anabranch-End", "").lower() == "true"
        return Page(events=events, end=end, next=following)

    async def history(self, *, read: str = "settled") -> AsyncGenerator[list[Event]]:
        """All pages of all streams, from the beginning to what was the end at the time."""
        after: str | None = None
        while True:
            page = await self.events(after=after, read=read)
            if page.events:
                yield page.events
            if page.end or page.next is None or page.next == after:
                return
            after = str(page.next)

    async def status(self) -> Status:
        """What the node says of itself."""
        return await self._get("/v1/status", Status)

    async def raw(self, path: str) -> Any:
        """The JSON at a path, with nothing left out."""
        return await self._get(path, Any)

    async def ready(self) -> bool:
        """Whether the node says that it is ready; NodeRefused says why not."""
        await self._ask("GET", "/readyz")
        return True

    async def digest(self, cut: str | None = None) -> Digest:
        """The digest of the node's settled history; its roots up to a cut, if one is given."""
        return await self._get("/v1/digest", Digest, _parameters(cut=cut))

    async def conflicts(self, after: str | None = None) -> ConflictsPage:
        """One page of the conflict feed."""
        return await self._get(
            "/v1/conflicts", ConflictsPage, _parameters(after=after, limit=PAGE_EVENTS)
        )

    async def all_conflicts(self) -> AsyncGenerator[list[Conflict]]:
        """All pages of the conflict feed."""
        after: str | None = None
        while True:
            page = await self.conflicts(after)
            if page.conflicts:
                yield page.conflicts
            if page.end or page.next is None or page.next == after:
                return
            after = page.next

    async def drill(self, cut: list[str], seconds: float) -> DrillAnswer:
        """Cut the node's links to these sites or nodes for a while; nothing for 0 seconds heals."""
        content = await self._post("/v1/drills", {"cut": cut, "for": seconds})
        answer: DrillAnswer = self._decode(content, DrillAnswer)
        return answer

    async def members(self) -> MembersAnswer:
        """Who belongs to the cluster, and who waits to."""
        return await self._get("/v1/members", MembersAnswer)

    async def check_members(self, order: dict[str, Any]) -> MembersCheck:
        """What an order about the members would do."""
        content = await self._post("/v1/members", order | {"check": True})
        check: MembersCheck = self._decode(content, MembersCheck)
        return check

    async def order_members(self, order: dict[str, Any]) -> dict[str, Any]:
        """Give an order about the members; the answer with nothing left out."""
        content = await self._post("/v1/members", order)
        self._decode(content, MembersAnswer)
        answer: dict[str, Any] = msgspec.json.decode(content)
        return answer

    async def _get(
        self,
        path: str,
        kind: type[Answer] | Any,
        query: dict[str, str] | list[tuple[str, str]] | None = None,
    ) -> Answer:
        _, content, _ = await self._ask("GET", path, query=query, headers={"Accept": JSON})
        answer: Answer = self._decode(content, kind)
        return answer

    async def _post(self, path: str, order: dict[str, Any]) -> bytes:
        body = msgspec.json.encode(order)
        _, content, _ = await self._ask("POST", path, body=body, headers={"Content-Type": JSON})
        return content

    async def _ask(
        self,
        verb: str,
        path: str,
        *,
        query: dict[str, str] | list[tuple[str, str]] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, dict[str, str]]:
        assert self._session is not None, "use `async with Client(url)`"
        url = URL(self.url + path, encoded=True)
        try:
            async with self._session.request(
                verb,
                url.with_query(query) if query else url,
                data=body,
                headers=headers,
            ) as response:
                content = await response.read()
        except TimeoutError as error:
            raise NodeUnreachable(self.url, f"nothing within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NodeUnreachable(self.url, _reason(error)) from error
        if response.status >= 400:
            raise NodeRefused(self.url, response.status, _problem(content))
        return response.status, content, dict(response.headers)

    def _decode(self, content: bytes, kind: type[Answer] | Any) -> Answer:
        try:
            answer: Answer = msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadAnswer(self.url, str(error)) from error
        return answer


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return (error.os_error.strerror or str(error.os_error)).lower()
    return str(error) or type(error).__name__


def _problem(content: bytes) -> dict[str, Any]:
    try:
        problem = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = None
    if isinstance(problem, dict):
        return problem
    return {"detail": content[:200].decode("utf-8", "replace").strip()}
