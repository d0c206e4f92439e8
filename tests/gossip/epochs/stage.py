"""A world without luck: a test says who tells whom, and who takes part in a vote."""

from anabranch.gossip.epoch import Epoch, Member
from anabranch.gossip.epochs import Epochs, Learn

from .node import Disk, Node
from .world import World


class Stage(World):
    def __init__(self, founders, spares=0, rules=None):
        self.founders, self.spares = founders, spares
        super().__init__(0, founders + spares, rules, calm=True)

    def found(self, nodes):
        self.shards = 1
        members = [self.member(one, self.fresh_origin(one)) for one in range(nodes)]
        first = Epoch.founded(members[: self.founders])
        self.note_epoch(first)
        self.order = {0: (0, [])}
        self.nodes = []
        for one in members:
            state = Epochs(one.origin, first).state
            node = Node(self, len(self.nodes), Disk(one.origin, state))
            if not node.sure:
                node.become_sure()
            self.nodes.append(node)

    def member(self, number, origin=0):
        """A node as it asks to be a member."""
        origin = origin or self.nodes[number].disk.me
        return Member(f"n{number}", f"s{number % 3}", number % 3, origin)

    def origin(self, number):
        return self.nodes[number].disk.me

    def append(self, number):
        self.ids += 1
        node = self.nodes[number]
        node.append(self.ids.to_bytes(4, "big"), 0)
        node.sync()

    def go(self, sender, *receivers):
        """One message of gossip to each, which arrives."""
        for to in receivers:
            self.tell(self.nodes[sender], self.nodes[to])
            self.deliver(len(self.net) - 1)

    def settle_among(self, *numbers):
        """Time goes on, and all of these tell all of them."""
        for _ in range(3):
            self.time += 5
            for sender in numbers:
                self.go(sender, *(to for to in numbers if to != sender))

    def vote(self, proposer, change, voters, learners=()):
        """A ballot of some; of the others only the learners hear what came of it."""
        self.net.clear()
        self.propose(self.nodes[proposer], change)
        self.pass_on(voters, learners)

    def pass_on(self, voters, learners=()):
        while self.net:
            to, _, what = self.net[0]
            heard = to in learners if isinstance(what, Learn) else to in voters
            if heard:
                self.deliver(0)
            else:
                self.net.pop(0)
