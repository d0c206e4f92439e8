"""While some things are broken for good, all the rest goes on (I17)."""

from __future__ import annotations

from ..history import History

WITHIN_SECONDS = 1.0


def the_rest_goes_on(history: History) -> list[str]:
    """A node that is up, has room and tells the time takes an append and serves a read."""
    problems = []
    for probe in history.probes:
        what = f"{probe.kind} at {probe.node}, asked at {probe.at:.4f} s,"
        if probe.error is not None:
            problems.append(f"{what} was refused: {probe.error}")
        elif probe.ended is None:
            problems.append(f"{what} got no answer")
        elif probe.ended - probe.at > WITHIN_SECONDS:
            problems.append(f"{what} took {probe.ended - probe.at:.3f} s")
    return problems
