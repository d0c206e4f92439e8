"""A commit has one form, and what a peer sends is that form or is refused."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.storage import limits
from anabranch.storage.commit import (
    EXPECT_ANY,
    EXPECT_EXISTS,
    EXPECT_NONE,
    KEEP,
    REJECT,
    Commit,
    Draft,
    commit_hash,
    keyed_commit_id,
    listed_commit_id,
    pack,
    read_header,
    read_payloads,
    receive,
    shard_of,
    stamped,
    unpack,
)
from anabranch.storage.errors import BadFrame

SHARDS = 64
ID = bytes(range(16))
TAGS = pack({"tags": ["x"]})  # the attributes of an event

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
payloads_ = st.binary(max_size=300)


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    datas = draw(st.lists(payloads_, min_size=1, max_size=6))
    count = len(datas)
    payloads = [data + draw(st.sampled_from([b"", TAGS])) for data in datas]
    types = draw(
        st.lists(names, min_size=1, max_size=1) | st.lists(names, min_size=count, max_size=count)
    )
    one_id = st.just(bytes(16)) | st.binary(min_size=16, max_size=16)
    ids = draw(st.just([]) | st.lists(one_id, min_size=count, max_size=count))
    cuts = [len(data) for data in datas]
    return Draft(
        draw(names),
        types,
        payloads,
        commit_id=draw(st.binary(min_size=16, max_size=16)),
        ids=b"".join(ids),
        cuts=draw(st.sampled_from([None, cuts])),
        expected=draw(st.integers(EXPECT_EXISTS, (1 << 62) - 1)),
        policy=draw(st.sampled_from([REJECT, KEEP])),
    )


def received(draft: Draft, *, origin: int = 1, seq: int = 1, hlc: int = 1) -> tuple[Commit, bytes]:
    _, body = stamped(draft, shard_of(draft.stream, SHARDS), origin, seq, hlc)
    return receive(body, SHARDS), body


def fields(**changes: Any) -> dict[str, Any]:
    """The parts of a good commit, with changes. Hashes fit the payloads unless given."""
    parts: dict[str, Any] = {
        "version": 1,
        "shard": None,
        "origin": 1 << 63,
        "seq": 300,
        "hlc": 1 << 60,
        "id": ID,
        "stream": "orders",
        "expected": EXPECT_ANY,
        "policy": REJECT,
        "types": ["placed"],
        "ids": b"",
        "hashes": None,
        "cuts": None,
        "payloads": [b'{"price":1}', b"x" * 300],
    } | changes
    if parts["hashes"] is None:
        parts["hashes"] = b"".join(hashlib.sha256(one).digest() for one in parts["payloads"])
    if parts["shard"] is None:
        parts["shard"] = shard_of(parts["stream"], SHARDS)
    return parts


def header_of(parts: dict[str, Any]) -> list[Any]:
    entry = [
        parts[name] for name in ("stream", "expected", "policy", "types", "ids", "hashes", "cuts")
    ]
    return [*(parts[name] for name in ("version", "shard", "origin", "seq", "hlc", "id")), [entry]]


def made_by_hand(**changes: Any) -> bytes:
    parts = fields(**changes)
    return pack((pack(header_of(parts)), parts["payloads"]))


# -- there and back ------------------------------------------------------------------------------


@given(
    draft=drafts(),
    origin=st.integers(1, (1 << 64) - 1),
    seq=st.integers(1, (1 << 63) - 1),
    hlc=st.integers(1, (1 << 64) - 1),
)
def test_what_is_stamped_is_received_as_it_was_meant(draft, origin, seq, hlc):
    shard = shard_of(draft.stream, SHARDS)
    header, body = stamped(draft, shard, origin, seq, hlc)
    commit = receive(body, SHARDS)
    assert (commit.shard, commit.origin, commit.seq, commit.hlc) == (shard, origin, seq, hlc)
    assert (commit.stream, commit.id) == (draft.stream, draft.commit_id)
    assert (commit.expected, commit.policy) == (draft.expected, draft.policy)
    assert (commit.entry, commit.count) == (draft.entry, draft.count)
    assert list(commit.payloads or ()) == draft.payloads
    assert commit.header == header
    assert commit.hash == commit_hash(header) == hashlib.sha256(b"\0" + header).digest()
    for again in (read_header(body), read_payloads(body)[0]):
        for name in Commit.__slots__:
            if name != "payloads":
                assert getattr(again, name) == getattr(commit, name)
    assert list(read_payloads(body)[1]) == draft.payloads


def test_a_hand_made_commit_is_what_stamped_makes():
    parts = fields()
    draft = Draft(parts["stream"], parts["types"], parts["payloads"], commit_id=ID)
    _, body = stamped(draft, parts["shard"], parts["origin"], parts["seq"], parts["hlc"])
    assert made_by_hand() == body


def test_the_same_append_has_the_same_entry_wherever_and_whenever():
    draft = Draft("s", ["t"], [b"1"], commit_id=ID)
    first, _ = received(draft, origin=1, seq=1, hlc=1)
    second, _ = received(draft, origin=9, seq=9, hlc=9)
    assert first.entry == second.entry == draft.entry
    assert first.hash != second.hash


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"types": ["t", "t"]}, {"types": ["t"]}),
        ({"ids": bytes(32)}, {"ids": b""}),
        ({"cuts": [1, 2]}, {"cuts": None}),
    ],
)
def test_what_means_the_same_has_the_same_entry(one, other):
    first, second = (
        Draft("s", **({"types": ["t"]} | given), payloads=[b"1", b"22"], commit_id=ID)
        for given in (one, other)
    )
    assert first.entry == second.entry
    received(first)


# -- changed bytes -------------------------------------------------------------------------------


def sample() -> bytes:
    draft = Draft(
        "orders-{btc}",
        ["a", "b"],
        [b"1" + TAGS, b"345"],
        commit_id=ID,
        ids=bytes(16) + ID,
        cuts=[1, 3],
        expected=7,
        policy=KEEP,
    )
    return stamped(draft, shard_of("orders-{btc}", SHARDS), 1 << 40, 500, 1 << 50)[1]


def test_a_changed_byte_is_refused_or_makes_another_commit_with_another_hash():
    body = sample()
    original = receive(body, SHARDS)
    hashes = {original.hash}
    for at, byte in enumerate(body):
        for other in range(256):
            if other == byte:
                continue
            mutated = body[:at] + bytes([other]) + body[at + 1 :]
            try:
                commit = receive(mutated, SHARDS)
            except BadFrame:
                continue
            assert commit.payloads == original.payloads
            assert commit.header != original.header
            hashes.add(commit.hash)
            assert at < len(original.header) + 3, "payloads are bound by their hashes"


def test_a_shortened_or_lengthened_commit_is_refused():
    body = sample()
    for length in range(len(body)):
        with pytest.raises(BadFrame):
            receive(body[:length], SHARDS)
    for more in (b"\0", b"\xc0", body):
        with pytest.raises(BadFrame):
            receive(body + more, SHARDS)


def test_a_commit_of_another_shard_count_is_refused():
    with pytest.raises(BadFrame, match="is not of shard"):
        receive(sample(), SHARDS + 1)


# -- hostile bytes -------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=40)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8))
    | st.builds(msgpack.Timestamp, st.integers(0, 1 << 33)),
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=4
        )
    ),
    max_leaves=20,
)


def refused(data: bytes) -> None:
    for read in (
        lambda: receive(data, SHARDS),
        lambda: read_header(data),
        lambda: read_payloads(data),
    ):
        try:
            read()
        except BadFrame:
            continue


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_bad_frame(data):
    refused(data)
    refused(b"\x92\xc4" + bytes([len(data)]) + data + b"\x91\xc4\x00")
    with pytest.raises(BadFrame):
        receive(data, SHARDS)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_message_pack_are_a_bad_frame(data):
    try:
        unpack(data)
    except BadFrame:
        return


@given(value=values, payloads=values)
def test_any_value_in_place_of_a_commit_raises_nothing_but_bad_frame(value, payloads):
    refused(msgpack.packb(value))
    refused(msgpack.packb([value, payloads]))
    refused(msgpack.packb([msgpack.packb(value), payloads]))


@given(part=st.integers(0, 6), inner=st.integers(-1, 6), value=values)
def test_any_value_in_place_of_a_part_is_a_bad_frame_or_a_commit(part, inner, value):
    parts = fields()
    header = header_of(parts)
    if inner < 0:
        header[part] = value
    else:
        header[6][0][inner] = value
    data = msgpack.packb([msgpack.packb(header), parts["payloads"]])
    try:
        commit = receive(data, SHARDS)
    except BadFrame:
        return
    assert pack((commit.header, parts["payloads"])) == data


def chains(length: int) -> Iterator[bytes]:
    """Arrays and maps, one in another, up to a length."""
    yield b"\x91" * length + b"\xc0"
    yield b"\x81\xc0" * (length // 2) + b"\xc0"


def crowds(length: int) -> Iterator[bytes]:
    """Arrays of very many small values, up to a length."""
    for unit in (
        b"\x80",
        b"\x90",
        b"\x91\xc0",
        b"\x81\xc0\xc0",
        b"\xa2ab",
        b"\xd4\x05a",
        b"\xc4\x00",
    ):
        many = length // len(unit)
        yield b"\xdd" + many.to_bytes(4, "big") + unit * many
    yield from chains(length)


def with_front(entry: bytes) -> bytes:
    front = pack((1, 0, 1, 1, 1, ID))
    return b"\x97" + front[1:] + b"\x91" + entry


def traps(crowd: bytes) -> Iterator[bytes]:
    """Commits with a crowd in each place where one could be."""
    for header in (
        crowd,
        b"\x97\x01" + crowd + b"\x01" * 5,
        with_front(crowd),
        with_front(b"\x97" + pack("s") + b"\x00\x00" + crowd + pack(b"") + pack(b"") + b"\xc0"),
        with_front(b"\x97" + pack("s") + b"\x00\x00\x91" + pack("t") + pack(b"") + crowd + b"\xc0"),
        with_front(b"\x97" + pack("s") + b"\x00\x00\x91" + pack("t") + pack(b"") * 2 + crowd),
    ):
        yield pack((header, [b"x"]))
    good = pack(header_of(fields()))
    yield b"\x92" + pack(good) + crowd
    yield b"\x92" + pack(good) + b"\x91" + crowd


def test_hostile_shapes_are_refused_in_little_memory():
    length = 200_000
    for crowd in crowds(length):
        for data in traps(crowd):
            tracemalloc.start()
            with pytest.raises(BadFrame):
                receive(data, SHARDS)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 4 * length


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\xff\xff\xff"])
def test_huge_lengths_are_refused_in_little_memory(size):
    good = pack(header_of(fields()))
    tracemalloc.start()
    for mark in (b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"):
        for data in (
            mark + size,
            b"\x92" + mark + size,
            b"\x92" + pack(good) + mark + size,
            pack((b"\x97\x01" + mark + size, [b"x"])),
            pack((with_front(b"\x97" + mark + size), [b"x"])),
        ):
            refused(data)
            with pytest.raises(BadFrame):
                receive(data, SHARDS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_commit_over_the_size_of_a_record_is_refused_unread():
    with pytest.raises(BadFrame, match="the limit is"):
        receive(bytes(limits.RECORD_BYTES_MAX + 1), SHARDS)


def test_a_commit_of_another_version_is_named():
    with pytest.raises(BadFrame, match="a commit of format 02; this version reads 01"):
        receive(made_by_hand(version=2), SHARDS)


# -- one form ------------------------------------------------------------------------------------


def encodings(value: Any) -> Iterator[bytes]:
    """The canonical encoding of a value, then others of it: each with one part in a longer form."""
    if isinstance(value, list):
        plain = [next(encodings(part)) for part in value]
        count = len(value)
        heads = [bytes([0x90 | count])] if count < 16 else []
        heads += [b"\xdc" + count.to_bytes(2, "big"), b"\xdd" + count.to_bytes(4, "big")]
        for head in heads:
            yield head + b"".join(plain)
        for at, part in enumerate(value):
            others = encodings(part)
            next(others)
            for other in others:
                yield heads[0] + b"".join([*plain[:at], other, *plain[at + 1 :]])
        return
    shortest = pack(value)
    longer: list[bytes] = []
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        marks = {1: b"\xd9", 2: b"\xda", 4: b"\xdb"} if isinstance(value, str) else {}
        marks = marks or {1: b"\xc4", 2: b"\xc5", 4: b"\xc6"}
        longer = [
            mark + len(data).to_bytes(size, "big") + data
            for size, mark in marks.items()
            if len(data) < 256**size
        ]
    elif isinstance(value, int):
        for size, unsigned, signed in (
            (1, 0xCC, 0xD0),
            (2, 0xCD, 0xD1),
            (4, 0xCE, 0xD2),
            (8, 0xCF, 0xD3),
        ):
            if 0 <= value < 256**size:
                longer.append(bytes([unsigned]) + value.to_bytes(size, "big"))
            if -(256**size) // 2 <= value < 256**size // 2:
                longer.append(bytes([signed]) + value.to_bytes(size, "big", signed=True))
    yield shortest
    yield from (one for one in longer if one != shortest)


def test_no_other_encoding_of_a_commit_is_accepted():
    payloads = [b"123" + TAGS, b"x" * 300]
    parts = fields(types=["a", "b"], ids=bytes(16) + ID, cuts=[3, 300], payloads=payloads)
    header = header_of(parts)
    canonical, *others = encodings(header)
    assert receive(pack((canonical, parts["payloads"])), SHARDS).header == canonical
    assert len(others) > 40
    for other in others:
        assert msgpack.unpackb(other) == msgpack.unpackb(canonical)
        with pytest.raises(BadFrame):
            receive(pack((other, parts["payloads"])), SHARDS)
    canonical, *others = encodings([canonical, parts["payloads"]])
    receive(canonical, SHARDS)
    assert len(others) > 5
    for other in others:
        with pytest.raises(BadFrame):
            receive(other, SHARDS)


@pytest.mark.parametrize(
    "changes",
    [
        {"types": ["t", "t"]},
        {"types": []},
        {"types": ["a", "b", "c"]},
        {"ids": bytes(32)},
        {"ids": ID},
        {"cuts": [11, 300]},
        {"cuts": [1]},
        {"cuts": [1, 301]},
        {"cuts": [11, 299]},
        {"cuts": [11, 0], "payloads": [b'{"price":1}', pack({"colour": "red"})]},
        {"cuts": [11, 0], "payloads": [b'{"price":1}', pack({"tags": "x"})]},
        {"cuts": [11, 0], "payloads": [b'{"price":1}', TAGS + b"\x00"]},
        {"cuts": [-1, 0]},
        {"cuts": []},
        {"hashes": b""},
        {"hashes": bytes(64)},
        {"policy": 2},
        {"policy": -1},
        {"policy": True},
        {"expected": EXPECT_EXISTS - 1},
        {"expected": 1 << 62},
        {"expected": 1.0},
        {"origin": 0},
        {"seq": 0},
        {"seq": 1 << 63},
        {"hlc": 0},
        {"hlc": -1},
        {"id": ID[:-1]},
        {"id": ID + b"x"},
        {"id": "x" * 16},
        {"shard": SHARDS},
        {"shard": -1},
        {"stream": ""},
        {"types": [""]},
        {"types": [b"t"]},
        {"payloads": []},
        {"version": True},
        {"version": 0},
    ],
    ids=str,
)
def test_what_contradicts_itself_or_has_a_shorter_form_is_refused(changes):
    with pytest.raises(BadFrame):
        receive(made_by_hand(**changes), SHARDS)


def test_an_entry_for_several_streams_is_refused_by_this_version():
    parts = fields()
    header = header_of(parts)
    header[6] = header[6] * 2
    with pytest.raises(BadFrame):
        receive(pack((pack(header), parts["payloads"])), SHARDS)


# -- limits --------------------------------------------------------------------------------------


def accepted(**changes: Any) -> bool:
    try:
        receive(made_by_hand(**changes), SHARDS)
    except BadFrame:
        return False
    return True


@pytest.mark.parametrize(("length", "fits"), [(511, True), (512, True), (513, False)])
@pytest.mark.parametrize("letter", ["s", "é", "大"])
def test_a_stream_name_has_512_bytes_at_most(length, fits, letter):
    size = len(letter.encode())
    stream = letter * (length // size) + "x" * (length % size)
    assert len(stream.encode()) == length
    assert accepted(stream=stream) is fits


@pytest.mark.parametrize(("length", "fits"), [(255, True), (256, True), (257, False)])
@pytest.mark.parametrize("letter", ["t", "é", "大"])
def test_a_type_has_256_bytes_at_most(length, fits, letter):
    size = len(letter.encode())
    name = letter * (length // size) + "x" * (length % size)
    assert accepted(types=[name]) is fits


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
def test_an_event_has_1_mib_at_most(more, fits):
    assert accepted(payloads=[bytes(limits.EVENT_BYTES_MAX + more)]) is fits


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
def test_all_events_have_8_mib_at_most(more, fits):
    half = limits.EVENT_BYTES_MAX // 2
    payloads = [bytes(half)] * 15 + [bytes(half + more)]
    assert sum(map(len, payloads)) == limits.COMMIT_BYTES_MAX + more
    assert accepted(payloads=payloads) is fits


@pytest.mark.parametrize(("count", "fits"), [(9_999, True), (10_000, True), (10_001, False)])
def test_a_commit_has_10_000_events_at_most(count, fits):
    assert accepted(payloads=[b""] * count) is fits
    assert accepted(payloads=[b""] * count, types=[str(n) for n in range(count)]) is fits


@pytest.mark.parametrize(
    "changes",
    [
        {"expected": (1 << 62) - 1},
        {"expected": EXPECT_EXISTS},
        {"expected": EXPECT_NONE},
        {"origin": (1 << 64) - 1},
        {"seq": (1 << 63) - 1},
        {"hlc": (1 << 64) - 1},
        {"cuts": [0, 0], "payloads": [TAGS, TAGS]},
        {"cuts": [11, 0], "payloads": [b'{"price":1}', TAGS]},
    ],
    ids=str,
)
def test_the_last_values_that_fit_are_accepted(changes):
    assert accepted(**changes)


def test_the_largest_commit_fits_into_a_record():
    count = limits.COMMIT_EVENTS_MAX
    size, rest = divmod(limits.COMMIT_BYTES_MAX, count)
    payloads = [bytes(size)] * (count - 1) + [bytes(size + rest - len(TAGS)) + TAGS]
    draft = Draft(
        "s" * limits.STREAM_NAME_BYTES_MAX,
        [f"{number:0{limits.TYPE_BYTES_MAX}}" for number in range(count)],
        payloads,
        commit_id=ID,
        ids=ID * count,
        cuts=[size] * (count - 1) + [size + rest - len(TAGS)],
        expected=(1 << 62) - 1,
        policy=KEEP,
    )
    commit, body = received(draft, origin=(1 << 64) - 1, seq=(1 << 63) - 1, hlc=(1 << 64) - 1)
    assert commit.count == count
    assert limits.COMMIT_BYTES_MAX < len(body) <= limits.RECORD_BYTES_MAX
    assert limits.RECORD_BYTES_MAX < limits.FRAME_BYTES_MAX


# -- ids and shards ------------------------------------------------------------------------------


def test_commit_ids_do_not_run_into_each_other():
    made = {
        keyed_commit_id("ab", "c"),
        keyed_commit_id("a", "bc"),
        keyed_commit_id("abc", ""),
        keyed_commit_id("", "abc"),
        listed_commit_id("ab", b"c"),
        listed_commit_id("a", b"bc"),
    }
    assert len(made) == 6
    assert {len(one) for one in made} == {16}


@given(part=st.text("abc}", min_size=1).filter(lambda t: "}" not in t), more=st.text("abc}"))
def test_streams_with_the_same_part_in_braces_share_a_shard(part, more):
    wanted = shard_of(part, 4096)
    assert shard_of("{" + part + "}" + more, 4096) == wanted
    assert shard_of("x{" + part + "}{" + more, 4096) == wanted


@given(stream=names, shards=st.integers(1, 4096))
def test_every_stream_has_a_shard(stream, shards):
    assert 0 <= shard_of(stream, shards) < shards
