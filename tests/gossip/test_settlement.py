"""Settlement against the rule of DESIGN 5 taken at its word.

`Rule` keeps every promise that was ever made and tries every time that was ever promised. The
settlement under test may be lower where its queues were thinned, and must never be higher.
"""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from anabranch.gossip.frontier import Frontier
from anabranch.gossip.settlement import Settlement
from anabranch.storage.limits import PROMISES_KEPT_MAX

SHARDS = (0, 1)
ME = 1


class Rule:
    """Every promise as (time, its maker's sequence by shard), and every reported frontier."""

    def __init__(self, members, mine):
        self.members = members
        self.mine = mine
        self.promises: dict[int, list[tuple[int, dict[int, int]]]] = {one: [] for one in members}
        self.reported = {ME: mine}

    def watermark(self, shard):
        times = {time for made in self.promises.values() for time, _ in made}
        return max((time for time in times if self.holds(shard, time)), default=0)

    def holds(self, shard, time):
        """Whether some choice of one promise for each member, all at or above a time, is good."""
        choices = [
            {named[shard] for promised, named in self.promises[origin] if promised >= time}
            for origin in self.members
        ]
        return any(self.good(shard, choice) for choice in product(*choices))

    def good(self, shard, choice):
        needs = list(zip(self.members, choice, strict=True))

        def holding(frontier):
            return all(frontier[shard, origin] >= seq for origin, seq in needs)

        by = [member for member in self.members if member in self.reported]
        return holding(self.mine) and (
            2 * sum(holding(self.reported[member]) for member in by) > len(self.members)
        )


class Cluster(RuleBasedStateMachine):
    """Members that commit and promise; reports reach this node late and in any order of makers."""

    thinned = False

    @initialize(count=st.integers(1, 5))
    def found(self, count):
        self.members = list(range(ME, ME + count))
        self.mine = Frontier()
        self.settlement = Settlement(ME, self.members, self.mine)
        self.rule = Rule(self.members, self.mine)
        self.sequences = {origin: dict.fromkeys(SHARDS, 0) for origin in self.members}
        self.time = 0
        self.on_their_way = []  # (origin, time, sequences by shard), in order for each origin
        self.known = {origin: dict.fromkeys(SHARDS, 0) for origin in self.members}
        self.frontiers = {origin: Frontier() for origin in self.members}
        self.last = dict.fromkeys(SHARDS, 0)

    def member(self, data):
        return data.draw(st.sampled_from(self.members))

    @rule(data=st.data(), shard=st.sampled_from(SHARDS), count=st.integers(1, 3))
    def commit(self, data, shard, count):
        origin = self.member(data)
        self.sequences[origin][shard] += count
        self.hold(origin, origin, shard, self.sequences[origin][shard])

    @rule(data=st.data(), step=st.integers(0, 2))
    def promise(self, data, step):
        """Promise; the report leaves at once, and arrives some time."""
        origin = self.member(data)
        self.time += step
        self.on_their_way.append((origin, self.time, dict(self.sequences[origin])))

    @rule(data=st.data())
    def hear_a_promise(self, data):
        makers = sorted({origin for origin, _, _ in self.on_their_way})
        if makers:
            self.hear(data.draw(st.sampled_from(makers)))

    @rule(data=st.data(), shard=st.sampled_from(SHARDS), count=st.integers(1, 3))
    def replicate(self, data, shard, count):
        """Some member comes to hold more of some log, and this node hears of it."""
        holder, origin = self.member(data), self.member(data)
        held = self.frontier(holder)[shard, origin]
        self.hold(holder, origin, shard, min(held + count, self.sequences[origin][shard]))

    @rule(data=st.data())
    def count_reports_of(self, data):
        member = self.member(data)
        self.settlement.report(member, self.frontier(member))
        self.rule.reported[member] = self.frontier(member)

    @invariant()
    def the_watermark_is_what_the_rule_says(self):
        for shard in SHARDS if hasattr(self, "rule") else ():
            by_rule = max(self.rule.watermark(shard), self.last[shard])
            reach = self.settlement.reach(shard)
            assert self.settlement.watermark(shard) == self.last[shard]  # it was only looked at
            watermark = self.settlement.advance(shard)
            assert watermark == reach >= self.last[shard]
            assert watermark == self.settlement.watermark(shard)
            if self.thinned:
                assert watermark <= by_rule
            else:
                assert watermark == by_rule
            self.last[shard] = watermark

    def teardown(self):
        """When all is heard and held, all is settled up to the lowest newest promise."""
        if not hasattr(self, "rule"):
            return
        self.time += 1
        for origin in self.members:
            self.on_their_way.append((origin, self.time, dict(self.sequences[origin])))
            self.settlement.report(origin, self.frontier(origin))
            for holder, shard in product(self.members, SHARDS):
                self.hold(holder, origin, shard, self.sequences[origin][shard])
        while self.on_their_way:
            self.hear(self.on_their_way[0][0])
        for shard in SHARDS:
            assert self.settlement.advance(shard) == self.time

    def hear(self, maker):
        number = next(n for n, one in enumerate(self.on_their_way) if one[0] == maker)
        origin, time, named = self.on_their_way.pop(number)
        moved = [(shard, seq) for shard, seq in named.items() if seq > self.known[origin][shard]]
        self.known[origin].update(moved)
        self.settlement.promise(origin, time, moved)
        self.rule.promises[origin].append((time, named))

    def frontier(self, holder):
        return self.mine if holder == ME else self.frontiers[holder]

    def hold(self, holder, origin, shard, seq):
        self.frontier(holder).advance((shard, origin), seq)


class ThinnedCluster(Cluster):
    """The same with queues of two promises, which are thinned all the time."""

    thinned = True

    def __init__(self):
        super().__init__()
        self.bound = pytest.MonkeyPatch()
        self.bound.setattr("anabranch.gossip.settlement.PROMISES_KEPT_MAX", 2)

    def teardown(self):
        self.bound.undo()
        super().teardown()


Cluster.TestCase.settings = settings(max_examples=60, stateful_step_count=50)
ThinnedCluster.TestCase.settings = Cluster.TestCase.settings
TestCluster = Cluster.TestCase
TestThinnedCluster = ThinnedCluster.TestCase


def made(members=3, shards=(0,), held=0, promised=0):
    """Members 1 to n, where each one's log has `held` commits, promised until `promised`."""
    mine = Frontier()
    settlement = Settlement(ME, range(ME, ME + members), mine)
    for origin in range(ME, ME + members):
        for shard in shards:
            mine.advance((shard, origin), held)
        settlement.promise(origin, promised, [(shard, held) for shard in shards])
    return settlement, mine


def frontier(*logs):
    made = Frontier()
    for shard, origin, seq in logs:
        made.advance((shard, origin), seq)
    return made


@pytest.mark.parametrize(("members", "others"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_just_a_majority_has_to_hold_it(members, others):
    everything = [(0, origin, 4) for origin in range(ME, ME + members)]
    settlement, _ = made(members, held=4, promised=50)
    for number in range(others):
        assert settlement.advance(0) == 0
        settlement.report(ME + 1 + number, frontier(*everything))
    assert settlement.advance(0) == 50


def test_the_majority_has_to_be_the_same_for_all_that_is_named():
    settlement, _ = made(5, held=4, promised=50)
    everything = [(0, origin, 4) for origin in range(1, 6)]
    for member in (2, 3, 4, 5):  # each log is held by four, but each of them lacks another one
        rest = [log for log in everything if log[1] != member]
        settlement.report(member, frontier(*rest))
    assert settlement.advance(0) == 0


def test_this_node_has_to_hold_it_itself():
    settlement, mine = made(3)
    settlement.promise(2, 50, [(0, 4)])
    settlement.promise(1, 50, [])
    settlement.promise(3, 50, [])
    for member in (2, 3):
        settlement.report(member, frontier((0, 2, 4)))
    assert settlement.advance(0) == 0
    mine.advance((0, 2), 4)
    assert settlement.advance(0) == 50


def test_what_is_named_in_one_shard_does_not_hold_another_back():
    settlement, _ = made(1, shards=(0, 1), held=1, promised=10)
    settlement.promise(1, 20, [(1, 2)])
    assert settlement.advance(0) == 20
    assert settlement.advance(1) == 10


def test_under_constant_load_an_older_promise_still_counts():
    settlement, mine = made(1)
    for second in range(1, 40):
        settlement.promise(1, second * 10, [(0, second * 3)])
        mine.advance((0, 1), second * 3 - 3)
        assert settlement.advance(0) == second * 10 - 10


def test_promises_of_nobody_are_left_alone():
    settlement, _ = made(1, held=1, promised=10)
    settlement.promise(77, 5, [(0, 100)])
    settlement.report(77, frontier((0, 77, 100)))
    assert settlement.advance(0) == 10


def test_a_restored_watermark_is_where_it_goes_on():
    settlement, _ = made(1, held=1, promised=10)
    settlement.restore(0, 30)
    assert settlement.advance(0) == 30
    settlement.restore(0, 20)
    assert settlement.watermark(0) == 30
    settlement.promise(1, 40, [])
    assert settlement.advance(0) == 40


@given(st.lists(st.integers(1, 5), min_size=1, max_size=400))
def test_the_queue_is_bounded_however_long_nothing_settles(steps):
    settlement, _ = made(2)
    seq = time = 0
    for step in steps * 3:
        seq, time = seq + step, time + step
        settlement.promise(2, time, [(0, seq)])
    assert len(settlement._queue.get((0, 2), ())) <= PROMISES_KEPT_MAX


# -- who holds it back ---------------------------------------------------------------------------


def why(settlement, stamp, shards=(0,)):
    return [tuple(holder) for holder in settlement.holders(shards, stamp)]


def test_nobody_holds_back_what_is_settled():
    settlement, _ = made(1, held=1, promised=10)
    assert settlement.advance(0) == 10
    assert why(settlement, 10) == []


def test_who_has_not_promised_that_far_is_named_first():
    settlement, _ = made(3, held=1, promised=10)
    settlement.promise(1, 20, [])
    settlement.promise(2, 20, [])
    assert why(settlement, 15) == [(3, "no report of it covers this time yet")]


def test_whose_commits_are_missing_here_is_named_with_their_number():
    settlement, _ = made(3, held=1, promised=10)
    for origin in (1, 3):
        settlement.promise(origin, 20, [])
    settlement.promise(2, 20, [(0, 4)])
    assert why(settlement, 20) == [(2, "3 of its commits are not here yet")]


def test_a_commit_after_the_stamp_is_not_counted_as_missing():
    settlement, _ = made(3, held=1, promised=10)
    settlement.promise(2, 20, [(0, 2)])
    settlement.promise(2, 30, [(0, 9)])
    assert why(settlement, 10) == [
        (2, "it has not reported that it holds them"),
        (3, "it has not reported that it holds them"),
    ]


def test_who_does_not_hold_it_is_named_until_a_majority_does():
    settlement, _ = made(3, held=1, promised=10)
    missing = "it has not reported that it holds them"
    assert why(settlement, 10) == [(2, missing), (3, missing)]
    settlement.report(3, frontier((0, 1, 1), (0, 2, 1)))
    assert why(settlement, 10) == [(2, missing), (3, missing)]
    settlement.report(3, frontier((0, 1, 1), (0, 2, 1), (0, 3, 1)))
    settlement.advance(0)
    assert why(settlement, 10) == []
