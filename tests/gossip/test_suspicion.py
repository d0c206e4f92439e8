"""Who seems to be gone: silence here, and what the others say of it."""

import pytest

from anabranch.gossip.epoch import Epoch, Member, evictable
from anabranch.gossip.suspicion import Suspicion
from anabranch.storage.limits import EVICT_AFTER_SECONDS, SILENCE_SECONDS

FORGOTTEN = 2 * SILENCE_SECONDS
ORIGINS = (1, 2, 3)


def test_silence_counts_from_the_last_sign_of_life():
    suspicion = Suspicion(100.0)
    suspicion.heard(2, 110.0)
    suspicion.heard(2, 130.0)
    assert suspicion.silent_seconds(2, 130.0) == 0.0
    assert suspicion.silent_seconds(2, 145.5) == 15.5


def test_of_whom_nothing_was_heard_it_counts_from_the_start():
    suspicion = Suspicion(100.0)
    assert suspicion.silent_seconds(3, 100.0) == 0.0
    assert suspicion.silent_seconds(3, 107.0) == 7.0


def test_missed_are_those_that_were_silent_so_long_in_whole_seconds():
    suspicion = Suspicion(0.0)
    suspicion.heard(1, 40.0)
    suspicion.heard(2, 40.01)
    suspicion.heard(3, 10.2)
    assert suspicion.missed([2, 3, 1], 60.0, 100.0) == [(3, 89), (1, 60)]
    assert suspicion.missed([2], 60.0, 100.0) == []
    assert suspicion.missed([], 0.0, 100.0) == []


def test_to_be_heard_again_ends_it():
    suspicion = Suspicion(0.0)
    assert suspicion.missed([2], 60.0, 100.0) == [(2, 100)]
    suspicion.heard(2, 100.0)
    assert suspicion.missed([2], 60.0, 100.0) == []


def test_this_nodes_view_names_all_others_and_not_itself():
    suspicion = Suspicion(0.0)
    suspicion.heard(2, 8.0)
    assert suspicion.views(1, ORIGINS, 10.0) == {1: {2: 2.0, 3: 10.0}}


def test_what_others_miss_counts_as_long_as_they_say_so():
    suspicion = Suspicion(0.0)
    suspicion.told(2, [(3, 61)], 10.0)
    assert suspicion.views(1, ORIGINS, 10.0 + FORGOTTEN)[2] == {3: 61.0}
    assert 2 not in suspicion.views(1, ORIGINS, 10.001 + FORGOTTEN)
    suspicion.told(2, [(3, 70)], 19.0)
    assert suspicion.views(1, ORIGINS, 20.0)[2] == {3: 70.0}


def test_the_newest_word_replaces_those_before():
    suspicion = Suspicion(0.0)
    suspicion.told(2, [(3, 61), (4, 90)], 10.0)
    suspicion.told(2, [(4, 91)], 10.1)
    assert suspicion.views(1, ORIGINS, 10.2)[2] == {4: 91.0}
    suspicion.told(2, [], 10.3)
    assert suspicion.views(1, ORIGINS, 10.4)[2] == {}


def test_nobody_can_speak_for_this_node():
    suspicion = Suspicion(0.0)
    suspicion.told(1, [(2, 999)], 10.0)
    assert suspicion.views(1, ORIGINS, 10.0)[1] == {2: 10.0, 3: 10.0}


EPOCH = Epoch.founded(
    [
        *(Member(f"a{number}", "a", 0, number) for number in (1, 2, 3)),
        *(Member(f"b{number}", "b", 1, 3 + number) for number in (1, 2)),
    ]
)


@pytest.mark.parametrize(
    ("say", "gone"),
    [
        ([2, 4], "a3"),  # with this node three of five, and all its mates
        ([4, 5], None),  # a mate still hears it
        ([2], None),  # its mates alone are no majority
        ([2, 4, 5], "a3"),
    ],
)
def test_what_is_said_is_enough_to_remove_a_member_or_not(say, gone):
    suspicion = Suspicion(0.0)
    now = EVICT_AFTER_SECONDS
    for origin in (2, 4, 5):
        suspicion.heard(origin, now)
        suspicion.told(origin, [(3, 60)] if origin in say else [], now)
    found = evictable(EPOCH, suspicion.views(1, EPOCH.origins, now), EVICT_AFTER_SECONDS)
    assert (found and found.name) == gone
    later = now + FORGOTTEN + 0.001
    suspicion.heard(2, later)
    suspicion.heard(4, later)
    suspicion.heard(5, later)
    stale = suspicion.views(1, EPOCH.origins, later)
    assert evictable(EPOCH, stale, EVICT_AFTER_SECONDS) is None, "nobody says so any more"
