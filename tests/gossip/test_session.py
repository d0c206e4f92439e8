"""Comparisons find every difference, and only differences, in few and small steps."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.gossip.messages import Compare, Compared, Message, Sender, decode, encode
from anabranch.gossip.session import Difference, Differs, InnerDiffers, Session, Unequal, reply
from anabranch.storage.errors import BadFrame
from anabranch.storage.limits import DIFFERENCES_MAX
from anabranch.storage.merkle import Tree, children, node_root, shard_root

SHARDS = 8
SENDER = Sender(1, 1, 1, 1)


def leaf(stamp: int) -> bytes:
    return hashlib.sha256(b"%d" % stamp).digest()


class Held:
    """What a node holds: by log the stamps of its commits; a stamp below 0 is another's commit."""

    def __init__(self, logs: dict[tuple[int, int], list[int]], until: int = 1 << 60) -> None:
        self.commits = logs
        self.until = until
        self._nodes: dict[tuple[int, int], dict[tuple[int, int], bytes]] = {}
        for log, stamps in logs.items():
            tree, nodes = Tree(), self._nodes.setdefault(log, {})
            for number, stamp in enumerate(stamps):
                nodes[0, number] = leaf(stamp)
                for level, index, node in tree.append(leaf(stamp)):
                    nodes[level, index] = node

    def settled_until(self) -> int:
        return self.until

    def roots(self, cut: int) -> list[bytes]:
        return [shard_root(self.logs(shard, cut)) for shard in range(SHARDS)]

    def logs(self, shard: int, cut: int) -> list[tuple[int, int, bytes]]:
        rows = []
        for log, stamps in self.commits.items():
            size = sum(abs(stamp) <= cut for stamp in stamps)
            if log[0] == shard and size:
                root = Tree.of(size, lambda *place, of=log: self._nodes[of][place]).root()
                rows.append((log[1], size, root))
        return rows

    def children(self, shard: int, origin: int, size: int, level: int, index: int) -> bytes:
        nodes = self._nodes.get((shard, origin))
        if nodes is None or size > len(self.commits[shard, origin]):
            return b""
        return children(size, level, index, lambda *place: nodes[place])


def through(body: Compare | Compared) -> Compare | Compared:
    """As it arrives at the other side."""
    return decode(encode(Message(SENDER, body))).body


def compare(mine: Held, theirs: Held, cut: int) -> tuple[list[Difference], Session, list[int]]:
    session, sizes = Session(mine, cut), []
    while (question := session.question()) is not None:
        answer = reply(theirs, through(question))
        sizes += [len(encode(Message(SENDER, question))), len(encode(Message(SENDER, answer)))]
        session.learn(through(answer))
    return session.found, session, sizes


stamps = st.lists(st.integers(1, 60), unique=True, max_size=40).map(sorted)
nodes = st.dictionaries(st.tuples(st.integers(0, SHARDS - 1), st.integers(1, 3)), stamps)


@given(nodes, st.data())
def test_every_difference_is_found_and_nothing_else(
    logs: dict[tuple[int, int], list[int]], data: st.DataObject
) -> None:
    other = {log: [*held] for log, held in logs.items()}
    forged = set()
    for log, held in other.items():
        for at in data.draw(st.sets(st.integers(0, len(held) - 1) if held else st.nothing())):
            held[at] *= -1
            forged.add((*log, at + 1, abs(held[at])))
    cut = data.draw(st.integers(1, 61))
    found, _, _ = compare(Held(logs), Held(other), cut)
    assert set(found) == {Differs(*row[:3]) for row in forged if row[3] <= cut}
    assert len(found) == len(set(found))


@given(nodes, nodes)
def test_logs_of_other_sizes_are_named_and_their_common_part_is_compared(
    one: dict[tuple[int, int], list[int]], other: dict[tuple[int, int], list[int]]
) -> None:
    found, _, _ = compare(Held(one), Held(other), 100)
    expected: set[Difference] = set()
    for log in {*one, *other}:
        mine, theirs = one.get(log, []), other.get(log, [])
        if len(mine) != len(theirs):
            expected.add(Unequal(*log, len(mine), len(theirs)))
        both = zip(mine, theirs, strict=False)
        expected |= {Differs(*log, seq) for seq, (a, b) in enumerate(both, 1) if a != b}
    assert set(found) == expected


def test_equal_nodes_are_done_after_one_small_question() -> None:
    logs = {(shard, origin): [*range(1, 200)] for shard in range(SHARDS) for origin in (1, 2, 3)}
    found, session, sizes = compare(Held(logs), Held(logs), 1 << 40)
    assert (found, session.rounds) == ([], 1)
    assert sum(sizes) < 200


def test_what_is_newer_than_the_cut_is_no_difference() -> None:
    mine, theirs = Held({(0, 1): [*range(1, 100)]}), Held({(0, 1): [*range(1, 50)]})
    assert compare(mine, theirs, 49)[0] == []
    assert compare(mine, theirs, 50)[0] == [Unequal(0, 1, 50, 49)]


def test_one_commit_among_many_is_found_in_one_step_a_level() -> None:
    mine = {(3, 1): [*range(1, 70_001)]}
    theirs = {(3, 1): [-stamp if stamp == 31_234 else stamp for stamp in mine[3, 1]]}
    found, session, sizes = compare(Held(mine), Held(theirs), 1 << 40)
    assert found == [Differs(3, 1, 31_234)]
    assert session.rounds == 2 + 5
    assert sum(sizes) < 6_000


@pytest.mark.parametrize(("level", "index", "seq"), [(1, 32, 513), (1, 42, 673), (2, 1, 257)])
@pytest.mark.parametrize("is_mine", [False, True])
def test_a_node_that_is_wrong_above_right_ones_is_named(
    level: int, index: int, seq: int, is_mine: bool
) -> None:
    mine, theirs = Held({(3, 1): [*range(1, 701)]}), Held({(3, 1): [*range(1, 701)]})
    (mine if is_mine else theirs)._nodes[3, 1][level, index] = bytes(32)
    assert compare(mine, theirs, 1 << 40)[0] == [InnerDiffers(3, 1, seq)]


def test_a_root_that_is_wrong_above_right_nodes_is_named() -> None:
    mine, theirs = Held({(3, 1): [*range(1, 257)]}), Held({(3, 1): [*range(1, 257)]})
    mine._nodes[3, 1][2, 0] = bytes(32)
    assert compare(mine, theirs, 1 << 40)[0] == [InnerDiffers(3, 1, 1)]


def test_more_than_a_session_may_find_is_left_to_the_next() -> None:
    mine = {(0, 1): [*range(1, 5001)]}
    theirs = {(0, 1): [-stamp for stamp in mine[0, 1]]}
    found, session, sizes = compare(Held(mine), Held(theirs), 1 << 40)
    assert DIFFERENCES_MAX <= len(found) < 3 * DIFFERENCES_MAX
    assert session.question() is None
    assert max(sizes) < 70_000


def test_the_cut_is_the_lower_one() -> None:
    logs = {(0, 1): [*range(1, 100)]}
    found, session, _ = compare(Held(logs), Held({(0, 1): [*range(1, 40)]}, until=39), 80)
    assert (found, session.cut, session.rounds) == ([], 39, 2)


@pytest.mark.parametrize("until", [0, -1])
def test_who_has_settled_nothing_or_less_each_time_is_asked_no_more(until: int) -> None:
    class Falling(Held):
        def settled_until(self) -> int:
            self.until -= 1
            return self.until

    theirs = Falling({}, until=30) if until else Held({}, until=0)
    _, session, sizes = compare(Held({}), theirs, 80)
    assert session.question() is None
    assert len(sizes) <= 4


def answers(mine: Held, theirs: Held) -> list[Compared]:
    session, given = Session(mine, 100), []
    while (question := session.question()) is not None:
        given.append(reply(theirs, question))
        session.learn(given[-1])
    return given


def test_an_answer_that_does_not_fit_its_question_ends_the_session() -> None:
    mine, theirs = Held({(0, 1): [*range(1, 90)]}), Held({(0, 1): [*range(1, 89), -89]})
    good = answers(mine, theirs)
    for step, answer in enumerate(good):
        wrong = [replace(answer, cut=101), Compared(100, [bytes(32)] * 3, [], [b""])]
        wrong.append(replace(answer, cut=50) if step else replace(answer, roots=[bytes(32)]))
        if answer.children:
            wrong += [replace(answer, children=[]), replace(answer, children=[bytes(32)])]
        for bad in wrong:
            session = Session(mine, 100)
            for before in good[:step]:
                session.question()
                session.learn(before)
            session.question()
            if step == 1 and bad.cut == 100:
                continue  # rows of logs may be any
            with pytest.raises(BadFrame):
                session.learn(bad)


def test_an_answer_without_a_question_is_refused() -> None:
    with pytest.raises(BadFrame, match="nobody asked"):
        Session(Held({}), 1).learn(Compared(1, [], [], []))


def test_a_question_about_what_is_not_there_is_answered_with_nothing() -> None:
    held = Held({(0, 1): [1, 2]})
    nodes = [(0, 9, 1, 1, 0), (7, 1, 1, 1, 0), (4000, 1, 1, 1, 0), (0, 1, 3, 1, 0), (0, 1, 2, 1, 9)]
    answer = reply(held, Compare(5, bytes(32), [4000, 0], nodes))
    assert answer.children == [b""] * 5
    assert [row[:3] for row in answer.logs] == [(0, 1, 2)]


def test_the_root_of_a_node_covers_all_its_logs() -> None:
    roots = {node_root(Held({(0, 1): [*range(1, count)]}).roots(99)) for count in range(1, 30)}
    assert len(roots) == 29
    assert all(a != b for a, b in pairwise(sorted(roots)))
