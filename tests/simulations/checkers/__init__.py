"""Checkers: pure functions from a history to what is wrong with it, one sentence each.

None of them looks at a node, and each is shown to fail on a history that was spoilt on purpose.
"""

from collections.abc import Callable

from ..history import History
from .causality import causality_respected
from .conditions import conditions_hold
from .convergence import all_converged
from .invention import nothing_invented
from .loss import nothing_lost
from .majority import settled_is_held
from .order import in_order
from .prefixes import prefixes_agree, prefixes_never_change
from .promises import promises_kept
from .quiet import no_alarms
from .real_time import real_time_respected
from .receipts import receipts_are_true
from .shown_once import shown_once
from .stamps import stamps_grow

ALL: tuple[Callable[[History], list[str]], ...] = (
    no_alarms,
    all_converged,
    nothing_lost,
    nothing_invented,
    shown_once,
    prefixes_never_change,
    prefixes_agree,
    in_order,
    promises_kept,
    stamps_grow,
    causality_respected,
    conditions_hold,
    receipts_are_true,
    real_time_respected,
    settled_is_held,
)


def violations(history: History) -> list[str]:
    """All that is wrong with a history."""
    return [f"{check.__name__}: {problem}" for check in ALL for problem in check(history)]
