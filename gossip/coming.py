"""Since when a member's commits come to this node by themselves: then they need not be pulled.

They are pushed by their own node, on the link that it has open, or passed on by a mate.
"""

from __future__ import annotations

from collections.abc import Callable

from ..storage.limits import RELAY_GRACE_SECONDS


class Coming:
    """What comes by itself, by origin."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._pushed: dict[int, float] = {}  # since when, on the link that is open
        self._passed_on: dict[int, tuple[float, float]] = {}  # since when, and the last

    def pushed(self, origin: int) -> None:
        """A push of its own node has come."""
        self._pushed.setdefault(origin, self._monotonic())

    def ended(self, origin: int) -> None:
        """The link of its own node has ended."""
        self._pushed.pop(origin, None)

    def passed_on(self, origin: int) -> None:
        """A mate has passed on a commit."""
        now = self._monotonic()
        began, last = self._passed_on.get(origin, (now, now))
        self._passed_on[origin] = (began if now - last <= RELAY_GRACE_SECONDS else now, now)

    def since(self, origin: int) -> float:
        """When an origin's commits began to come; 0 if they don't."""
        began, last = self._passed_on.get(origin, (0.0, 0.0))
        if self._monotonic() - last > RELAY_GRACE_SECONDS:
            began = 0.0
        return max(began, self._pushed.get(origin, 0.0))
