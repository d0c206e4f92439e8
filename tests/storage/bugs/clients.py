"""Bugs about a client that goes away while it waits for its append."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.node.appends import Appends
from anabranch.storage.log import Log
from anabranch.tests.simulations.bugs.registry import edited

from .registry import found_by

CANCEL = "node/test_cancel.py"


@found_by(CANCEL)
def wake_who_has_gone() -> AbstractContextManager[Any]:
    """A client that does not wait any more ends the writer of the log."""
    return edited(Log._release, ("if future.done()", "if False"))


@found_by(CANCEL)
def wait_for_ever_for_who_has_gone() -> AbstractContextManager[Any]:
    """Whoever waits for `settled` is never forgotten."""
    return edited(Appends._next_step, ("waiting.remove(future)", "pass"))
