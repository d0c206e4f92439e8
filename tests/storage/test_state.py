"""State records, and what a reader does with one that it does not know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.storage.commit import pack
from anabranch.storage.errors import DamagedLog
from anabranch.storage.limits import MEMBERS_MAX, RECORD_BYTES_MAX, SHARDS_MAX
from anabranch.storage.state import State, read_state, state_body

words = st.integers(0, (1 << 64) - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
states = st.builds(
    State,
    words,
    words,
    st.integers(1, SHARDS_MAX),
    names,
    names,
    words,
    st.lists(st.tuples(names, names, st.integers(0, 65535), words), max_size=4),
    st.dictionaries(st.integers(0, SHARDS_MAX - 1), words, max_size=6),
    st.lists(st.tuples(st.integers(0, SHARDS_MAX - 1), words, words), max_size=4).map(sorted),
)


@given(states)
def test_what_is_written_is_read_back(state):
    assert read_state(state_body(state)) == state


def test_a_state_of_another_version_is_named_whatever_its_form():
    for body in (pack([2]), pack([2, "anything", {}]), pack((2, 1, 1, 1, "c", "n", 0, [], []))):
        with pytest.raises(DamagedLog, match="of format 2; this version reads format 1"):
            read_state(body)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", pack(None), pack(1), pack([]), pack([1]), pack([1] * 10), pack([1] * 13)],
    ids=bytes.hex,
)
def test_what_is_no_state_is_damage(body):
    with pytest.raises(DamagedLog):
        read_state(body)


def test_the_largest_state_fits_into_a_record():
    word = (1 << 64) - 1
    members = [("n" * 64, "s" * 64, 65535, word)] * MEMBERS_MAX
    watermarks = dict.fromkeys(range(SHARDS_MAX), word)
    state = State(word, word, SHARDS_MAX, "c" * 64, "n" * 64, word, members, watermarks)
    assert len(state_body(state)) < RECORD_BYTES_MAX // 100
    state.frontier = [(shard, word, word) for shard in watermarks for _ in range(MEMBERS_MAX)]
    assert len(state_body(state)) < RECORD_BYTES_MAX // 2
