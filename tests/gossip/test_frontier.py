"""The frontier against a plain model: every call it ever got, kept and searched."""

from hypothesis import given
from hypothesis import strategies as st

from anabranch.gossip.frontier import Frontier, LogKey

LOGS = st.tuples(st.integers(0, 3), st.integers(1, 3))
MOVES = st.lists(st.tuples(LOGS, st.integers(0, 12)), max_size=40)


def frontier_of(moves):
    frontier = Frontier()
    for log, seq in moves:
        frontier.advance(log, seq)
    return frontier


def highest(moves):
    last: dict[LogKey, int] = {}
    for log, seq in moves:
        if seq > last.get(log, 0):
            last[log] = seq
    return last


@given(MOVES)
def test_it_holds_the_highest_sequence_of_each_log(moves):
    frontier = frontier_of(moves)
    assert dict(frontier.items()) == highest(moves)
    assert len(frontier) == len(highest(moves))
    assert frontier[99, 99] == 0


@given(MOVES)
def test_advance_says_whether_it_moved_and_the_version_counts_the_moves(moves):
    frontier = Frontier()
    last: dict[LogKey, int] = {}
    moved = 0
    for log, seq in moves:
        grows = seq > last.get(log, 0)
        assert frontier.advance(log, seq) is grows
        moved += grows
        last[log] = max(seq, last.get(log, 0))
        assert frontier.version == moved


@given(MOVES)
def test_since_tells_what_moved_after_every_version_there_ever_was(moves):
    frontier = Frontier()
    snapshots: list[tuple[int, dict[LogKey, int]]] = [(0, {})]
    for log, seq in moves:
        frontier.advance(log, seq)
        snapshots.append((frontier.version, dict(frontier.items())))
    now = dict(frontier.items())
    for version, then in snapshots:
        changed = {(*log, seq) for log, seq in now.items() if then.get(log, 0) != seq}
        told = frontier.since(version)
        assert set(told) == changed
        assert len(told) == len(changed)


@given(MOVES, st.integers(0, 40))
def test_what_since_tells_is_enough_to_catch_up(moves, cut):
    frontier, copy = frontier_of(moves[:cut]), frontier_of(moves[:cut])
    version = frontier.version
    for log, seq in moves[cut:]:
        frontier.advance(log, seq)
    for shard, origin, seq in frontier.since(version):
        copy.advance((shard, origin), seq)
    assert dict(copy.items()) == dict(frontier.items())


@given(MOVES, MOVES)
def test_behind_names_exactly_what_the_other_has_more_of(mine, theirs):
    own, other = highest(mine), highest(theirs)
    expected = {
        log: (own.get(log, 0), last) for log, last in other.items() if last > own.get(log, 0)
    }
    assert frontier_of(mine).behind(frontier_of(theirs)) == expected
