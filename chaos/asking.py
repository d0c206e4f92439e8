"""What clients ask of nodes over HTTP, and what they are answered.

A payload goes over the wire as bytes in MessagePack. A commit id comes from an idempotency key or
from the events' ids, as for any client; so the draft that a node makes of a request is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from ..node.intake import BYTES, MSGPACK, draft_of
from ..node.position import read_position
from ..node.receipt import Receipt
from ..node.render import uuid_text
from ..simulations.history import Append, History, Probe, Read
from ..simulations.plans.clients import payload_is_true
from ..storage.commit import EXPECT_ANY, EXPECT_EXISTS, EXPECT_NONE, KEEP, Draft, pack

LATE_SECONDS = 5.0  # after the time that a node was given; it shares two cores with all others
_EXPECTED = {EXPECT_ANY: "any", EXPECT_NONE: "none", EXPECT_EXISTS: "exists"}
_ATTRIBUTES = pack({"content_type": BYTES})  # what a node puts behind data that is no JSON
_REJECTED = "RejectedForGood"
CRASH = "crash"  # what became of a request to a node that was down at some time of it

Excused = Callable[[str, float], bool]


def is_true(seed: int, stored: bytes) -> bool:
    """Whether a stored payload is one that a client of this seed sent, byte for byte."""
    data = stored.removesuffix(_ATTRIBUTES)
    return data != stored and payload_is_true(seed, data)


class Request:
    """An append as it goes over the wire, and the draft that a node makes of it."""

    def __init__(self, draft: Draft, ack: str, timeout: float) -> None:
        ids = _ids_of(draft)
        events = [
            {"type": "t", "data": data} | ({"id": ids[number]} if ids else {})
            for number, data in enumerate(draft.payloads)
        ]
        self.path = f"/v1/streams/{quote(draft.stream, safe='')}/events"
        self.body = msgspec.msgpack.encode(events)
        self.headers = {"Content-Type": MSGPACK}
        key = None if ids else draft.commit_id.hex()
        if key is not None:
            self.headers["Idempotency-Key"] = key
        self.query = {
            "ack": ack,
            "timeout": f"{timeout:g}",
            "expected": _EXPECTED.get(draft.expected, str(draft.expected)),
            "on_conflict": "keep" if draft.policy == KEEP else "reject",
        }
        self.draft = draft_of(
            draft.stream,
            MSGPACK,
            self.body,
            headers={},
            key=key,
            expected=draft.expected,
            policy=draft.policy,
            token=lambda: draft.commit_id,
        )


def _ids_of(draft: Draft) -> list[str]:
    """The ids of events whose ids make the commit's; none where one would not be taken."""
    _, _, _, _, ids, _, _ = msgspec.msgpack.decode(draft.entry)
    found = [ids[at : at + 16] for at in range(0, len(ids), 16)]
    return [uuid_text(one) for one in found] if all(map(any, found)) else []


class Asker:
    """Sends appends and reads to real nodes, and writes down the answers."""

    def __init__(self, urls: dict[str, str], history: History, excused: Excused) -> None:
        self._urls = urls
        self._history = history
        self._excused = excused  # whether a node could not answer at some time since a moment
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._revisions: dict[tuple[str, str], int] = {}

    async def close(self) -> None:
        """Let go of all connections."""
        await self._session.close()

    # -- appends ---------------------------------------------------------------------------------

    def append(self, name: str, draft: Draft, ack: str, timeout: float) -> asyncio.Task[None]:
        """Let a client append at a node; what comes of it goes into the history."""
        request = Request(draft, ack, timeout)
        done = Append(name, request.draft, ack, self._loop.time())
        self._history.appends.append(done)
        return self._loop.create_task(self._append(done, request, timeout))

    async def _append(self, done: Append, request: Request, timeout: float) -> None:
        limit = aiohttp.ClientTimeout(total=timeout + LATE_SECONDS)
        url = self._urls[done.node] + request.path
        try:
            async with self._session.post(
                url, data=request.body, params=request.query, headers=request.headers, timeout=limit
            ) as response:
                text = await response.read()
            answer = msgspec.json.decode(text)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._lost(done, error)
            return
        except msgspec.DecodeError:
            done.lost = f"answered {response.status}, and not as JSON: {text[:200]!r}"
            return
        except asyncio.CancelledError:
            done.lost = "cancelled"
            raise
        done.ended = self._loop.time()
        self._take(done, response.status, answer)

    def _lost(self, done: Append, error: Exception) -> None:
        if self._excused(done.node, done.began):
            done.lost = CRASH
        elif isinstance(error, TimeoutError):
            done.lost, done.late = "no answer in time", True
        else:
            done.lost = f"{type(error).__name__} {error}"

    def _take(self, done: Append, status: int, answer: dict[str, Any]) -> None:
        if status in (201, 202):
            done.receipt = _receipt(answer, reached=status == 201)
            done.key = done.receipt.key
            last = answer["last_revision"]
            if last is not None:
                self._revisions[done.node, done.draft.stream] = last
            return
        title = str(answer.get("title"))
        if "revision" in answer:
            self._revisions[done.node, done.draft.stream] = answer["revision"]
        if title == "Unconfirmed":
            done.lost = title
        elif title == _REJECTED:  # it was written, and what became of it is known
            done.receipt = _rejected(done.draft, answer)
            done.key = done.receipt.key
        elif status == 500:
            done.lost = f"answered {status}: {answer.get('detail')}"
        else:
            done.error = title

    # -- reads -----------------------------------------------------------------------------------

    def revision(self, name: str, stream: str) -> int:
        """The last revision of a stream that a client saw at a node."""
        return self._revisions.get((name, stream), -1)

    async def get(self, name: str, path: str, seconds: float = 5.0) -> tuple[int, Any] | None:
        """GET at a node: status and answer; None if there was none."""
        limit = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.get(self._urls[name] + path, timeout=limit) as response:
                return response.status, msgspec.json.decode(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError):
            return None

    async def post(
        self, name: str, path: str, body: object, seconds: float = 60.0
    ) -> tuple[int, Any] | None:
        """POST at a node: status and answer; None if there was none."""
        limit = aiohttp.ClientTimeout(total=seconds)
        data, headers = msgspec.json.encode(body), {"Content-Type": "application/json"}
        url = self._urls[name] + path
        try:
            async with self._session.post(
                url, data=data, headers=headers, timeout=limit
            ) as response:
                return response.status, msgspec.json.decode(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError):
            return None

    async def read_stream(self, name: str, stream: str, revision: int) -> None:
        """Read a stream from a revision on that is known to be settled there."""
        path = f"/v1/streams/{quote(stream, safe='')}/events?from={revision}&limit=5&read=settled"
        found = await self.get(name, path)
        if found is None or found[0] == 503:  # it is down, or heals
            return
        events = found[1].get("events")
        first = events[0]["revision"] if events else None
        self._history.reads.append(Read(name, stream, revision, first, 1))

    async def probe(self, name: str, draft: Draft, seconds: float) -> None:
        """Append and read at a node that has no excuse not to serve that within so many seconds."""
        began = self._loop.time()
        probe = Probe(name, "append", began)
        task = self.append(name, draft, "local", seconds)
        append = self._history.appends[-1]
        await asyncio.wait([task])
        probe.ended, probe.error = append.ended, append.error or append.lost
        read = Probe(name, "read", self._loop.time())
        answer = await self.get(name, f"/v1/streams/{quote(draft.stream, safe='')}/events", 10.0)
        read.ended = self._loop.time()
        if answer is None or answer[0] != 200:
            read.error = "no answer" if answer is None else str(answer[1].get("title"))
        if not self._excused(name, began):
            self._history.probes += [probe, read]


def _receipt(answer: dict[str, Any], *, reached: bool) -> Receipt:
    key, _ = read_position(answer["position"])
    return Receipt(
        bytes.fromhex(answer["commit"]),
        answer["stream"],
        key,
        answer["first_revision"],
        answer["last_revision"],
        answer["settled"],
        answer["acked"],
        answer["duplicate"],
        answer["outcome"],
        reached,
    )


def _rejected(draft: Draft, answer: dict[str, Any]) -> Receipt:
    key, _ = read_position(answer["position"])
    commit = bytes.fromhex(answer["commit"])
    return Receipt(
        commit,
        draft.stream,
        key,
        None,
        None,
        settled=True,
        acked="settled",
        duplicate=False,
        outcome="rejected",
    )
