"""The fold depends on the set of commits alone, not on when they came or how far was settled."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.node.fold import (
    ACCEPTED,
    KEPT,
    OUTCOMES,
    REJECTED,
    SHADOWED,
    TENTATIVE,
    Held,
    OrderKey,
    ShardFold,
    StreamFold,
    fits,
    judge,
)
from anabranch.storage.commit import EXPECT_ANY, EXPECT_EXISTS, EXPECT_NONE, KEEP, REJECT

from .commits import ORIGINS, STREAMS, Verdict, draft, folded, held

# A commit as a test draws it: stream, stamp, origin, number of its id, events, expected, policy.
Drawn = tuple[str, int, int, int, int, int, int]

drawn = st.tuples(
    st.sampled_from(STREAMS[:3]),
    st.integers(1, 12),
    st.sampled_from(list(ORIGINS)),
    st.integers(1, 6),
    st.integers(1, 3),
    st.sampled_from([EXPECT_ANY, EXPECT_ANY, EXPECT_EXISTS, EXPECT_NONE, 0, 1, 2]),
    st.sampled_from([REJECT, KEEP]),
)
sets = st.lists(drawn, max_size=14, unique_by=lambda one: one[1:3])


def held_of(one: Drawn) -> Held:
    stream, stamp, origin, number, count, expected, policy = one
    made = draft(stream, number, count=count, expected=expected, policy=policy)
    return held(made, origin, stamp, stamp)


class Shard:
    """Streams of one shard, folded the way in which a history does it."""

    def __init__(self) -> None:
        self.fold = ShardFold()
        self.streams: dict[str, StreamFold] = {}
        self.settled: dict[OrderKey, Verdict] = {}
        self.settled_ids: set[bytes] = set()

    def insert(self, one: Held) -> None:
        one.shard = 0
        one.known_before = one.id in self.settled_ids
        overtaken = self.fold.insert(one)
        if overtaken is not None:
            self.streams[overtaken.stream].refold_from(overtaken)
        self.streams.setdefault(one.stream, StreamFold()).insert(one)

    def settle(self, count: int) -> None:
        commits = self.fold.pending[:count]
        for name, stream in self.streams.items():
            mine = [one for one in commits if one.stream == name]
            verdicts = stream.settle(len(mine), self.fold.seen)
            self.settled |= {one.key: verdict for one, verdict in zip(mine, verdicts, strict=True)}
        self.settled_ids |= {one.id for one in commits}
        self.fold.remove_first(count)

    def verdicts(self) -> dict[OrderKey, Verdict]:
        found = dict(self.settled)
        for stream in self.streams.values():
            for at, one in enumerate(stream.pending):
                assert stream.place_of(one) == at
                found[one.key] = stream.verdict(at, self.fold.seen)
        return found


# -- the model -----------------------------------------------------------------------------------


@given(commits=sets, luck=st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_plain_fold(commits: list[Drawn], luck: Random):
    ours = [held_of(one) for one in commits]
    for one in ours:
        one.shard = 0
    shard = Shard()
    luck.shuffle(ours)
    for number, one in enumerate(ours, 1):
        shard.insert(one)
        if luck.random() < 0.5:  # somebody looks, so a part is folded already
            assert shard.verdicts() == folded(ours[:number])
    assert shard.verdicts() == folded(ours)
    for name, stream in shard.streams.items():
        shown = [
            one.count
            for one in ours
            if one.stream == name and folded(ours)[one.key][0] in (ACCEPTED, KEPT)
        ]
        assert stream.last_revision(shard.fold.seen) == sum(shown) - 1


@given(commits=sets, luck=st.randoms(use_true_random=False))
def test_settling_step_by_step_gives_the_plain_fold(commits: list[Drawn], luck: Random):
    """What is settled is never overtaken; the rest comes in any order."""
    waiting = sorted((held_of(one) for one in commits), key=lambda one: one.key)
    everything = list(waiting)
    for one in everything:
        one.shard = 0
    final = folded(everything)
    shard = Shard()
    while waiting or shard.fold.pending:
        choice = luck.randrange(3)
        if choice == 0 and waiting:
            shard.insert(waiting.pop(luck.randrange(len(waiting))))
        elif choice == 1:
            missing = min((one.key for one in waiting), default=(1 << 64, 0, 0))
            ready = sum(one.key < missing for one in shard.fold.pending)
            shard.settle(luck.randint(0, ready))
        else:
            here = [one for one in everything if one not in waiting]
            assert shard.verdicts() == folded(here)
        assert {key: final[key] for key in shard.settled} == shard.settled
    assert shard.settled == final
    assert shard.fold.by_id == {}


# -- single rules --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "revisions_that_fit"),
    [
        (EXPECT_ANY, {-1, 0, 1, 2}),
        (EXPECT_NONE, {-1}),
        (EXPECT_EXISTS, {0, 1, 2}),
        (0, {0}),
        (2, {2}),
        (3, set()),
    ],
)
def test_what_fits(expected, revisions_that_fit):
    assert {revision for revision in range(-1, 3) if fits(expected, revision)} == revisions_that_fit


def test_the_policy_decides_over_what_does_not_fit():
    rejected = held(draft("a", 1, expected=5), 11, 1, 1)
    kept = held(draft("a", 1, expected=5, policy=KEEP), 11, 1, 1)
    assert judge(rejected, 5, seen=False) == judge(kept, 5, seen=False) == ACCEPTED
    assert judge(rejected, 4, seen=False) == REJECTED
    assert judge(kept, 4, seen=False) == KEPT
    assert judge(rejected, 5, seen=True) == judge(kept, 4, seen=True) == SHADOWED


def test_every_outcome_has_a_word():
    assert set(OUTCOMES) >= {ACCEPTED, REJECTED, KEPT, SHADOWED}
    assert OUTCOMES.get(TENTATIVE, "tentative") == "tentative"


def test_of_conditional_commits_on_one_revision_the_lowest_key_wins():
    ours = [
        held(draft("a", number, expected=EXPECT_NONE), origin, 1, 5)
        for number, origin in enumerate(ORIGINS)
    ]
    for arrival in (ours, ours[::-1], [ours[1], ours[2], ours[0]]):
        shard = Shard()
        for one in arrival:
            shard.insert(one)
        assert [shard.verdicts()[one.key][0] for one in ours] == [ACCEPTED, REJECTED, REJECTED]


def test_a_late_commit_in_the_middle_moves_those_after_it():
    early = held(draft("a", 1, count=2), 11, 1, 10)
    late = held(draft("a", 2, expected=1), 11, 2, 30)
    middle = held(draft("a", 3, count=5), 22, 1, 20)
    shard = Shard()
    shard.insert(early)
    shard.insert(late)
    assert shard.verdicts()[late.key] == (ACCEPTED, 2)
    shard.insert(middle)
    assert shard.verdicts()[middle.key] == (ACCEPTED, 2)
    assert shard.verdicts()[late.key] == (REJECTED, 7)


def test_an_earlier_commit_of_the_same_id_shadows_one_that_was_shown():
    first_here = held(draft("a", 7), 11, 1, 20)
    follower = held(draft("a", 8, expected=0), 11, 2, 30)
    earlier = held(draft("b", 7), 22, 1, 10)  # the same id, though in another stream
    shard = Shard()
    shard.insert(first_here)
    shard.insert(follower)
    assert shard.verdicts()[follower.key] == (ACCEPTED, 1)
    shard.insert(earlier)
    assert shard.verdicts()[first_here.key] == (SHADOWED, 0)
    assert shard.verdicts()[follower.key] == (REJECTED, 0)


def test_a_settled_commit_shadows_later_ones_of_its_id():
    shard = Shard()
    for stamp in (10, 20, 30):
        shard.insert(held(draft("a", 7), 11, stamp, stamp))
    shard.settle(1)
    assert [one.known_before for one in shard.fold.pending] == [True, True]
    assert [outcome for outcome, _ in shard.verdicts().values()] == [ACCEPTED, SHADOWED, SHADOWED]


def test_a_rejected_commit_shadows_later_ones_of_its_id_too():
    shard = Shard()
    shard.insert(held(draft("a", 7, expected=5), 11, 1, 10))
    shard.insert(held(draft("a", 7), 22, 1, 20))
    assert [outcome for outcome, _ in shard.verdicts().values()] == [REJECTED, SHADOWED]


@pytest.mark.parametrize("other", ["a", "b"], ids=["in one stream", "in two"])
@pytest.mark.parametrize("gone", [0, 1, 2])
def test_of_commits_with_one_key_the_right_one_goes(gone: int, other: str):
    """Processes on copies of one directory may stamp in the same moment."""
    ours = [held(draft(("a", other, "a")[n], n), 11, 1, 10) for n in range(3)]
    shard = Shard()
    for one in ours:
        shard.insert(one)
    assert shard.fold.remove(ours[gone]) is None
    shard.streams[ours[gone].stream].remove(ours[gone])
    left = [one for one in ours if one is not ours[gone]]
    assert sorted(map(id, shard.fold.pending)) == sorted(map(id, left))
    assert {one.id for one in left} == {*shard.fold.by_id}
    for stream in shard.streams.values():
        places = [stream.place_of(one) for one in stream.pending]
        assert places == [*range(len(stream.pending))]
        assert [stream.verdict(at, shard.fold.seen)[0] for at in places] == [ACCEPTED] * len(places)


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(-1, 10))
def test_until_counts_stamps_up_to_a_watermark(stamps, watermark):
    fold = ShardFold()
    for number, stamp in enumerate(stamps):
        fold.insert(held(draft("a", number), 11, number + 1, stamp + 1))
    assert fold.until(watermark) == sum(stamp + 1 <= watermark for stamp in stamps)


@given(
    commits=sets.map(lambda ones: [one for one in ones if one[0] == "a"]),
    revision=st.integers(0, 20),
)
def test_a_revision_is_found_in_the_tentative_part(commits, revision):
    shard = Shard()
    for one in commits:
        shard.insert(held_of(one))
    if not commits:
        return
    stream = shard.streams["a"]
    at = stream.place_of_revision(revision, shard.fold.seen)
    shown = [
        (place, first, first + one.count - 1)
        for place, one in enumerate(stream.pending)
        for outcome, first in [stream.verdict(place, shard.fold.seen)]
        if outcome in (ACCEPTED, KEPT)
    ]
    holding = [place for place, first, last in shown if first <= revision <= last]
    if holding:
        assert [at] == holding
    else:
        assert at == len(stream.pending)
