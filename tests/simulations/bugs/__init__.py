"""Bugs to plant: each is a line or two that somebody might write, and none may stay unseen.

Each function returns a context in which the bug is there; `BUGS` has them all by name.
"""

from . import (
    clocks,
    conditions,
    durability,
    fold,
    links,
    promises,
    recovery,
    replication,
    settlement,
)
from .registry import BUGS

__all__ = [
    "BUGS",
    "clocks",
    "conditions",
    "durability",
    "fold",
    "links",
    "promises",
    "recovery",
    "replication",
    "settlement",
]
