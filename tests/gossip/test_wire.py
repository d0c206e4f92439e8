"""Frames: plain or packed, never larger than the limit, whatever they claim."""

import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from anabranch.gossip.messages import Message, Push, encode
from anabranch.gossip.wire import from_frame, sealed, sum_of, to_frame
from anabranch.storage.errors import BadFrame
from anabranch.storage.limits import (
    COMPRESS_ABOVE_BYTES,
    FRAME_BYTES_MAX,
    HELLO_BYTES_MAX,
    MIB,
)

from .messages_made import ONE_OF_EACH, SENDER, messages

LARGE = Message(SENDER, Push([b"the same again and again " * 300, bytes(range(256))]))


def packed(data, **options):
    return sealed(b"\x01", zstandard.ZstdCompressor(**options).compress(data))


@given(messages)
def test_what_is_framed_is_read_back(message):
    assert from_frame(to_frame(message)) == message


def test_only_large_messages_are_packed():
    for message in ONE_OF_EACH:
        assert to_frame(message) == sealed(b"\x00", encode(message))
    frame = to_frame(LARGE)
    assert frame[:1] == b"\x01"
    assert len(frame) < len(encode(LARGE))
    assert from_frame(frame) == LARGE


@pytest.mark.parametrize("spare", [0, 1])
def test_the_bound_of_packing_is_exact(spare):
    front = len(encode(Message(SENDER, Push([bytes(4000)])))) - 4000
    message = Message(SENDER, Push([bytes(COMPRESS_ABOVE_BYTES - front + spare)]))
    assert len(encode(message)) == COMPRESS_ABOVE_BYTES + spare
    assert to_frame(message)[0] == spare


def test_either_packing_is_read_whatever_the_size():
    for message in [*ONE_OF_EACH, LARGE]:
        assert from_frame(packed(encode(message))) == message
        assert from_frame(sealed(b"\x00", encode(message))) == message


@pytest.mark.parametrize("good", [to_frame(LARGE), *map(to_frame, ONE_OF_EACH)])
def test_every_flipped_bit_is_refused(good):
    for place in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[place] ^= 1 << bit
            with pytest.raises(BadFrame):
                from_frame(bytes(bad))


def test_a_frame_is_read_only_after_the_one_before_it():
    first, second, third = ONE_OF_EACH[:3]
    one = to_frame(first)
    two = to_frame(second, sum_of(one))
    three = to_frame(third, sum_of(two))
    assert from_frame(two, before=sum_of(one)) == second
    assert from_frame(three, before=sum_of(two)) == third
    for frame, before in [(two, 0), (three, sum_of(one)), (two, sum_of(two)), (one, sum_of(one))]:
        with pytest.raises(BadFrame, match="overtaken"):
            from_frame(frame, before=before)


def test_every_truncated_frame_is_refused():
    for good in (to_frame(LARGE), to_frame(ONE_OF_EACH[0])):
        for length in range(len(good)):
            with pytest.raises(BadFrame):
                from_frame(good[:length])


@given(st.binary(max_size=300))
def test_noise_is_refused(data):
    with pytest.raises(BadFrame):
        from_frame(sealed(b"\x01", data))


@pytest.mark.parametrize("kind", [b"", b"\x02", b"\x91", b"\xff"])
def test_an_unknown_kind_of_frame_is_refused(kind):
    with pytest.raises(BadFrame, match="kind"):
        from_frame(kind + encode(ONE_OF_EACH[0]) * bool(kind))


def test_a_frame_that_claims_to_unpack_to_more_than_the_limit_is_not_unpacked():
    bomb = packed(bytes(FRAME_BYTES_MAX + 1))
    assert len(bomb) < 10_000
    with pytest.raises(BadFrame, match=str(FRAME_BYTES_MAX + 1)):
        from_frame(bomb)


def test_a_frame_that_does_not_say_how_much_it_unpacks_to_is_refused():
    with pytest.raises(BadFrame, match="unpack"):
        from_frame(packed(encode(LARGE), write_content_size=False))


def test_a_frame_of_many_frames_counts_as_its_first():
    compress = zstandard.ZstdCompressor().compress
    both = compress(encode(ONE_OF_EACH[0])) + compress(bytes(MIB))
    assert from_frame(sealed(b"\x01", both)) == ONE_OF_EACH[0]


def test_a_bomb_costs_no_more_memory_than_the_limit():
    bombs = [
        packed(bytes(FRAME_BYTES_MAX)),  # no message, but of the size that is allowed
        packed(bytes(2 * FRAME_BYTES_MAX)),
        packed(bytes(2 * FRAME_BYTES_MAX), write_content_size=False),
    ]
    assert peak_of(bombs) < FRAME_BYTES_MAX + MIB


def test_who_has_not_been_let_in_is_read_no_further_than_a_hello():
    frames = [packed(encode(LARGE) * 100), b"\x00" + encode(LARGE) * 100]
    assert peak_of(frames, HELLO_BYTES_MAX) < MIB
    assert from_frame(to_frame(ONE_OF_EACH[0]), HELLO_BYTES_MAX) == ONE_OF_EACH[0]


def peak_of(frames, *bytes_max):
    """The most memory that it took to refuse all of these frames."""
    tracemalloc.start()
    try:
        for frame in frames:
            with pytest.raises(BadFrame):
                from_frame(frame, *bytes_max)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak
