"""Who reads a stream from a revision on gets the commit that holds it, and all behind it."""

from __future__ import annotations

from ..history import History


def reads_are_whole(history: History) -> list[str]:
    """The first commit of each read holds its revision, be that the first one of it or not."""
    return [
        f"{read.node} was asked for {read.stream} from revision {read.revision} on, and began at "
        f"{read.first}"
        for read in history.reads
        if read.first is None or not read.first <= read.revision < read.first + read.events
    ]
