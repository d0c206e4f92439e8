"""The requests that the load is made of, as bytes ready to be sent. Pure."""

from __future__ import annotations

import random
from typing import Final
from urllib.parse import urlencode

SINGLES: Final = 4096  # different single appends; then they come again
COMMITS: Final = 16  # different large ones
TEXT: Final = "abcdefghijklmnopqrstuvwxyz0123456789      "
JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"


def appends(
    *, events: int, data_bytes: int, streams: list[str], ack: str = "", seed: int = 1
) -> list[bytes]:
    """Appends of `events` events each, in turn to each of the streams."""
    luck = random.Random(seed)
    query = f"?ack={ack}" if ack else ""
    kind = JSON if events == 1 else NDJSON
    return [
        post(
            f"/v1/streams/{streams[number % len(streams)]}/events{query}",
            kind,
            b"\n".join([event(data_bytes, luck) for _ in range(events)]),
        )
        for number in range(max(SINGLES if events == 1 else COMMITS, len(streams)))
    ]


def pages(stream: str, *, events: int, limit: int) -> list[bytes]:
    """All pages of a settled stream, from its first event to its last."""
    return [
        get(
            f"/v1/streams/{stream}/events",
            NDJSON,
            {"from": start, "limit": limit, "read": "settled"},
        )
        for start in range(0, events, limit)
    ]


def event(data_bytes: int, luck: random.Random) -> bytes:
    """One event whose data is a JSON object of just so many bytes."""
    front = f'{{"account":{luck.randrange(10**8, 10**9)},"text":"'
    text = "".join(luck.choices(TEXT, k=data_bytes - len(front) - 2))
    return f'{{"type":"order","data":{front}{text}"}}}}'.encode()


def post(path: str, kind: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str, kind: str, query: dict[str, str | int]) -> bytes:
    return (
        f"GET {path}?{urlencode(query)} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {kind}\r\n\r\n"
    ).encode()
