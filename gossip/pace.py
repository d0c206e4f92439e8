"""How much to send, or to ask for, at a time on a link that may be narrow."""

from __future__ import annotations


class Pace:
    """The bytes of the next batch: at most twice what came through, and half after a loss.

    A link on which an answer takes too long is taken for dead, and a batch that always takes longer
    than that would be sent again for ever. One commit goes at least, so the floor is 1.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.bytes = bytes_max

    def arrived(self, size: int) -> None:
        """A batch of so many bytes came through."""
        self.bytes = min(max(self.bytes, 2 * size), self._bytes_max)

    def lost(self, size: int) -> None:
        """The link was lost with a batch of at most so many bytes under way."""
        self.bytes = max(1, min(self.bytes, size) // 2)
