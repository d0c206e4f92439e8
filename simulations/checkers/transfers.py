"""Catching up costs about as much as what was missing (I19).

What is missing when a link is opened, or when a node has room again, may come twice: pushed by the
one who has it, and pulled from somebody else. Beyond that no more than one commit in twenty may be
sent to who has it.
"""

from __future__ import annotations

from ..history import History

REPEATED_SHARE = 0.05
REPEATED_FEW = 10  # that come by two ways at once
REPEATED_A_LINK = 3  # those on their way when one breaks, and the next begins with them


def catching_up_is_cheap(history: History) -> list[str]:
    """Little comes twice, and no more is pulled after the heal than was missing, twice."""
    of = history.transfers
    few = REPEATED_FEW + REPEATED_A_LINK * of.links + of.behind + REPEATED_SHARE * of.sent
    problems = []
    if not of.excused and of.repeated > few:
        problems.append(f"{of.repeated} of {of.sent} commits were sent to who had them")
    if of.pulled_allowed is not None and of.pulled_bytes > of.pulled_allowed:
        problems.append(
            f"{of.pulled_bytes} bytes were pulled after the heal, {of.pulled_allowed} would do"
        )
    return problems


def pulled_allowed(missing_bytes: int, longest_bytes: int, nodes: int) -> int:
    """How many bytes may be pulled after a heal that finds so many missing.

    Twice: commits are asked for by two ways at most, and what is pushed meanwhile may be pulled
    too. And whatever is missing, each node may get its longest answer from each other.
    """
    return 2 * missing_bytes + longest_bytes * nodes * nodes
