"""`replay`: rows become events, bad rows are named, repeats and lost answers do no harm."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.cli.errors import BadInput, CommandError
from anabranch.cli.mapping import Mapping, load_mapping, to_outgoing
from anabranch.cli.rows import CsvRows, Row, Unpacker, rows
from anabranch.cli.sending import batches

ORDERS = "id,at,kind,price\n1,1000,made,2.50\n2,2000,made,3\n1,3500,sold,2.50\n"
MAPPING = """
stream = "order-{id}"
type = "kind"
time = "at"
time_unit = "ms"
[data]
price = "price:number"
"""


async def read_all(path: Path, kind="csv") -> list[Row]:
    return [row async for row in rows(path, kind)]


async def test_csv_rows_know_their_lines(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(b'\xef\xbb\xbfa,b\r\n1,"x\ny"\r\n\r\n3,"say ""z"""')
    assert await read_all(file) == [
        Row(2, {"a": "1", "b": "x\ny"}),
        Row(5, {"a": "3", "b": 'say "z"'}),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n3\n", "Line 3 has 1 fields, but the header names 2 columns."),
        (b'a,b\n1,"2\n3,4\n', "Line 2 opens a quoted field that is never closed."),
        (b"a,b\n1,\xff\n", "Line 2 is not UTF-8 at byte 3."),
        (b"", "The file is empty: it has not even a line with column names."),
    ],
)
async def test_bad_csv_is_named_with_its_line(tmp_path, content, message):
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        await read_all(file)


async def test_bad_ndjson_is_named_with_its_line(tmp_path):
    file = tmp_path / "a.ndjson"
    file.write_text('{"a": 1}\n\n{"a": \n')
    with pytest.raises(BadInput, match="Line 3 is no JSON object"):
        await read_all(file, "ndjson")


async def test_gzip_of_several_members(tmp_path):
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(b"a\n1\n") + gzip.compress(b"2\n"))
    assert [row.values["a"] for row in await read_all(file)] == ["1", "2"]


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: b"?" + packed])
async def test_gzip_that_is_cut_short_or_none(tmp_path, damage):
    file = tmp_path / "a.csv.gz"
    file.write_bytes(damage(gzip.compress(b"a\n" + b"1\n" * 1000)))
    with pytest.raises(BadInput, match="gzip"):
        await read_all(file)


@given(st.binary(max_size=200), st.integers(1, 40))
def test_unpacking_does_not_depend_on_the_chunks(content, size):
    packed = gzip.compress(content)
    unpacker = Unpacker()
    made = b"".join(
        unpacker.feed(packed[start : start + size]) for start in range(0, len(packed), size)
    )
    assert (made, unpacker.whole) == (content, True)


@given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), max_size=8))
def test_csv_gives_back_what_was_written(table):
    import csv
    import io

    file = io.StringIO()
    csv.writer(file).writerows([["a", "b"], *table])
    parser = CsvRows()
    found = [row for line in file.getvalue().split("\n") for row in parser.feed(line + "\n")]
    clean = [[one.replace("\r", "") for one in row] for row in table]
    got = [[one.replace("\r", "") for one in row.values.values()] for row in found]
    assert got == clean


def test_a_mapping_makes_events(tmp_path):
    file = tmp_path / "m.toml"
    file.write_text(MAPPING)
    row = Row(2, {"id": "7", "at": "1430438404518", "kind": "made", "price": "2.50"})
    made = to_outgoing(row, load_mapping(file))
    assert made.stream == "order-7"
    assert json.loads(made.body) == {
        "type": "made",
        "time": "2015-05-01T00:00:04.518Z",
        "data": {"price": 2.5},
    }


def test_columns_of_nested_json_and_fixed_texts():
    row = Row(1, {"actor": {"id": 5}, "n": 1})
    made = to_outgoing(row, Mapping(stream="user-{actor.id}", type="=seen"))
    assert made.stream == "user-5"
    assert json.loads(made.body) == {"type": "seen", "data": {"actor": {"id": 5}, "n": 1}}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (Mapping("{no}", "=t"), "Line 9: there is no column 'no'; it has id, at, kind."),
        (Mapping("id", "=t", time="at"), "Line 9: 'soon' is no time in rfc3339."),
        (Mapping("id", "=t", time="at", time_unit="ms"), "Line 9: 'soon' is no time in ms."),
        (Mapping("id", "=t", data={"n": "at:integer"}), "Line 9: at = 'soon' is no integer."),
        (Mapping("=", "=t"), "Line 9: a stream's name has 1 to 512 bytes, this one 0."),
        (Mapping("id", "kind"), "Line 9: the type is empty."),
    ],
)
def test_a_row_that_does_not_fit_is_named_with_its_line(mapping, message):
    with pytest.raises(BadInput) as caught:
        to_outgoing(Row(9, {"id": "1", "at": "soon", "kind": ""}), mapping)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text", ["stream = 1", "stream = 'a'", "=", MAPPING.replace('"ms"', '"years"')]
)
def test_a_mapping_that_is_none(tmp_path, text):
    file = tmp_path / "m.toml"
    file.write_text(text)
    with pytest.raises(CommandError):
        load_mapping(file)


async def test_batches_keep_the_order_within_a_stream_and_share_requests():
    mapping = Mapping("{s}", "=t")

    async def events():
        for line, stream in enumerate("abaabb", start=1):
            yield to_outgoing(Row(line, {"s": stream}), mapping)

    made = [batch async for batch in batches(events(), window=4)]
    assert [(one.stream, one.first_line, one.last_line) for one in made] == [
        ("a", 1, 4),
        ("b", 2, 2),
        ("b", 5, 6),
    ]


def replay(run, file: Path, cluster, *options: str):
    to = [part for url in cluster.urls for part in ("--to", url)]
    return run("replay", str(file), *to, *options)


@pytest.fixture
def orders(tmp_path) -> Path:
    file = tmp_path / "orders.csv"
    file.write_text(ORDERS)
    return file


@pytest.mark.parametrize("spread", ["stream", "round-robin"])
def test_replay_twice_is_there_once(run, cluster, orders, tmp_path, spread):
    (tmp_path / "m.toml").write_text(MAPPING)
    options = ["--map", str(tmp_path / "m.toml"), "--spread", spread, "--group", "1"]
    ran = replay(run, orders, cluster, *options)
    assert ran.status == 0
    again = replay(run, orders, cluster, *options, "--json")
    assert sum(node["duplicates"] for node in json.loads(again.out)["nodes"]) == 3
    events, _ = cluster.world.fold("ny")
    assert [(one["stream"], one["type"]) for one in events if one["stream"] == "order-1"] == [
        ("order-1", "made"),
        ("order-1", "sold"),
    ]
    assert len(events) == 3


def test_replay_by_options_and_urls_one_after_another(run, cluster, orders):
    ran = run(
        "replay", str(orders), "--to", *cluster.urls, "--stream", "id", "--type", "kind", "--json"
    )
    assert (ran.status, json.loads(ran.out)["events"]) == (0, 3)


def test_replay_goes_to_the_next_node_when_one_is_away(run, cluster, orders):
    gone = "http://127.0.0.1:1"
    ran = run(
        "replay", str(orders), "--to", gone, cluster.urls[0], "--stream", "id", "--type", "kind"
    )
    assert ran.status == 0
    assert "Going on without it." in ran.err
    assert len(cluster.world.fold("ny")[0]) == 3


def test_replay_stops_at_what_a_node_refuses_for_good(run, alone, orders):
    alone.nodes["ny"].refuse = [(413, {"detail": "An event is too large."})] * 3
    ran = run("replay", str(orders), "--to", alone.urls[0], "--stream", "id", "--type", "kind")
    assert ran.status == 1
    assert "answered 413: An event is too large." in ran.err
    assert ran.err.split(": ")[1].startswith("Line")


def test_replay_tries_again_when_a_node_is_busy(run, cluster, orders):
    cluster.nodes["ny"].refuse = [(503, {"detail": "not now"})]
    assert replay(run, orders, cluster, "--stream", "id", "--type", "kind").status == 0
    assert len(cluster.world.fold("ny")[0]) == 3


def test_replay_of_what_tail_prints(run, cluster, tmp_path):
    file = tmp_path / "events.ndjson.gz"
    lines = [{"stream": f"s{n % 2}", "type": "t", "data": n, "revision": n} for n in range(5)]
    file.write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in lines).encode()))
    assert replay(run, file, cluster).status == 0
    assert len(cluster.world.fold("tokyo")[0]) == 5


@pytest.mark.parametrize(
    "options", [["--stream", "id"], ["--map", "{map}", "--type", "kind"], ["--spread", "random"]]
)
def test_wrong_use(run, cluster, orders, tmp_path, options):
    (tmp_path / "m.toml").write_text(MAPPING)
    options = [one.format(map=tmp_path / "m.toml") for one in options]
    assert replay(run, orders, cluster, *options).status == 2


def test_a_name_that_says_no_format(run, cluster, tmp_path):
    (tmp_path / "orders.txt").write_text(ORDERS)
    ran = replay(run, tmp_path / "orders.txt", cluster)
    assert ran.status == 2
    assert "--format" in ran.err
