"""What members say to agree on an epoch: what is sent arrives, and nothing else is taken for it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anabranch.gossip.agreeing import packed, unpacked
from anabranch.gossip.epoch import Change, Epoch, Frozenness, Member, successor
from anabranch.gossip.epochs import Accept, Accepts, Ask, Freeze, Frozen, Learn, Outbid
from anabranch.storage.commit import pack, unpack
from anabranch.storage.errors import BadFrame
from anabranch.storage.limits import SHARDS_MAX

from .messages_made import shards, words
from .test_messages import changed, ident, values

A, B, C, D = (Member(f"n{one}", f"s{one % 2}", one % 2, one) for one in (1, 2, 3, 4))
FIRST = Epoch.founded([A, B, C])
SECOND = successor(
    FIRST,
    Change((replace(D, url="http://d:1"),), (3,)),
    [Frozenness(90, ((0, 1, 5), (0, 3, 2), (63, 2, 1 << 62)))],
)
BALLOT = (7, (1 << 64) - 1)
ANSWER = Frozenness(90, ((0, 1, 5), (4095, 2, 9)))
ONE_OF_EACH = [
    Freeze(1, BALLOT),
    Freeze(1, BALLOT, forced=True),
    Frozen(1, BALLOT, Frozenness(0, ()), None),
    Frozen(1, BALLOT, ANSWER, ((3, 2), SECOND)),
    Accept(1, BALLOT, SECOND),
    Accepts(1, BALLOT),
    Outbid(1, BALLOT),
    Ask(0),
    Learn(SECOND),
]

ballots = st.tuples(words, words)
rows = st.lists(st.tuples(shards, words, words), max_size=4).map(tuple)
answers = st.builds(Frozenness, words, rows)
short = st.text(max_size=9)
joiners = st.builds(Member, short, short, words, words, url=short)
changes = st.builds(
    Change,
    st.lists(joiners, max_size=2, unique_by=lambda one: one.origin).map(tuple),
    st.lists(st.sampled_from([1, 2, 3, 9]), max_size=2).map(tuple),
)
seconds = st.builds(
    lambda change, told, forced: successor(FIRST, change, told, forced=forced),
    changes,
    st.lists(answers, max_size=3),
    st.booleans(),
)
epochs = st.just(FIRST) | seconds
messages = st.one_of(
    st.builds(Freeze, words, ballots, st.booleans()),
    st.builds(Frozen, words, ballots, answers, st.none() | st.tuples(ballots, epochs)),
    st.builds(Accept, words, ballots, epochs),
    st.builds(Accepts, words, ballots),
    st.builds(Outbid, words, ballots),
    st.builds(Ask, words),
    st.builds(Learn, epochs),
)


def name_of(message):
    return type(message).__name__


def a_message_or_a_bad_frame(data):
    """Read hostile bytes; whatever is let in is a whole message that can be sent again."""
    try:
        message = unpacked(data)
    except BadFrame:
        return None
    assert unpacked(packed(message)) == message
    return message


@given(messages)
def test_what_is_said_arrives(message):
    assert unpacked(packed(message)) == message


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=name_of)
def test_one_of_each_kind_arrives_with_its_type(message):
    again = unpacked(packed(message))
    assert again == message
    assert type(again) is type(message)


def test_the_kinds_are_1_to_7_and_are_all_there():
    kinds = {(packed(message)[1], type(message)) for message in ONE_OF_EACH}
    assert sorted(kinds, key=lambda kind: kind[0]) == list(
        enumerate([Freeze, Frozen, Accept, Accepts, Outbid, Ask, Learn], start=1)
    )


def test_an_epoch_that_arrives_has_the_same_mark():
    for message in [Learn(SECOND), Accept(1, BALLOT, SECOND)]:
        assert unpacked(packed(message)).value.mark == SECOND.mark
    accepted = unpacked(packed(Frozen(1, BALLOT, ANSWER, (BALLOT, SECOND)))).accepted
    assert accepted is not None
    assert (accepted[0], accepted[1].mark) == (BALLOT, SECOND.mark)


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=name_of)
def test_every_flipped_bit_is_refused_or_is_another_message(message):
    good = packed(message)
    for place in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[place] ^= 1 << bit
            a_message_or_a_bad_frame(bytes(bad))


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=name_of)
def test_every_truncation_and_every_extra_byte_is_refused(message):
    good = packed(message)
    for length in range(len(good)):
        with pytest.raises(BadFrame):
            unpacked(good[:length])
    with pytest.raises(BadFrame):
        unpacked(good + b"\x00")


@given(st.binary(max_size=200))
def test_noise_is_refused_or_is_a_message(data):
    a_message_or_a_bad_frame(data)


@settings(max_examples=300)
@given(st.integers(0, 8), st.lists(values, max_size=6))
def test_any_parts_are_refused_or_are_a_message(kind, parts):
    a_message_or_a_bad_frame(pack((kind, *parts)))


@settings(max_examples=200)
@given(st.sampled_from(ONE_OF_EACH), st.integers(0, 5), values)
def test_any_part_in_the_place_of_another_is_refused_or_is_a_message(message, place, part):
    parts = unpack(packed(message))
    a_message_or_a_bad_frame(pack(changed(parts, place % len(parts), part)))


@pytest.mark.parametrize("kind", [0, 8, 127, 128, -1, None, "1", [1]], ids=ident)
def test_a_kind_that_is_not_known_is_refused(kind):
    with pytest.raises(BadFrame, match="unknown kind"):
        unpacked(pack((kind, 1, BALLOT)))


@pytest.mark.parametrize("data", [b"", b"\x91", b"\xc1", b"\x93\xc1", pack(1), pack("x")])
def test_what_is_no_array_is_refused(data):
    with pytest.raises(BadFrame):
        unpacked(data)


@pytest.mark.parametrize(
    "parts",
    [
        (1, 1, BALLOT),
        (1, 1, BALLOT, 0),
        (1, 1, BALLOT, False, 1),
        (1, -1, BALLOT, False),
        (1, 1, (7,), False),
        (1, 1, (7, -1), False),
        (1, 1, (7, 8, 9), False),
        (2, 1, BALLOT, 90, ()),
        (2, 1, BALLOT, -1, (), None),
        (2, 1, BALLOT, 90, None, None),
        (2, 1, BALLOT, 90, ((0, 1),), None),
        (2, 1, BALLOT, 90, ((SHARDS_MAX, 1, 5),), None),
        (2, 1, BALLOT, 90, ((0, 1, -5),), None),
        (2, 1, BALLOT, 90, (), b""),
        (2, 1, BALLOT, 90, (), (BALLOT,)),
        (2, 1, BALLOT, 90, (), (BALLOT, b"")),
        (2, 1, BALLOT, 90, (), (BALLOT, SECOND.packed + b"\x00")),
        (2, 1, BALLOT, 90, (), (BALLOT, SECOND.packed, 1)),
        (3, 1, BALLOT),
        (3, 1, BALLOT, b"epoch"),
        (3, 1, BALLOT, SECOND.packed[:-1]),
        (3, 1, BALLOT, SECOND.packed, 1),
        (4, 1),
        (4, 1, None),
        (4, 1, BALLOT, 1),
        (5, 1, BALLOT, 1),
        (6,),
        (6, -1),
        (6, 1, 1),
        (7,),
        (7, b""),
        (7, "epoch"),
        (7, replace(SECOND, lineage=bytes(9)).packed),
        (7, replace(SECOND, number=0).packed),
        (7, SECOND.packed, 1),
    ],
    ids=ident,
)
def test_parts_of_the_wrong_form_are_refused(parts):
    with pytest.raises(BadFrame):
        unpacked(pack(parts))
