"""Bugs of storage, trees, sessions and healing, each with the tests that have to find it.

Each function returns a context in which the bug is there, as in tests/simulations/bugs.
"""

from . import clients, healing, logs, sealing, trees
from .registry import BUGS, QUICK, UNSEEN

__all__ = ["BUGS", "QUICK", "UNSEEN", "clients", "healing", "logs", "sealing", "trees"]
