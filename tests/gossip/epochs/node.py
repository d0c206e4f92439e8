"""One node of the model world: the real epochs and settlement, and a driver of a few lines.

`Disk` is what outlives a crash, and what a snapshot copies. Everything else of a node is memory.
A commit is (stamp, id); its sequence is its place in its log. Stamps are plain numbers.
"""

from dataclasses import dataclass, field

from anabranch.gossip.counting import EpochSettlement
from anabranch.gossip.epoch import Epoch
from anabranch.gossip.epochs import Epochs, Here
from anabranch.gossip.frontier import Frontier

from .placing import counts


@dataclass
class Disk:
    me: int
    state: bytes
    logs: dict = field(default_factory=dict)  # (shard, origin) -> [(stamp, id), ...]
    cut: set = field(default_factory=set)  # (log, sequence, stamp, id) of commits above finals
    promised: int = 0  # never below any that was told
    counter: int = 0
    seen: dict = field(default_factory=dict)  # origin -> its highest counter
    watermarks: dict = field(default_factory=dict)

    def copy(self):
        return Disk(
            self.me,
            self.state,
            {log: list(commits) for log, commits in self.logs.items()},
            set(self.cut),
            self.promised,
            self.counter,
            dict(self.seen),
            dict(self.watermarks),
        )

    def ids(self):
        """Every commit id on this disk."""
        held = {one for commits in self.logs.values() for _, one in commits}
        return held | {row[-1] for row in self.cut}


@dataclass
class Gossip:
    """All that a node tells at once: its epoch, its report, its logs as they are now."""

    sender: int  # the node's number
    me: int
    provisional: int
    boot: int
    counter: int
    epoch: int
    mark: int
    reports: list  # (origin, epoch, promised, rows): its own, and those that it passes on
    logs: list  # (log, commits, how many of them)
    clock: int
    # What the sender knows of the receiver: its newest boot, the origin in question, its counter,
    # the length of its logs.
    about: tuple


class Node:
    """A node from its start to its crash."""

    keeps_first = True  # before it sends

    def __init__(self, world, number, disk):
        self.world = world
        self.number = number
        self.disk = disk
        self.up = True
        self.skew = 0
        self.boot = world.next_boot()
        self.boots = {}  # node -> its newest boot
        self.given_up = set()
        self.reports = {}  # origin -> the newest that was heard
        self.epochs = Epochs.restored(disk.me, disk.state)
        self.pending = []  # (shard, stamp, id): not on the disk yet
        self.clock = max([disk.promised, *(stamp for c in disk.logs.values() for stamp, _ in c)])
        self.sure = world.rules.trusts_its_disk
        self.provisional = 0 if self.sure else world.fresh_origin(number)
        self.confirmed = set()
        self.begun_at = disk.counter
        self.cut_down(self.view)  # again: a crash may have come between
        self.frontier = self.frontier_on_disk()
        self.settlement = EpochSettlement(disk.me, self.view, self.frontier)
        for shard, watermark in disk.watermarks.items():
            self.settlement.restore(shard, watermark)
        # An origin that is yet to join is not left behind: it may have been admitted meanwhile.
        if not self.sure and disk.me in self.epochs.epoch.finals:
            self.go_on_as_provisional()
        self.append_strays()

    @property
    def view(self) -> Epoch:
        return self.world.rules.view(self, self.epochs.epoch)

    @property
    def stamping(self):
        """The origin under which it stamps."""
        return self.disk.me if self.sure else self.provisional

    @property
    def here(self):
        return Here(self.frontier, self.disk.promised, self.sure)

    @property
    def may_report(self):
        return self.epochs.may_report(self.here)

    @property
    def counts_itself(self):
        return self.may_report

    def frontier_on_disk(self):
        frontier = Frontier()
        for log, commits in self.disk.logs.items():
            if commits:
                frontier.advance(log, len(commits))
        return frontier

    # -- appends -----------------------------------------------------------------------------

    def append(self, commit_id, shard):
        self.clock = max(self.clock + 1, self.world.time * 4 + self.skew, self.disk.promised + 1)
        self.pending.append((shard, self.clock, commit_id))

    def sync(self):
        """What was appended is durable, and acknowledged."""
        pending, self.pending = self.pending, []
        for shard, stamp, commit_id in pending:
            log = (shard, self.stamping)
            self.disk.logs.setdefault(log, []).append((stamp, commit_id))
            self.frontier.advance(log, len(self.disk.logs[log]))
            self.disk.counter += self.sure
        self.world.acknowledged([one for _, _, one in pending], self)

    def append_strays(self):
        held = [
            (log, seq, stamp, one)
            for log, commits in self.disk.logs.items()
            for seq, (stamp, one) in enumerate(commits, 1)
        ]
        held += sorted(self.disk.cut)
        ids = {(log, seq): one for log, seq, _, one in held}
        pending = {one for _, _, one in self.pending}
        for log, seq in self.world.rules.strays(self.view, self.stamping, held, self.given_up):
            if ids[log, seq] not in pending:
                self.append(ids[log, seq], log[0])
        self.sync()

    # -- the law: keep, apply, send ----------------------------------------------------------

    def carry_out(self, outcome):
        """Whether it was done: the node may crash at any point in between."""
        self.world.note_fork(outcome.fork)
        if not self.keeps_first:
            for to, message in outcome.send:
                self.world.post(self, to, message)
        if outcome.keep is not None:
            if self.world.strikes():
                return self.world.crash(self)
            self.disk.state = outcome.keep
            self.disk.counter += self.sure  # to learn an epoch binds it to nothing
        if outcome.keep is not None and self.world.strikes():
            return self.world.crash(self)
        if outcome.entered is not None and not self.enter(outcome.entered[1]):
            return False
        for to, message in outcome.send if self.keeps_first else ():
            self.world.post(self, to, message)
        return True

    def enter(self, epoch: Epoch):
        self.world.note_epoch(epoch)
        disk, view = self.disk, self.view
        self.sync()  # what was on its way to the disk has its sequence from before the cut
        self.cut_down(view)
        if not self.epochs.is_member and disk.me in epoch.finals:
            if not self.world.rules.keeps_its_origin:
                self.take_new_origin()
        elif disk.me in epoch.joined:
            self.clock = max(self.clock, epoch.joined[disk.me].floor)
        self.frontier = self.frontier_on_disk()
        self.settlement.enter(view, disk.me, self.frontier)
        if self.world.strikes():
            return self.world.crash(self)
        self.append_strays()
        return True

    def cut_down(self, view: Epoch):
        for log, commits in self.disk.logs.items():
            limit = view.limit(log)
            if limit is not None and len(commits) > limit:
                above = enumerate(commits[limit:], limit + 1)
                self.disk.cut |= {(log, seq, stamp, one) for seq, (stamp, one) in above}
                self.disk.logs[log] = commits[:limit]

    def take_new_origin(self):
        self.disk.me = self.provisional if not self.sure else self.world.fresh_origin(self.number)
        self.sure = True
        self.epochs.me = self.disk.me

    # -- a directory that may have gone back ---------------------------------------------------

    def become_sure(self):
        self.sync()
        self.sure = True
        self.given_up.add(self.provisional)
        self.append_strays()

    def go_on_as_provisional(self):
        self.sync()
        self.given_up.add(self.disk.me)
        self.disk.me = self.epochs.me = self.provisional
        self.sure = True
        self.settlement.enter(self.view, self.disk.me, self.frontier)
        self.append_strays()

    def hear_about_itself(self, gossip: Gossip):
        boot, origin, counter, lengths = gossip.about
        if self.sure or origin != self.disk.me:
            return
        if counter > self.begun_at or any(n > self.frontier[log] for log, n in lengths):
            self.go_on_as_provisional()
        elif boot == self.boot:
            # Whoever has the disk of a member has its memory, under whatever origin it goes on.
            # One that is yet to join was never asked for a vote, but may hold more of its log.
            self.confirmed.add(gossip.sender)
            if len(self.confirmed) == len(self.world.nodes) - 1:
                self.become_sure()

    def give_up_what_is_left_behind(self, gossip: Gossip):
        """A provisional origin lives for one boot."""
        current = {gossip.me, gossip.provisional}
        left = self.world.origins_of(gossip.sender) - current - {*self.epochs.epoch.origins}
        if left - self.given_up:
            self.given_up |= left
            self.append_strays()

    # -- gossip ------------------------------------------------------------------------------

    def report(self):
        """A report that counts, and the promise in it is kept before it is told."""
        if not self.may_report:
            return None
        disk = self.disk
        self.clock = max(self.clock, self.world.time * 4 + self.skew)
        until = self.pending[0][1] - 1 if self.pending else self.clock
        disk.promised = max(disk.promised, until)
        disk.counter += 1
        rows = tuple((*log, seq) for log, seq in self.frontier.items())
        told = (disk.me, self.epochs.epoch.number, disk.promised, rows)
        self.settlement.heard(*told)
        return told

    def reports_to_tell(self):
        mine = self.report()
        others = self.reports.values() if self.world.passes_on() else ()
        return [*([mine] if mine else []), *others]

    def gossip(self, to) -> Gossip:
        disk, epoch = self.disk, self.epochs.epoch
        reports = self.reports_to_tell()
        about = to.disk.me
        lengths = [(log, len(c)) for log, c in disk.logs.items() if log[1] == about]
        return Gossip(
            self.number,
            disk.me,
            0 if self.sure else self.provisional,
            self.boot,
            disk.counter,
            epoch.number,
            epoch.mark,
            reports,
            [(log, commits, len(commits)) for log, commits in disk.logs.items()],
            self.clock,
            (self.boots.get(to.number, 0), about, disk.seen.get(about, 0), lengths),
        )

    def hear(self, gossip: Gossip):
        if not self.meets(gossip.sender, gossip.boot, gossip.me, gossip.counter):
            return
        self.hear_about_itself(gossip)
        outcome = self.epochs.heard(gossip.me, gossip.epoch, gossip.mark)
        if not self.carry_out(outcome) or outcome.fork:
            return
        if gossip.epoch > self.epochs.epoch.number and not self.world.rules.uses_what_it_hears:
            return
        for log, commits, count in gossip.logs:
            self.take(log, commits, count)
        self.clock = max(self.clock, gossip.clock)
        for report in gossip.reports:
            self.learn(*report)
        self.give_up_what_is_left_behind(gossip)

    def take(self, log, commits, count):
        mine = self.disk.logs.get(log, ())
        limit = self.view.limit(log)
        if limit is not None and count > limit:
            count = limit
        if count <= len(mine) or log[1] in (self.stamping, self.disk.me):
            return
        self.disk.logs[log] = [*mine, *commits[len(mine) : count]]
        self.frontier.advance(log, count)

    def learn(self, origin, epoch, promised, rows):
        if origin == self.disk.me:
            return
        newest = self.reports.get(origin)
        if newest is None or newest[1:3] < (epoch, promised):
            self.reports[origin] = (origin, epoch, promised, rows)
        if self.world.rules.uses_what_it_hears:
            epoch = self.epochs.epoch.number
        self.settlement.heard(origin, epoch, promised, rows)

    def meets(self, number, boot, origin, counter):
        """Note what every message says of its sender; False for a process that is gone."""
        if boot < self.boots.get(number, 0):
            return False
        self.boots[number] = boot
        self.disk.seen[origin] = max(self.disk.seen.get(origin, 0), counter)
        return True

    def receive(self, sender, message):
        number, boot, origin, counter = sender
        if self.meets(number, boot, origin, counter):
            self.carry_out(self.epochs.receive(origin, message, self.here))

    # -- settling ----------------------------------------------------------------------------

    def settle(self):
        """The shards whose watermark has moved."""
        moved = []
        self.settlement.counts_me = self.counts_itself
        for shard in range(self.world.shards):
            before = self.settlement.watermark(shard)
            after = self.settlement.advance(shard)
            if after > before:
                self.disk.watermarks[shard] = after
                moved.append(shard)
        return moved

    def order(self, shard, until):
        """The order up to a stamp: (stamp, origin, id), each id once."""
        view = self.view
        held = sorted(
            (stamp, log[1], one)
            for log, commits in self.disk.logs.items()
            if log[0] == shard
            for seq, (stamp, one) in enumerate(commits, 1)
            if stamp <= until and counts(view, log, seq, stamp)
        )
        seen = set()
        return [row for row in held if not (row[2] in seen or seen.add(row[2]))]
