"""The trees: what is kept up to date is what a rebuild gives; roots tell logs apart."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.storage import merkle
from anabranch.storage.merkle import FANOUT, Tree, children, inner, levels, log_root

EDGES = sorted({size + off for size in (1, 16, 256, 4096) for off in (-1, 0, 1) if size + off >= 0})
sizes = st.one_of(st.integers(0, 700), st.sampled_from(EDGES))


def leaf(number: int, salt: int = 0) -> bytes:
    return hashlib.sha256(b"%d %d" % (salt, number)).digest()


class Grown:
    """A tree with all that it ever completed."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.tree = Tree()
        self.nodes: dict[tuple[int, int], bytes] = {}
        for number, one in enumerate(leaves):
            self.nodes[0, number] = one
            for level, index, node in self.tree.append(one):
                assert (level, index) not in self.nodes
                self.nodes[level, index] = node

    def lookup(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]


def by_hand(leaves: list[bytes]) -> bytes:
    """The root by its definition, level by level."""
    row = leaves
    while len(row) > 1:
        row = [inner(b"".join(row[at : at + FANOUT])) for at in range(0, len(row), FANOUT)]
    return log_root(len(leaves), row[0] if row else b"")


@given(sizes)
def test_what_is_kept_up_to_date_is_what_a_rebuild_gives(size: int) -> None:
    leaves = [leaf(number) for number in range(size)]
    grown = Grown(leaves)
    assert grown.tree.root() == by_hand(leaves)
    assert grown.tree.size == size


@given(sizes, st.data())
def test_the_tree_of_any_earlier_size_can_be_had(size: int, data: st.DataObject) -> None:
    leaves = [leaf(number) for number in range(size)]
    grown = Grown(leaves)
    earlier = data.draw(st.integers(0, size))
    tree = Tree.of(earlier, grown.lookup)
    assert tree.root() == by_hand(leaves[:earlier])
    for one in leaves[earlier:]:
        tree.append(one)
    assert tree.root() == grown.tree.root()


@given(st.lists(st.integers(0, 2), max_size=40), st.lists(st.integers(0, 2), max_size=40))
def test_roots_are_equal_if_and_only_if_logs_are(one: list[int], other: list[int]) -> None:
    roots = [Grown([leaf(value) for value in log]).tree.root() for log in (one, other)]
    assert (roots[0] == roots[1]) == (one == other)


@given(st.integers(1, 700), st.data())
def test_one_other_leaf_changes_the_root_and_the_path_to_it_alone(
    size: int, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, size - 1))
    good = [leaf(number) for number in range(size)]
    bad = [*good[:at], leaf(at, salt=1), *good[at + 1 :]]
    one, other = Grown(good), Grown(bad)
    assert one.tree.root() != other.tree.root()
    index = 0
    for level in range(levels(size), 0, -1):
        rows = [children(size, level, index, grown.lookup) for grown in (one, other)]
        differ = [
            place
            for place in range(len(rows[0]) // 32)
            if rows[0][32 * place :][:32] != rows[1][32 * place :][:32]
        ]
        assert len(differ) == 1
        index = index * FANOUT + differ[0]
    assert index == at


@given(st.integers(1, 5000))
def test_children_add_up_to_their_node(size: int) -> None:
    grown = Grown([leaf(number) for number in range(size)])
    level = levels(size)
    top = inner(children(size, level, 0, grown.lookup)) if level else leaf(0)
    assert log_root(size, top) == grown.tree.root()
    assert children(size, level + 1, 5, grown.lookup) == b""


@pytest.mark.parametrize(
    ("size", "level"), [(0, 0), (1, 0), (2, 1), (16, 1), (17, 2), (256, 2), (257, 3), (65536, 4)]
)
def test_the_level_of_the_top(size: int, level: int) -> None:
    assert levels(size) == level


def test_kinds_of_hashes_are_kept_apart() -> None:
    text = bytes(32)
    made = {
        hashlib.sha256(b"\x00" + text).digest(),
        inner(text),
        log_root(0, text),
        merkle.shard_root([(0, 0, text)]),
        merkle.node_root([text]),
    }
    assert len(made) == 5


def test_size_and_origin_are_bound_into_the_roots() -> None:
    text = bytes(32)
    assert log_root(1, text) != log_root(16, text)
    roots = {merkle.shard_root([(origin, size, text)]) for origin, size in [(1, 7), (2, 7), (1, 8)]}
    assert len(roots) == 3


def test_the_order_in_which_logs_are_named_makes_no_difference() -> None:
    rows = [(2, 5, bytes(32)), (1, 7, leaf(1))]
    assert merkle.shard_root(rows) == merkle.shard_root(rows[::-1])
    assert merkle.shard_root([]) == merkle.EMPTY_SHARD
