"""A small good history, written by hand, and ways to change it.

Two shards, three members, seven commits of which one is rejected, one is kept and one is a
repetition. Nodes settle them one after the other; ny1 crashes and starts again.
"""

from __future__ import annotations

import hashlib

from anabranch.node.fold import ACCEPTED, KEPT, OUTCOMES, REJECTED, SHADOWED
from anabranch.node.receipt import Receipt
from anabranch.simulations.history import (
    Append,
    Body,
    Comparison,
    Digested,
    Fed,
    Gauge,
    History,
    Inserted,
    Known,
    Left,
    Probe,
    Promised,
    Recovered,
    Row,
    Settled,
    Shown,
    Stamped,
    Transfers,
)
from anabranch.storage.commit import EXPECT_ANY, KEEP, REJECT, Draft

MEMBERS = ("ny1", "lon1", "tok1")
TOLD = (("p1", "s", 0), ("p2", "s", 1), ("p3", "t", 0))  # what readers are told as settled


def draft(name, stream, expected=EXPECT_ANY, policy=REJECT, count=1):
    payloads = [f"{name} {number}".encode() for number in range(count)]
    return Draft(
        stream,
        ["t"],
        payloads,
        commit_id=name.encode() * 16,
        expected=expected,
        policy=policy,
    )


def hash_of(key, one):
    return hashlib.sha256(repr((key, one.entry)).encode()).digest()


def row(shard, stamp, origin, seq, one, outcome, first):
    key = (stamp, origin - 1, origin)
    return Row(
        shard,
        key,
        seq,
        one.commit_id,
        one.stream,
        one.count,
        one.expected,
        one.policy,
        hash_of(key, one),
        outcome,
        first,
    )


A = draft("A", "s")
B = draft("B", "s", expected=0)
C = draft("C", "s", expected=0)
D = draft("D", "s", expected=0, policy=KEEP)
E = draft("E", "t", count=2)
F = draft("F", "t")
G, H = draft("G", "s"), draft("H", "s")  # refused, and never answered
DRAFTS = [A, B, C, A, D, E, F]
ROWS = [
    row(0, 10, 1, 1, A, ACCEPTED, 0),
    row(0, 20, 2, 1, B, ACCEPTED, 1),
    row(0, 30, 3, 1, C, REJECTED, 2),
    row(0, 40, 2, 2, A, SHADOWED, 2),
    row(0, 50, 3, 2, D, KEPT, 2),
    row(1, 15, 1, 1, E, ACCEPTED, 0),
    row(1, 60, 2, 1, F, ACCEPTED, 2),
]
SHARDS = {0: tuple(ROWS[:5]), 1: tuple(ROWS[5:])}


def receipt(one, settled):
    shown = one.outcome in (ACCEPTED, KEPT)
    return Receipt(
        one.id,
        one.stream,
        one.key,
        one.first_revision if shown else None,
        one.first_revision + one.events - 1 if shown else None,
        settled=settled,
        acked="settled" if settled else "local",
        duplicate=False,
        outcome=OUTCOMES[one.outcome] if settled else "tentative",
    )


def running(rows):
    """The hash that a node keeps over its settled commits."""
    found = bytes(32)
    for one in rows:
        found = hashlib.sha256(
            b"%s%s%d:%d" % (found, one.hash, one.outcome, one.first_revision)
        ).digest()
    return found


def good():
    """Every append took one second; those of D and F waited until they were settled."""
    history = History(MEMBERS)
    history.is_true = lambda payload: payload.split()[0] in (b"A", b"B", b"C", b"D", b"E", b"F")
    _add_appends(history)
    _add_events(history)
    for name in MEMBERS:
        history.final[name] = dict(SHARDS)
        history.probes += [Probe(name, kind, 70.0, 70.5) for kind in ("append", "read")]
    history.gauges += [Gauge("ny1", "bytes in its outbox", 10, 10), Gauge("all", "tasks", 24, 24)]
    history.transfers = Transfers(sent=100, repeated=5, pulled_bytes=90, pulled_allowed=100)
    history.comparisons = [
        Comparison("ny1", 142, 2, 0, 0, 0, 0, 0),
        Comparison("ny1", 178, 1, 4, 0, 0, 0, 0),
        Comparison("ny1", 1500, 4, 1, 1, 3, 2, 1),
    ]
    history.whole_after, history.whole_within = [0.5, 3.0], 3.0
    return history


def _add_appends(history):
    for one, sent in zip(ROWS, DRAFTS, strict=True):
        stamp, _, origin = one.key
        append = Append(MEMBERS[origin - 1], sent, "local", began=stamp - 0.5, ended=stamp + 0.5)
        append.key = one.key
        if sent in (D, F):
            append.ack = "settled"
        append.receipt = receipt(ROWS[0] if sent is A else one, settled=append.ack == "settled")
        history.appends.append(append)
        history.entries[one.hash] = sent.entry
        history.bodies.append(Body("ny1", one, tuple(sent.payloads)))
    history.appends.append(Append("lon1", G, "local", 70, 70.1, error="Unavailable"))
    history.appends.append(Append("lon1", H, "local", 70, lost="crash"))


def _add_events(history):
    above = 0
    tell = history.events.append
    for one in sorted(ROWS, key=lambda row: row.key):
        stamp, _, origin = one.key
        node = MEMBERS[origin - 1]
        tell(Promised(stamp, node, origin, stamp - 1))
        tell(Stamped(stamp, node, origin, one.shard, one.seq, stamp, above, 20, 520))
        tell(Inserted(stamp, node, one.shard, one.key, one.seq, stamp - 1))
        above = stamp
    for name in MEMBERS:
        for rows in SHARDS.values():
            for number, one in enumerate(rows[:2]):
                tell(Settled(61, name, 1, number, one, MEMBERS))
    tell(restarted())
    for shard, rows in SHARDS.items():
        tell(Shown(62, "ny1", 2, "read back", shard, 0, rows[:2], running(rows[:2])))
    for name in MEMBERS:
        life = 2 if name == "ny1" else 1
        for number, one in enumerate(SHARDS[0][2:], 2):
            tell(Settled(63, name, life, number, one, MEMBERS))
        for shard, rows in SHARDS.items():
            tell(Shown(64, name, life, "final", shard, 0, rows, running(rows)))
        tell(Digested(65, name, (5, 2), "digest"))
    acknowledged = [a for a in history.appends if a.node == "ny1" and a.receipt is not None]
    kept = [(append.draft.commit_id, append.draft.stream) for append in acknowledged]
    tell(Left(66, "ny1", frozenset(kept)))
    tell(Left(67, "ny1", frozenset()))
    for name in MEMBERS:
        tell(Fed(68, name, 0, TOLD[:2]))
        tell(Fed(69, name, 2, TOLD[2:]))


def restarted():
    """Ny1 left two commits tentative and two on their way; one of those was kept."""
    log, key = (0, 3), (0, 3, 1)
    waiting = (((0, 2), 2, ROWS[3].hash), (log, 2, ROWS[4].hash))
    frontier = {(0, 1): 1, (0, 2): 1, log: 1, (1, 1): 1, (1, 2): 1}
    marks = ((2, b"two of 0"), (2, b"two of 1"))
    before = Known(frontier, {key: ROWS[2].hash}, marks)
    found = {key: ROWS[2].hash, (0, 2, 2): ROWS[3].hash}
    after = Known({**frontier, (0, 2): 2}, found, marks)
    rebuilt = after._replace(marks=((1, b"one of 0"), (2, b"two of 1")))
    return Recovered(62, "ny1", 1, before, waiting, after, (after, after, rebuilt))


# -- ways to change it ---------------------------------------------------------------------------


def change(history, kind, wanted, **fields):
    """Put something else into the first event of a kind that is wanted."""
    number = next(
        number
        for number, event in enumerate(history.events)
        if isinstance(event, kind) and wanted(event)
    )
    history.events[number] = history.events[number]._replace(**fields)


def end_with(history, node, shard, rows):
    """Let a node have settled something else in the end."""
    history.final[node] = {**history.final[node], shard: tuple(rows)}
    history.events.append(Shown(66, node, 2, "final", shard, 0, tuple(rows), running(rows)))


def append_of(history, sent):
    """The first append of a draft."""
    return next(append for append in history.appends if append.draft is sent)
