"""Hostile bodies: whatever comes, it is a draft or a sentence."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.node import cloudevents, intake
from anabranch.node.intake import JSON, MSGPACK, NDJSON, draft_of
from anabranch.storage.commit import EXPECT_ANY, Draft, receive, shard_of, stamped
from anabranch.storage.errors import BadRequest, CallerError, TooLarge

MEDIA_TYPES = [JSON, NDJSON, MSGPACK, cloudevents.STRUCTURED, cloudevents.BATCH, "text/plain", ""]

texts = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
odd_events = st.dictionaries(
    st.sampled_from(
        ["type", "data", "data_base64", "content_type", "id", "time", "metadata", "tags", "x"]
    )
    | st.sampled_from(["specversion", "source", "subject", "datacontenttype"]),
    values | st.just("1.0") | st.just("application/json"),
    max_size=8,
)
good_events = st.fixed_dictionaries(
    {"type": st.text(min_size=1, max_size=20)},
    optional={
        "data": values,
        "id": st.uuids().map(str).filter(lambda text: set(text) != {"0", "-"}),
        "time": st.just("2026-11-25T12:00:00Z"),
        "metadata": st.dictionaries(texts, texts, max_size=3),
        "tags": st.lists(texts, max_size=3),
    },
)


def made(body: bytes, media_type: str, headers: dict[str, str] | None = None) -> Draft | None:
    refusal: CallerError | None = None
    try:
        return draft_of(
            "s",
            media_type,
            body,
            headers=headers or {},
            key=None,
            expected=EXPECT_ANY,
            token=lambda: bytes(range(16)),
        )
    except CallerError as error:
        refusal = error
    assert 400 <= refusal.status < 500
    assert str(refusal)
    return None


def check(draft: Draft | None) -> None:
    """What was taken is a commit that every peer takes too."""
    if draft is not None:
        _, body = stamped(draft, shard_of("s", 8), 1, 1, 1)
        assert receive(body, 8).count == draft.count


@given(st.binary(max_size=300), st.sampled_from(MEDIA_TYPES))
def test_any_bytes_are_a_draft_or_a_sentence(body: bytes, media_type: str) -> None:
    check(made(body, media_type))
    check(made(body, media_type, {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/"}))


@given(odd_events | st.lists(odd_events, max_size=3) | values, st.sampled_from(MEDIA_TYPES))
def test_any_json_is_a_draft_or_a_sentence(body: Any, media_type: str) -> None:
    raw = json.dumps(body).encode()
    check(made(raw, media_type))
    check(made(raw + b"\n" + raw, media_type))
    with suppress(OverflowError):  # what MessagePack can't hold can't be sent
        check(made(msgpack.packb(body), MSGPACK))


@given(st.lists(good_events, min_size=1, max_size=4, unique_by=lambda one: one.get("id", id(one))))
def test_good_events_are_always_taken(events: list[dict[str, Any]]) -> None:
    raw = json.dumps(events, allow_nan=False) if _finite(events) else None
    if raw is None:
        return
    try:
        raw.encode().decode()
    except UnicodeError:
        return
    draft = made(raw.encode(), JSON)
    assert draft is not None
    assert draft.count == len(events)
    check(draft)


def _finite(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@given(st.integers(1, 130), st.sampled_from([b"[]", b"{}"]), st.integers(0, 40))
def test_the_depth_of_data_is_found_whatever_stands_beside_it(
    depth: int, kind: bytes, others: int
) -> None:
    if kind == b"[]":
        deep = b"[" * depth + b"]" * depth
    else:
        deep = b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)
    flat = b'{"type":"a","data":{"x":["]}"]}}\n' * others
    draft = made(flat + b'{"type":"a","data":' + deep + b"}\n" + flat, NDJSON)
    assert (draft is not None) == (depth <= 64)


def test_brackets_in_texts_hide_no_depth() -> None:
    deep = b'["]",' * 70 + b"1" + b"]" * 70
    assert made(b'{"type":"a","data":' + deep + b"}", JSON) is None
    many = b'{"type":"a","data":' + deep + b"}\n" + b'{"type":"a","data":[{}]}\n' * 200
    assert made(many, NDJSON) is None


def test_limits_hold_at_their_edge() -> None:
    most = 1 << 20
    fits = b'{"type":"a","data":"' + b"x" * (most - 2) + b'"}'
    assert made(fits, JSON) is not None
    with pytest.raises(TooLarge):
        draft_of(
            "s",
            JSON,
            fits.replace(b"xx", b"xxx", 1),
            headers={},
            key=None,
            expected=EXPECT_ANY,
            token=lambda: bytes(16),
        )
    assert made(b'{"type":"a"}\n' * 10_000, NDJSON) is not None
    assert made(b'{"type":"' + b"t" * 256 + b'"}', JSON) is not None
    assert made(b'{"type":"' + b"t" * 257 + b'"}', JSON) is None


def test_an_error_names_the_event_as_people_count() -> None:
    with pytest.raises(BadRequest, match="event 3"):
        draft_of(
            "s",
            NDJSON,
            b'{"type":"a"}\n{"type":"a"}\n{"type":7}\n',
            headers={},
            key=None,
            expected=EXPECT_ANY,
            token=lambda: bytes(16),
        )


@pytest.mark.parametrize("media_type", [JSON, NDJSON, MSGPACK])
def test_an_unknown_field_is_answered_with_those_that_there_are(media_type: str) -> None:
    body = b"\x81\xa6events\x90" if media_type == MSGPACK else b'{"events":[]}'
    with pytest.raises(BadRequest, match=r"events.*; it may have type, data, .* an array"):
        draft_of(
            "s",
            media_type,
            body,
            headers={},
            key=None,
            expected=EXPECT_ANY,
            token=lambda: bytes(16),
        )


@pytest.mark.parametrize("media_type", [JSON, MSGPACK])
@pytest.mark.parametrize("length", [0, 3])
def test_a_body_that_is_empty_or_cut_short_is_called_that(media_type: str, length: int) -> None:
    whole = {JSON: b'{"type":"a"}', MSGPACK: b"\x81\xa4type\xa1a"}[media_type]
    with pytest.raises(BadRequest, match="it is empty, or ends within an event"):
        draft_of(
            "s",
            media_type,
            whole[:length],
            headers={},
            key=None,
            expected=EXPECT_ANY,
            token=lambda: bytes(16),
        )


def test_the_same_key_and_stream_are_the_same_commit() -> None:
    def with_key(stream: str, key: str) -> bytes:
        return draft_of(
            stream,
            JSON,
            b'{"type":"a"}',
            headers={},
            key=key,
            expected=EXPECT_ANY,
            token=lambda: bytes(16),
        ).commit_id

    assert with_key("a", "k") == with_key("a", "k")
    assert (
        len({with_key("a", "k"), with_key("b", "k"), with_key("a", "l"), with_key("ak", "")}) == 4
    )
    assert intake.NDJSON == "application/x-ndjson"
