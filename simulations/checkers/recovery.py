"""A start reads back what the disk had confirmed, and maybe whole records after it (I20)."""

from __future__ import annotations

from itertools import takewhile

from ...gossip.frontier import LogKey
from ..history import Known, Recovered, Row, Settled, Shown
from .check import Check, folded

CommitKey = tuple[int, int, int]  # shard, origin, sequence


class Recovery(Check):
    """Hold each start against the end before it, and against reading the same disk again."""

    name = "recovery_is_exact"
    takes = (Recovered, Settled, Shown)

    def __init__(self, members: tuple[str, ...]) -> None:
        super().__init__(members)
        self._settled: dict[CommitKey, bytes] = {}  # hashes
        self._ids: set[bytes] = set()  # of what is settled

    def take(self, event: Recovered | Settled | Shown) -> str | None:
        """Remember what is settled; compare at each start."""
        if isinstance(event, Settled):
            self._remember(event.row)
            return None
        if isinstance(event, Shown):
            for row in event.rows:
                self._remember(row)
            return None
        problems = [*self._lost(event), *_added(event), *self._otherwise(event)]
        return f"{event.node}: {'; '.join(problems)}" if problems else None

    def _remember(self, row: Row) -> None:
        self._settled.setdefault((row.shard, row.key[2], row.seq), row.hash)
        self._ids.add(row.id)

    def _lost(self, event: Recovered) -> list[str]:
        """What was confirmed and is gone, or is another commit now."""
        before, after = event.before, event.after
        if before is None:
            return []
        problems = [
            f"log {_log(log)} went back from {seq} to {after.frontier.get(log, 0)}"
            for log, seq in before.frontier.items()
            if not after.may_have_had(log, seq)
        ]
        is_no_founder = after.epoch > 0 and before.epoch == 0  # it learned that
        if problems and (is_no_founder or _is_cut(before, after)):
            gone = (before.ids | before.strays) - after.strays - after.ids - self._ids
            aside = [f"commit {one.hex()[:8]} is gone" for one in gone]
            return aside if is_no_founder else aside + self._changed(event, before)
        problems += self._changed(event, before)
        for key in before.tentative:
            held = key in after.tentative or key in self._settled
            if not held and not _lacks(after, key) and not problems:
                problems.append(f"{_commit(key)} is gone")
        if not after.torn and not after.unsure:
            gone = before.strays - after.strays - after.ids - self._ids
            problems += [f"commit {one.hex()[:8]}, which had no place, is gone" for one in gone]
        return problems

    def _changed(self, event: Recovered, before: Known) -> list[str]:
        """What is tentative now and was not, or was another commit."""
        known, problems = dict(before.tentative), []
        known.update({(*log, seq): found for log, seq, found in event.waiting})
        for key, found in event.after.tentative.items():
            was = known.get(key, self._settled.get(key))
            if was is None:
                problems.append(f"{_commit(key)} comes from nowhere")
            elif was != found:
                problems.append(f"{_commit(key)} is another commit than before")
        return problems

    def _otherwise(self, event: Recovered) -> list[str]:
        """Where reading the same disk once more, or without the index, gave something else."""
        problems = []
        for number, again in enumerate(event.again):
            how = "without its index" if number == 2 else f"for the {number + 2}. time"
            frontier = event.after.frontier
            same = again.frontier == frontier
            if event.hurt and number == 2:  # the index names what can't be read
                same = all(again.may_have_had(log, seq) for log, seq in frontier.items())
            if not same:
                problems.append(f"read {how}, its logs end elsewhere")
            if number < 2 and self._but_shadowed(again) != self._but_shadowed(event.after):
                problems.append(f"read {how}, it is not the same")
            problems += _parted(again, event.after, how)
        return problems

    def _but_shadowed(self, known: Known) -> Known:
        """Without strays whose id belongs to another append for good: these may come again."""
        strays = known.strays - self._ids
        return known._replace(strays=strays, ids=known.ids - (known.strays & self._ids))


def _added(event: Recovered) -> list[str]:
    """What was read back beyond that has to be the first part of what was on its way."""
    known: dict[LogKey, int] = {}
    if event.before is not None:
        known = {**event.before.frontier, **event.before.torn}  # what was stranded is there too
    after = event.after.frontier
    is_there = event.after._replace(unsure=False).may_have_had  # or stranded behind a hole
    placed = (one for one in event.waiting if one[0] in known or one[0] in after)  # no strays
    for log, seq, _ in takewhile(lambda one: is_there(one[0], one[1]), placed):
        known[log] = max(seq, known.get(log, 0))  # it may close a hole
    return [
        f"log {_log(log)} goes to {seq}, of which {known.get(log, 0)} were written in turn"
        for log, seq in after.items()
        if seq > known.get(log, 0)
    ]


def _is_cut(before: Known, after: Known) -> bool:
    """Whether logs went back no further than to where they were cut, which the disk has kept."""
    return all(
        before.cut.get(log, seq) <= after.frontier.get(log, 0)
        for log, seq in before.frontier.items()
        if not after.may_have_had(log, seq)
    )


def _lacks(known: Known, key: CommitKey) -> bool:
    """Whether a node knows that it may have had a commit, and that it does not."""
    log, seq = key[:2], key[2]
    return known.frontier.get(log, 0) < seq and known.may_have_had(log, seq)


def _parted(one: Known, other: Known, how: str) -> list[str]:
    return [
        f"read {how}, shard {shard} is settled otherwise"
        for shard, (mine, its) in enumerate(zip(one.marks, other.marks, strict=True))
        if mine[0] == its[0] and mine[1] != its[1]
    ]


def _log(log: LogKey) -> str:
    return f"{log[0]} of {log[1]:016x}"


def _commit(key: CommitKey) -> str:
    return f"commit {key[2]} of log {_log(key[:2])}"


recovery_is_exact = folded(Recovery)
