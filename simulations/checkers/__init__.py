"""Checkers: pure functions from a history to what is wrong with it, one sentence each.

None of them looks at a node, and each is shown to fail on a history that was spoilt on purpose.
Those in `ONLINE` judge events one by one, so they can do it while a run goes on; the others look
at the end. Still to come, with what they check: tokens (I11, I12), subscriptions (I15), backups
(I22) and strangers (I23).
"""

from __future__ import annotations

from collections.abc import Callable

from ..history import Event, History, Violation
from .agreement import Agreement, Unchanging, prefixes_agree, prefixes_never_change
from .answers import all_answered
from .bounded import nothing_piles_up
from .calm import nothing_is_refused_in_calm, nothing_waits_in_calm
from .causality import Causality, causality_respected
from .check import Check
from .comparing import comparing_is_cheap
from .conditions import conditions_hold
from .conditions_met import conditions_are_checked
from .convergence import all_converged
from .damage import damage_is_healed
from .feeds import Feeds, readers_agree
from .invention import nothing_invented
from .kept import acknowledged_is_kept
from .late import Late, nothing_comes_late
from .latest import latest_is_whole
from .liveness import the_rest_goes_on
from .loss import nothing_lost
from .majority import Majority, settled_is_held
from .order import Order, in_order
from .payloads import payloads_are_true
from .promises import Promises, promises_kept
from .quiet import no_alarms
from .reads import reads_are_whole
from .real_time import real_time_respected
from .receipts import receipts_are_true
from .recovery import Recovery, recovery_is_exact
from .roots import Roots, hashes_are_true
from .shown_once import shown_once
from .skew import Skew, stamps_near_time
from .stamps import Stamps, stamps_grow
from .stray import BelowStrays, final_below_strays
from .transfers import catching_up_is_cheap
from .trees import trees_are_true

Function = Callable[[History], list[str]]

ONLINE: tuple[type[Check], ...] = (
    Promises,
    Stamps,
    Skew,
    Causality,
    Late,
    Majority,
    Order,
    Unchanging,
    Agreement,
    Roots,
    Recovery,
    Feeds,
    BelowStrays,
)

_FOLDED: tuple[Function, ...] = (
    promises_kept,
    stamps_grow,
    stamps_near_time,
    causality_respected,
    nothing_comes_late,
    settled_is_held,
    in_order,
    prefixes_never_change,
    prefixes_agree,
    hashes_are_true,
    recovery_is_exact,
    readers_agree,
    final_below_strays,
)

WHOLE: tuple[Function, ...] = (
    no_alarms,
    all_converged,
    nothing_lost,
    acknowledged_is_kept,
    nothing_invented,
    payloads_are_true,
    shown_once,
    conditions_hold,
    conditions_are_checked,
    receipts_are_true,
    reads_are_whole,
    latest_is_whole,
    real_time_respected,
    all_answered,
    the_rest_goes_on,
    nothing_waits_in_calm,
    nothing_is_refused_in_calm,
    catching_up_is_cheap,
    comparing_is_cheap,
    damage_is_healed,
    trees_are_true,
    nothing_piles_up,
)

ALL = _FOLDED + WHOLE
_TOLD_MAX = 20  # of one checker; the first ones say what happened


class Judges:
    """All checkers that judge events when they happen."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._told: dict[str, int] = {}
        self.agreement = Agreement(history.members)
        self._judges: dict[type, list[Check]] = {}
        others = [kind(history.members) for kind in ONLINE if kind is not Agreement]
        for judge in (*others, self.agreement):
            for event in judge.takes:
                self._judges.setdefault(event, []).append(judge)
        history.judged = True

    def take(self, event: Event) -> None:
        """Let all of them judge an event, and note what they find."""
        for judge in self._judges.get(type(event), ()):
            problem = judge.take(event)
            if problem is not None:
                self._tell(Violation(event.at, judge.name, problem))

    def _tell(self, violation: Violation) -> None:
        told = self._told[violation.check] = self._told.get(violation.check, 0) + 1
        if told <= _TOLD_MAX:
            self._history.violations.append(violation)


def violations(history: History) -> list[str]:
    """All that is wrong with a history: what was found when it happened, then the rest."""
    found = [str(violation) for violation in history.violations]
    checks = WHOLE if history.judged else ALL
    return found + [
        f"{check.__name__}: {problem}" for check in checks for problem in check(history)
    ]
