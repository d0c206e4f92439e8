"""Reports on their way: whatever route they take, they add up to what their makers said.

The machine has three makers that are each other's relays. Links are ordered and may break at any
moment, with what was on them; a node may restart and remember nothing but its own state.
"""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from anabranch.gossip.reports import Report, Standings, Told

ORIGINS = (1, 2, 3)
SHARDS = (0, 1)
ORIGIN = st.sampled_from(ORIGINS)
LINK = st.tuples(ORIGIN, ORIGIN).filter(lambda link: link[0] != link[1])


class Maker:
    """One node: what it holds, what it promised, and what it knows of the others."""

    def __init__(self, origin):
        self.origin = origin
        self.clock = 0
        self.named: dict[int, dict[int, int]] = {}  # promise -> its own sequences by shard
        self.standings = Standings()
        self.report()

    def restart(self):
        """Forget all but the own frontier, which comes back from the disk."""
        before = self.standings.of(self.origin).frontier
        self.standings = Standings()
        for log, seq in before.items():
            self.standings.of(self.origin).frontier.advance(log, seq)
        self.report()

    def report(self):
        """Promise, as Settler.own_report does."""
        mine = self.standings.of(self.origin)
        self.clock += 1
        self.named[self.clock] = {shard: mine.frontier[shard, self.origin] for shard in SHARDS}
        mine.epoch, mine.mark, mine.boot = 1, 99, 5
        mine.promise = mine.counter = self.clock
        mine.version += 1


class Reports(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.makers = {origin: Maker(origin) for origin in ORIGINS}
        self.links: dict[tuple[int, int], deque[list[Report]]] = {
            (a, b): deque() for a in ORIGINS for b in ORIGINS if a != b
        }
        self.told = {link: Told() for link in self.links}

    @rule(origin=ORIGIN, shard=st.sampled_from(SHARDS))
    def commit(self, origin, shard):
        frontier = self.makers[origin].standings.of(origin).frontier
        frontier.advance((shard, origin), frontier[shard, origin] + 1)

    @rule(origin=ORIGIN, of=ORIGIN, shard=st.sampled_from(SHARDS))
    def take_a_commit(self, origin, of, shard):
        made = self.makers[of].standings.of(of).frontier[shard, of]
        frontier = self.makers[origin].standings.of(origin).frontier
        if frontier[shard, of] < made:
            frontier.advance((shard, of), frontier[shard, of] + 1)

    @rule(origin=ORIGIN)
    def promise(self, origin):
        self.makers[origin].report()

    @rule(link=LINK)
    def send(self, link):
        self._send(link)

    @rule(link=LINK)
    def deliver(self, link):
        self._deliver(link)

    @rule(link=LINK)
    def break_link(self, link):
        self._break(link)

    @rule(origin=ORIGIN)
    def restart(self, origin):
        self.makers[origin].restart()
        for link in self.links:
            if origin in link:
                self._break(link)

    @invariant()
    def nobody_holds_a_promise_with_fewer_sequences_than_it_named(self):
        for node in self.makers.values():
            for maker in self.makers.values():
                standing = node.standings.of(maker.origin)
                for shard, seq in maker.named.get(standing.promise, {}).items():
                    assert standing.frontier[shard, maker.origin] >= seq

    @invariant()
    def nobody_knows_more_of_a_maker_than_it_is(self):
        for node in self.makers.values():
            for maker in self.makers.values():
                standing, true = node.standings.of(maker.origin), maker.standings.of(maker.origin)
                assert not true.frontier.behind(standing.frontier)
                assert standing.promise <= true.promise
                assert standing.counter <= true.counter

    def teardown(self):
        """Once all is told, all know the same."""
        for _ in ORIGINS:
            for origin in ORIGINS:
                self.makers[origin].report()
            for link in self.links:
                self._send(link)
                while self.links[link]:
                    self._deliver(link)
        for maker in self.makers.values():
            true = maker.standings.of(maker.origin)
            for node in self.makers.values():
                known = node.standings.of(maker.origin)
                assert dict(known.frontier.items()) == dict(true.frontier.items())
                if node is not maker:
                    assert known.promise in (true.promise, true.promise - 1)
                    assert (known.epoch, known.mark, known.boot) == (1, 99, 5)

    def _send(self, link):
        here = self.makers[link[0]]
        mine_first = sorted(ORIGINS, key=lambda origin: origin != here.origin)
        reports = [self.told[link].tell(one, here.standings.of(one)) for one in mine_first]
        self.links[link].append([report for report in reports if report is not None])

    def _deliver(self, link):
        if self.links[link]:
            there = self.makers[link[1]]
            for report in self.links[link].popleft():
                if report.origin != there.origin:
                    there.standings.learn(report)

    def _break(self, link):
        self.links[link].clear()
        self.told[link] = Told()


Reports.TestCase.settings = settings(max_examples=60, stateful_step_count=60)
TestReports = Reports.TestCase


def standing(promise=10, counter=5, seq=0):
    standings = Standings()
    standings.learn(Report(1, 1, 99, 5, counter, promise, None, [(0, 1, seq)]))
    return standings, standings.of(1)


def test_a_report_is_told_once_on_a_link():
    _, mine = standing(seq=3)
    report = Report(1, 1, 99, 5, 5, 10, None, [(0, 1, 3)])
    told = Told()
    assert told.tell(1, mine) == report
    assert told.tell(1, mine) is None
    assert Told().tell(1, mine) == report


def test_a_report_carries_only_the_logs_that_moved_since_the_last_one_on_the_link():
    standings, mine = standing(seq=3)
    told = Told()
    told.tell(1, mine)
    standings.learn(Report(1, 1, 99, 5, 6, 11, None, [(1, 1, 1)]))
    assert told.tell(1, mine) == Report(1, 1, 99, 5, 6, 11, None, [(1, 1, 1)])


def test_an_older_report_changes_neither_promise_nor_membership():
    standings, known = standing(promise=10, counter=5, seq=3)
    version = known.version
    assert standings.learn(Report(1, 7, 7, 7, 4, 9, None, [(0, 1, 2)])) is None
    assert (known.epoch, known.mark, known.boot, known.promise) == (1, 99, 5, 10)
    assert known.frontier[0, 1] == 3
    assert known.version == version


def test_an_older_report_may_still_bring_sequences_and_then_is_passed_on():
    standings, known = standing(promise=10, seq=3)
    version = known.version
    assert standings.learn(Report(1, 1, 99, 5, 4, 9, None, [(1, 2, 8)])) == [(1, 2)]
    assert known.promise == 10
    assert known.version > version


def test_a_promise_that_does_not_count_is_forgotten():
    """It may be of a copy of its maker's directory, which is not sure yet and never will be."""
    standings, known = standing(promise=10, counter=5)
    assert standings.learn(Report(1, 1, 0, 6, 9, 50, None, [])) == []
    assert (known.mark, known.promise) == (0, 10)
    standings.learn(Report(1, 1, 99, 5, 10, 11, None, []))
    assert (known.mark, known.promise) == (99, 11)


def test_a_late_report_of_the_start_before_is_told_with_its_own_counter():
    """Else who hears of it believes that start to have gone on, and the directory to be older."""
    standings, known = standing(promise=10, counter=5)
    standings.learn(Report(1, 1, 0, 6, 9, 0, None, []))
    standings.learn(Report(1, 1, 99, 5, 6, 11, None, []))
    assert Told().tell(1, known) == Report(1, 1, 99, 5, 6, 11, None, [])


def test_a_claim_travels_with_the_next_report():
    standings, known = standing()
    with_claim = Report(1, 1, 99, 5, 6, 11, (3, 40, bytes(32)), [])
    standings.learn(with_claim)
    report = Told().tell(1, known)
    assert report is not None
    assert report.claim == (3, 40, bytes(32))
