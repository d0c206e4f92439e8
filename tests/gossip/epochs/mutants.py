"""Each rule left out, one at a time: the world has to notice."""

from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

from anabranch.gossip import epochs
from anabranch.gossip.counting import EpochSettlement
from anabranch.gossip.epoch import Epoch, Removed, objection, successor

from .node import Node
from .world import Rules


class NoReorigination(Rules):
    @staticmethod
    def strays(*_):
        return []


class OwnFinals(Rules):
    """Who is removed is cut at what each node happens to hold of it."""

    def __init__(self):
        self.cut = {}

    def view(self, node, epoch):
        known = self.cut.setdefault(node.number, {})
        for one in epoch.removed:
            origin = one.member.origin
            if origin not in known:
                held = node.frontier_on_disk().items()
                known[origin] = tuple((shard, seq) for (shard, of), seq in held if of == origin)
        removed = (Removed(one.member, known[one.member.origin]) for one in epoch.removed)
        return replace(epoch, removed=tuple(removed))


class KeepsItsOrigin(Rules):
    keeps_its_origin = True


class TrustsItsDisk(Rules):
    trusts_its_disk = True


class UsesWhatItHears(Rules):
    uses_what_it_hears = True


def without_base(epoch, change, answers, **more):
    return replace(successor(epoch, change, answers, **more), base=())


def with_floor(epoch, value, floor):
    """A successor whose joiners have another floor."""
    new = {*value.origins} - {*epoch.origins}
    members = (replace(one, floor=floor) if one.origin in new else one for one in value.members)
    return replace(value, members=tuple(members), floor=floor)


def without_floor(epoch, change, answers, **more):
    return with_floor(epoch, successor(epoch, change, answers, **more), 0)


def with_low_floor(epoch, change, answers, **more):
    answers = list(answers)
    value = successor(epoch, change, answers, **more)
    return with_floor(epoch, value, max(answer.promised for answer in answers))


def readmitting(epoch, change, answers, **more):
    back = {one.origin for one in change.join}
    removed = tuple(one for one in epoch.removed if one.member.origin not in back)
    forgetful = replace(epoch, removed=removed)
    value = successor(forgetful, change, answers, **more)
    genuine = successor(epoch, change, answers, **more)
    return replace(value, lineage=genuine.lineage)


def value_of_its_own(self, attempt):
    told = [one.answer for one in attempt.answers.values()]
    return successor(self.epoch, attempt.change, told)


def by_this_node_alone(self, shard, time):
    return self._covers(self._me, self._needs(shard, time))


@contextmanager
def changed(*patches):
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def of_epochs(name, value):
    return patch.object(epochs, name, value)


MUTANTS = {
    "no freeze": lambda: changed(
        patch.object(epochs.Epochs, "may_report", lambda self, here: self.is_member and here.sure)
    ),
    "a frozen node counts itself": lambda: changed(
        patch.object(
            Node,
            "counts_itself",
            property(lambda self: self.epochs.is_member and self.sure),
        )
    ),
    "no floor": lambda: changed(of_epochs("successor", without_floor)),
    "a floor that can go down": lambda: changed(of_epochs("successor", with_low_floor)),
    "no base": lambda: changed(
        of_epochs("successor", without_base),
        patch.object(Epoch, "is_owed", lambda *_: False),
    ),
    "a removed origin admitted again": lambda: changed(
        of_epochs("successor", readmitting),
        of_epochs("objection", lambda epoch, change: objection(epoch, replace(change, join=()))),
    ),
    "no majority": lambda: changed(
        patch.object(EpochSettlement, "_held_by_majority", by_this_node_alone)
    ),
    "sent before it is kept": lambda: changed(patch.object(Node, "keeps_first", False)),
    "an accepted value not carried on": lambda: changed(
        patch.object(epochs.Epochs, "_value", value_of_its_own)
    ),
    "no re-origination": changed,
    "own finals": changed,
    "uses what it does not know": changed,
    "a promise kept over a restored snapshot": changed,
}
RULES = {
    "no re-origination": NoReorigination,
    "own finals": OwnFinals,
    "uses what it does not know": UsesWhatItHears,
    "a promise kept over a restored snapshot": TrustsItsDisk,
    "a removed origin admitted again": KeepsItsOrigin,
}
# The others have directed cases.
FOUND_BY_LUCK = (
    "no freeze",
    "no floor",
    "a removed origin admitted again",
    "no re-origination",
    "own finals",
    "a promise kept over a restored snapshot",
)
