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
        outbox.add(shard, last[shard], commit)
        everything.append((shard, last[shard], commit))
    return outbox, everything


def holding(last):
    frontier = Frontier()
    for shard, seq in last.items():
        frontier.advance((shard, ME), seq)
    return frontier


def drain(outbox, number, bytes_max):
    """All commits from a number on, as a peer gets them push by push."""
    commits, batches = [], []
    while number < outbox.end:
        batch, last, number = outbox.batch(number, bytes_max)
        assert batch, "a batch that is asked for before the end is never empty"
        batches.append((batch, last))
        commits += batch
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
        pushed, _ = drain(outbox, start, 64)
        wanted = [commit for _, _, commit in lacks]
        assert [commit for commit in pushed if commit in wanted] == wanted


@given(SIZES, st.integers(1, 200))
def test_it_keeps_the_youngest_within_its_bytes_and_always_one(sizes, kept):
    outbox, everything = filled(sizes, kept)
    commits, _ = drain(outbox, outbox._first, 1)
    size = sum(map(len, commits))
    assert commits == [commit for _, _, commit in everything[len(everything) - len(commits) :]]
    assert size <= kept or len(commits) == 1
    assert outbox.end == len(everything)
    dropped = len(everything) - len(commits)
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
        assert last == {shard: seq for shard, seq, _ in part}
        place += len(batch)


def test_a_number_that_is_no_longer_kept_gives_nothing():
    outbox, _ = filled([(0, 10)] * 5, 45)
    assert outbox._first > 0
    assert outbox.batch(outbox._first - 1) is None
    assert outbox.batch(outbox._first) is not None


def test_at_the_end_there_is_nothing_to_push():
    outbox, _ = filled([(0, 1), (1, 1)], 1000)
    assert outbox.start_for(holding({0: 1, 1: 1})) == outbox.end
    assert outbox.batch(outbox.end) == ([], {}, outbox.end)


def test_what_was_there_before_the_start_has_to_be_pulled():
    outbox, _ = filled([(0, 1)], 1000, before=[(0, 4), (1, 9)])
    assert outbox.start_for(holding({0: 4})) is None
    assert outbox.start_for(holding({0: 3, 1: 9})) is None
    assert outbox.start_for(holding({0: 4, 1: 9})) == 0
    assert outbox.start_for(holding({0: 5, 1: 9})) == outbox.end


def test_skip_never_goes_back():
    outbox, _ = filled([], 1000, before=[(0, 4), (0, 2)])
    assert outbox.start_for(holding({0: 3})) is None
