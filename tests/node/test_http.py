"""The surface that programs see, over real HTTP to a real node."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgpack
import pytest

from .served import Served, served


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path / "data", drills=True) as running:
        yield running


def event(**fields: Any) -> dict[str, Any]:
    return {"type": "created", **fields}


async def nothing_written(one: Served) -> bool:
    status, page = await one.ask("GET", "/v1/streams")
    return bool(status == 200 and page["streams"] == [])


async def test_an_append_is_read_back_as_it_was_sent(one: Served) -> None:
    sent = event(
        data={"price": 1.50, "text": "ü\n"},
        id="6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        time="2026-11-25T12:00:00.5+01:00",
        metadata={"b": "2", "a": "1"},
        tags=["x", "y"],
    )
    status, receipt = await one.append("orders", sent, "?ack=settled")
    assert status == 201
    assert receipt["settled"] and receipt["outcome"] == "accepted" and receipt["acked"] == "settled"
    assert (receipt["first_revision"], receipt["last_revision"]) == (0, 0)
    status, page = await one.read("orders")
    assert status == 200
    (got,) = page["events"]
    assert {name: got[name] for name in sent} == sent
    assert got["commit"] == receipt["commit"] and got["position"] == receipt["position"]
    assert got["revision"] == 0 and got["settled"] and got["site"] == "here"
    assert (page["settled_revision"], page["last_revision"], page["end"]) == (0, 0, True)


async def test_all_kinds_of_bodies_arrive(one: Served) -> None:
    lines = b'{"type":"a","data":1}\n\n{"type":"b","data_base64":"AAH/"}\n'
    assert (await one.append("s", lines, media_type="application/x-ndjson"))[0] == 201
    packed = msgpack.packb([{"type": "c", "data": b"\x00\xff"}, {"type": "d", "data": {"x": [1]}}])
    assert (await one.append("s", packed, media_type="application/msgpack"))[0] == 201
    assert (await one.append("s", [event(), event(data=None)]))[0] == 201
    pretty = json.dumps(event(data={"deep": [1, {"a": 2}]}), indent=2).encode()
    assert (await one.append("s", pretty, "?ack=settled"))[0] == 201  # so two reads say the same
    _, page = await one.read("s")
    datas = [(got.get("data"), got.get("data_base64")) for got in page["events"]]
    assert datas == [
        (1, None),
        (None, "AAH/"),
        (None, base64.b64encode(b"\x00\xff").decode()),
        ({"x": [1]}, None),
        (None, None),
        (None, None),
        ({"deep": [1, {"a": 2}]}, None),
    ]
    _, raw = await one.read("s", headers={"Accept": "application/x-ndjson"})
    assert [json.loads(line) for line in raw.splitlines()] == page["events"]
    _, raw = await one.read("s", headers={"Accept": "application/msgpack"})
    unpacked = msgpack.unpackb(raw)
    assert [got["data"] for got in unpacked["events"] if "data" in got][1] == b"\x00\x01\xff"


async def test_cloudevents_come_back_without_loss(one: Served) -> None:
    cloud = {
        "specversion": "1.0",
        "id": "A-1",
        "source": "/trades",
        "type": "trade",
        "subject": "BTC",
        "time": "2026-11-25T12:00:00Z",
        "partition": 7,
        "urgent": True,
        "datacontenttype": "application/json",
        "data": {"n": 1},
    }
    structured, batch = "application/cloudevents+json", "application/cloudevents-batch+json"
    status, first = await one.append("t", cloud, media_type=structured)
    assert status == 201
    status, second = await one.append("t", [cloud], media_type=batch)
    assert second["duplicate"] and second["commit"] == first["commit"], "source and id name it"
    headers = {"ce-specversion": "1.0", "ce-id": "2", "ce-source": "/x", "ce-type": "bin"}
    status, _ = await one.append("t", b"\x01\x02", media_type="image/png", headers=headers)
    assert status == 201
    _, clouds = await one.read("t", headers={"Accept": batch})
    got = clouds[0]
    del cloud["datacontenttype"]  # JSON is what data is without it
    assert {name: got[name] for name in cloud} == cloud
    assert clouds[1]["datacontenttype"] == "image/png"
    assert base64.b64decode(clouds[1]["data_base64"]) == b"\x01\x02"


async def test_an_idempotency_key_makes_a_retry_the_same_append(one: Served) -> None:
    headers = {"Idempotency-Key": "k1"}
    _, first = await one.append("s", event(data=1), headers=headers)
    status, again = await one.append("s", event(data=1), headers=headers)
    assert status == 201 and again["duplicate"] and not first["duplicate"]
    assert again["commit"] == first["commit"]
    status, problem = await one.append("s", event(data=2), headers=headers)
    assert status == 422 and "Idempotency-Key" in problem["detail"]
    _, page = await one.read("s")
    assert len(page["events"]) == 1


async def test_event_ids_make_a_retry_the_same_append(one: Served) -> None:
    body = [event(id="6ba7b810-9dad-11d1-80b4-00c04fd430c8")]
    await one.append("s", body)
    status, again = await one.append("s", body)
    assert status == 201 and again["duplicate"]


async def test_the_expected_revision_decides(one: Served) -> None:
    assert (await one.append("s", event(), "?expected=exists"))[0] == 409
    assert (await one.append("s", event(data=0), "?expected=none"))[0] == 201
    assert (await one.append("s", event(data=1), "?expected=0"))[0] == 201
    status, problem = await one.append("s", event(), "?expected=0&ack=settled")
    assert status == 409
    assert problem["revision"] == 1 and [got["data"] for got in problem["events"]] == [1]
    assert (await one.append("s", event(), "?expected=none"))[0] == 409
    assert (await one.append("s", event(), "?expected=exists"))[0] == 201


async def test_pages_lead_through_a_stream_both_ways(one: Served) -> None:
    for start in range(0, 25, 5):
        await one.append("s", [event(data=start + at) for at in range(5)], "?ack=settled")
    seen, query = [], "?limit=7"
    while True:
        _, page = await one.read("s", query)
        seen += [got["data"] for got in page["events"]]
        if page["end"]:
            break
        query = f"?limit=7&from={page['next']}"
    assert seen == list(range(25)) and page["next"] == 25
    seen, query = [], "?limit=7&direction=backward"
    while True:
        _, page = await one.read("s", query)
        seen += [got["data"] for got in page["events"]]
        if page["end"]:
            break
        query = f"?limit=7&direction=backward&from={page['next']}"
    assert seen == list(range(24, -1, -1))
    _, page = await one.read("s", "?from=12&limit=3")
    assert [got["revision"] for got in page["events"]] == [12, 13, 14]
    _, page = await one.read("s", "?type=other&type=nothing")
    assert page["events"] == [] and page["end"]


async def test_all_streams_in_the_one_order(one: Served) -> None:
    for at in range(12):
        await one.append(f"s{at % 3}", event(data=at), "?ack=settled")
    seen, after = [], ""
    while True:
        _, page = await one.ask("GET", f"/v1/events?limit=5{after}")
        seen += [(got["stream"], got["data"]) for got in page["events"]]
        if page["end"]:
            break
        after = f"&after={page['next']}"
    assert seen == [(f"s{at % 3}", at) for at in range(12)]
    _, page = await one.ask("GET", "/v1/events?stream_prefix=s2")
    assert [got["data"] for got in page["events"]] == [2, 5, 8, 11]
    _, page = await one.ask("GET", "/v1/events?read=latest&limit=1000")
    assert len(page["events"]) == 12


async def test_streams_commits_and_conflicts_are_listed(one: Served) -> None:
    for name in ("a", "b/c", "ü x"):
        _, receipt = await one.append(quote(name, safe=""), event(), "?ack=settled")
    _, page = await one.ask("GET", "/v1/streams?limit=2")
    assert [row["stream"] for row in page["streams"]] == ["a", "b/c"] and not page["end"]
    _, rest = await one.ask("GET", f"/v1/streams?limit=2&after={quote(page['next'], safe='')}")
    assert [row["stream"] for row in rest["streams"]] == ["ü x"] and rest["end"]
    _, row = await one.ask("GET", "/v1/streams/" + quote("ü x", safe=""))
    assert row["last_revision"] == 0 and row["first_position"] == receipt["position"]
    status, commit = await one.ask("GET", f"/v1/commits/{receipt['commit']}")
    assert status == 200 and commit["outcome"] == "accepted" and commit["held_by"] == ["one"]
    assert (await one.ask("GET", "/v1/conflicts"))[1] == {
        "conflicts": [],
        "next": None,
        "end": True,
    }


BAD_BODIES: list[tuple[int, bytes, str]] = [
    (400, b"", "application/json"),
    (400, b"{", "application/json"),
    (400, b"[]", "application/json"),
    (400, b"null", "application/json"),
    (400, b'{"type":"a"}{"type":"b"}', "application/json"),
    (400, b'{"type":"\xff"}', "application/json"),
    (400, b'{"type":"a","data":"\xff"}', "application/json"),
    (400, b'{"type":"a","data":"\\ud800"}', "application/json"),
    (400, b'{"type":"a","data":NaN}', "application/json"),
    (400, b'{"data":1}', "application/json"),
    (400, b'{"type":""}', "application/json"),
    (400, b'{"type":"a","unknown":1}', "application/json"),
    (400, b'{"type":"a","id":"7"}', "application/json"),
    (400, b'{"type":"a","id":"00000000-0000-0000-0000-000000000000"}', "application/json"),
    (400, b'{"type":"a","time":"yesterday"}', "application/json"),
    (400, b'{"type":"a","time":"2026-13-01T00:00:00Z"}', "application/json"),
    (400, b'{"type":"a","data_base64":"*"}', "application/json"),
    (422, b'{"type":"a","data":1,"data_base64":"AA=="}', "application/json"),
    (422, b'{"type":"a","data":1,"content_type":"image/png"}', "application/json"),
    (400, b'{"type":"a","data":' + b"[" * 65 + b"]" * 65 + b"}", "application/json"),
    (400, b'{"type":"a","data":' + b"[" * 99999 + b"]" * 99999 + b"}", "application/json"),
    (400, b'{"type":"a","data":' + b'{"a":[' * 33 + b"]}" * 33 + b"}", "application/json"),
    (413, b'{"type":"a","data":"' + b"x" * (1 << 20) + b'"}', "application/json"),
    (413, b'{"type":"a"}\n' * 10_001, "application/x-ndjson"),
    (413, (b'{"type":"a","data":"' + b"x" * 900_000 + b'"}\n') * 10, "application/x-ndjson"),
    (413, b" " * 14_000_000, "application/json"),
    (400, b'{"type":"a"}\n{"type":7}', "application/x-ndjson"),
    (400, b"\xc1", "application/msgpack"),
    (400, b"\x01", "application/msgpack"),
    (400, b"\xdd\x00\x80\x00\x00" + b"\x80" * (1 << 23), "application/msgpack"),
    (
        413,
        b"\x82\xa4type\xa1a\xa4data\xdd\x00\x20\x00\x00" + b"\x80" * (1 << 21),
        "application/msgpack",
    ),
    (400, msgpack.packb({"type": "a", "data": {"x": b"y"}}), "application/msgpack"),
    (400, msgpack.packb({"type": "a", "data": {1: 2}}), "application/msgpack"),
    (400, msgpack.packb({"type": "a", "data": float("nan"), "tags": [1]}), "application/msgpack"),
    (400, b'{"specversion":"0.3"}', "application/cloudevents+json"),
    (415, b"a=1", "application/x-www-form-urlencoded"),
    (415, b"x", "text/plain"),
]


async def test_a_bad_body_is_refused_with_a_sentence_and_nothing_is_written(one: Served) -> None:
    for wanted, body, media_type in BAD_BODIES:
        status, problem = await one.append("s", body, media_type=media_type)
        assert status == wanted, (body[:60], problem)
        assert problem["status"] == wanted and len(problem["detail"]) > 20
    twice = [event(id="6ba7b810-9dad-11d1-80b4-00c04fd430c8")] * 2
    assert (await one.append("s", twice))[0] == 422
    assert await nothing_written(one)


async def test_64_levels_are_taken(one: Served) -> None:
    body = b'{"type":"a","data":' + b"[" * 64 + b"]" * 64 + b"}"
    assert (await one.append("s", body))[0] == 201
    text = json.dumps(event(data="[" * 200)).encode()
    assert (await one.append("s", text))[0] == 201, "brackets within a text are no levels"


@pytest.mark.parametrize(
    ("wanted", "method", "path"),
    [
        (404, "GET", "/v1/streams/none/events"),
        (404, "GET", "/v1/streams/none"),
        (404, "GET", "/nowhere"),
        (404, "GET", "/v1/streams/a/b/c"),
        (404, "GET", "/v1/commits/" + "0" * 32),
        (400, "GET", "/v1/commits/xyz"),
        (405, "DELETE", "/v1/streams/a/events"),
        (405, "POST", "/v1/status"),
        (400, "GET", "/v1/streams/%ff/events"),
        (400, "GET", "/v1/streams//events"),
        (400, "GET", "/v1/streams/" + "x" * 513 + "/events"),
        (400, "GET", "/v1/streams/a/events?limit=0"),
        (400, "GET", "/v1/streams/a/events?limit=1001"),
        (400, "GET", "/v1/streams/a/events?from=-1"),
        (400, "GET", "/v1/streams/a/events?direction=up"),
        (400, "GET", "/v1/streams/a/events?read=maybe"),
        (400, "GET", "/v1/streams/a/events?limits=5"),
        (400, "GET", "/v1/streams/a/events?limit=5&limit=6"),
        (400, "GET", "/v1/streams/a/events?limit=%ff"),
        (501, "GET", "/v1/streams/a/events?read=session"),
        (501, "GET", "/v1/streams/a/events?read=bounded"),
        (501, "GET", "/v1/streams/a/events?read=strong"),
        (400, "GET", "/v1/events?after=zz"),
        (400, "GET", "/v1/link"),
        (501, "GET", "/openapi.json"),
    ],
)
async def test_a_bad_request_is_a_problem(one: Served, wanted: int, method: str, path: str) -> None:
    status, problem = await one.ask(method, path)
    assert status == wanted, problem
    assert problem["status"] == wanted and problem["detail"]


async def test_who_appends_at_a_stream_is_told_where(one: Served) -> None:
    status, problem = await one.ask("POST", "/v1/streams/a")
    assert (status, problem["detail"].partition("; ")[2]) == (405, "append at /v1/streams/a/events")
    status, problem = await one.ask("DELETE", "/v1/streams/a")
    assert (status, problem["detail"]) == (405, "/v1/streams/a takes GET, not DELETE")


@pytest.mark.parametrize(
    ("wanted", "query"),
    [
        (501, "?ack=site"),
        (501, "?ack=quorum"),
        (501, "?ack=each_site"),
        (501, "?ack=all"),
        (400, "?ack=maybe"),
        (400, "?expected=-1"),
        (400, "?expected=1.5"),
        (400, "?expected=" + "9" * 19),
        (400, "?expected=%D9%A1"),
        (400, "?on_conflict=shrug"),
        (400, "?timeout=-1"),
        (400, "?timeout=nan"),
        (400, "?timeout=1e9"),
        (400, "?unknown=1"),
    ],
)
async def test_a_bad_option_of_an_append_writes_nothing(
    one: Served, wanted: int, query: str
) -> None:
    status, _ = await one.append("s", event(), query)
    assert status == wanted
    assert await nothing_written(one)


async def test_an_append_waits_for_what_it_can_not_have_and_answers_202(one: Served) -> None:
    one.node.settler.dispute((0, 1), "a test stops it")
    for shard in range(8):
        one.node.settler.dispute((shard, 1), "a test stops it")
    status, receipt = await one.append("s", event(), "?ack=settled&timeout=0.05")
    assert status == 202 and receipt["acked"] == "local" and receipt["outcome"] == "tentative"
    _, said = await one.ask("GET", "/v1/status")
    assert said["disputed_shards"] == list(range(8)) and said["needs"]


async def test_status_and_digest_say_how_it_is(one: Served) -> None:
    await one.append("s", [event(), event()], "?ack=settled")
    _, said = await one.ask("GET", "/v1/status")
    assert said["state"] == "ready" and said["needs"] == [] and said["peers"] == []
    assert said["watermark"]["settled_commits"] == 1
    assert said["watermark"]["tentative_commits"] == 0
    _, digest = await one.ask("GET", "/v1/digest")
    assert digest["settled"]["events"] == 2 and len(digest["settled"]["hash"]) == 64
    assert (await one.ask("GET", "/livez"))[0] == 200
    assert (await one.ask("GET", "/readyz"))[0] == 200


async def test_a_drill_takes_members_only_and_only_where_allowed(
    one: Served, tmp_path: Path
) -> None:
    status, problem = await one.ask("POST", "/v1/drills", {"cut": ["here"], "for": 1})
    assert status == 400 and "here" in problem["detail"]
    for body in (b"", b"[]", b'{"cut": "x", "for": 1}', b'{"cut": [], "for": -1}'):
        assert (await one.ask("POST", "/v1/drills", body))[0] == 400
    assert (await one.ask("POST", "/v1/drills", {"cut": [], "for": 0}))[0] == 200
    async with served(tmp_path / "other") as strict:
        assert (await strict.ask("POST", "/v1/drills", {"cut": [], "for": 0}))[0] == 404


async def test_a_full_disk_answers_507_and_recovers(
    one: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.append("s", event())
    monkeypatch.setattr(one.node.room, "free_bytes", lambda: 0)
    status, problem = await one.append("s", event())
    assert status == 507 and "free" in problem["detail"]
    assert (await one.read("s"))[0] == 200
    assert (await one.ask("GET", "/v1/status"))[1]["state"] == "disk_full"
    monkeypatch.undo()
    assert (await one.append("s", event()))[0] == 201


async def test_names_that_look_like_paths_are_just_names(one: Served) -> None:
    for name in ("..", ".", "../../etc", "a%2Fb", "nul\x00", "$all", "{x}y", "\u202e", "a" * 512):
        path = quote(name, safe="")
        path = path.replace(".", "%2E")
        status, receipt = await one.append(path, event(data=name), "?ack=settled")
        assert status == 201 and receipt["stream"] == name
        _, page = await one.read(path)
        assert page["stream"] == name and page["events"][0]["data"] == name


async def test_a_conflict_with_what_is_on_its_way_to_the_disk_waits_for_it(one: Served) -> None:
    """The events that the caller had not seen can't be read back before they are written."""
    first = asyncio.create_task(one.append("s", event()))
    others = [asyncio.create_task(one.append("s", event(), "?expected=none")) for _ in range(20)]
    assert (await first)[0] == 201
    for status, problem in await asyncio.gather(*others):
        assert status == 409
        assert [told["revision"] for told in problem["events"]] == [0]


async def test_readers_of_a_stream_that_is_written_to_all_the_time_see_what_is_on_disk(
    one: Served,
) -> None:
    """What is on its way to the disk is not shown, and not waited for; the node goes on."""
    written = asyncio.Event()

    async def write() -> None:
        for _ in range(60):
            assert (await one.append("s", event()))[0] == 201

    async def read(path: str) -> None:
        seen = -1
        while not written.is_set():
            status, answer = await one.ask("GET", path)
            assert status in (200, 404)
            if status == 200 and "last_revision" in answer:
                assert answer["last_revision"] >= seen
                seen = answer["last_revision"]

    paths = ["/v1/streams/s/events", "/v1/streams/s", "/v1/events?read=latest", "/v1/streams"]
    reading = [asyncio.create_task(read(path)) for path in 3 * paths]
    answers = await asyncio.gather(*(write() for _ in range(4)))
    written.set()
    await asyncio.gather(*reading)
    assert len(answers) == 4 and one.node.failure is None
    _, page = await one.read("s", "?limit=1000")
    assert len(page["events"]) == 240 and page["last_revision"] == 239
