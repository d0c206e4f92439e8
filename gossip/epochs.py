"""How members agree on the next epoch: single-decree Paxos, with a freeze (DESIGN 5).

There is one instance for each epoch e, among its members, that decides e+1:

1. A proposer sends Freeze with a ballot higher than all it saw. A member that has seen no higher
   one freezes: from then on it reports nothing in e, so nobody settles anything by it that its
   answer does not know. It answers Frozen: its promise, its frontier, and what it accepted.
2. With Frozen of a majority, the proposer sends Accept: the accepted value of the highest ballot
   among them, or else a successor of e made of their answers.
3. A member that has seen no higher ballot accepts and answers Accepts. With a majority of those it
   is decided, for ever; whoever knows it tells it (Learn).

Why it is safe: a ballot is used once (round and origin, kept before it is sent), and Paxos
decides one value. Only members that hold the base of e take part, so whatever was settled in any
epoch before is held by one member of every majority that can decide.

The law: carry an `Outcome` out in its order. First `keep` is durable, then `entered` is applied,
then `send` goes out, to this node itself too. Before it enters, a node has on its disk what it
stamped before; what a crash leaves undone of an entry is done at the start (gossip.epoch.strays).
A change whose proposer is gone is ended by any member that proposes with a higher ballot; what a
majority may have accepted is carried on. Nothing here waits, and no append waits for it.

A node that hears of a newer epoch asks for it before it uses anything else of the sender.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from msgspec.msgpack import Decoder

from ..storage.commit import pack
from ..storage.errors import BadFrame
from .epoch import Change, Epoch, Frozenness, objection, read_epoch, successor
from .frontier import Frontier, LogKey

Ballot = tuple[int, int]  # (round, origin)
Accepted = tuple[Ballot, Epoch]

NO_BALLOT: Final[Ballot] = (0, 0)


@dataclass(frozen=True, slots=True)
class Freeze:
    """Asks a member to freeze, and to heed no lower ballot. `forced`: even if it lacks the base."""

    epoch: int
    ballot: Ballot
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Frozen:
    """The answer of a member that froze."""

    epoch: int
    ballot: Ballot
    answer: Frozenness
    accepted: Accepted | None


@dataclass(frozen=True, slots=True)
class Accept:
    """Asks a member to accept a value."""

    epoch: int
    ballot: Ballot
    value: Epoch


@dataclass(frozen=True, slots=True)
class Accepts:
    """The answer of a member that accepted."""

    epoch: int
    ballot: Ballot


@dataclass(frozen=True, slots=True)
class Outbid:
    """The answer of a member that has seen a higher ballot."""

    epoch: int
    ballot: Ballot


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks for the newest epoch; this one is known."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Learn:
    """An epoch that was decided."""

    value: Epoch

    @property
    def epoch(self) -> int:
        """The epoch of the sender."""
        return self.value.number


Message = Freeze | Frozen | Accept | Accepts | Outbid | Ask | Learn


@dataclass(frozen=True, slots=True)
class Here:
    """What this node can say of itself: what is on its disk.

    `promised`: the highest stamp that it promised, or may have promised before a restart.
    `sure`: it knows that its directory did not go back in time. `parted`: logs of which others hold
    something else, so that it takes no more of them.
    """

    frontier: Frontier
    promised: int
    sure: bool = True
    parted: Collection[LogKey] = ()


@dataclass(slots=True)
class Outcome:
    """What to do, in this order: keep, apply, send."""

    keep: bytes | None = None  # the new state; durable before anything else
    entered: tuple[Epoch, Epoch] | None = None  # from one epoch to another
    send: list[tuple[int, Message]] = field(default_factory=list)  # (origin, message)
    fork: str | None = None  # another history with the same numbers: talk to it no more


@dataclass(slots=True)
class _Attempt:
    """A ballot of this node's own."""

    ballot: Ballot
    change: Change
    quorum: frozenset[int] | None  # who has to answer if it is forced; else a majority
    answers: dict[int, Frozen] = field(default_factory=dict)
    value: Epoch | None = None
    accepted: set[int] = field(default_factory=set)


class Epochs:
    """The epoch of one node, and its part in deciding the next."""

    def __init__(self, me: int, epoch: Epoch) -> None:
        self.me = me
        self.epoch = epoch
        self._bound = NO_BALLOT  # the highest ballot heeded
        self._accepted: Accepted | None = None
        self._seen_round = 0  # by others, as far as they said
        self._attempt: _Attempt | None = None

    @classmethod
    def restored(cls, me: int, kept: bytes) -> Epochs:
        """The state that was kept last. Raises BadFrame if it is none."""
        try:
            packed, bound, accepted = _read_state(kept)
        except (ValueError, RecursionError) as error:
            raise BadFrame(f"these {len(kept)} bytes are no state of epochs: {error}") from None
        epochs = cls(me, read_epoch(packed))
        epochs._bound = bound
        if accepted is not None:
            epochs._accepted = (accepted[0], read_epoch(accepted[1]))
        return epochs

    @property
    def state(self) -> bytes:
        """All that has to outlive a restart."""
        accepted = self._accepted and (self._accepted[0], self._accepted[1].packed)
        return pack((self.epoch.packed, self._bound, accepted))

    @property
    def frozen(self) -> bool:
        """Whether this node takes part in a change: then it reports nothing in its epoch."""
        return self._bound != NO_BALLOT

    @property
    def proposing(self) -> bool:
        """Whether this node's own ballot is under way."""
        return self._attempt is not None

    @property
    def is_member(self) -> bool:
        """Whether this node's origin is a member's."""
        return self.me in self.epoch.joined

    def may_report(self, here: Here) -> bool:
        """Whether what this node reports may be used for settlement."""
        return self.is_member and here.sure and not self.frozen

    def hindrance(self, here: Here) -> str | None:
        """Why this node has no vote on the next epoch; None if it has one."""
        if not self.is_member:
            return f"this node is no member of epoch {self.epoch.number}: ask one of those"
        if not here.sure:
            return "this node does not know yet whether its directory went back in time: wait"
        lacking = self.epoch.lacks(here.frontier) if self.epoch.is_owed(here.frontier) else {}
        missing = sum(count for log, count in lacking.items() if log not in here.parted)
        if missing:
            return (
                f"this node still has to copy {missing} commits that members of epoch "
                f"{self.epoch.number} hold: wait, or ask another"
            )
        return None

    # -- what a driver calls -----------------------------------------------------------------

    def propose(self, change: Change, here: Here) -> Outcome:
        """Begin a ballot for a change, or for what a majority may have accepted before.

        This node freezes at once, so don't propose what no majority that is in reach can decide.
        """
        if self.hindrance(here) or objection(self.epoch, change):
            return Outcome()
        return self._begin(change, None)

    def force(self, change: Change, here: Here) -> Outcome:
        """Decide a change with those alone who are left by it (see force_gives_up).

        If one of them had accepted a value, that one is decided instead: force again then.
        """
        if not self.is_member or not here.sure or objection(self.epoch, change):
            return Outcome()
        return self._begin(change, frozenset(self.epoch.origins) - {*change.remove})

    def heard(self, sender: int, number: int, mark: int) -> Outcome:
        """Look at the epoch that a message names, before anything else of it.

        The rest of it may be used if the number is not above this node's own, and no fork.
        """
        epoch = self.epoch
        if number > epoch.number:
            return Outcome(send=[(sender, Ask(epoch.number))])
        if number < epoch.number:
            return Outcome(send=[(sender, Learn(epoch))])
        return Outcome() if mark == epoch.mark else Outcome(fork=_fork(number))

    def receive(self, sender: int, message: Message, here: Here) -> Outcome:
        """Take a message of this protocol."""
        if isinstance(message, Learn):
            return self._learn(message.value)
        if message.epoch != self.epoch.number:
            return self.heard(sender, message.epoch, 0)
        match message:
            case Freeze():
                return self._freeze(sender, message, here)
            case Frozen():
                return self._take_frozen(sender, message)
            case Accept():
                return self._accept(sender, message, here)
            case Accepts():
                return self._take_accepts(sender, message)
            case Outbid():
                self._seen_round = max(self._seen_round, message.ballot[0])
                if self._attempt is not None and message.ballot > self._attempt.ballot:
                    self._attempt = None
        return Outcome()

    # -- a member is asked -------------------------------------------------------------------

    def _freeze(self, sender: int, asked: Freeze, here: Here) -> Outcome:
        if not (self.is_member and here.sure if asked.forced else self.hindrance(here) is None):
            return Outcome()
        if asked.ballot < self._bound:
            return Outcome(send=[(sender, Outbid(self.epoch.number, self._bound))])
        self._bound = asked.ballot
        held = tuple((*log, seq) for log, seq in here.frontier.items())
        answer = Frozenness(here.promised, held)
        frozen = Frozen(self.epoch.number, asked.ballot, answer, self._accepted)
        return Outcome(self.state, send=[(sender, frozen)])

    def _accept(self, sender: int, asked: Accept, here: Here) -> Outcome:
        if self.hindrance(here) is not None or not asked.value.extends(self.epoch):
            return Outcome()
        if asked.ballot < self._bound:
            return Outcome(send=[(sender, Outbid(self.epoch.number, self._bound))])
        self._bound, self._accepted = asked.ballot, (asked.ballot, asked.value)
        return Outcome(self.state, send=[(sender, Accepts(self.epoch.number, asked.ballot))])

    # -- a proposer is answered --------------------------------------------------------------

    def _begin(self, change: Change, quorum: frozenset[int] | None) -> Outcome:
        ballot = (max(self._bound[0], self._seen_round) + 1, self.me)
        self._attempt = _Attempt(ballot, change, quorum)
        self._bound = ballot
        ask = Freeze(self.epoch.number, ballot, forced=quorum is not None)
        return Outcome(self.state, send=self._to(self.epoch.origins, ask))

    def _take_frozen(self, sender: int, frozen: Frozen) -> Outcome:
        attempt = self._attempt
        if attempt is None or attempt.ballot != frozen.ballot or attempt.value is not None:
            return Outcome()
        if sender not in self.epoch.joined:
            return Outcome()
        attempt.answers[sender] = frozen
        if attempt.quorum is not None:
            return self._decide_by_force(attempt, attempt.quorum)
        if len(attempt.answers) < self.epoch.majority:
            return Outcome()
        attempt.value = self._value(attempt)
        ask = Accept(self.epoch.number, attempt.ballot, attempt.value)
        return Outcome(send=self._to(self.epoch.origins, ask))

    def _value(self, attempt: _Attempt) -> Epoch:
        answers = attempt.answers.values()
        accepted = [one.accepted for one in answers if one.accepted is not None]
        if accepted:
            return max(accepted, key=lambda one: one[0])[1]
        told = [one.answer for one in answers]
        return successor(self.epoch, attempt.change, told, forced=attempt.quorum is not None)

    def _decide_by_force(self, attempt: _Attempt, quorum: frozenset[int]) -> Outcome:
        if not quorum <= attempt.answers.keys():
            return Outcome()
        return self._decided(self._value(attempt))

    def _take_accepts(self, sender: int, accepts: Accepts) -> Outcome:
        attempt = self._attempt
        if attempt is None or attempt.ballot != accepts.ballot or attempt.value is None:
            return Outcome()
        if sender not in self.epoch.joined:
            return Outcome()
        attempt.accepted.add(sender)
        if len(attempt.accepted) < self.epoch.majority:
            return Outcome()
        return self._decided(attempt.value)

    # -- a new epoch -------------------------------------------------------------------------

    def _decided(self, value: Epoch) -> Outcome:
        told = {*self.epoch.origins, *value.origins} - {self.me}
        outcome = self._learn(value)
        outcome.send = self._to(sorted(told), Learn(value))
        return outcome

    def _learn(self, value: Epoch) -> Outcome:
        before = self.epoch
        if value.number < before.number or value.mark == before.mark:
            return Outcome()
        if not value.extends(before):
            return Outcome(fork=_fork(value.number))
        self.epoch = value
        self._bound, self._accepted = NO_BALLOT, None
        self._seen_round, self._attempt = 0, None
        return Outcome(self.state, entered=(before, value))

    def _to(self, origins: Iterable[int], message: Message) -> list[tuple[int, Message]]:
        return [(origin, message) for origin in origins]


def kept_epoch(kept: bytes) -> Epoch:
    """The epoch in a state that was kept. Raises BadFrame if it is none."""
    return Epochs.restored(0, kept).epoch


_read_state = Decoder(tuple[bytes, Ballot, tuple[Ballot, bytes] | None]).decode


def _fork(number: int) -> str:
    return (
        f"there is another epoch {number}: the cluster was forced apart. One side has to be "
        "started anew, as new members of the other"
    )
