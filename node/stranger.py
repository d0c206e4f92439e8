"""Why the others do not take this node for whom it says it is, if they don't.

While a cluster forms there is no epoch that could let a wiped node in anew: it has to wait for one.
Of two processes on copies of one directory the older one is a stranger until it starts again.
"""

from __future__ import annotations

import logging

from ..gossip.members import COPIED

_log = logging.getLogger(__name__)


class Stranger:
    """What one node knows of it."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._copied = False
        self.why: str | None = None  # in sentences; None: it is no stranger

    def unknown_to(self, name: str, why: str) -> None:
        """A member of a cluster that forms knows this node by another origin."""
        if self.why is None:
            self.why = (
                f"{name} does not take this node for {self._me}: {why}. The cluster is still "
                f"forming, and nobody is let in anew before it has: start {self._me} with its old "
                "directory, or start all the others; until then append at another node"
            )
            _log.critical("%s", self.why)

    def copied_at(self, name: str) -> bool:
        """A member has met a newer process with this node's directory; whether that is news."""
        if self._copied:
            return False
        self._copied = True
        self.why = f"{name} does not take this node for {self._me}: {COPIED}"
        _log.critical("%s", self.why)
        return True

    def is_known(self) -> None:
        """There is an epoch: it says who is who."""
        if not self._copied:
            self.why = None
