"""Comparisons with the other members, one at a time with each, and what is done about differences.

A comparison says only that two nodes differ in a commit. Which of them is wrong each finds out in
its own log: what can't be read there is lost and healed; a hash that the log does not bear out is
put right, as is a node of a tree that is not that of what it covers; and if both logs bear out what
they say, there are two histories: `Repair` finds that out by looking at the other's commit, and
that shard is disputed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..gossip.messages import Compare, Compared
from ..gossip.session import Difference, InnerDiffers, Session, Unequal, reply
from ..storage.stamp import stamp_of
from .clock import Random
from .repair import Repair
from .settler import Settler
from .store import Store

_log = logging.getLogger(__name__)
_SLACK = stamp_of(1000)  # the other side should have settled so far as well
_MISSED_TURNS_MAX = 3


@dataclass(slots=True)
class Turn:
    """How the comparisons with one member go."""

    due: float
    session: Session | None = None
    done: int = 0  # comparisons that came to an end
    differences: int = 0  # that they found
    at: int = 0  # the cut of the last that ended


class Comparing:
    """All comparisons that this node begins.

    With a member of the same site one begins each `seconds`; with others three times as seldom.
    """

    def __init__(
        self,
        store: Store,
        settler: Settler,
        repair: Repair,
        random: Random,
        monotonic: Callable[[], float],
        seconds: float,
    ) -> None:
        self._store = store
        self._settler = settler
        self._repair = repair
        self._random = random
        self._monotonic = monotonic
        self._seconds = seconds
        self.turns: dict[str, Turn] = {}
        store.history.trees.settled_until = settler.final_until

    def question(self, name: str) -> Compare | None:
        """What to ask a member now, if it is time to compare or a comparison is under way."""
        turn = self.turns.get(name)
        if name not in self._store.members:
            return None
        if turn is None:
            turn = self.turns[name] = Turn(self._next(name))
        if turn.session is None:
            if self._monotonic() < turn.due:
                return None
            turn.due = self._next(name)
            cut = self._settler.final_until() - _SLACK
            if cut <= 0:
                return None
            turn.session = Session(self._store.history.trees, cut)
        return turn.session.question()

    def answered(self, name: str, answer: Compared) -> None:
        """Take a member's answer. Raises BadFrame if it is none."""
        turn = self.turns[name]
        session = turn.session
        if session is None:
            return
        session.learn(answer)
        if session.done:
            turn.session = None
            if not session.cut:
                return  # it is not the time
            turn.done += 1
            turn.at = session.cut
            turn.differences += len(session.found)
            for difference in session.found:
                self._differ(name, difference)

    def unanswered(self, name: str) -> None:
        """The link is gone: the comparison begins again at its next turn."""
        turn = self.turns.get(name)
        if turn is not None:
            turn.session = None

    def compare(self, question: Compare, name: str) -> Compared:
        """The answer to a member's question; not now, if this node is comparing with it itself."""
        turn = self.turns.get(name)
        begins = not question.shards and not question.nodes
        if begins and turn is not None and turn.session is not None:
            return Compared(0, [], [], [])
        return reply(self._store.history.trees, question)

    def _next(self, name: str) -> float:
        members = self._store.members
        near = members.member(name).site == members.member(members.me).site
        seconds = self._seconds if near else _MISSED_TURNS_MAX * self._seconds
        return self._monotonic() + seconds / 2 + self._random.uniform(seconds)

    def _differ(self, name: str, difference: Difference) -> None:
        if isinstance(difference, Unequal):
            self._settler.dispute(
                (difference.shard, self._store.members.origin(name) or 0),
                f"{name} and this node have settled {difference.theirs} and {difference.mine} "
                f"commits of shard {difference.shard} and origin {difference.origin:016x} up to "
                "the same time",
            )
            return
        log, seq = (difference.shard, difference.origin), difference.seq
        if isinstance(difference, InnerDiffers):
            self._repair.mend_tree(log, seq)
            return
        if self._repair.own_is_wrong(log, seq):
            return
        origin = self._store.members.origin(name)
        if origin is not None:
            self._repair.doubt(origin, log, seq)
