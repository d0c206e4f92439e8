from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from anabranch.chaos.links.frames import WHOLE_BYTES_MAX, Cutter, Kind, opens_websocket

ASKS = b"GET /v1/link HTTP/1.1\r\nHost: b\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"
GRANTS = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def frame(opcode, payload, mask=None, *, long=0):
    size = len(payload)
    least = 0 if size < 126 else 2 if size < 65_536 else 8
    width = max(least, long)
    code = size if width == 0 else 126 if width == 2 else 127
    head = bytes([0x80 | opcode, code | (0x80 if mask else 0)])
    head += size.to_bytes(width, "big") if width else b""
    return head + (mask or b"") + payload


SAMPLE = [
    (Kind.HEAD, ASKS),
    (Kind.DATA, frame(2, b"hello", b"mask")),
    (Kind.CONTROL, frame(9, b"ping")),
    (Kind.DATA, frame(2, b"")),
    (Kind.DATA, frame(2, b"x" * 200, b"abcd")),
    (Kind.DATA, frame(1, b"\r\n\r\n", long=8)),
    (Kind.DATA, frame(0, b"more", long=2)),
    (Kind.CONTROL, frame(8, b"\x03\xe8", b"\0\0\0\0")),
]
STREAM = b"".join(data for _, data in SAMPLE)


def pieces(data, cuts):
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def test_every_split_in_two_gives_the_same_units():
    for at in range(len(STREAM) + 1):
        cutter = Cutter()
        units = [unit for piece in pieces(STREAM, [at]) for unit in cutter.feed(piece)]
        assert [(unit.kind, unit.bytes) for unit in units] == SAMPLE
        assert cutter.kept == 0 and not cutter.inside and cutter.frames == 7


def test_bytes_one_by_one():
    cutter = Cutter()
    units = [unit for byte in STREAM for unit in cutter.feed(bytes([byte]))]
    assert [(unit.kind, unit.bytes) for unit in units] == SAMPLE


def test_the_payload_is_found():
    cutter = Cutter()
    whole = [unit for unit in cutter.feed(STREAM) if unit.kind is Kind.DATA]
    assert [unit.bytes[unit.payload_at :] for unit in whole] == [
        b"hello",
        b"",
        b"x" * 200,
        b"\r\n\r\n",
        b"more",
    ]


CUTS = st.lists(st.integers(0, len(STREAM)), max_size=12)


@given(CUTS, st.lists(st.booleans(), min_size=13, max_size=13))
def test_nothing_is_lost_when_bytes_are_let_go_early(cuts, at_once):
    cutter, out = Cutter(), b""
    units = []
    for piece, through in zip(pieces(STREAM, cuts), at_once, strict=False):
        if through:
            out += cutter.pass_on(piece)
        else:
            fed = cutter.feed(piece)
            units += fed
            out += b"".join(unit.bytes for unit in fed)
    out += cutter.release()
    assert out == STREAM
    assert cutter.frames == 7
    assert all(unit.kind is Kind.PART or (unit.kind, unit.bytes) in SAMPLE for unit in units)
    last = frame(2, b"known")
    assert [(unit.kind, unit.bytes) for unit in cutter.feed(last)] == [(Kind.DATA, last)]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_go_through(data, cuts):
    for begin in (b"", GRANTS):
        cutter = Cutter()
        out = b"".join(u.bytes for piece in pieces(begin + data, cuts) for u in cutter.feed(piece))
        assert out + cutter.release() == begin + data


def test_a_long_frame_comes_in_parts():
    long, after = frame(2, bytes(WHOLE_BYTES_MAX + 10)), frame(2, b"after")
    cutter = Cutter()
    units = cutter.feed(GRANTS)
    stream = long + after
    for at in range(0, len(stream), 100_000):
        units += cutter.feed(stream[at : at + 100_000])
        assert cutter.kept < 100
    assert {unit.kind for unit in units[1:-1]} == {Kind.PART}
    assert b"".join(unit.bytes for unit in units[1:-1]) == long
    assert (units[-1].kind, units[-1].bytes) == (Kind.DATA, after)
    assert cutter.frames == 2


def test_plain_http_is_opaque():
    for plain in (
        b"POST /v1/append HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: b\r\n\r\nand more",
        b"HTTP/1.1 200 OK\r\n\r\nbody",
        b"hello",
    ):
        cutter = Cutter()
        (unit,) = cutter.feed(plain)
        assert (unit.kind, unit.bytes) == (Kind.OPAQUE, plain)
        assert cutter.feed(ASKS)[0].kind is Kind.OPAQUE


def test_what_is_no_frame_is_opaque_from_there_on():
    for wrong in (b"\x83\x01x", b"\x92\x01x", b"\x89\x7e\x00\x80" + bytes(128), ASKS):
        cutter = Cutter()
        kinds = [unit.kind for unit in cutter.feed(GRANTS + frame(2, b"fine") + wrong)]
        assert kinds == [Kind.HEAD, Kind.DATA, Kind.OPAQUE]


def test_heads():
    assert opens_websocket(ASKS)
    assert opens_websocket(GRANTS)
    assert not opens_websocket(GRANTS.replace(b"101", b"403"))
    assert not opens_websocket(b"GET / HTTP/1.1\r\n\r\n")
