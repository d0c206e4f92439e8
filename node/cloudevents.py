"""CloudEvents 1.0: onto our events and back, without loss.

`type`, `time`, `datacontenttype` and `data` have their own places. The other attributes become
metadata: `ce-source`, `ce-subject`, … Values that are not text are kept as `ce#name` with their
JSON text. The event id is made from `source` and `id`, which name an event for CloudEvents, so
the same event sent twice is the same event here too.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from ..storage.errors import BadRequest

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"

_TEXT: Final = "ce-"
_OTHER: Final = "ce#"
_OWN_PLACE: Final = {"specversion", "type", "time", "datacontenttype", "data", "data_base64"}


def event(cloud: Any) -> dict[str, Any]:
    """Our event for a CloudEvent that came as JSON. Raises BadRequest."""
    if not isinstance(cloud, dict):
        raise BadRequest("a CloudEvent is a JSON object")
    if cloud.get("specversion") != "1.0":
        raise BadRequest(f"specversion is {cloud.get('specversion')!r}; CloudEvents 1.0 is known")
    for name in ("id", "source", "type"):
        if not isinstance(cloud.get(name), str) or not cloud[name]:
            raise BadRequest(f"a CloudEvent needs {name!r}, a text that is not empty")
    ours: dict[str, Any] = {
        "type": cloud["type"],
        "id": _event_id(cloud["source"], cloud["id"]),
        "metadata": _metadata(cloud),
    }
    for name, place in (
        ("time", "time"),
        ("datacontenttype", "content_type"),
        ("data", "data"),
        ("data_base64", "data_base64"),
    ):
        if cloud.get(name) is not None:
            ours[place] = cloud[name]
    if "data" in ours and "data_base64" in ours:
        raise BadRequest("a CloudEvent has data or data_base64, not both")
    return ours


def _metadata(cloud: dict[str, Any]) -> dict[str, str]:
    metadata: dict[str, str] = {}
    for name, value in cloud.items():
        if name in _OWN_PLACE or value is None:
            continue
        if isinstance(value, str):
            metadata[_TEXT + name] = value
        elif isinstance(value, bool | int):
            metadata[_OTHER + name] = msgspec.json.encode(value).decode()
        else:
            raise BadRequest(f"attribute {name!r} of a CloudEvent is text, number or truth value")
    return metadata


def binary_event(headers: dict[str, str], media_type: str, body: bytes) -> dict[str, Any]:
    """Our event for a CloudEvent in binary mode: attributes in ce- headers, data in the body."""
    cloud: dict[str, Any] = {
        name.removeprefix("ce-"): unquote(value)
        for name, value in headers.items()
        if name.startswith("ce-")
    }
    ours = event(cloud)
    is_json = media_type == "application/json" or media_type.endswith("+json")
    if body and is_json:
        ours["data"] = msgspec.json.decode(body)
    elif body:
        ours["data"] = body
    if media_type and media_type != "application/json":
        ours["content_type"] = media_type
    return ours


def cloud_event(ours: dict[str, Any], stream: str) -> dict[str, Any]:
    """The CloudEvent for one of our events as a reader gets it."""
    metadata = dict(ours.get("metadata") or {})
    cloud: dict[str, Any] = {
        "specversion": "1.0",
        "id": metadata.pop(_TEXT + "id", ours["id"]),
        "source": metadata.pop(_TEXT + "source", f"/v1/streams/{stream}"),
        "type": ours["type"],
    }
    for name, value in metadata.items():
        if name.startswith(_TEXT):
            cloud[name.removeprefix(_TEXT)] = value
        elif name.startswith(_OTHER):
            cloud[name.removeprefix(_OTHER)] = msgspec.json.decode(value)
    for name, place in (
        ("time", "time"),
        ("datacontenttype", "content_type"),
        ("data", "data"),
        ("data_base64", "data_base64"),
    ):
        if place in ours:
            cloud[name] = ours[place]
    cloud.update(stream=stream, revision=ours["revision"], position=ours["position"])
    return cloud


def _event_id(source: str, name: str) -> str:
    digest = bytearray(
        hashlib.sha256(b"%d:%s%s" % (len(source), source.encode(), name.encode())).digest()[:16]
    )
    digest[6] = digest[6] & 0x0F | 0x80  # UUID version 8: made by a rule of ours (RFC 9562)
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
