"""What goes wrong in a round of chaos, drawn by seed and number.

As in a simulated run most kinds are left out of a round, so that those that are left meet each
other often. What takes a directory away comes once a round at most: two of three would be more than
any store survives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random as Generator

from ..node.config import EVICT_AFTER_SECONDS_MIN, Tuning
from ..simulations.plans.kinds import KINDS, REAL
from ..simulations.plans.plan import Client, Fault, Plan, Site
from ..storage.limits import EVICT_AFTER_SECONDS

FAMILIES = ("network", "clock", "disk", "node", "members")
# Kinds that are not drawn: a simulated disk's tricks, and an end that nothing but a wipe mends.
_NOT_DRAWN = frozenset({"lose-end"})
_ONCE = frozenset({"lose-disk", "roll-back", "twin", "evict", "leave", "lose-segment"})
_AMOUNTS = {
    "clock": (-3600.0, -2.0, 0.2, 1.5, 3.0),
    "drift": (-50_000.0, 1_000.0, 50_000.0),
    "strobe": (0.05, 0.15),
    "flap": (0.1, 0.5, 0.9),
    "slow": (30.0, 100.0),
    "drip": (4_000.0, 20_000.0),
    "loss": (0.02, 0.2),
    "duplicate": (0.02, 0.2),
    "reorder": (0.02, 0.2),
    "garble": (0.01, 0.1),
    "disk-slow": (4.0, 20.0),
    "reboot": (0.0, 0.1, 2.0),
    "kill-at": (1.0, 1.0, 2.0, 5.0),
    "crash-loop": (1.0, 2.0, 3.0),
}
_LASTS_SECONDS = (0.05, 0.5, 2.0, 5.0, 12.0)
_FROZEN = 0.2  # share of faults that last until the heal
EVERY_SECONDS = 3.0  # there is a fault so often, in the mean
CLIENT_RATE = 12.0  # operations a second of each of three clients
SEGMENT_BYTES = 64 * 1024  # small, so that segments are sealed and read again all the time


def tuning(luck: Generator) -> Tuning:
    """Numbers at which much happens in little time."""
    return Tuning(
        segment_bytes=luck.choice([SEGMENT_BYTES, 4 * SEGMENT_BYTES]),
        compare_seconds=luck.choice([1.0, 3.0]),
        all_confirm=True,
        evict_after_seconds=luck.choice([EVICT_AFTER_SECONDS, EVICT_AFTER_SECONDS_MIN]),
    )


def drawn_kinds(only: Iterable[str] = ()) -> tuple[str, ...]:
    """The kinds that rounds are drawn from."""
    wanted = set(only)
    return tuple(kind for kind in REAL if (kind in wanted if wanted else kind not in _NOT_DRAWN))


def base_plan(seed: int, sites: Sequence[Site], **given: object) -> Plan:
    """What all rounds of a run have in common."""
    luck = Generator(f"chaos {seed}")
    plan = Plan(seed, tuple(sites), shards=luck.choice([2, 8]), tuning=tuning(luck))
    return replace(plan, **given)  # type: ignore[arg-type]


def round_of(
    base: Plan,
    number: int,
    begins: float,
    seconds: float,
    kinds: Sequence[str],
    every: float = EVERY_SECONDS,
) -> Plan:
    """A round that begins at a moment of the run and has so many seconds of faults.

    There is one every so many seconds, in the mean; a fifth of them lasts until the heal.
    """
    luck = Generator(f"round {base.seed} {number}")
    plan = replace(base, warm_up=begins + 1.0, trouble=seconds, frozen=1.0)
    return replace(
        plan,
        title=f"Round {number}",
        clients=_clients(luck, plan, number, begins),
        faults=_faults(luck, plan, kinds, every),
    )


def _clients(luck: Generator, plan: Plan, number: int, begins: float) -> tuple[Client, ...]:
    homes = [(site.name,) for site in plan.sites] + [()]
    return tuple(
        Client(
            f"r{number}c{which}",
            at=homes[which % len(homes)],
            rate=CLIENT_RATE,
            starts=begins,
            shape=luck.choice(["mixed", "mixed", "mixed", "hot", "tiny", "bursts"]),
            timeout=luck.choice([1.0, 4.0]),
            doubles=luck.choice([0.0, 0.1]),
        )
        for which in range(3)
    )


def _faults(luck: Generator, plan: Plan, kinds: Sequence[str], every: float) -> tuple[Fault, ...]:
    if luck.random() < 0.05:
        return ()  # must be whole at once
    families = sorted({KINDS[kind].family for kind in kinds})
    families = luck.sample(families, luck.randint(1, min(4, len(families))))
    chosen = [kind for kind in kinds if KINDS[kind].family in families]
    chosen = luck.sample(chosen, luck.randint(1, min(6, len(chosen))))
    count = max(1, round(luck.uniform(0.5, 2.0) * plan.trouble / every))
    faults: list[Fault] = []
    for _ in range(count):
        kind = luck.choice(chosen)
        if kind in _ONCE and any(fault.kind in _ONCE for fault in faults):
            continue
        faults.append(_fault(luck, plan, kind))
    return tuple(sorted(faults, key=lambda fault: (fault.at, fault.kind)))


def _fault(luck: Generator, plan: Plan, kind: str) -> Fault:
    at = round(luck.uniform(plan.warm_up, plan.warm_up + plan.trouble), 3)
    frozen = luck.random() < _FROZEN and kind not in _ONCE
    lasts = None if frozen else round(luck.choice(_LASTS_SECONDS) * luck.uniform(0.5, 1.5), 3)
    family = KINDS[kind].family
    many = luck.randint(1, max(1, len(plan.nodes) - 1)) if luck.random() < 0.4 else 1
    where = tuple(luck.sample(plan.nodes, many))
    towards: tuple[str, ...] = ()
    if family == "network" and luck.random() < 0.4:
        rest = [name for name in plan.nodes if name not in where]
        towards = tuple(luck.sample(rest, min(len(rest), 1)))
    if family == "members" or kind in _ONCE:
        where = where[:1]
    if kind in {"crash", "pause", "power"} and luck.random() < 0.1:
        where = ()  # all of them
    amount = luck.choice(_AMOUNTS[kind]) if kind in _AMOUNTS else None
    every = luck.choice([0.1, 0.5, 2.0]) if kind in {"flap", "strobe"} else None
    return Fault(kind, at, lasts, where, towards, amount, every)


def shifted(plan: Plan, by: float) -> Plan:
    """The same plan, begun so many seconds later."""
    return replace(
        plan,
        warm_up=plan.warm_up + by,
        clients=tuple(
            replace(
                client,
                starts=client.starts + by,
                ends=None if client.ends is None else client.ends + by,
            )
            for client in plan.clients
        ),
        faults=tuple(replace(fault, at=fault.at + by) for fault in plan.faults),
    )
