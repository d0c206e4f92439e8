"""A plan from a seed: swarm testing, and some situations.

Each seed leaves most kinds of trouble out, so that those which are left meet each other often
(Groce et al., "Swarm Testing", ISSTA 2012). One run in ten has no fault, one in ten a single one.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, log
from random import Random as Generator

from ...node.config import Tuning
from .bounds import Bounds
from .kinds import KINDS, SIMULATED
from .measured import outage_seconds, planetlab_rtt_seconds
from .plan import Client, Fault, Plan, Road, Site
from .situations import situation_of

_SITES = ("ny", "lon", "tok", "syd")
_SHAPES: tuple[tuple[int, ...], ...] = (
    (1,),
    (1, 1),
    (2,),
    (1, 1, 1),
    (1, 1, 1),
    (1, 1, 1),
    (1, 1, 1),
    (2, 1, 1),
    (2, 2, 1),
)
_FAMILIES = ("network", "clock", "disk", "node")
_DRAWN = [kind for kind in SIMULATED if kind not in {"lose-disk", "write-fails"}]
_FAULTS = (2, 4, 8, 14)
_CLOCKS = (0.02, 0.15, 0.7, 1.5, 3.0)  # seconds; up to 0.25 either way nobody may refuse anything
_AMOUNTS = {
    "drift": (-50_000.0, 1_000.0, 50_000.0),
    "strobe": (0.02, 0.15),
    "flap": (0.1, 0.5, 0.9),
    "slow": (3.0, 10.0, 30.0),
    "drip": (1_000.0, 10_000.0),
    "loss": (0.01, 0.1, 0.5),
    "duplicate": (0.05, 0.5),
    "reorder": (0.1, 0.5),
    "garble": (0.01, 0.1, 0.5),
    "disk-slow": (3.0, 30.0),
    "misread": (0.01, 0.1),
    "lose-segment": (0.5,),
    "reboot": (0.0, 0.05, 0.15),
}
_LOST_DISKS = 0.03  # share of the runs in which nodes come back with nothing
_LOST_MANY = 0.5  # share of them in which these may be all but one
_DAMAGED = 0.12  # share of the runs in which damage meets damage, and restarts
_DAMAGES = (
    "bit-rot",
    "live-rot",
    "lose-segment",
    "lose-end",
    "index-rot",
    "lose-index",
    "crash",
    "stop",
)
_CHANGED = 0.12  # share of the runs in which members come and go, or a disk goes back in time
_CHANGES = ("roll-back", "twin", "evict", "leave", "join")
_BESIDE = (
    "cut",
    "one-way",
    "flap",
    "loss",
    "crash",
    "crash-writing",
    "stop",
    "pause",
    "reboot",
    "lose-index",
    "clock",
    "disk-slow",
    "disk-full",
)
_ANY_LIMITS = 0.2  # share of the runs in which all limits come from their whole ranges
_FAILS_TO_WRITE = 0.5  # share of the disks that fail which do so when written to, not when synced
_LOST_ALONE = 0.4  # share of the lost disks beside which nothing else goes wrong
_FROZEN = 0.25  # share of faults that last until the heal


def plan_of(seed: int) -> Plan:
    """The plan that a seed draws."""
    situation = situation_of(seed)
    if situation is not None:
        return situation
    luck = Generator(f"plan {seed}")
    sites = tuple(
        Site(name, nodes) for name, nodes in zip(_SITES, luck.choice(_SHAPES), strict=False)
    )
    plan = Plan(
        seed,
        sites,
        shards=luck.choice([1, 2, 4]),
        tuning=_tuning(luck),
        bounds=_bounds(luck),
        roads=_roads(luck, sites),
        sync=luck.choice([0.0003, 0.003, 0.02]),
        start_apart=luck.random() < 0.25,
        warm_up=luck.choice([0.2, 0.5, 1.0]),
        trouble=luck.choice([0.5, 1.5, 3.0, 5.0]),
        frozen=luck.choice([0.3, 1.0]),
    )
    limits = Generator(f"limits {seed}")
    if limits.random() < _ANY_LIMITS:
        plan = replace(plan, tuning=_any_tuning(limits), bounds=_any_bounds(limits))
    plan = replace(plan, clients=_clients(luck, plan))
    damage = Generator(f"damage {seed}")
    if len(plan.nodes) > 1 and damage.random() < _DAMAGED:
        tuning = replace(plan.tuning, compare_seconds=0.3, scrub_seconds=3600.0)
        kinds = damage.sample(_DAMAGES, 5)
        faults = [_fault(damage, plan, damage.choice(kinds)) for _ in range(8)]
        faults.sort(key=lambda fault: (fault.at, fault.kind))
        return replace(plan, tuning=tuning, faults=tuple(faults))
    change = Generator(f"members {seed}")
    if len(plan.nodes) > 2 and change.random() < _CHANGED:
        return _changing(change, plan)
    return replace(plan, faults=_faults(luck, plan))


def _changing(luck: Generator, plan: Plan) -> Plan:
    """Members come and go, beside a few other faults; where a disk goes back, all confirm."""
    kinds = [luck.choice(_CHANGES) for _ in range(luck.randint(1, 3))]
    if "twin" in kinds:  # alone: beside other changes, nobody may be left who is a member
        kinds = ["twin"]
    kinds += luck.sample(_BESIDE, luck.randint(0, 3))
    faults = [_fault(luck, plan, kind) for kind in kinds]
    for number, fault in enumerate(faults):
        if fault.kind == "join":  # whoever it names; the first node is there from the start
            name = luck.choice(plan.nodes[1:])
            faults[number] = replace(fault, where=(name,), lasts=None)
    faults.sort(key=lambda fault: (fault.at, fault.kind))
    back = any(fault.kind in ("roll-back", "twin") for fault in faults)
    tuning = replace(plan.tuning, all_confirm=back or luck.random() < 0.5)
    return replace(plan, tuning=tuning, faults=tuple(faults))


def _tuning(luck: Generator) -> Tuning:
    return Tuning(
        heartbeat_seconds=luck.choice([0.05, 0.1, 0.3]),
        segment_bytes=luck.choice([700, 3_000, 20_000]),
        push_window_bytes=luck.choice([600, 4_000, 100_000]),
        compare_seconds=luck.choice([0.5, 3.0, 60.0]),
        scrub_seconds=luck.choice([5.0, 60.0, 3600.0]),
    )


def _bounds(luck: Generator) -> Bounds:
    return Bounds(
        push_bytes=luck.choice([300, 2_000, 100_000]),
        pull_bytes=luck.choice([300, 2_000, 100_000]),
        pull_logs=luck.choice([1, 3, 256]),
        promises=luck.choice([2, 5, 64]),
        settle_batch=luck.choice([1, 3, 512]),
        roots=luck.choice([2, 256]),
        streams=luck.choice([1, 1000]),
        compress_above_bytes=luck.choice([100, 4096]),
    )


def _between(luck: Generator, least: float, most: float) -> float:
    """Small numbers as often as large ones, by their magnitude."""
    return exp(luck.uniform(log(least), log(most)))


def _any_tuning(luck: Generator) -> Tuning:
    """From ranges as wide as a file may have them, but for what no short run would reach."""
    return Tuning(
        heartbeat_seconds=round(_between(luck, 0.02, 0.6), 3),
        segment_bytes=round(_between(luck, 700, 100_000)),
        push_window_bytes=round(_between(luck, 600, 1_000_000)),
        pull_bytes_per_second=round(_between(luck, 4_096, 1 << 26)),
        max_clock_offset_ms=round(_between(luck, 500, 5_000)),
        compare_seconds=round(_between(luck, 0.1, 100.0), 2),
        scrub_seconds=round(_between(luck, 1.0, 4_000.0), 1),
    )


def _any_bounds(luck: Generator) -> Bounds:
    return Bounds(
        push_bytes=round(_between(luck, 300, 100_000)),
        pull_bytes=round(_between(luck, 300, 100_000)),
        pull_logs=round(_between(luck, 1, 256)),
        promises=round(_between(luck, 2, 64)),
        settle_batch=round(_between(luck, 1, 512)),
        roots=round(_between(luck, 2, 256)),
        streams=round(_between(luck, 1, 1_000)),
        compress_above_bytes=round(_between(luck, 100, 4_096)),
    )


def _roads(luck: Generator, sites: tuple[Site, ...]) -> tuple[Road, ...]:
    """Latencies of one kind for all, or as they were measured between places of the world."""
    names = [site.name for site in sites]
    pairs = [(here, there) for i, here in enumerate(names) for there in names[:i]]
    if luck.random() < 0.3 and len(names) > 1:
        rtt = planetlab_rtt_seconds(luck, len(names))
        return tuple(
            Road(
                (here, there),
                latency=max(0.0005, rtt[names.index(here)][names.index(there)] / 2),
                jitter=0.2,
                tail=luck.choice([0.0, 0.01]),
            )
            for here, there in pairs
        )
    latency = luck.choice([0.001, 0.01, 0.03, 0.08])
    loss = luck.choice([0.0, 0.0, 0.0, 0.01])
    inside = tuple(Road((name, name), latency=latency) for name in names)
    return tuple(Road(pair, latency=latency, loss=loss) for pair in pairs) + inside


def _clients(luck: Generator, plan: Plan) -> tuple[Client, ...]:
    operations = luck.choice([15, 40, 80])
    count = luck.choice([1, 2, 3])
    shapes = ["mixed"] * 6 + ["hot", "tiny", "bursts"]
    return tuple(
        Client(
            f"c{number + 1}",
            at=(luck.choice(plan.nodes),) if luck.random() < 0.5 else (),
            rate=round(operations / count / plan.healed_at, 3),
            limit=2 * operations,
            shape=luck.choice(shapes),
            timeout=luck.choice([0.5, 4.0]),
        )
        for number in range(count)
    )


def _faults(luck: Generator, plan: Plan) -> tuple[Fault, ...]:
    kind = luck.random()
    if kind < 0.1:
        return ()
    if kind < 0.1 + _LOST_DISKS and len(plan.nodes) > 1:
        return _lost_disk(luck, plan)
    families = luck.sample(_FAMILIES, luck.randint(1, 4))
    kinds = [one for one in _DRAWN if KINDS[one].family in families]
    kinds = luck.sample(kinds, luck.randint(1, min(6, len(kinds))))
    count = 1 if kind < 0.2 else luck.choice(_FAULTS)
    faults = [_fault(luck, plan, luck.choice(kinds)) for _ in range(count)]
    return tuple(sorted(faults, key=lambda fault: (fault.at, fault.kind)))


def _lost_disk(luck: Generator, plan: Plan) -> tuple[Fault, ...]:
    """Nodes come back with nothing, in most runs beside other trouble that spares disks."""
    lost = _fault(luck, plan, "lose-disk")
    if luck.random() < _LOST_MANY:
        lost = replace(lost, where=tuple(luck.sample(plan.nodes, len(plan.nodes) - 1)))
    faults = [lost]
    if luck.random() >= _LOST_ALONE:
        faults += [_fault(luck, plan, kind) for kind in luck.sample(_BESIDE, 3)]
    return tuple(sorted(faults, key=lambda fault: (fault.at, fault.kind)))


def _fault(luck: Generator, plan: Plan, kind: str) -> Fault:
    begins = 0.0 if luck.random() < 0.1 else plan.warm_up
    at = round(luck.uniform(begins, plan.warm_up + plan.trouble), 4)
    left = plan.warm_up + plan.trouble - at
    if luck.random() < _FROZEN:
        lasts = None
    elif luck.random() < 0.3:  # as long as outages are, in proportion: most short, some very long
        lasts = round(min(left, outage_seconds(luck) / 900 * plan.trouble / 4), 4)
    else:
        lasts = round(min(left, luck.expovariate(4 / plan.trouble)), 4)
    where = luck.sample(plan.nodes, luck.randint(1, max(1, len(plan.nodes) - 1)))
    towards: tuple[str, ...] = ()
    if KINDS[kind].family == "network" and luck.random() < 0.4:
        rest = [name for name in plan.nodes if name not in where]
        towards = tuple(luck.sample(rest, min(len(rest), 1)))
    if KINDS[kind].family != "network" and luck.random() < 0.8:
        where = where[:1]
    amount, every = _amount(luck, kind)
    if kind == "disk-fails" and Generator(f"fails {plan.seed}").random() < _FAILS_TO_WRITE:
        kind = "write-fails"
    return Fault(kind, at, lasts, tuple(where), towards, amount, every)


def _amount(luck: Generator, kind: str) -> tuple[float | None, float | None]:
    """How bad it is: mostly a little, sometimes very; and how often it comes and goes."""
    if kind == "clock":
        seconds = luck.choice(_CLOCKS) * luck.uniform(0.7, 1.0)
        return luck.choice([-1, 1]) * round(seconds, 3), None
    amount = luck.choice(_AMOUNTS[kind]) if kind in _AMOUNTS else None
    return amount, luck.choice([0.02, 0.2, 1.0]) if kind in {"flap", "strobe"} else None
