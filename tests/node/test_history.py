"""A history shows the plain fold of what it holds, settled or not, by stream, order and log."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.node.fold import ACCEPTED, KEPT, REJECTED, Held, OrderKey
from anabranch.node.history import EMPTY_MARK, History
from anabranch.simulations.world.disk import SimDisk
from anabranch.storage.commit import EXPECT_ANY, EXPECT_EXISTS, EXPECT_NONE, KEEP, REJECT, shard_of
from anabranch.storage.index import MemoryIndex
from anabranch.storage.keys import Place
from anabranch.storage.limits import SETTLED_ROOTS_KEPT
from anabranch.storage.log import Log

from .commits import ORIGINS, SHARDS, STREAMS, Verdict, commit_id, draft, folded, held
from .lives import picture, verdicts

END = (1 << 64) - 2

drawn = st.tuples(
    st.sampled_from(STREAMS),
    st.integers(1, 12),
    st.sampled_from(list(ORIGINS)),
    st.integers(1, 6),
    st.integers(1, 3),
    st.sampled_from([EXPECT_ANY, EXPECT_ANY, EXPECT_EXISTS, EXPECT_NONE, 0, 1, 2]),
    st.sampled_from([REJECT, KEEP]),
)
sets = st.lists(drawn, max_size=14, unique_by=lambda one: one[1:3])


def empty() -> History:
    log = Log(
        SimDisk(Random(0)),
        opening_state=bytes,
        on_durable=lambda end: None,
        on_failure=lambda error: None,
    )
    return History(MemoryIndex(), log, SHARDS)


def helds(commits: Iterable[tuple[Any, ...]]) -> list[Held]:
    """Commits as a node holds them; the logs count their sequences in the order of the stamps."""
    made = []
    last: dict[tuple[int, int], int] = {}
    for position, one in enumerate(sorted(commits, key=lambda one: one[1])):
        stream, stamp, origin, number, count, expected, policy = one
        log = (shard_of(stream, SHARDS), origin)
        last[log] = last.get(log, 0) + 1
        drafted = draft(stream, number, count=count, expected=expected, policy=policy)
        made.append(held(drafted, origin, last[log], stamp, position=1000 * position))
    return made


def settle(history: History, watermark: int, *, commits_max: int = 1 << 30) -> list[Held]:
    settled = []
    for shard in range(SHARDS):
        settled += history.settle(shard, watermark, commits_max)
        history.write_settled()
    return settled


def key_of(place: Place) -> OrderKey:
    return (place.stamp, place.priority, place.origin)


def by_log(commits: list[Held], luck: Random) -> list[Held]:
    """Some order of arrival in which each log arrives in the order of its sequences."""
    logs: dict[tuple[int, int], list[Held]] = {}
    for one in commits:
        logs.setdefault((one.shard, one.key[2]), []).append(one)
    arrival = []
    while logs:
        log = luck.choice(list(logs))
        arrival.append(logs[log].pop(0))
        if not logs[log]:
            del logs[log]
    return arrival


# -- the model -----------------------------------------------------------------------------------


@given(commits=sets, luck=st.randoms(use_true_random=False))
def test_any_arrival_and_any_steps_of_settling_show_the_plain_fold(commits, luck):
    everything = helds(commits)
    waiting = by_log(everything, luck)
    here: list[Held] = []
    history = empty()
    while waiting or history.tentative_commits:
        if waiting and luck.random() < 0.6:
            here.append(waiting.pop(0))
            history.insert(here[-1])
        else:
            missing = min((one.key[0] for one in waiting), default=100)
            settled = settle(
                history, luck.randint(0, missing - 1), commits_max=luck.choice([1, 2, 99])
            )
            assert all(
                folded(everything)[one.key] == (one.outcome, one.first_revision) for one in settled
            )
        if luck.random() < 0.5:
            assert verdicts(history) == folded(here)
        assert history.tentative_commits == len(list(history.all_tentative()))
    at_once = empty()
    for one in helds(commits):
        at_once.insert(one)
    settle(at_once, 100)
    ours, plain = picture(history), picture(at_once)
    assert verdicts(history) == folded(everything)
    assert [mark[1:] for mark in ours.marks] == [mark[1:] for mark in plain.marks]
    ours.marks = plain.marks
    assert ours == plain


@given(commits=sets, settled_until=st.integers(0, 12), luck=st.randoms(use_true_random=False))
def test_the_reads_of_a_stream_show_every_revision_once(commits, settled_until, luck):
    everything = helds(commits)
    history = empty()
    for one in by_log(everything, luck):
        history.insert(one)
    settle(history, settled_until)
    final = folded(everything)
    for name in STREAMS:
        shown = [
            (final[one.key][1], one)
            for one in sorted(everything)
            if one.stream == name and final[one.key][0] in (ACCEPTED, KEPT)
        ]
        last = sum(one.count for _, one in shown) - 1
        shard = shard_of(name, SHARDS)
        assert history.last_revision(name, shard) == last
        settled_last = history.stream(name).settled_revision
        assert settled_last == sum(one.count for _, one in shown if one.key[0] <= settled_until) - 1
        for revision in range(last + 1):
            forward = places_from(history, name, shard, revision)
            backward = places_from(history, name, shard, revision, reverse=True)
            holding = next(
                place for place in shown if place[0] <= revision < place[0] + place[1].count
            )
            at = shown.index(holding)
            assert forward == [(first, one.key) for first, one in shown[at:]]
            assert backward == [(first, one.key) for first, one in shown[: at + 1]][::-1]


def places_from(
    history: History, name: str, shard: int, revision: int, *, reverse: bool = False
) -> list[tuple[int, OrderKey]]:
    """(first revision, key) of the commits shown from a revision on, as a page joins them."""
    settled = [
        (place.first_revision, key_of(place))
        for place in history.settled_places(name, revision, reverse=reverse)
        if reverse or place.first_revision + place.events > revision
    ]
    tentative = [
        (one.first_revision, one.held.key)
        for one in history.tentative(name, shard, revision, reverse=reverse)
        if one.outcome in (ACCEPTED, KEPT) and (not reverse or one.first_revision <= revision)
    ]
    return tentative + settled if reverse else settled + tentative


@given(commits=sets, luck=st.randoms(use_true_random=False))
def test_the_log_entries_of_a_node_are_its_sequences_in_order(commits, luck):
    everything = helds(commits)
    history = empty()
    for one in by_log(everything, luck):
        history.insert(one)
    settle(history, luck.randint(0, 12))
    for shard in range(SHARDS):
        for origin in ORIGINS:
            mine = [one for one in everything if (one.shard, one.key[2]) == (shard, origin)]
            rows = [(one.seq, one.position, one.length) for one in mine]
            for after in range(len(rows) + 2):
                assert list(history.log_entries(shard, origin, after)) == rows[after:]
    settled = {
        (one.shard, one.key[2]): one.seq for one in everything if one not in tentative_of(history)
    }
    assert history.settled == settled


def tentative_of(history: History) -> list[Held]:
    return [one.held for one in history.all_tentative()]


# -- settling ------------------------------------------------------------------------------------


class Row(NamedTuple):
    stream: str = "a"
    stamp: int = 1
    origin: int = 11
    number: int = 1
    events: int = 1
    expected: int = EXPECT_ANY
    policy: int = REJECT


def history_of(*rows: Row) -> tuple[History, list[Held]]:
    history, commits = empty(), helds(rows)
    for one in commits:
        history.insert(one)
    return history, commits


def test_a_history_begins_with_nothing():
    history = empty()
    assert [history.mark(shard) for shard in range(SHARDS)] == [EMPTY_MARK] * SHARDS
    assert history.pending_shards == []
    assert history.replay_from() == 0
    assert history.last_revision("a", 0) == -1
    assert history.find(commit_id(1), 0) is None
    assert settle(history, END) == []
    assert verdicts(history) == {}


def test_commits_of_one_stamp_are_settled_together_however_few_are_asked_for():
    history, commits = history_of(
        *(Row(stamp=5, origin=origin, number=origin) for origin in ORIGINS)
    )
    shard = commits[0].shard
    assert len(history.settle(shard, 9, 1)) == 3
    history.write_settled()
    assert history.mark(shard).watermark == 5


def test_a_mark_is_true_of_everything_below_its_watermark():
    history, commits = history_of(*(Row(stamp=stamp, number=stamp) for stamp in range(1, 6)))
    shard = commits[0].shard
    for watermark, commits_max, marked in ((3, 2, 2), (3, 2, 3), (9, 99, 9)):
        history.settle(shard, watermark, commits_max)
        history.write_settled()
        assert history.mark(shard).watermark == marked


def test_the_running_hash_tells_what_became_of_each_commit():
    def running(*rows: Row) -> bytes:
        history, commits = history_of(*rows)
        settle(history, 99)
        return history.mark(commits[0].shard).running

    base = running(Row(), Row(stamp=2, number=2))
    assert running(Row(), Row(stamp=2, number=2)) == base
    assert running(Row(), Row(stamp=2, number=3)) != base
    assert running(Row(), Row(stamp=2, number=1)) != base
    assert running(Row(), Row(stamp=2, number=2, events=2)) != base


def test_running_hashes_are_remembered_for_a_while():
    many = SETTLED_ROOTS_KEPT + 10
    rows = [Row(stamp=stamp, number=stamp) for stamp in range(1, many + 1)]
    history, commits = history_of(*rows)
    shard = commits[0].shard
    roots = {}
    for stamp in range(1, many + 1):
        history.settle(shard, stamp, 99)
        roots[stamp] = history.mark(shard).running
    history.write_settled()
    assert {number: history.root_at(shard, number) for number in range(11, many + 1)} == {
        number: roots[number] for number in range(11, many + 1)
    }
    assert history.root_at(shard, 10) is None
    assert history.root_at(shard, many + 1) is None


def test_the_conflict_feed_has_what_did_not_fit_in_order():
    history, commits = history_of(
        Row(stamp=1, number=1),
        Row(stamp=2, number=2, expected=5),
        Row(stamp=3, number=3, expected=5, policy=KEEP),
        Row(stamp=4, number=1),
        Row(stamp=5, number=5, expected=1),
    )
    settle(history, 99)
    feed = list(history.settled_order((0, 0, 0), END, conflicts=True))
    assert [(place.stamp, place.outcome) for place in feed] == [(2, REJECTED), (3, KEPT)]
    later = history.settled_order(commits[2].key, END, conflicts=True)
    assert [place.stamp for place in later] == [3]


def test_the_one_order_begins_where_it_is_asked_to_and_ends_at_a_stamp():
    history, commits = history_of(
        *(Row(stream=name, stamp=stamp, number=stamp) for stamp, name in enumerate("abcabc", 1))
    )
    settle(history, 99)
    assert [key_of(place) for place in history.settled_order((0, 0, 0), 4)] == [
        one.key for one in commits[:4]
    ]
    assert [key_of(place) for place in history.settled_order(commits[2].key, END)] == [
        one.key for one in commits[2:]
    ]


# -- looking up ----------------------------------------------------------------------------------


def test_find_names_the_first_of_an_id_as_known_now():
    history, (first, second) = history_of(Row(stamp=5), Row(stamp=9, origin=22))
    assert history.find(commit_id(1), first.shard) is first
    (earlier,) = helds([Row(stamp=2, origin=33)])
    history.insert(earlier)
    assert history.find(commit_id(1), first.shard) is earlier
    settle(history, 2)
    found = history.find(commit_id(1), first.shard)
    assert isinstance(found, Place)
    assert key_of(found) == earlier.key
    settle(history, 99)
    found = history.find(commit_id(1), first.shard)
    assert isinstance(found, Place)
    assert key_of(found) == earlier.key
    assert second.first_revision == first.first_revision == 1


def test_the_same_id_in_another_shard_is_another_commit():
    streams = [
        "a",
        next(name for name in "bcdefg" if shard_of(name, SHARDS) != shard_of("a", SHARDS)),
    ]
    history, commits = history_of(
        *(Row(stream=name, stamp=stamp) for stamp, name in enumerate(streams, 1))
    )
    settle(history, 99)
    assert {one.outcome for one in commits} == {ACCEPTED}
    assert {history.find(commit_id(1), shard).shard for shard in range(SHARDS)} == {0, 1}  # type: ignore[union-attr]


def test_what_a_tentative_commit_would_be_is_told_and_changes_with_what_comes():
    history, (one,) = history_of(Row(stamp=5, expected=EXPECT_NONE))
    assert history.tentative_outcome(one) == (ACCEPTED, 0)
    (earlier,) = helds([Row(stamp=2, origin=22, number=2)])
    history.insert(earlier)
    assert history.tentative_outcome(one) == (REJECTED, 1)
    assert history.tentative_outcome(earlier) == (ACCEPTED, 0)


NAMES = ["a", "ab", "abc", "b", "ba", "é", "éa", "\U0010ffff", "\U0010ffffx"]


@pytest.mark.parametrize("prefix", ["", "a", "ab", "b", "é", "\U0010ffff", "zz", "aa"])
@pytest.mark.parametrize("after", [None, *NAMES, "aa", "0"])
def test_names_begin_with_a_prefix_and_come_after_a_name(prefix, after):
    history, _ = history_of(
        *(Row(stream=name, stamp=n, number=n, events=n) for n, name in enumerate(NAMES, 1))
    )
    settle(history, 99)
    expected = [
        (name, NAMES.index(name))
        for name in sorted(NAMES)
        if name.startswith(prefix) and (after is None or name > after)
    ]
    assert history.names(prefix, after, 99) == expected
    assert history.names(prefix, after, 2) == expected[:2]


def test_tentative_names_are_those_with_something_tentative():
    history, _ = history_of(
        Row(stream="b"), Row(stream="ba", stamp=2, number=2), Row(stream="c", stamp=9, number=3)
    )
    settle(history, 1)
    assert history.tentative_names("") == ["ba", "c"]
    assert history.tentative_names("b") == ["ba"]
    settle(history, 99)
    assert history.tentative_names("") == []


def test_a_stream_whose_name_begins_another_does_not_show_its_events():
    history, commits = history_of(
        Row(stream="a"), Row(stream="a\0", stamp=2, number=2), Row(stream="ab", stamp=3, number=3)
    )
    settle(history, 99)
    for one in commits:
        for reverse in (False, True):
            places = list(history.settled_places(one.stream, 0, reverse=reverse))
            assert [key_of(place) for place in places] == [one.key]


def test_entries_that_are_not_on_disk_are_not_given_to_peers():
    history, commits = history_of(*(Row(stamp=stamp, number=stamp) for stamp in range(1, 5)))
    commits[2].durable = commits[3].durable = False
    assert [seq for seq, *_ in history.log_entries(commits[0].shard, 11, 0)] == [1, 2]
    commits[2].durable = True
    assert [seq for seq, *_ in history.log_entries(commits[0].shard, 11, 1)] == [2, 3]


def test_streams_at_rest_are_forgotten_in_memory_and_not_in_the_index(monkeypatch):
    monkeypatch.setattr("anabranch.node.history.STREAMS_CACHED_MAX", 20)
    many = 30
    history = empty()
    for one in helds(Row(stream=f"s{n}", stamp=n + 1, number=n) for n in range(many)):
        history.insert(one)
    settle(history, many + 1)
    assert len(history._resting) == 20
    assert len(history._streams) == 0
    assert history.stream("s0").settled_revision == 0
    assert len(history._resting) == 20


# -- a crash of the index ------------------------------------------------------------------------


@given(commits=sets, flushed=st.integers(0, 12), settled=st.integers(0, 12))
def test_an_index_that_crashed_shows_an_earlier_moment(commits, flushed, settled):
    everything = helds(commits)
    index = MemoryIndex()
    history = History(index, empty()._log, SHARDS)
    for one in everything:
        history.insert(one)
    settle(history, flushed)
    index.flush()
    before = picture(history)
    settle(history, max(flushed, settled))
    index.crash()
    again = picture(History(index, empty()._log, SHARDS))
    assert (again.marks, again.order, again.streams, again.names) == (
        before.marks,
        before.order,
        before.streams,
        before.names,
    )
    assert again.frontier == before.frontier
    final: dict[OrderKey, Verdict] = folded(everything)
    assert all(
        final[key_of(place)] == (place.outcome, place.first_revision) for place in again.order
    )
