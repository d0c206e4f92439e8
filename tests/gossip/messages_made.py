"""Messages made up for tests: one of every kind, and strategies for any of them."""

from hypothesis import strategies as st

from anabranch.gossip.agreeing import packed
from anabranch.gossip.epochs import Ask, Outbid
from anabranch.gossip.messages import (
    PROTOCOL,
    Ack,
    Agree,
    Compare,
    Compared,
    Give,
    Hello,
    Join,
    Message,
    Pull,
    Push,
    Recall,
    Recalled,
    Refuse,
    ReportMessage,
    Sender,
)
from anabranch.gossip.reports import Report
from anabranch.storage.limits import SHARDS_MAX, TREE_LEVELS_MAX

TABLE = [("ny1", "ny", 0, 11, "http://a:1"), ("lon1", "lon", 1, 0, "")]
SENDER = Sender(1, 2**64 - 1, 4096, 1_700_000_000_123)
REPORTS = [
    Report(
        11, 1, 99, 5, 4096, 111 << 48, (3, 40, bytes(range(32))), [(0, 11, 7), (3, 22, 1 << 40)]
    ),
    Report(22, 1, 99, 6, 0, 0, None, []),
]
ONE_OF_EACH = [
    Message(SENDER, Hello(PROTOCOL, "trading", 64, "ny1", 11, TABLE, 99, [5, 2**64 - 1])),
    Message(SENDER, Refuse("cluster", "it is another one")),
    Message(SENDER, ReportMessage(1 << 60, True, [(33, 61)]), REPORTS),
    Message(SENDER, Push([b"commit", b"", bytes(32)], [(3, 11, 40, bytes(32))]), REPORTS[:1]),
    Message(SENDER, Ack(), REPORTS[1:]),
    Message(SENDER, Pull([(0, 11, 0, 0), (4095, 22, 9, 12)], 524_288)),
    Message(SENDER, Give([b"commit"])),
    Message(SENDER, Compare(111 << 48, bytes(32), [3], [(3, 11, 40, 1, 2)])),
    Message(SENDER, Compared(110 << 48, [bytes(32)], [(3, 11, 40, bytes(32))], [bytes(64)])),
    Message(SENDER, Agree([packed(Ask(1)), packed(Outbid(1, (2, 22)))])),
    Message(SENDER, Recall(11, 4095)),
    Message(SENDER, Recalled(11, 7, 4096, [(0, 7), (4095, 9)])),
    Message(SENDER, Join("par1", "par", 3, 44, "http://d:1", True)),
]

words = st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from([0, 127, 128, (1 << 64) - 1]))
shards = st.integers(0, SHARDS_MAX - 1)
logs = st.lists(st.tuples(shards, words, words), max_size=4)
stretches = st.lists(st.tuples(shards, words, words, words), max_size=4)
hashes = st.binary(min_size=32, max_size=32)
levels = st.integers(1, TREE_LEVELS_MAX)
nodes = st.lists(st.tuples(shards, words, words, levels, words), max_size=4)
pairs = st.lists(st.tuples(words, words), max_size=4)
ends = st.lists(st.tuples(shards, words), max_size=4)
roots = st.lists(st.tuples(shards, words, words, hashes), max_size=4)
commits = st.lists(st.binary(max_size=60), max_size=4)
claims = st.none() | st.tuples(shards, words, st.binary(min_size=32, max_size=32))
reports = st.builds(Report, words, words, words, words, words, words, claims, logs)
short = st.text(max_size=9)
tables = st.lists(st.tuples(short, short, words, words, short), max_size=4)
bodies = st.one_of(
    st.builds(
        Hello,
        st.just(PROTOCOL),
        st.text(max_size=9),
        words,
        st.text(max_size=9),
        words,
        tables,
        words,
        st.lists(words, max_size=4),
    ),
    st.builds(Refuse, st.text(max_size=20), st.text(max_size=60)),
    st.builds(ReportMessage, words, st.booleans(), pairs),
    st.builds(Push, commits, roots),
    st.just(Ack()),
    st.builds(Pull, stretches, words),
    st.builds(Give, commits, roots),
    st.builds(Compare, words, hashes, st.lists(shards, max_size=4), nodes),
    st.builds(Compared, words, st.lists(hashes, max_size=4), roots, commits),
    st.builds(Agree, commits),
    st.builds(Recall, words, words),
    st.builds(Recalled, words, words, words, ends),
    st.builds(Join, short, short, words, words, short, st.booleans()),
)
messages = st.builds(
    Message, st.builds(Sender, words, words, words, words), bodies, st.lists(reports, max_size=3)
)
