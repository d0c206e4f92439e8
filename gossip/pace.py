"""How much to send, or to ask for: at a time, on a link that may be narrow; and in a second."""

from __future__ import annotations

from ..storage.limits import (
    BATCH_BYTES_FIRST,
    BATCH_BYTES_SMALL,
    BATCH_SECONDS,
    PULL_BURST_SECONDS,
)


class Pace:
    """The bytes of the next batch: what a link carries in half a second.

    A link on which an answer takes too long is taken for dead, and a batch that always takes longer
    than that would be sent again for ever. So batches begin small and double while they come
    through in time; after one that took longer they shrink to what would not have, and after a
    loss to half. What is small takes its time for other reasons: it shrinks after a loss alone.
    One commit goes at least, so the floor is 1.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.bytes = min(BATCH_BYTES_FIRST, bytes_max)

    def arrived(self, size: int, seconds: float) -> None:
        """A batch of so many bytes came through, and was answered after so many seconds."""
        if seconds <= BATCH_SECONDS or size < BATCH_BYTES_SMALL:
            self.bytes = min(max(self.bytes, 2 * size), self._bytes_max)
        else:
            fitting = int(size * BATCH_SECONDS / seconds)
            self.bytes = min(self.bytes, max(BATCH_BYTES_SMALL, fitting))

    def lost(self, size: int) -> None:
        """The link was lost with a batch of at most so many bytes under way."""
        self.bytes = max(1, min(self.bytes, size) // 2)


class Budget:
    """A token bucket: so many bytes in a second, and no more than a short burst saved up.

    What is asked for is only known once it has come, so the budget may be overdrawn by what was
    under way; then nothing more is asked for until that is paid off.
    """

    def __init__(self, bytes_per_second: int, now: float) -> None:
        self._rate = bytes_per_second
        self.most = max(1, int(bytes_per_second * PULL_BURST_SECONDS))  # to ask for at a time
        self._left = float(self.most)
        self._at = now

    def spend(self, size: int, now: float) -> None:
        """So many bytes have come."""
        self._fill(now)
        self._left -= size

    def wait(self, now: float) -> float:
        """Seconds until more may be asked for; 0 if it may be now."""
        self._fill(now)
        return 0.0 if self._left > 0 else -self._left / self._rate + 0.001

    def _fill(self, now: float) -> None:
        self._left = min(self.most, self._left + (now - self._at) * self._rate)
        self._at = now
