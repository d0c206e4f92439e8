"""Bugs to plant: each is a line or two that somebody might write, and the seeds have to find it.

Each function returns a context in which the bug is there; `BUGS` has them by name. Those that the
seeds do not find yet stand in `UNSEEN`, with what they want and the test that finds them.
"""

from . import (
    clocks,
    conditions,
    durability,
    fold,
    healing,
    links,
    members,
    promises,
    recovery,
    replication,
    settlement,
)
from .registry import BUGS, EVERY, UNSEEN

__all__ = [
    "BUGS",
    "EVERY",
    "UNSEEN",
    "clocks",
    "conditions",
    "durability",
    "fold",
    "healing",
    "links",
    "members",
    "promises",
    "recovery",
    "replication",
    "settlement",
]
