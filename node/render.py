"""From a page to bytes: JSON, NDJSON, MessagePack or CloudEvents.

What is the same for a whole commit is written once per commit; JSON data is copied as it came.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec

from ..storage.commit import Commit, pack, unpack
from ..storage.stamp import milliseconds
from . import cloudevents
from .fold import KEPT
from .intake import JSON, MSGPACK, NDJSON
from .pages import Page, Slice
from .position import commit_position

SiteOf = Callable[[int], str]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DERIVED: Final = bytes(16)
_json = msgspec.json.encode


def recorded(stamp: int) -> str:
    """The time of a stamp, RFC 3339."""
    return time_text(milliseconds(stamp))


def time_text(wall_ms: int) -> str:
    """Milliseconds since 1970 as RFC 3339, in UTC."""
    return f"{_second_text(wall_ms // 1000)}.{wall_ms % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _second_text(seconds: int) -> str:
    try:
        return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError:
        return "9999-12-31T23:59:59"


def uuid_text(raw: bytes) -> str:
    """16 bytes as people write a UUID."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def derived_id_front(commit_id: bytes) -> str:
    """The first 28 letters of the ids of events that came without one; their place follows.

    A UUID of version 8 (RFC 9562): the commit id but for its last four bytes.
    """
    raw = bytearray(commit_id)
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return uuid_text(bytes(raw))[:28]


def event_id(commit: Commit, place: int) -> str:
    """The id of an event of a commit."""
    raw = commit.ids[16 * place : 16 * place + 16]
    if raw and raw != _DERIVED:
        return uuid_text(raw)
    return f"{derived_id_front(commit.id)}{place:08x}"


# -- JSON and NDJSON -----------------------------------------------------------------------------


def json_lines(page: Page, site_of: SiteOf, *, with_stream: bool) -> list[bytes]:
    """Every event of a page as a JSON object."""
    lines: list[bytes] = []
    for one in page.slices:
        lines += _lines(one, site_of, with_stream=with_stream)
    return lines


def _lines(one: Slice, site_of: SiteOf, *, with_stream: bool) -> Iterator[bytes]:
    commit = one.commit
    front = commit_position(one.key)
    same = _same_of_commit(one, site_of, with_stream=with_stream)
    types = [_json(kind) for kind in commit.types]
    kinds = len(types)
    own_ids, cuts, payloads = commit.ids, commit.cuts, one.payloads
    derived = derived_id_front(commit.id)
    first = one.first_revision
    if own_ids or cuts is not None:
        for place in one.places:
            data, rest = _data_and_rest(payloads[place], cuts[place] if cuts else None)
            yield b'{"revision":%d,"position":"%s%08x",%s,"id":"%s","type":%s%s%s}' % (
                first + place,
                front.encode(),
                place,
                same,
                event_id(commit, place).encode(),
                types[place % kinds],
                rest,
                data,
            )
        return
    head = b',"position":"%s' % front.encode()
    middle = b'",%s,"id":"%s' % (same, derived.encode())
    for place in one.places:
        data = payloads[place]
        number = b"%08x" % place
        yield b'{"revision":%d%s%s%s%s","type":%s%s}' % (
            first + place,
            head,
            number,
            middle,
            number,
            types[place % kinds],
            b',"data":' + data if data else b"",
        )


def _same_of_commit(one: Slice, site_of: SiteOf, *, with_stream: bool) -> bytes:
    commit = one.commit
    same: dict[str, Any] = {
        "settled": one.settled,
        "commit": commit.id.hex(),
        "origin": f"{commit.origin:016x}",
        "site": site_of(commit.origin),
        "recorded": recorded(commit.hlc),
    }
    if one.outcome == KEPT:
        same["outcome"] = "kept"
    if with_stream:
        same["stream"] = commit.stream
    return _json(same)[1:-1]


def _data_and_rest(payload: bytes, cut: int | None) -> tuple[bytes, bytes]:
    """(`,"data":…`, the attributes) of a payload, ready to stand in an object."""
    if cut is None:
        return (b',"data":' + payload if payload else b""), b""
    data = payload[:cut]
    attributes = unpack(payload[cut:]) if cut < len(payload) else {}
    rest = b"," + _json(attributes)[1:-1] if attributes else b""
    if not is_json(attributes):
        return b',"data_base64":"' + b64encode(data) + b'"', rest
    return (b',"data":' + data if data else b""), rest


def is_json(attributes: dict[str, Any]) -> bool:
    """Whether an event's data is JSON text."""
    content_type = attributes.get("content_type")
    if content_type is None:
        return True
    main = content_type.partition(";")[0].strip().lower()
    return bool(main == JSON or main.endswith("+json"))


def ndjson(lines: list[bytes]) -> bytes:
    """One event a line."""
    return b"\n".join(lines) + b"\n" if lines else b""


def json_page(lines: list[bytes], envelope: dict[str, Any]) -> bytes:
    """A JSON object with the events and what is said of the page."""
    return b'{"events":[' + b",".join(lines) + b"]," + _json(envelope)[1:]


# -- MessagePack and CloudEvents -----------------------------------------------------------------


def maps(page: Page, site_of: SiteOf, *, with_stream: bool) -> Iterator[dict[str, Any]]:
    """Every event of a page as a map; data that is no JSON as bytes."""
    for one in page.slices:
        commit = one.commit
        front = commit_position(one.key)
        same = msgspec.json.decode(
            b"{" + _same_of_commit(one, site_of, with_stream=with_stream) + b"}"
        )
        for place in one.places:
            event: dict[str, Any] = {
                "revision": one.first_revision + place,
                "position": f"{front}{place:08x}",
                **same,
                "id": event_id(commit, place),
                "type": commit.types[place % len(commit.types)],
            }
            payload = one.payloads[place]
            cut = commit.cuts[place] if commit.cuts is not None else len(payload)
            attributes = unpack(payload[cut:]) if cut < len(payload) else {}
            event.update(attributes)
            if not is_json(attributes):
                event["data"] = payload[:cut]
            elif cut:
                event["data"] = msgspec.json.decode(payload[:cut])
            yield event


def msgpack_page(events: Iterable[dict[str, Any]], envelope: dict[str, Any]) -> bytes:
    """A page in MessagePack."""
    return pack({"events": list(events), **envelope})


def cloudevents_page(events: Iterable[dict[str, Any]], stream: str | None) -> bytes:
    """A batch of CloudEvents."""
    batch = []
    for event in events:
        if isinstance(event.get("data"), bytes):
            event["data_base64"] = b64encode(event.pop("data")).decode()
        batch.append(cloudevents.cloud_event(event, stream or event["stream"]))
    return _json(batch)


CONTENT_TYPES: Final = (JSON, NDJSON, MSGPACK, cloudevents.BATCH)
