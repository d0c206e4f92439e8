"""Messages: what is sent arrives, and nothing else is taken for a message."""

import math
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anabranch.gossip.messages import (
    ACK,
    AGREE,
    GIVE,
    HELLO,
    JOIN,
    PROTOCOL,
    PULL,
    PUSH,
    RECALL,
    RECALLED,
    REFUSE,
    REPORT,
    Hello,
    Refuse,
    decode,
    encode,
)
from anabranch.storage.commit import pack
from anabranch.storage.errors import BadFrame
from anabranch.storage.limits import BOOTS_KEPT_MAX, HELLO_BYTES_MAX, MEMBERS_MAX, MIB, SHARDS_MAX

from .messages_made import ONE_OF_EACH, messages

HEAD = (1, 2, 3, 4)  # epoch, boot, counter, wall clock
NO_REPORTS = ()
NO_CLOSE = (0, False, [])  # the body of a report message that says nothing
TOO_LARGE = [-1, 1 << 64, 1.0, "1", None, True]


def ident(value):
    return repr(value)[:60]


def a_message_or_a_bad_frame(data):
    """Decode hostile bytes; whatever is let in is a whole message that can be sent again."""
    try:
        message = decode(data)
    except BadFrame:
        return None
    assert decode(encode(message)) == message
    return message


@given(messages)
def test_what_is_sent_arrives(message):
    assert decode(encode(message)) == message


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message.body).__name__)
def test_one_of_each_kind_arrives(message):
    assert decode(encode(message)) == message


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message.body).__name__)
def test_every_flipped_bit_is_refused_or_is_another_message(message):
    good = encode(message)
    for place in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[place] ^= 1 << bit
            a_message_or_a_bad_frame(bytes(bad))


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message.body).__name__)
def test_every_truncation_and_every_extra_byte_is_refused(message):
    good = encode(message)
    for length in range(len(good)):
        with pytest.raises(BadFrame):
            decode(good[:length])
    with pytest.raises(BadFrame):
        decode(good + b"\x00")


@given(st.binary(max_size=200))
def test_noise_is_refused_or_is_a_message(data):
    a_message_or_a_bad_frame(data)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=32),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.lists(values, max_size=13))
def test_any_array_is_refused_or_is_a_message(parts):
    a_message_or_a_bad_frame(pack(parts))


@settings(max_examples=300)
@given(st.integers(0, JOIN + 1), st.lists(values, max_size=8))
def test_any_body_under_a_good_head_is_refused_or_is_a_message(kind, body):
    a_message_or_a_bad_frame(pack((kind, *HEAD, NO_REPORTS, *body)))


@settings(max_examples=200)
@given(st.lists(st.lists(values, max_size=9), max_size=3))
def test_any_reports_are_refused_or_are_reports(reports):
    a_message_or_a_bad_frame(pack((REPORT, *HEAD, reports, *NO_CLOSE)))


@pytest.mark.parametrize("kind", [0, JOIN + 1, 127])
def test_a_kind_that_is_not_known_is_named(kind):
    with pytest.raises(BadFrame, match=f"unknown kind {kind}"):
        decode(pack((kind, *HEAD, NO_REPORTS)))


@pytest.mark.parametrize("kind", [128, 1 << 63, -1, None, "3", [3]], ids=ident)
def test_a_kind_is_a_number_below_128(kind):
    with pytest.raises(BadFrame):
        decode(pack((kind, *HEAD, NO_REPORTS, *NO_CLOSE)))


@pytest.mark.parametrize("part", TOO_LARGE, ids=ident)
@pytest.mark.parametrize("place", range(1, 5))
def test_the_head_is_whole_numbers_of_64_bits(place, part):
    if part == 1 << 64:
        return  # MessagePack has no such number
    head: list[object] = [REPORT, *HEAD]
    head[place] = part
    with pytest.raises(BadFrame):
        decode(pack((*head, NO_REPORTS, *NO_CLOSE)))


GOOD_HELLO = (PROTOCOL, "trading", 64, "ny1", 11, [("ny1", "ny", 0, 11, "http://a:1")], 99, [5])
GOOD_JOIN = ("par1", "par", 3, 44, "http://d:1", True)
GOOD_REPORT = (11, 1, 99, 5, 4096, 7, None, [(0, 11, 7)])


def changed(parts, place, value):
    made = list(parts)
    made[place] = value
    return made


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        *((HELLO, GOOD_HELLO[:length]) for length in range(8)),
        (HELLO, changed(GOOD_HELLO, 0, math.inf)),
        (HELLO, changed(GOOD_HELLO, 0, math.nan)),
        (HELLO, changed(GOOD_HELLO, 0, None)),
        (HELLO, changed(GOOD_HELLO, 0, True)),
        (HELLO, changed(GOOD_HELLO, 0, 1.0)),
        (HELLO, changed(GOOD_HELLO, 1, b"trading")),
        (HELLO, changed(GOOD_HELLO, 2, -1)),
        (HELLO, changed(GOOD_HELLO, 3, None)),
        (HELLO, changed(GOOD_HELLO, 4, "11")),
        (HELLO, changed(GOOD_HELLO, 5, None)),
        (HELLO, changed(GOOD_HELLO, 5, [("ny1", "ny", 0)])),
        (HELLO, changed(GOOD_HELLO, 5, [("ny1", "ny", 0, 11)])),
        (HELLO, changed(GOOD_HELLO, 5, [("ny1", "ny", 0, -1, "")])),
        (HELLO, changed(GOOD_HELLO, 5, [("ny1", "ny", 0, 11, None)])),
        (HELLO, changed(GOOD_HELLO, 5, [("ny1", "ny", 0, 11, "", 1)])),
        (HELLO, changed(GOOD_HELLO, 5, [("ny1", "ny", 0, 11, "")] * (MEMBERS_MAX + 1))),
        (HELLO, changed(GOOD_HELLO, 6, -1)),
        (HELLO, changed(GOOD_HELLO, 6, None)),
        (HELLO, changed(GOOD_HELLO, 6, b"12345678")),
        (HELLO, changed(GOOD_HELLO, 7, None)),
        (HELLO, changed(GOOD_HELLO, 7, [-1])),
        (HELLO, changed(GOOD_HELLO, 7, [5] * (BOOTS_KEPT_MAX + 1))),
        (REFUSE, ("cluster",)),
        (REFUSE, ("cluster", "why", "more")),
        (REFUSE, (1, "why")),
        (REPORT, (0,)),
        (REPORT, (0, 1)),
        (REPORT, (0, False)),
        (REPORT, (0, 1, [])),
        (REPORT, (-1, False, [])),
        (REPORT, (0, False, [], 1)),
        (REPORT, (0, False, None)),
        (REPORT, (0, False, [11])),
        (REPORT, (0, False, [(11, -1)])),
        (REPORT, (0, False, [(11, 1.0)])),
        (REPORT, (0, False, [(11, 60)] * (MEMBERS_MAX + 1))),
        (PUSH, ()),
        (PUSH, (b"commit",)),
        (PUSH, (["commit"],)),
        (PULL, ([(0, 11, 0)],)),
        (PULL, ([(SHARDS_MAX, 11, 0)], 1)),
        (PULL, ([(0, 11)], 1)),
        (PULL, ([(0, 11, 0)], -1)),
        (GIVE, ([None],)),
        (ACK, (1,)),
        (AGREE, ()),
        (AGREE, (b"part",)),
        (AGREE, (["part"],)),
        (AGREE, ([b"part"], 1)),
        (RECALL, ()),
        (RECALL, (11,)),
        (RECALL, (-1, 1)),
        (RECALL, (11, -1)),
        (RECALL, (11, 1, 1)),
        (RECALLED, (11, 4096)),
        (RECALLED, (11, -1, [])),
        (RECALLED, (11, 4096, [(0, 11, 7)])),
        (RECALLED, (11, 4096, [(SHARDS_MAX, 7)])),
        (RECALLED, (11, 4096, [(0, -7)])),
        *((JOIN, GOOD_JOIN[:length]) for length in range(6)),
        *((JOIN, changed(GOOD_JOIN, place, None)) for place in range(6)),
        *((JOIN, changed(GOOD_JOIN, place, -1)) for place in (2, 3)),
        (JOIN, changed(GOOD_JOIN, 5, 1)),
        (JOIN, (*GOOD_JOIN, 1)),
    ],
    ids=ident,
)
def test_a_body_of_the_wrong_form_is_refused(kind, body):
    with pytest.raises(BadFrame):
        decode(pack((kind, *HEAD, NO_REPORTS, *body)))


@pytest.mark.parametrize(
    "report",
    [
        GOOD_REPORT[:7],
        (*GOOD_REPORT, 1),
        *(changed(GOOD_REPORT, place, -1) for place in range(6)),
        changed(GOOD_REPORT, 6, (0, 1)),
        changed(GOOD_REPORT, 6, (0, 1, bytes(31))),
        changed(GOOD_REPORT, 6, (SHARDS_MAX, 1, bytes(32))),
        changed(GOOD_REPORT, 7, None),
        changed(GOOD_REPORT, 7, [(0, 11)]),
        changed(GOOD_REPORT, 7, [(0, 11, -7)]),
    ],
    ids=ident,
)
def test_a_report_of_the_wrong_form_is_refused(report):
    with pytest.raises(BadFrame):
        decode(pack((REPORT, *HEAD, [report], *NO_CLOSE)))


def test_no_message_has_more_reports_than_a_cluster_has_members():
    parts = (REPORT, *HEAD, [GOOD_REPORT] * MEMBERS_MAX, *NO_CLOSE)
    assert len(decode(pack(parts)).reports) == MEMBERS_MAX
    with pytest.raises(BadFrame):
        decode(pack(changed(parts, 5, [GOOD_REPORT] * (MEMBERS_MAX + 1))))


def test_a_hello_of_another_version_is_read_as_far_as_it_says_which():
    later = (HELLO, *HEAD, NO_REPORTS, 7, "trading", {"new": "form"}, "ny1", None, 1, 2, 3)
    assert decode(pack(later)).body == Hello(7, "trading", 0, "ny1", 0, [])


def test_a_hello_of_this_version_may_carry_more_than_this_reader_knows():
    more = (HELLO, *HEAD, NO_REPORTS, *GOOD_HELLO, "more")
    assert decode(pack(more)).body == Hello(*GOOD_HELLO)


@pytest.mark.parametrize("protocol", [PROTOCOL, 2])
def test_a_hello_is_not_read_beyond_its_bound(protocol):
    long = changed(GOOD_HELLO, 1, "x" * HELLO_BYTES_MAX)
    with pytest.raises(BadFrame, match=str(HELLO_BYTES_MAX)):
        decode(pack((HELLO, *HEAD, NO_REPORTS, *changed(long, 0, protocol))))


@pytest.mark.parametrize("kind", range(HELLO, JOIN + 1))
@pytest.mark.parametrize("part", [b"\x91\xc0", b"\x91\x90", b"\x81\xc0\xc0"], ids=ident)
def test_what_does_not_fit_is_refused_before_it_takes_memory(kind, part):
    """Two bytes on the wire could become a hundred in memory."""
    count = 2 * MIB
    array = b"\xdd" + count.to_bytes(4, "big") + part * count
    head = b"\x98" + pack(kind) + pack(HEAD)[1:]
    hostile = [head + array + b"\x00\xc2", head + b"\x90" + array + b"\xc2"]
    tracemalloc.start()
    try:
        for data in hostile:
            with pytest.raises(BadFrame):
                decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB


def test_what_a_refusal_says_is_cut_to_a_readable_length():
    message = decode(pack((REFUSE, *HEAD, NO_REPORTS, "c" * 5000, "r" * 5000)))
    assert message.body == Refuse("c" * 100, "r" * 1000)
