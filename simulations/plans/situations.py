"""Situations that real clusters meet and that luck alone hardly ever brings about.

A few seeds in a hundred draw each of them. Some need several things in one moment: a crash within
one sync, a cut amid a handshake, an append just after a clock has jumped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random as Generator

from ...node.config import Tuning
from .bounds import Bounds
from .plan import Client, Fault, Plan, Road, Site

_NAMES = ("ny", "lon", "tok")
_DUST, _DUST_RATE = 800, 400.0  # commits of each client, and how many a second
_WIDE = 1_000_000


def situation_of(seed: int) -> Plan | None:
    """The plan of a seed that draws a situation."""
    luck = Generator(f"situation {seed}")
    roll = luck.random()
    for draw, share in SITUATIONS.items():
        if roll < share:
            return draw(luck, seed)
        roll -= share
    return None


def _plan(luck: Generator, seed: int, *, latency: float, nodes: int = 1) -> Plan:
    """Three sites, all alike, with wide windows."""
    sites = tuple(Site(name, nodes) for name in _NAMES)
    roads = tuple(
        Road((here, there), latency=latency, jitter=luck.choice([0.1, 0.5]))
        for number, here in enumerate(_NAMES)
        for there in _NAMES[:number]
    )
    tuning = Tuning(
        heartbeat_seconds=luck.choice([0.05, 0.1, 0.3]),
        segment_bytes=luck.choice([3_000, 20_000]),
        push_window_bytes=_WIDE,
        scrub_seconds=3600.0,
    )
    return Plan(seed, sites, shards=luck.choice([1, 4]), tuning=tuning, roads=roads)


def _everywhere(plan: Plan, rate: float, **options: object) -> tuple[Client, ...]:
    """A client at each node."""
    return tuple(
        replace(Client(f"c{number}", at=(name,), rate=rate), **options)  # type: ignore[arg-type]
        for number, name in enumerate(plan.nodes, 1)
    )


def _much_is_lost(luck: Generator, seed: int) -> Plan:
    """A segment of many small commits is lost."""
    plan = replace(_plan(luck, seed, latency=luck.choice([0.001, 0.03])), sync=0.003, trouble=3.0)
    tuning = replace(plan.tuning, segment_bytes=200_000, push_window_bytes=100_000)
    clients = _everywhere(plan, _DUST_RATE, limit=_DUST, shape="dust", retries=0.0)
    at = round(luck.uniform(3.0, plan.warm_up + plan.trouble), 4)
    fault = Fault("lose-segment", at, None, (luck.choice(plan.nodes),))
    return replace(plan, tuning=tuning, clients=clients, faults=(fault,))


def _a_clock_jumps_ahead(luck: Generator, seed: int) -> Plan:
    """One clock is far ahead while all write; its node is cut off just then, or not."""
    plan = _plan(luck, seed, latency=luck.choice([0.01, 0.08]))
    plan = replace(plan, sync=0.003, trouble=6.0, warm_up=0.5)
    at, where = round(luck.uniform(1.0, 2.0), 4), luck.choice(plan.nodes)
    ahead = luck.choice([1.0, 1.5, 3.0])
    faults = [Fault("clock", at, luck.choice([0.3, None, None]), (where,), amount=ahead)]
    if luck.random() < 0.4 and faults[0].lasts is None:  # nobody can tell it while it stamps
        begins = round(at - luck.uniform(0.05, 0.3), 4)
        faults.insert(0, Fault("cut", begins, round(luck.uniform(0.5, 0.9), 4), (where,)))
    clients = _everywhere(plan, 20.0, ack_settled=0.5, shape="tiny", timeout=3.0)
    return replace(plan, clients=clients, faults=tuple(faults))


def _crashes_within_a_sync(luck: Generator, seed: int) -> Plan:
    """Slow disks, appends that come twice at once, and restarts with a clock that is set back."""
    plan = _plan(luck, seed, latency=0.005)
    if luck.random() < 0.3:
        plan = replace(plan, sites=plan.sites[:1], roads=())
    plan = replace(plan, sync=luck.choice([0.02, 0.3]), trouble=5.0, warm_up=0.5)
    where = luck.choice(plan.nodes)
    faults = []
    for _ in range(4):
        at, back = round(luck.uniform(1.0, 5.0), 4), luck.choice([0.0, 0.3, 0.6, 1.0])
        if luck.random() < 0.7:
            faults.append(Fault("reboot", at, 0.5, (where,), amount=back))
        else:
            faults.append(Fault("crash-writing", at, 0.5, (where,)))
    others = [name for name in plan.nodes if name != where]
    if others and luck.random() < 0.6:
        faults.append(Fault("clock", 0.0, None, (luck.choice(others),), amount=0.45))
    faults.sort(key=lambda fault: (fault.at, fault.kind))
    clients = _everywhere(plan, 15.0, doubles=0.5, retries=0.1, timeout=2.0)
    return replace(plan, clients=clients, faults=tuple(faults))


def _a_clock_set_back_at_a_restart(luck: Generator, seed: int) -> Plan:
    """A node whose disk is late comes back with a clock that is behind, and stamps at once."""
    plan = replace(_plan(luck, seed, latency=0.005), sync=0.003, trouble=4.0)
    plan = replace(plan, tuning=replace(plan.tuning, heartbeat_seconds=0.05))
    where, *others = luck.sample(plan.nodes, len(plan.nodes))
    at = round(luck.uniform(2.5, 3.0), 4)
    ahead = luck.random() < 0.7
    if ahead:  # within what is allowed: what is held is stamped above this node's own clock
        faults = [
            Fault("clock", 0.0, None, (others[0],), amount=0.49),
            Fault("disk-slow", 1.5, None, (where,), amount=10.0),
            Fault("reboot", at, None, (where,), amount=1.0),
        ]
    else:  # it went on promising while nothing became durable
        faults = [
            Fault("disk-stall", round(at - 0.9, 4), 1.0, (where,)),
            Fault("crash", at, 0.05, (where,)),
            Fault("clock", round(at + 0.02, 4), None, (where,), amount=-1.0),
        ]
    told = Client("c1", at=(others[0],), rate=60.0 if ahead else 1.0, shape="tiny", retries=0.0)
    tells = replace(told, name="c2", at=(where,), rate=300.0, starts=at + 0.05, ends=at + 0.5)
    return replace(plan, clients=(told, tells), faults=tuple(faults))


def _a_wrong_hash(luck: Generator, seed: int) -> Plan:
    """An index names a wrong hash, in a tree of several levels: only comparisons find that."""
    plan = replace(_plan(luck, seed, latency=0.005), shards=1, trouble=2.0)
    plan = replace(plan, bounds=Bounds(scrub_bytes=10))
    tuning = replace(plan.tuning, compare_seconds=0.3)
    where = luck.choice(plan.nodes)
    clients = _everywhere(plan, 25.0, retries=0.0, ends=2.5)
    faults = (
        Fault("index-rot", round(luck.uniform(3.2, 3.6), 4), None, (where,)),
        Fault("stop", 3.7, 0.1, (where,)),  # what it remembers is right
    )
    return replace(plan, tuning=tuning, clients=clients, faults=faults)


def _a_hole_before_what_nobody_has(luck: Generator, seed: int) -> Plan:
    """A node that is cut off writes on, loses an older stretch of its log, and restarts."""
    plan = replace(_plan(luck, seed, latency=0.005), trouble=4.0)
    plan = replace(plan, tuning=replace(plan.tuning, segment_bytes=luck.choice([700, 3_000])))
    where = (luck.choice(plan.nodes),)
    cut = round(luck.uniform(1.5, 2.5), 4)
    hurt = round(cut + luck.uniform(0.5, 1.0), 4)
    faults = (
        Fault("cut", cut, None, where),
        Fault(luck.choice(["lose-segment", "live-rot"]), hurt, None, where),
        Fault(luck.choice(["lose-index", "crash", "stop"]), round(hurt + 0.3, 4), 0.3, where),
    )
    clients = _everywhere(plan, 20.0, retries=0.0, ack_settled=0.0)
    return replace(plan, clients=clients, faults=faults)


def _a_disk_fills_up(luck: Generator, seed: int) -> Plan:
    """There is no room at all for a moment, while a client repeats what it was not answered."""
    plan = replace(_plan(luck, seed, latency=0.005), trouble=4.0)
    if luck.random() < 0.4:
        plan = replace(plan, sites=plan.sites[:1], roads=())
    where = (luck.choice(plan.nodes),)
    faults = tuple(
        Fault("no-room", round(at + luck.uniform(0.0, 0.5), 4), luck.choice([0.2, 0.8]), where)
        for at in (1.2, 2.4, 3.6)
    )
    clients = _everywhere(plan, 30.0, retries=0.4)
    return replace(plan, clients=clients, faults=faults)


def _steady_load(luck: Generator, seed: int) -> Plan:
    """Nothing goes wrong, and there is always something on its way."""
    plan = _plan(luck, seed, latency=luck.choice([0.03, 0.08]), nodes=luck.choice([1, 1, 2]))
    plan = replace(plan, sync=luck.choice([0.003, 0.02]), trouble=3.0)
    clients = _everywhere(plan, 40.0, shape="tiny", ack_settled=0.05, retries=0.0)
    return replace(plan, clients=clients)


def _a_quiet_cluster(luck: Generator, seed: int) -> Plan:
    """Nothing goes wrong, and an append comes now and then, and waits for its place."""
    plan = _plan(luck, seed, latency=luck.choice([0.01, 0.03]))
    plan = replace(plan, trouble=8.0, tuning=replace(plan.tuning, heartbeat_seconds=0.3))
    clients = (Client("c1", rate=2.0, shape="tiny", ack_settled=1.0, retries=0.0),)
    return replace(plan, clients=clients)


def _a_narrow_link(luck: Generator, seed: int) -> Plan:
    """A link of a few KiB a second, and more than it can carry in the time that a link may take."""
    width = luck.choice([4096.0, 8192.0])
    sites = (Site("ny"), Site("lon"))
    road = Road(("ny", "lon"), latency=0.02, bandwidth=width)
    clients = (Client("c1", rate=60.0),)
    fault = Fault("cut", 1.0, round(luck.uniform(3.0, 6.0), 4), ("ny1",))
    return Plan(seed, sites, roads=(road,), clients=clients, faults=(fault,), trouble=7.0)


def _the_far_side_of_the_moon(luck: Generator, seed: int) -> Plan:
    """Every message takes longer than clocks may be apart."""
    plan = _plan(luck, seed, latency=luck.choice([0.6, 0.75]))
    roads = tuple(replace(road, jitter=0.1) for road in plan.roads)
    plan = replace(plan, roads=roads, trouble=8.0, frozen=4.0)
    return replace(plan, clients=_everywhere(plan, 3.0, timeout=6.0))


def _a_long_cut(luck: Generator, seed: int) -> Plan:
    """Links are dead for minutes: both sides dial less and less often, within a bound."""
    plan = replace(_plan(luck, seed, latency=0.01), trouble=luck.choice([100.0, 200.0]))
    plan = replace(plan, sites=plan.sites[:2], roads=plan.roads[:1])
    where = (luck.choice(plan.nodes),)
    kind = luck.choice(["cut", "reset"])
    clients = _everywhere(plan, 0.2)
    return replace(plan, clients=clients, faults=(Fault(kind, 2.0, None, where),))


def _a_cut_amid_a_handshake(luck: Generator, seed: int) -> Plan:
    """Links break and are dialled again; just then a node dies without a word."""
    plan = replace(_plan(luck, seed, latency=0.08), trouble=8.0)
    where = (luck.choice(plan.nodes),)
    faults = []
    for at in (2.0, 5.0):
        broken = round(at + luck.uniform(0.0, 0.5), 4)
        cut = round(broken + 0.1 + luck.uniform(0.2, 0.5), 4)
        faults += [
            Fault("reset", broken, 0.1, where),
            Fault("cut", cut, 1.0, where),
            Fault("crash", round(cut + 0.2, 4), 0.3, where),
        ]
    return replace(plan, clients=_everywhere(plan, 5.0), faults=tuple(faults))


def _among_members(luck: Generator, seed: int, *, latency: float, nodes: int = 1) -> Plan:
    """As `_plan`, where a start is sure once all members say so."""
    plan = _plan(luck, seed, latency=latency, nodes=nodes)
    return replace(plan, tuning=replace(plan.tuning, all_confirm=True))


def _a_slow_clock_joins(luck: Generator, seed: int) -> Plan:
    """Who becomes a member again has a slow clock and stamps at once, where nobody else does."""
    plan = replace(_among_members(luck, seed, latency=0.005), sync=0.003, trouble=4.0)
    where, *others = luck.sample(plan.nodes, len(plan.nodes))
    at = round(luck.uniform(1.5, 2.0), 4)
    behind = -luck.choice([0.4, 1.0, 3.0])
    faults = (
        Fault(luck.choice(["leave", "leave", "evict"]), at, 1.0, (where,)),
        Fault("clock", round(at + 0.3, 4), None, (where,), amount=behind),
    )
    told = Client("c1", at=(others[0],), rate=20.0, shape="tiny", retries=0.0, ends=at + 0.2)
    tells = replace(told, name="c2", at=(where,), rate=60.0, starts=at + 0.5, ends=at + 3.0)
    return replace(plan, clients=(told, tells), faults=faults)


def _a_disk_without_its_promises(luck: Generator, seed: int) -> Plan:
    """A disk goes back to a time since when its node made no commit, but promised; so its clock."""
    plan = replace(_among_members(luck, seed, latency=0.005), sync=0.003, trouble=4.0)
    where, *others = luck.sample(plan.nodes, len(plan.nodes))
    at, lasts = round(luck.uniform(1.2, 1.6), 4), 1.5
    back = at + lasts
    faults = [
        Fault("roll-back", at, lasts, (where,)),
        Fault("clock", round(back - 0.01, 4), None, (where,), amount=-luck.choice([0.7, 1.3])),
    ]
    if luck.random() < 0.5:  # those who know of the promises have to remember them
        kind = luck.choice(["stop", "crash"])
        faults += [Fault(kind, round(back - 0.1, 4), 0.3, (other,)) for other in others]
    faults.sort(key=lambda fault: (fault.at, fault.kind))
    told = Client("c1", at=(others[0],), rate=5.0, shape="tiny", retries=0.0)
    tells = replace(told, name="c2", at=(where,), rate=200.0, starts=back + 0.02, ends=back + 1.0)
    return replace(plan, clients=(told, tells), faults=tuple(faults))


def _a_copy_beside_its_original(luck: Generator, seed: int) -> Plan:
    """A copy runs for a moment while all write, and not everybody hears of it at once."""
    latency = luck.choice([0.005, 0.05, 0.15])
    plan = replace(_among_members(luck, seed, latency=latency), sync=0.003, trouble=5.0)
    where, *others = luck.sample(plan.nodes, len(plan.nodes))
    at = round(luck.uniform(0.2, 2.5), 4)  # also while the cluster forms
    faults = [Fault("twin", at, round(luck.uniform(2, 12) * latency + 0.1, 4), (where,))]
    if luck.random() < 0.6:  # a member forgets which start of the two it met first
        faults.append(Fault("stop", round(at - 0.05, 4), round(2 * latency, 4), (others[0],)))
    if luck.random() < 0.6:
        kind, lasts = luck.choice(["cut", "one-way"]), round(luck.uniform(2, 12) * latency, 4)
        faults.append(Fault(kind, round(at + luck.uniform(-0.1, 0.4), 4), lasts, (others[0],)))
    faults.sort(key=lambda fault: (fault.at, fault.kind))
    clients = _everywhere(plan, 15.0, retries=0.0, shape="tiny")
    return replace(plan, clients=clients, faults=tuple(faults))


def _strays_and_a_crash(luck: Generator, seed: int) -> Plan:
    """Who can't be sure takes appends; once it is, it appends them again, and dies over that."""
    plan = replace(_among_members(luck, seed, latency=0.005), trouble=5.0)
    plan = replace(plan, sync=luck.choice([0.05, 0.2]))
    where, away, _ = luck.sample(plan.nodes, len(plan.nodes))
    again = 3.2 + 2 * plan.sync
    faults = (
        Fault("crash", 1.2, 2.0, (away,)),
        Fault(luck.choice(["crash", "stop"]), 1.5, 0.1, (where,)),
        Fault("crash", round(again + luck.uniform(0.0, 4 * plan.sync), 4), 0.2, (where,)),
    )
    clients = _everywhere(plan, 8.0, shape="tiny", retries=0.0, ack_settled=0.0)
    return replace(plan, clients=clients, faults=faults)


def _an_epoch_amid_crashes(luck: Generator, seed: int) -> Plan:
    """Members die while others are removed: ballots and epochs are on their way to slow disks."""
    nodes = luck.choice([1, 2])
    plan = _among_members(luck, seed, latency=luck.choice([0.005, 0.05]), nodes=nodes)
    plan = replace(plan, sync=luck.choice([0.02, 0.2]), trouble=5.0)
    out, *others = luck.sample(plan.nodes, len(plan.nodes))
    at = round(luck.uniform(1.5, 2.0), 4)
    lasts = luck.choice([1.5, None])
    faults = [Fault(luck.choice(["evict", "leave"]), at, lasts, (out,))]
    for name in others[: luck.randint(1, 2)]:
        dies = round(at + luck.uniform(0.0, 8 * plan.sync), 4)
        faults.append(Fault(luck.choice(["crash", "crash-writing"]), dies, 0.05, (name,)))
    if luck.random() < 0.5:
        begins = round(at + luck.uniform(0.0, 0.5), 4)
        faults.append(Fault("flap", begins, 1.0, (luck.choice(others),), every=0.2))
    faults.sort(key=lambda fault: (fault.at, fault.kind))
    return replace(plan, clients=_everywhere(plan, 8.0, retries=0.0), faults=tuple(faults))


def _a_newcomer(luck: Generator, seed: int) -> Plan:
    """A node joins and takes appends at once, while a member comes back and another is cut off."""
    plan = _among_members(luck, seed, latency=luck.choice([0.01, 0.15]))
    plan = replace(plan, sync=luck.choice([0.003, 0.05, 0.3]), trouble=4.0)
    late, away, apart = luck.sample(plan.nodes, len(plan.nodes))
    at = round(luck.uniform(2.0, 2.5), 4)
    faults = [Fault("join", at, None, (late,))]
    if luck.random() < 0.6:
        faults.append(Fault("crash", round(at - luck.uniform(0.3, 1.0), 4), 0.1, (away,)))
    if luck.random() < 0.6:
        lasts = round(luck.uniform(0.3, 1.0), 4)
        faults.append(Fault("cut", round(at - luck.uniform(0.0, 0.4), 4), lasts, (apart,)))
    if luck.random() < 0.4:  # it is none yet, or just let in
        faults.append(Fault("crash", round(at + luck.uniform(0.05, 1.0), 4), 0.1, (late,)))
    faults.sort(key=lambda fault: (fault.at, fault.kind))
    starts = round(at + luck.uniform(0.0, 6 * plan.sync + 0.1), 4)
    others = [name for name in plan.nodes if name != late]
    here = Client("c0", at=(late,), rate=30.0, shape="tiny", retries=0.0, starts=starts)
    there = Client("c1", at=tuple(others), rate=10.0, shape="tiny", retries=0.0)
    clients = (here, there)
    return replace(plan, clients=clients, faults=tuple(faults))


def _a_member_is_gone(luck: Generator, seed: int) -> Plan:
    """One of two of a site is dead or cut off until it is removed by itself; others fail too."""
    plan = _among_members(luck, seed, latency=luck.choice([0.005, 0.08]))
    sites = (Site("ny", 2), *plan.sites[1:])
    plan = replace(plan, sites=sites, sync=0.003, trouble=luck.choice([14.0, 18.0]), frozen=2.0)
    after = luck.choice([10.0, 12.0])
    tuning = replace(plan.tuning, evict_after_seconds=after, heartbeat_seconds=0.3)
    gone, *others = luck.sample(plan.nodes[:2], 2) + luck.sample(plan.nodes[2:], 2)
    at = round(luck.uniform(0.7, 1.5), 4)
    faults = [Fault(luck.choice(["crash", "cut"]), at, None, (gone,))]
    for kind in luck.sample(["crash", "crash-writing", "cut", "pause"], luck.randint(0, 2)):
        begins = round(at + after + luck.uniform(-1.0, 3.0), 4)
        faults.append(Fault(kind, begins, luck.choice([0.1, 1.0]), (luck.choice(others),)))
    clients = _everywhere(plan, 3.0, retries=0.0, shape="tiny")
    return replace(plan, tuning=tuning, clients=clients, faults=tuple(faults))


SITUATIONS: dict[Callable[[Generator, int], Plan], float] = {  # and the share of the seeds
    _much_is_lost: 0.025,
    _a_clock_jumps_ahead: 0.015,
    _crashes_within_a_sync: 0.015,
    _a_clock_set_back_at_a_restart: 0.015,
    _a_wrong_hash: 0.015,
    _a_hole_before_what_nobody_has: 0.01,
    _a_disk_fills_up: 0.01,
    _steady_load: 0.01,
    _a_quiet_cluster: 0.01,
    _a_narrow_link: 0.008,
    _the_far_side_of_the_moon: 0.008,
    _a_long_cut: 0.008,
    _a_cut_amid_a_handshake: 0.006,
    _a_slow_clock_joins: 0.005,
    _a_disk_without_its_promises: 0.005,
    _a_copy_beside_its_original: 0.006,
    _strays_and_a_crash: 0.004,
    _an_epoch_amid_crashes: 0.006,
    _a_newcomer: 0.008,
    _a_member_is_gone: 0.0015,
}
