"""Bugs about links: dialling again, ending, and drills."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.gossip.answering import answer
from anabranch.gossip.pace import Pace
from anabranch.gossip.peer import Dialer
from anabranch.node.drill import Drill

from .registry import edited, planted, together, unseen


@planted
def never_dial_again_after_a_reset() -> AbstractContextManager[Any]:
    """A link that has been up and broke is left alone."""
    return edited(
        Dialer.run,
        (
            "connected = await self._try()",
            "if connected := await self._try():\n                return",
        ),
    )


@planted
def a_pause_that_doubles_without_bound() -> AbstractContextManager[Any]:
    """After a long cut a healed peer is found only after as long again."""
    return edited(Dialer.run, ("min(2 * pause, BACKOFF_SECONDS_MAX)", "2 * pause"))


# Not in the list: it makes a run hang, and nothing ends a run that hangs yet.
def a_link_that_can_not_be_cancelled() -> AbstractContextManager[Any]:
    """`CancelledError` is caught with what ends a link, so a node never ends."""
    return edited(Dialer._try, ("except PeerError", "except (PeerError, asyncio.CancelledError)"))


@planted
def wait_for_ever_on_a_silent_link() -> AbstractContextManager[Any]:
    """Nothing ends a link that carries no answer."""
    return edited(Dialer._receive_in_time, ("SILENCE_SECONDS", "None"))


@planted
def serve_a_silent_link_for_ever() -> AbstractContextManager[Any]:
    """The side that answers never lets go of who went away without a word."""
    return edited(answer, ("asyncio.timeout(SILENCE_SECONDS)", "asyncio.timeout(None)"))


@planted
def a_drill_that_never_ends() -> AbstractContextManager[Any]:
    """The time of a cut is not looked at."""
    return edited(Drill.holds, ("self._monotonic() < until", "until"))


@unseen(
    "a link of a few KiB a second, and a push that takes longer than silence may",
    "simulations/test_regressions.py::test_it_is_mended[a-narrow-link]",
)
def send_a_batch_that_was_too_much_again_in_full() -> AbstractContextManager[Any]:
    """On a narrow link the same push is lost for ever."""
    return together(
        edited(Pace.lost, ("// 2", "// 1")),
        edited(Pace.arrived, ("if seconds <= BATCH_SECONDS", "if seconds")),
    )
