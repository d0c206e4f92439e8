"""The frame around a record: every bit of it counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.storage.record import (
    COMMIT,
    HEADER_BYTES,
    STATE,
    frame,
    intact,
    newer_version,
    parse,
)

from .reader import crc32c

bodies = st.binary(max_size=60)


@given(
    kind=st.sampled_from([COMMIT, STATE]),
    body=bodies,
    position=st.integers(0, (1 << 64) - 1),
    unsynced=st.integers(0, (1 << 32) - 1),
    link=st.integers(0, (1 << 32) - 1),
)
def test_a_header_says_what_was_framed(kind, body, position, unsynced, link):
    unsynced = min(unsynced, position)
    data, crc = frame(kind, body, position, position - unsynced, link)
    assert len(data) == HEADER_BYTES == 32
    header = parse(data)
    assert header is not None
    assert (header.kind, header.length, header.position) == (kind, len(body), position)
    assert (header.unsynced, header.link, header.crc) == (unsynced, link, crc)
    assert header.end == position + HEADER_BYTES + len(body)
    assert intact(header, body)
    assert parse(b"before" + data + b"behind", 6) == header


def test_a_flipped_bit_in_a_header_makes_it_none():
    data, _ = frame(COMMIT, b"body", 1000, 900, 7)
    for bit in range(8 * HEADER_BYTES):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert parse(bytes(flipped)) is None


@given(bodies.filter(bool))
def test_a_flipped_bit_or_a_missing_byte_in_a_body_is_noticed(body):
    data, _ = frame(COMMIT, body, 0, 0, 0)
    header = parse(data)
    assert header is not None
    for bit in range(8 * len(body)):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not intact(header, bytes(flipped))
    assert not intact(header, body[:-1])
    assert not intact(header, body + b"\0")


@pytest.mark.parametrize(("offset", "value"), [(0, 0xAC), (1, 0), (1, 2), (3, 1)])
def test_a_header_of_another_form_is_none_though_its_checksum_holds(offset, value):
    front = bytearray(frame(COMMIT, b"body", 1000, 900, 7)[0][:28])
    assert parse(bytes(front) + crc32c(bytes(front)).to_bytes(4, "big")) is not None
    front[offset] = value
    assert parse(bytes(front) + crc32c(bytes(front)).to_bytes(4, "big")) is None


def test_a_short_header_is_none():
    data, _ = frame(COMMIT, b"body", 0, 0, 0)
    for length in range(HEADER_BYTES):
        assert parse(data[:length]) is None


def test_a_version_above_this_one_is_told_from_rubbish():
    assert newer_version(b"\xab\x02more") == 2
    assert newer_version(b"\xab\x01more") == newer_version(b"\x00\x02") == newer_version(b"") == 0
