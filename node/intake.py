"""From the body of an append to a draft: decoded, checked, and packed for the log.

Data is never decoded: JSON goes into the log as the text that came (without line breaks between
its tokens), other data as its bytes. What an event has besides id, type and JSON data are its
*attributes*: content type, time, metadata, tags, in a small map behind the data. Everything that
is refused is refused here, with a sentence, before anything has been stamped.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from ..storage.commit import REJECT, Draft, keyed_commit_id, listed_commit_id, pack, unpack
from ..storage.errors import (
    BadFrame,
    BadRequest,
    CallerError,
    TooLarge,
    Unprocessable,
    UnsupportedMedia,
)
from ..storage.limits import (
    ATTRIBUTES_BYTES_MAX,
    COMMIT_BYTES_MAX,
    COMMIT_EVENTS_MAX,
    EVENT_BYTES_MAX,
    NESTING_MAX,
    TYPE_BYTES_MAX,
)
from . import cloudevents

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
MSGPACK: Final = "application/msgpack"
BYTES: Final = "application/octet-stream"

_NO_ID: Final = bytes(16)
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:;.*)?", re.ASCII)
_EVENT_AT: Final = re.compile(r" - at `\$\[(\d+)\](.*)`")
_NOTHING: Final = msgspec.Raw()


class Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event as a caller sends it in JSON."""

    type: str
    data: msgspec.Raw = _NOTHING
    data_base64: str | None = None
    content_type: str | None = None
    id: str | None = None
    time: str | None = None
    metadata: dict[str, str] | None = None
    tags: list[str] | None = None


class Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event that has nothing but type and data, as most have; tried first, for speed."""

    type: str
    data: msgspec.Raw = _NOTHING


class _Columns:
    """The events of a body, by what a draft needs of them."""

    __slots__ = ("attributes", "datas", "ids", "types")

    def __init__(self) -> None:
        self.types: list[str] = []
        self.datas: list[bytes] = []
        self.attributes: list[bytes] | None = None  # None: no event has any
        self.ids: list[bytes] | None = None  # None: no event has its own


_one = msgspec.json.Decoder(Event)
_many = msgspec.json.Decoder(list[Event])
_one_packed = msgspec.msgpack.Decoder(Event)
_many_packed = msgspec.msgpack.Decoder(list[Event])
_one_plain = msgspec.json.Decoder(Plain)
_many_plain = msgspec.json.Decoder(list[Plain])


def draft_of(
    stream: str,
    media_type: str,
    body: bytes,
    *,
    headers: dict[str, str],
    key: str | None,
    expected: int,
    policy: int = REJECT,
    token: Callable[[], bytes],
) -> Draft:
    """The draft that a request body describes.

    `headers` are lower-case and matter for CloudEvents in binary mode only; `token` gives 16
    random bytes for a commit id where the caller names neither a key nor ids. Raises CallerError.
    """
    try:
        columns = _columns(media_type, body, headers)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"the body is not as it should be: {_words(str(error))}") from None
    except UnicodeError as error:
        raise BadRequest(f"the body is not UTF-8 text: {error}") from None
    except RecursionError:
        raise BadRequest(f"the body is nested deeper than {NESTING_MAX} levels") from None
    return _draft(stream, columns, key, expected, policy, token)


def _columns(media_type: str, body: bytes, headers: dict[str, str]) -> _Columns:
    if media_type == NDJSON:
        return _from_json(_text(body), _one_plain.decode_lines, _one.decode_lines)
    if media_type == JSON and "ce-specversion" not in headers:
        if body.lstrip()[:1] == b"[":
            return _from_json(_text(body), _many_plain.decode, _many.decode)
        return _from_json(
            _text(body), lambda text: [_one_plain.decode(text)], lambda text: [_one.decode(text)]
        )
    if media_type == MSGPACK:
        return _from_packed(body)
    if media_type == cloudevents.STRUCTURED:
        return _from_maps([cloudevents.event(_decoded(body))])
    if media_type == cloudevents.BATCH:
        batch = _decoded(body)
        if not isinstance(batch, list):
            raise BadRequest("a batch of CloudEvents is a JSON array")
        return _from_maps([cloudevents.event(one) for one in batch])
    if "ce-specversion" in headers:
        return _from_maps([cloudevents.binary_event(headers, media_type, body)])
    raise UnsupportedMedia(
        f"content type {media_type or '(none)'!r} is not known; send {JSON}, {NDJSON}, {MSGPACK}, "
        f"{cloudevents.STRUCTURED}, {cloudevents.BATCH}, or ce- headers"
    )


def _text(body: bytes) -> bytes:
    if not body.isascii():
        body.decode()
    return body


def _decoded(body: bytes) -> Any:
    _check_depth(body)
    return msgspec.json.decode(_text(body))


def _from_packed(body: bytes) -> _Columns:
    """Events in MessagePack. Their data stays packed until its size has been checked."""
    is_list = b"\x90" <= body[:1] <= b"\x9f" or body[:1] in (b"\xdc", b"\xdd")
    maps: list[dict[str, Any]] = []
    for event in _many_packed.decode(body) if is_list else [_one_packed.decode(body)]:
        one = {
            name: value
            for name in Event.__struct_fields__
            if (value := getattr(event, name)) is not None and name != "data"
        }
        packed = bytes(event.data)
        if len(packed) > EVENT_BYTES_MAX + 5:
            raise TooLarge(
                f"event {len(maps) + 1} has {len(packed)} bytes of data; {EVENT_BYTES_MAX} are the "
                "most: store large things elsewhere and refer to them"
            )
        if packed:
            one["data"] = _unpacked(packed)
        maps.append(one)
    return _from_maps(maps)


def _unpacked(data: bytes) -> Any:
    try:
        return unpack(data)
    except BadFrame as error:
        raise BadRequest(f"the data is not as it should be: {error}") from None


# -- the usual way: JSON into columns ------------------------------------------------------------


def _from_json(
    text: bytes,
    decode_plain: Callable[[bytes], list[Plain]],
    decode: Callable[[bytes], list[Event]],
) -> _Columns:
    try:
        return _plain_columns(decode_plain(text))
    except msgspec.ValidationError:  # there is more to an event, or it is wrong
        events = decode(text)
    columns = _plain_columns(events)
    if any(event.id for event in events):
        columns.ids = [_id(event.id) for event in events]
    if any(
        event.time
        or event.metadata
        or event.tags
        or event.content_type
        or event.data_base64 is not None
        for event in events
    ):
        _with_attributes(events, columns)
    return columns


def _plain_columns(events: Sequence[Plain | Event]) -> _Columns:
    columns = _Columns()
    columns.types = [event.type for event in events]
    columns.datas = [bytes(event.data) for event in events]
    joined = b"".join(columns.datas)
    for data in _perhaps_deep(columns.datas, joined):
        _check_depth(data)
    if b"\n" in joined or b"\r" in joined:
        columns.datas = [_one_line(data) for data in columns.datas]
    return columns


def _with_attributes(events: list[Event], columns: _Columns) -> None:
    columns.attributes = []
    for number, event in enumerate(events):
        content_type = event.content_type
        if event.data_base64 is not None:
            if columns.datas[number]:
                raise Unprocessable(f"event {number + 1} has both data and data_base64; send one")
            columns.datas[number] = _base64(event.data_base64, number)
            content_type = content_type or BYTES
        elif content_type is not None and not _is_json(content_type):
            raise Unprocessable(
                f"event {number + 1} has JSON data, but content_type {content_type!r}; send such "
                "data as data_base64"
            )
        columns.attributes.append(_attributes(content_type, event.time, event.metadata, event.tags))


def _one_line(data: bytes) -> bytes:
    return msgspec.json.format(data, indent=-1) if data else data


def _perhaps_deep(datas: list[bytes], joined: bytes) -> list[bytes]:
    """Those that have enough opening brackets to be nested too deep, counted as cheaply as can be.

    No data is deeper than it has brackets, and half the limit of each kind is within the limit.
    """
    half = NESTING_MAX // 2
    square, curly = joined.count(b"["), joined.count(b"{")
    if square + curly <= NESTING_MAX:
        return []
    if square <= half:
        return [data for data in datas if data.count(b"{") > half]
    if curly <= half:
        return [data for data in datas if data.count(b"[") > half]
    return [data for data in datas if data.count(b"[") + data.count(b"{") > NESTING_MAX]


def _check_depth(data: bytes) -> None:
    depth = 0
    for match in _BRACKETS.finditer(data):
        letter = match.group()
        if letter in b"[{":
            depth += 1
            if depth > NESTING_MAX:
                raise BadRequest(f"the data is nested deeper than {NESTING_MAX} levels")
        elif letter in b"]}":
            depth -= 1


# -- the general way: maps, one by one -----------------------------------------------------------


def _from_maps(maps: list[Any]) -> _Columns:
    columns = _Columns()
    columns.ids, columns.attributes = [], []
    for number, one in enumerate(maps):
        if not isinstance(one, dict):
            raise BadRequest(f"event {number + 1} is not a map")
        unknown = [str(name) for name in one if name not in Event.__struct_fields__]
        if unknown:
            raise BadRequest(_words(f"event {number + 1} has unknown fields: {', '.join(unknown)}"))
        try:
            _add_map(one, columns, number)
        except CallerError as error:
            raise type(error)(f"event {number + 1}: {error}") from None
    if not any(columns.attributes):
        columns.attributes = None
    if not any(one != _NO_ID for one in columns.ids):
        columns.ids = None
    return columns


def _add_map(one: dict[str, Any], columns: _Columns, number: int) -> None:
    kind, metadata, tags = one.get("type"), one.get("metadata"), one.get("tags")
    if not isinstance(kind, str):
        raise BadRequest("type is a text")
    for name in ("id", "time", "content_type", "data_base64"):
        if not isinstance(one.get(name), str | None):
            raise BadRequest(f"{name} is a text")
    if metadata is not None and not (
        isinstance(metadata, dict)
        and all(isinstance(part, str) for pair in metadata.items() for part in pair)
    ):
        raise BadRequest("metadata is a map from text to text")
    if tags is not None and not (
        isinstance(tags, list | tuple) and all(isinstance(tag, str) for tag in tags)
    ):
        raise BadRequest("tags are texts")
    content_type = one.get("content_type")
    if one.get("data_base64") is not None:
        data = _base64(one["data_base64"], number)
        content_type = content_type or BYTES
    elif isinstance(one.get("data"), bytes):
        data = one["data"]
        content_type = content_type or BYTES
    else:
        data = _json_of(one["data"]) if "data" in one else b""
    columns.types.append(kind)
    columns.datas.append(data)
    assert columns.ids is not None and columns.attributes is not None  # noqa: PT018
    columns.ids.append(_id(one.get("id")))
    columns.attributes.append(
        _attributes(content_type, one.get("time"), metadata, list(tags) if tags else None)
    )


def _json_of(value: Any) -> bytes:
    try:
        data = msgspec.json.encode(_without_tuples(value, 0))
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRequest(f"data has no form in JSON: {error}; send it as bytes") from None
    return data


def _without_tuples(value: Any, depth: int) -> Any:
    if depth > NESTING_MAX:
        raise BadRequest(f"the data is nested deeper than {NESTING_MAX} levels")
    if isinstance(value, tuple | list):
        return [_without_tuples(part, depth + 1) for part in value]
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise BadRequest("data has a map with keys that are not text; send it as bytes")
        return {name: _without_tuples(part, depth + 1) for name, part in value.items()}
    if isinstance(value, bytes):
        raise BadRequest("data has bytes within a map or an array; send all of it as bytes")
    return value


# -- parts of an event ---------------------------------------------------------------------------


def _id(text: str | None) -> bytes:
    if not text:
        return _NO_ID
    if not _UUID.fullmatch(text):
        raise BadRequest(f"id {text[:80]!r} is not a UUID, as 6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    raw = bytes.fromhex(text.replace("-", ""))
    if raw == _NO_ID:
        raise BadRequest("the nil UUID names no event; leave the id out, or make one")
    return raw


def _base64(text: str, number: int) -> bytes:
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise BadRequest(f"data_base64 of event {number + 1} is not base64 (RFC 4648)") from None


def _attributes(
    content_type: str | None,
    time: str | None,
    metadata: dict[str, str] | None,
    tags: list[str] | None,
) -> bytes:
    parts: dict[str, object] = {}
    if content_type is not None and content_type != JSON:
        if len(content_type) > TYPE_BYTES_MAX or not _MEDIA_TYPE.fullmatch(content_type):
            raise BadRequest(f"content_type {content_type[:80]!r} is no media type (RFC 9110)")
        parts["content_type"] = content_type
    if time is not None:
        parts["time"] = _checked_time(time)
    if metadata:
        parts["metadata"] = dict(sorted(metadata.items()))
    if tags:
        parts["tags"] = tags
    if not parts:
        return b""
    packed = pack(parts)
    if len(packed) > ATTRIBUTES_BYTES_MAX:
        raise TooLarge(
            f"metadata, tags and content type of an event have {len(packed)} bytes; "
            f"{ATTRIBUTES_BYTES_MAX} are the most"
        )
    return packed


def _checked_time(text: str) -> str:
    good = _TIME.fullmatch(text) is not None
    if good:
        try:
            datetime.fromisoformat(text.upper().replace(":60", ":59"))
        except ValueError:
            good = False
    if not good:
        raise BadRequest(f"time {text[:40]!r} is not RFC 3339, as 2026-11-25T12:00:00.123Z")
    return text


def _is_json(content_type: str) -> bool:
    main = content_type.partition(";")[0].strip().lower()
    return main == JSON or main.endswith("+json")


def _words(message: str) -> str:
    """In people's words, who count events from 1, and what there could be if a name is unknown."""
    message = message.replace("Input data was truncated", "it is empty, or ends within an event")
    if "unknown field" in message:
        message += f"; it may have {', '.join(Event.__struct_fields__)}, and several are an array"
    return _EVENT_AT.sub(lambda m: f" (event {int(m.group(1)) + 1}{m.group(2)})", message)


# -- the draft -----------------------------------------------------------------------------------


def _draft(
    stream: str,
    columns: _Columns,
    key: str | None,
    expected: int,
    policy: int,
    token: Callable[[], bytes],
) -> Draft:
    _check_sizes(columns)
    ids, named = _joined_ids(columns.ids), True
    if key is not None:
        commit_id = keyed_commit_id(stream, key)
    elif columns.ids is not None and _NO_ID not in columns.ids:
        commit_id = listed_commit_id(stream, ids)
    else:
        commit_id, named = token(), False
    payloads, cuts = columns.datas, None
    if columns.attributes is not None:
        cuts = [len(data) for data in columns.datas]
        payloads = [
            data + attributes
            for data, attributes in zip(columns.datas, columns.attributes, strict=True)
        ]
    draft = Draft(
        stream,
        columns.types,
        payloads,
        commit_id=commit_id,
        ids=ids,
        cuts=cuts,
        expected=expected,
        policy=policy,
    )
    draft.named = named
    return draft


def _check_sizes(columns: _Columns) -> None:
    count = len(columns.types)
    if not count:
        raise BadRequest("there is no event in the body; send at least one")
    if count > COMMIT_EVENTS_MAX:
        raise TooLarge(f"{count} events in one commit; {COMMIT_EVENTS_MAX} are the most")
    for kind in set(columns.types):
        if not 0 < len(kind.encode("utf-8", "surrogatepass")) <= TYPE_BYTES_MAX:
            raise BadRequest(f"a type has 1 to {TYPE_BYTES_MAX} bytes, not {kind[:40]!r}")
    sizes = [*map(len, columns.datas)]
    if columns.attributes is not None:
        sizes = [
            size + len(attributes)
            for size, attributes in zip(sizes, columns.attributes, strict=True)
        ]
    if max(sizes) > EVENT_BYTES_MAX:
        raise TooLarge(
            f"event {sizes.index(max(sizes)) + 1} has {max(sizes)} bytes; {EVENT_BYTES_MAX} are "
            "the most: store large things elsewhere and refer to them"
        )
    if sum(sizes) > COMMIT_BYTES_MAX:
        raise TooLarge(
            f"a commit of {sum(sizes)} bytes; {COMMIT_BYTES_MAX} are the most: send it in parts"
        )


def _joined_ids(ids: list[bytes] | None) -> bytes:
    if ids is None:
        return b""
    own = [one for one in ids if one != _NO_ID]
    if len(set(own)) != len(own):
        raise Unprocessable("two events of this request have the same id; give each its own")
    return b"".join(ids)
