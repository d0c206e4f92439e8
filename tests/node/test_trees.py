"""The trees of a node's logs: kept up to date, brought back by a restart, and put right."""

from __future__ import annotations

import hashlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.node.trees import Trees
from anabranch.storage import keys
from anabranch.storage.errors import DamagedIndex
from anabranch.storage.index import MemoryIndex
from anabranch.storage.merkle import FANOUT, Tree, shard_root

LOG = (1, 22)


class Shelf:
    """Settled commits of a few logs, each with a stamp, as the index has them."""

    def __init__(self) -> None:
        self.index = MemoryIndex()
        self.settled: dict[tuple[int, int], int] = {}
        self.leaves: dict[tuple[int, int], list[bytes]] = {}
        self.stamps: dict[tuple[int, int], list[int]] = {}
        self.trees = self.opened()

    def opened(self) -> Trees:
        return Trees(self.index, 4, self.leaf, self.settled)

    def leaf(self, log: tuple[int, int], seq: int) -> bytes | None:
        value = self.index.get(keys.log_key(*log, seq))
        return None if value is None else keys.leaf_in(value)

    def add(self, log: tuple[int, int], stamp: int) -> None:
        leaves = self.leaves.setdefault(log, [])
        leaves.append(hashlib.sha256(b"%d %d" % (log[1], stamp)).digest())
        self.stamps.setdefault(log, []).append(stamp)
        order = keys.order_key((stamp, 0, log[1]))
        key = keys.log_key(*log, len(leaves))
        self.index.write([(key, keys.log_value(order, leaves[-1]))])
        self.settled[log] = len(leaves)
        self.trees.append(log, len(leaves), leaves[-1])

    def roots(self, cut: int) -> list[bytes]:
        """The roots by their definition."""
        shards: list[list[tuple[int, int, bytes]]] = [[] for _ in range(4)]
        for (shard, origin), leaves in self.leaves.items():
            tree = Tree()
            for leaf, stamp in zip(leaves, self.stamps[shard, origin], strict=True):
                if stamp <= cut:
                    tree.append(leaf)
            if tree.size:
                shards[shard].append((origin, tree.size, tree.root()))
        return [shard_root(rows) for rows in shards]


logs = st.tuples(st.integers(0, 3), st.sampled_from([11, 22, 33]))


@given(st.lists(st.tuples(logs, st.integers(1, 3)), max_size=120), st.data())
def test_the_roots_at_any_cut_are_those_of_the_commits_up_to_it(
    commits: list[tuple[tuple[int, int], int]], data: st.DataObject
) -> None:
    shelf, stamp = Shelf(), 0
    for log, step in commits:
        stamp += step
        shelf.add(log, stamp)
    for _ in range(4):
        cut = data.draw(st.integers(0, stamp + 1))
        assert shelf.trees.roots(cut) == shelf.roots(cut)


@given(st.integers(0, 600), st.integers(0, 300))
def test_trees_that_are_opened_again_go_on(before: int, after: int) -> None:
    shelf = Shelf()
    for stamp in range(1, before + 1):
        shelf.add(LOG, stamp)
    shelf.index.write(shelf.trees.take_unwritten())
    shelf.trees = shelf.opened()
    assert shelf.trees.roots(before) == shelf.roots(before)
    for stamp in range(before + 1, before + after + 1):
        shelf.add(LOG, stamp)
    assert shelf.trees.roots(before + after) == shelf.roots(before + after)


@pytest.mark.parametrize("tentative", [False, True])
@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("seq", [1, 16, 17, 255, 256, 257, 300])
def test_a_wrong_leaf_can_be_put_right(seq: int, written: bool, tentative: bool) -> None:
    """`tentative`: what comes after it is not settled yet."""
    shelf = Shelf()
    for stamp in range(1, 301):
        shelf.add(LOG, stamp)
    if written:
        shelf.index.write(shelf.trees.take_unwritten())
    good, key = shelf.roots(300), keys.log_key(*LOG, seq)
    order = keys.order_key((seq, 0, LOG[1]))
    for leaf in (bytes(32), shelf.leaves[LOG][seq - 1]):
        shelf.index.write([(key, keys.log_value(order, leaf))])
        shelf.settled[LOG] = seq if tentative else 300
        assert shelf.trees.mend(LOG, seq) == (seq <= 288)
        shelf.settled[LOG] = 300
        assert (shelf.trees.roots(300) == good) == (leaf != bytes(32))
        assert shelf.opened().roots(300) == shelf.trees.roots(300)
    shelf.add(LOG, 301)
    assert shelf.trees.roots(301) == shelf.roots(301)


@pytest.mark.parametrize(("seq", "known"), [(1, True), (16, True), (48, True), (49, False)])
def test_a_complete_node_tells_which_hash_it_was_made_with(seq: int, known: bool) -> None:
    shelf = Shelf()
    for stamp in range(1, 50):
        shelf.add(LOG, stamp)
    good, key = shelf.leaves[LOG][seq - 1], keys.log_key(*LOG, seq)
    order = keys.order_key((seq, 0, LOG[1]))
    shelf.index.write([(key, keys.log_value(order, bytes(32)))])
    assert shelf.trees.bears_out(LOG, seq, good) is known
    assert not shelf.trees.bears_out(LOG, seq, bytes(32))


def test_the_index_gets_a_node_for_each_sixteen_commits() -> None:
    shelf = Shelf()
    for stamp in range(1, 16 * FANOUT + 16):
        shelf.add(LOG, stamp)
    puts = shelf.trees.take_unwritten()
    assert len(puts) == FANOUT + 1
    assert shelf.trees.take_unwritten() == []


def test_a_node_that_is_not_there_is_said() -> None:
    shelf = Shelf()
    for stamp in range(1, 40):
        shelf.add(LOG, stamp)
    shelf.trees.take_unwritten()  # and lose them
    with pytest.raises(DamagedIndex, match="rebuilt"):
        shelf.opened().roots(39)


@given(st.integers(1, 2000), st.integers(0, 2**32))
def test_where_a_log_is_cut_is_found_in_few_looks(size: int, seed: int) -> None:
    shelf, luck = Shelf(), Random(seed)
    shelf.settled[LOG] = size
    stamps = sorted(luck.sample(range(1, 10_000), size))
    for seq, stamp in enumerate(stamps, 1):
        value = keys.log_value(keys.order_key((stamp, 0, 22)), bytes(32))
        shelf.index.write([(keys.log_key(*LOG, seq), value)])
    looks = 0
    trees = shelf.trees
    stamp_of, cut = trees._stamp, luck.randrange(10_000)

    def counted(log: tuple[int, int], seq: int) -> int:
        nonlocal looks
        looks += 1
        return stamp_of(log, seq)

    trees._stamp = counted  # type: ignore[method-assign]
    assert trees._size_at(LOG, cut) == sum(stamp <= cut for stamp in stamps)
    assert looks <= 2 * size.bit_length() + 2
