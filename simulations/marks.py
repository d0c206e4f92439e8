"""Marks: states that a campaign has to reach, or it has shown less than it seems.

A `sometimes` state that no seed ever reached is a hole in the schedules, as bad as a failure. To
come with what it needs: a subscription that goes on after a restart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

MARKS: dict[str, str] = {
    "a commit was held back": "its stamp was too far ahead of the members' clocks",
    "a commit was shadowed": "its id came before, through another node or a retry",
    "a commit was rejected": "it did not fit at its place in the final order",
    "a commit was kept in conflict": "it did not fit, and is shown with a mark",
    "a torn tail was cut": "a crash had cut the last record of a log short",
    "an index was lost": "it was deleted, to be rebuilt from the log",
    "a lost index came back": "a node with settled commits started without its index",
    "settled commits were read back": "a node started that had settled something",
    "unsynced commits survived a crash": "a start found more than had been confirmed",
    "commits were lost in a crash": "what was on its way to the disk was gone, nobody was told",
    "a node ended with its disk": "the disk did not take a write, or did not confirm it",
    "a damaged log was refused": "a node did not start, or ended, over bytes that were damaged",
    "a log was torn": "a start found that commits were missing which had been there",
    "a node was unsure": "a start could not tell how many commits of its own there had been",
    "damage was healed": "a commit that the disk had lost came from a peer",
    "over 1,000 commits were healed": "in one run",
    "a reader waited for a heal": "and was served what a peer had sent",
    "a segment was sealed": "the log was compressed",
    "a comparison agreed": "two nodes had the same in their trees",
    "a comparison found a difference": "a node had another hash than the other",
    "the disk had no room in the middle of a write": "what was on its way was undone",
    "the disk was full": "an append was refused, because no room was left",
    "the clock was ahead": "an append was refused, because the node's clock was",
    "the log had many segments": "more than two",
    "commits were pulled": "a peer was too far behind for pushes",
    "commits went around a broken link": "a node gave another one's commits",
    "a pull took many steps": "one node asked another ten times in a row and always got something",
    "a disk went back in time": "a node started on what its directory was a while before",
    "two nodes ran on copies of one directory": "the younger counted, the other was a stranger",
    "a fork was refused": "two processes made other commits for one place, nobody took both",
    "a member was changed": "the members were others in the end than in the beginning",
    "a member was to be removed by itself": "a majority and the rest of its site missed it",
    "a new node came": "it was not there from the start, and asked to be a member",
    "a stray was appended again": "it had no place: its node was not sure, or no member",
    "a commit came again": "over a link, when the receiver had it already",
    "one node held the settlement back": "for ten heartbeats, all others had promised more",
    "a conditional append lost a race": "it had been answered as it seemed to fit, then rejected",
    "a retry was recognised": "an append was answered as a repetition",
    "a retry was recognised elsewhere": "by another node than the one that took it first",
    "a time-out was answered": "the commit is kept, but not as final as was asked for",
    "another body was refused": "an id came with another body than the first time",
    "an append was lost in a crash": "its client never heard of it",
    "a paused node went on": "it had stood still while others went on",
    "a stamp ran ahead of its clock": "it had to come after what was there",
    "frames came twice": "a broken proxy doubled them",
    "frames overtook others": "a broken proxy let them",
    "frames came garbled": "a broken proxy flipped a bit",
    "frames were lost": "and sent again by the transport",
}

SELDOM = frozenset(
    {
        "over 1,000 commits were healed",
        "a comparison found a difference",
        "a member was to be removed by itself",
        "a fork was refused",
    }
)
SELDOM_FROM = 2500  # runs, of which nearly every campaign reaches these too


@dataclass
class Marks:
    """What one run reached, and how often."""

    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    on_broken: Callable[[str], None] | None = None

    def reach(self, name: str, times: int = 1) -> None:
        """Note that a state was reached. Raises KeyError for one that is not in the table."""
        if name not in MARKS:
            raise KeyError(name)
        if times:
            self.counts[name] += times

    def always(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - it is the condition
        """Note that something that always has to hold does not."""
        if not holds:
            self.broken.append(sentence)
            if self.on_broken is not None:
                self.on_broken(sentence)


def merged(runs: Iterable[Mapping[str, int]]) -> Counter[str]:
    """The counts of many runs."""
    total: Counter[str] = Counter()
    for counts in runs:
        total.update(counts)
    return total


def missing(counts: Mapping[str, int], runs: int = SELDOM_FROM) -> list[str]:
    """The states that so many runs should have reached, and never did."""
    wanted = [name for name in MARKS if runs >= SELDOM_FROM or name not in SELDOM]
    return [name for name in wanted if not counts.get(name)]
