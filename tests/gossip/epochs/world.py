"""Nodes, a network and a schedule drawn from a seed; what went wrong is in `violation`.

What is checked, always: two nodes never settle different prefixes; what a node settled never
changes; no two epochs have one number; and in the end, after the heal, every node is a member and
has settled everything that was acknowledged, each id once. Only what nobody has on a disk any
more after one was restored from a snapshot may be missing.
"""

import random
from bisect import bisect_right

from anabranch.gossip.epoch import Change, Epoch, Member
from anabranch.gossip.epochs import Epochs

from .node import Disk, Node
from .placing import strays

STEPS = 160
HEAL_ROUNDS = 60


class Rules:
    """What the driver of a node does; the mutants do otherwise."""

    trusts_its_disk = False  # a started node asks its peers first
    keeps_its_origin = False  # when it was removed
    uses_what_it_hears = False  # of an epoch that it does not know
    strays = staticmethod(strays)

    def view(self, node, epoch: Epoch) -> Epoch:
        """The epoch as a node understands it."""
        return epoch


class World:
    """One run."""

    def __init__(self, seed, nodes, rules=None, *, calm=False):
        self.random = random.Random(seed)
        self.rules = rules or Rules()
        self.time = 1
        self.shards = self.random.choice((1, 1, 2))
        self.boots = 0
        self.ids = 0
        self.owners = {}  # origin -> the node that took it
        self.acked = set()
        self.excused = set()
        self.net = []  # (to, the head of an epoch message or none, what)
        self.epochs = {}
        self.order = {shard: (0, []) for shard in range(self.shards)}  # the longest settled
        self.violation = None
        self.hopeless = False
        self.counts = dict.fromkeys(("settled", "crashes", "restores", "forced", "joins"), 0)
        self.snapshots = {}
        self.group = [0] * nodes
        self.calm = calm
        self.slow = self.random.choice((0.0, 0.5, 0.9))  # votes travel slowly: wider races
        self.eager = self.random.choice((0.03, 0.03, 0.1))  # to evict
        self.restores = self.random.random() < 0.4
        self.found(nodes)

    def found(self, nodes):
        founders = nodes - self.random.choice((0, 0, 1))
        members = [
            Member(f"n{one}", f"s{one % 3}", one % 3, self.fresh_origin(one))
            for one in range(founders)
        ]
        first = Epoch.founded(members)
        self.note_epoch(first)
        self.members = {one.name: one for one in members}
        self.nodes = []
        for one in range(nodes):
            origin = members[one].origin if one < founders else self.fresh_origin(one)
            node = Node(self, one, Disk(origin, Epochs(origin, first).state))
            if not node.sure:  # a new directory has no past
                node.become_sure()
            self.nodes.append(node)

    # -- what nodes ask of it ----------------------------------------------------------------

    def next_boot(self):
        self.boots += 1
        return self.boots

    def fresh_origin(self, number):
        origin = 100 + len(self.owners)
        self.owners[origin] = number
        return origin

    def origins_of(self, number):
        return {origin for origin, owner in self.owners.items() if owner == number}

    def acknowledged(self, ids, node):
        self.acked.update(ids)

    def strikes(self):
        """Whether a crash comes right here."""
        return not self.calm and self.random.random() < 0.02

    def passes_on(self):
        """Whether this message carries others' reports too."""
        return self.random.random() < 0.3

    def post(self, node, origin, message):
        sender = (node.number, node.boot, node.disk.me, node.disk.counter)
        self.net.append((self.owners[origin], sender, message))

    def note_epoch(self, epoch):
        known = self.epochs.setdefault(epoch.number, epoch.mark)
        if known != epoch.mark:
            self.accuse("two epochs", epoch.number)

    def note_fork(self, fork):
        if fork is not None:
            self.accuse("fork", fork)

    def accuse(self, *what):
        self.violation = self.violation or what

    # -- faults ------------------------------------------------------------------------------

    def crash(self, node):
        node.up = False
        self.counts["crashes"] += 1
        return False

    def start(self, number, disk=None):
        disk = disk or self.nodes[number].disk
        skew = self.nodes[number].skew
        node = self.nodes[number] = Node(self, number, disk)
        node.skew = skew

    def restore(self, number):
        """The directory goes back to a copy of itself.

        What is settled is promised while a majority keeps its disks: one or two members are none
        without the one.
        """
        epochs = self.nodes[number].epochs
        if epochs.is_member and len(epochs.epoch.members) < 3:
            return
        self.counts["restores"] += 1
        self.start(number, self.snapshots[number].copy())
        there = set().union(*(node.disk.ids() for node in self.nodes))
        self.excused |= self.acked - there

    # -- a step ------------------------------------------------------------------------------

    def run(self):
        for _ in range(STEPS):
            self.step()
            if self.violation:
                return self.violation
        self.heal()
        return self.violation

    def step(self):
        luck = self.random
        self.time += 1
        node = self.nodes[luck.randrange(len(self.nodes))]
        if not self.fault(node, luck.random()) and node.up:
            self.work(node, luck.random())
        while self.net and luck.random() < 0.6:
            at = luck.randrange(len(self.net))
            vote = self.net[at][1] is not None
            if vote and luck.random() < self.slow:
                continue
            fate = luck.random()
            if fate < 0.1:
                self.net.pop(at)  # lost
            else:
                self.deliver(at, again=fate > 0.95)

    def fault(self, node, luck):
        """Whether something happened to a node or the network."""
        if luck < 0.03:
            self.group = [self.random.randrange(2) for _ in self.nodes]
        elif luck < 0.07:
            self.group = [0] * len(self.nodes)
        elif luck < 0.085:
            if node.up:
                self.crash(node)
        elif luck < 0.12:
            down = [one.number for one in self.nodes if not one.up]
            if down:
                self.start(self.random.choice(down))
        elif luck < 0.13:
            node.skew = self.random.choice((0, 0, -40, 40, -200, 200))
        elif luck < 0.145:
            self.snapshots[node.number] = node.disk.copy()
        elif luck < 0.155 and self.restores:
            if node.number in self.snapshots:
                self.restore(node.number)
        else:
            return False
        return True

    def work(self, node, luck):
        """Something that a node does by itself."""
        if luck < self.eager:
            self.evict(node)
        elif luck < self.eager + 0.03:
            if node.epochs.frozen:  # take over a change that stalled
                self.propose(node, Change())
        elif luck < self.eager + 0.06:
            self.want(node)
        elif luck < 0.4:
            self.ids += 1
            node.append(self.ids.to_bytes(4, "big"), self.random.randrange(self.shards))
            if self.random.random() < 0.8:
                node.sync()
                self.look(node)
        else:
            to = self.nodes[self.random.randrange(len(self.nodes))]
            if to is not node:
                self.tell(node, to)

    def evict(self, node):
        members = node.epochs.epoch.origins
        away = [
            one.disk.me
            for one in self.nodes
            if one.disk.me in members
            and (not one.up or self.group[one.number] != self.group[node.number])
        ]
        if self.random.random() < 0.05:  # somebody leaves, and be it itself
            away = list(members)
        if away:
            count = self.random.randint(1, len(away))
            self.propose(node, Change(remove=tuple(self.random.sample(away, count))))

    def want(self, node):
        """Somebody who is no member asks one that it reaches to be admitted."""
        joiner = node.disk.me
        if not node.sure or joiner in node.epochs.epoch.joined:
            return
        for one in self.nodes:
            reached = one.up and self.group[one.number] == self.group[node.number]
            epoch = one.epochs.epoch
            if reached and one is not node and one.epochs.is_member and not one.epochs.frozen:
                if joiner not in epoch.joined:
                    self.counts["joins"] += 1
                    number = node.number
                    member = Member(f"n{number}", f"s{number % 3}", number % 3, joiner)
                    self.propose(one, Change(join=(member,)))
                return

    def propose(self, node, change):
        node.carry_out(node.epochs.propose(change, node.here))
        self.look(node)

    def tell(self, node, to):
        self.net.append((to.number, None, node.gossip(to)))
        self.look(node)

    def deliver(self, at, *, again=False):
        message = self.net[at] if again else self.net.pop(at)
        to, sender, what = message
        node = self.nodes[to]
        number = what.sender if sender is None else sender[0]
        if not node.up or self.group[to] != self.group[number]:
            return
        if sender is None:
            node.hear(what)
        else:
            node.receive(sender, what)
        self.look(node)

    # -- what must hold ----------------------------------------------------------------------

    def look(self, node):
        if node.up and not self.violation:
            for shard in node.settle():
                self.counts["settled"] += 1
                self.compare(node, shard)

    def compare(self, node, shard):
        """What this node has settled against the most that any node ever had."""
        mark = node.settlement.watermark(shard)
        mine = node.order(shard, mark)
        until, longest = self.order[shard]
        if mark >= until:
            if mine[: len(longest)] != longest or (
                len(mine) > len(longest) and mine[len(longest)][0] <= until
            ):
                self.accuse("differs", node.number, shard, until)
            self.order[shard] = (mark, mine)
        elif mine != longest[: bisect_right(longest, (mark, 1 << 70))]:
            self.accuse("differs", node.number, shard, mark)

    def compare_all(self):
        for node in self.nodes:
            for shard in range(self.shards):
                self.compare(node, shard)

    # -- the heal ----------------------------------------------------------------------------

    def heal(self):
        self.calm = True
        self.group = [0] * len(self.nodes)
        self.net = []
        self.compare_all()
        for node in self.nodes:
            node.skew = 0
            if not node.up:
                self.start(node.number)
        for turn in range(HEAL_ROUNDS):
            self.all_tell_all()
            if self.violation or self.hopeless or self.is_whole():
                break
            if turn > HEAL_ROUNDS // 2 and turn % 5 == 0 and self.counts["restores"]:
                self.force()
            node = self.nodes[turn % len(self.nodes)]
            node.sync()
            if node.epochs.frozen:
                self.propose(node, Change())
            else:
                self.want(node)
            self.drain()
        self.compare_all()
        self.judge()

    def force(self):
        """What a lost directory alone held is lost, and an operator says so."""
        present = {one.disk.me for one in self.nodes}
        for node in self.nodes:
            gone = tuple(one for one in node.epochs.epoch.origins if one not in present)
            if node.epochs.is_member and node.sure:
                self.counts["forced"] += 1
                self.order = {shard: (0, []) for shard in range(self.shards)}
                node.carry_out(node.epochs.force(Change(remove=gone), node.here))
                return self.drain()
        self.hopeless = True  # every member's directory went back
        return None

    def all_tell_all(self):
        self.time += 60
        for node in self.nodes:
            for to in self.nodes:
                if to is not node:
                    self.tell(node, to)
        self.drain()

    def drain(self):
        while self.net and not self.violation:
            self.deliver(self.random.randrange(len(self.net)))

    def is_whole(self):
        last = dict.fromkeys(range(self.shards), 0)
        for node in self.nodes:
            if node.disk.me not in node.epochs.epoch.joined or node.pending:
                return False
            for log, commits in node.disk.logs.items():
                if commits:
                    last[log[0]] = max(last[log[0]], commits[-1][0])
        return all(
            node.settlement.watermark(shard) >= stamp
            for node in self.nodes
            for shard, stamp in last.items()
        )

    def judge(self):
        if not self.is_whole():
            return None if self.hopeless else self.accuse("not settled")
        for node in self.nodes:
            ids = [
                one
                for shard in range(self.shards)
                for _, _, one in node.order(shard, node.settlement.watermark(shard))
            ]
            missing = self.acked - self.excused - {*ids}
            if missing or len(ids) != len({*ids}):
                self.accuse("lost", node.number, len(missing))
        return None
