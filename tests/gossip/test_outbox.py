"""The outbox against a list of all that was ever put in."""

from hypothesis import given
from hypothesis import strategies as st

from anabranch.gossip.frontier import Frontier
from anabranch.gossip.outbox import Outbox

ME = 7
SHARDS = 3
SIZES = st.lists(st.tuples(st.integers(0, SHARDS - 1), st.integers(1, 40)), max_size=40)


def filled(sizes, bytes_max, before=()):
    """An outbox, and all that went in as (shard, sequence, commit)."""
    outbox = Outbox(ME, bytes_max)
    last = dict.fromkeys(range(SHARDS), 0)
    for shard, seq in before:
        outbox.skip(shard, seq)
        last[shard] = max(seq, last[shard])
    everything = []
    for number, (shard, size) in enumerate(sizes):
        last[shard] += 1
        commit = number.to_bytes(2, "big") * size
        outbox.add((shard, ME), last[shard], commit)
        everything.append((shard, last[shard], commit))
    return outbox, everything


def holding(last):
    frontier = Frontier()
    for shard, seq in last.items():
        frontier.advance((shard, ME), seq)
    return frontier


def drain(outbox, number, bytes_max, has=()):
    """All commits from a number on, as a peer gets them push by push."""
    commits, batches, has = [], [], dict(has)
    while number < outbox.end:
        batch, last, before, number = outbox.batch(number, holding(has), bytes_max, on_its_way={})
        if not batch:
            assert number == outbox.end, "only what the peer has is left out"
            break
        assert before == {log: has.get(log[0], 0) for log in last}
        batches.append((batch, last))
        commits += batch
        has |= {shard: seq for (shard, _), seq in last.items()}
    return commits, batches


@given(SIZES, st.integers(1, 200), st.integers(0, SHARDS - 1), st.data())
def test_a_peer_is_served_all_it_lacks_in_order_or_told_to_pull(sizes, kept, shard, data):
    outbox, everything = filled(sizes, kept)
    counts = [sum(1 for one in everything if one[0] == number) for number in range(SHARDS)]
    has = {number: data.draw(st.integers(0, count)) for number, count in enumerate(counts)}
    lacks = [(s, seq, commit) for s, seq, commit in everything if seq > has[s]]

    start = outbox.start_for(holding(has))

    gone = everything[: len(everything) - (outbox.end - outbox._first)]
    assert (start is None) == any(seq > has[s] for s, seq, _ in gone)
    if start is not None:
        pushed, _ = drain(outbox, start, 64, has)
        assert pushed == [commit for _, _, commit in lacks]


@given(SIZES, st.integers(1, 200))
def test_it_keeps_the_youngest_within_its_bytes_and_always_one(sizes, kept):
    outbox, everything = filled(sizes, kept)
    dropped = outbox._first
    has = {shard: seq for shard, seq, _ in everything[:dropped]}
    commits, _ = drain(outbox, dropped, 1, has)
    size = sum(map(len, commits))
    assert commits == [commit for _, _, commit in everything[dropped:]]
    assert size <= kept or len(commits) == 1
    assert outbox.end == len(everything)
    assert dropped == 0 or size + len(everything[dropped - 1][2]) > kept


@given(SIZES, st.integers(1, 100))
def test_a_batch_ends_with_the_commit_that_passes_its_bytes(sizes, bytes_max):
    outbox, everything = filled(sizes, 1 << 30)
    commits, batches = drain(outbox, 0, bytes_max)
    assert commits == [commit for _, _, commit in everything]
    for batch, _ in batches:
        assert sum(map(len, batch[:-1])) < bytes_max


@given(SIZES, st.integers(1, 100))
def test_a_batch_names_the_last_sequence_of_each_shard_in_it(sizes, bytes_max):
    outbox, everything = filled(sizes, 1 << 30)
    place = 0
    for batch, last in drain(outbox, 0, bytes_max)[1]:
        part = everything[place : place + len(batch)]
        assert last == {(shard, ME): seq for shard, seq, _ in part}
        place += len(batch)


def test_who_asks_for_what_is_no_longer_kept_goes_on_behind_it_or_has_to_pull():
    outbox, _ = filled([(0, 10)] * 5, 45)
    dropped = outbox._first
    assert dropped > 0
    assert outbox.batch(0, holding({0: dropped - 1}), on_its_way={}) is None
    assert outbox.batch(0, holding({0: dropped}), on_its_way={}).last == {(0, ME): 5}


def test_at_the_end_there_is_nothing_to_push():
    outbox, _ = filled([(0, 1), (1, 1)], 1000)
    everything = holding({0: 1, 1: 1})
    for start in (0, outbox.end):
        assert outbox.batch(start, everything, on_its_way={}) == ([], {}, {}, outbox.end)


def test_what_is_on_its_way_is_not_pushed_as_well():
    outbox, everything = filled([(0, 1)] * 3, 1000)
    batch = outbox.batch(0, holding({}), on_its_way={(0, ME): 2})
    assert batch.commits == [everything[2][2]]


OTHER = (0, 8)


def passing_on(*sequences):
    outbox, _ = filled([(0, 1)], 1000)
    for seq in sequences:
        outbox.add(OTHER, seq, b"%d" % seq)
    return outbox


def test_only_mates_are_pushed_what_others_made():
    outbox = passing_on(1, 2)
    assert outbox.batch(0, holding({}), on_its_way={}).last == {(0, ME): 1, OTHER: 2}
    own = outbox.batch(0, holding({}), on_its_way={}, own_only=True)
    assert own.last == {(0, ME): 1}
    assert own.number == outbox.end


def test_what_does_not_follow_on_what_a_mate_holds_is_left_out():
    batch = passing_on(5, 6).batch(0, holding({}), on_its_way={})
    assert batch.last == {(0, ME): 1}
    follows = holding({0: 1})
    follows.advance(OTHER, 5)
    assert passing_on(5, 6).batch(0, follows, on_its_way={}).commits == [b"6"]


def test_what_others_made_may_be_dropped_and_a_mate_is_still_served():
    outbox = Outbox(ME, 10)
    outbox.add(OTHER, 1, b"12345678")
    outbox.add((0, ME), 1, b"12345678")
    assert outbox.start_for(holding({})) == 1


def test_what_was_there_before_the_start_has_to_be_pulled():
    outbox, _ = filled([(0, 1)], 1000, before=[(0, 4), (1, 9)])
    assert outbox.start_for(holding({0: 4})) is None
    assert outbox.start_for(holding({0: 3, 1: 9})) is None
    assert outbox.start_for(holding({0: 4, 1: 9})) == outbox.end - 1
    assert outbox.start_for(holding({0: 5, 1: 9})) == outbox.end - 1


def test_skip_never_goes_back():
    outbox, _ = filled([], 1000, before=[(0, 4), (0, 2)])
    assert outbox.start_for(holding({0: 3})) is None


def test_after_a_skip_every_place_is_looked_for_anew():
    """An own log was torn when a peer's place was found: what lay behind the hole was not known."""
    outbox = Outbox(ME)
    outbox.add((0, ME), 1, b"a")
    behind = holding({0: 1})
    batch = outbox.batch(outbox.start_for(behind), behind, on_its_way={})
    assert batch.number == outbox.end
    outbox.skip(0, 9)
    assert outbox.batch(batch.number, behind, on_its_way={}) is None
    assert outbox.batch(batch.number, holding({0: 9}), on_its_way={}).number == outbox.end
