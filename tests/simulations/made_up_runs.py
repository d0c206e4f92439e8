"""Runs that were made up: as they could have been, and as they never should be."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan
from random import Random as Generator

from anabranch.simulations.timeline import Moment, NodeSeries, Span, Timeline, Verdict

FINAL = "what is written becomes final"
KEPT = "acknowledged commits are kept"
CUTS = {"cut", "reset", "one-way", "silent", "flap"}
ENDS = {"crash", "crash-writing", "stop", "lose-index", "bit-rot", "disk-fails"}


def made_up(
    title: str,
    sites: dict[str, int],
    faults: list[Span],
    *,
    length: float,
    why: str = "",
    seed: int = 7,
    samples: int = 1200,
    rate: float = 20.0,
) -> Timeline:
    """A run as it could have been: links that are cut let lag and missing commits grow."""
    luck = Generator(f"{title} {seed}")
    names = {site: [f"{site}{n + 1}" for n in range(count)] for site, count in sites.items()}
    nodes = [node for members in names.values() for node in members]
    healed = 0.8 * length
    line = Timeline(
        title, why, seed, sites=list(names.items()), length=length, healed_at=healed, over_at=healed
    )
    line.trace = f"{luck.getrandbits(128):032x}"
    ends = [0.0, 0.05 * length, 0.74 * length, healed, 0.84 * length, 0.9 * length, length]
    phases = ["warm up", "trouble", "frozen", "heal", "quiesce", "restart"]
    line.phases = [Span(p, p, b, e) for p, b, e in zip(phases, ends[:-1], ends[1:], strict=True)]
    line.faults = faults
    line.times = [length * n / samples for n in range(samples)]
    line.nodes = {node: NodeSeries() for node in nodes}
    step, total, accepted, refused = length / samples, 0.0, dict.fromkeys(nodes, 0.0), {}
    since, behind = dict.fromkeys(nodes, 0.0), dict.fromkeys(nodes, 0.0)
    for at in line.times:
        on = [fault for fault in faults if fault.begins <= at < fault.ends]
        for node in nodes:
            series = line.nodes[node]
            ended = any(f.kind in ENDS and node in f.where for f in on)
            up = not ended and not (0.9 * length <= at < 0.91 * length)
            full = any(f.kind == "disk-full" and node in f.where for f in on)
            cut = any(f.kind in CUTS for f in on)
            apart = any(f.kind in CUTS and node in (*f.where, *f.towards) for f in on)
            made = rate * step * luck.uniform(0.5, 1.5) / len(nodes) if up else 0.0
            refused[node] = refused.get(node, 0.0) + (made if full else 0.0)
            accepted[node] += 0.0 if full else made
            total += 0.0 if full else made
            if not cut:
                since[node] = at
            behind[node] = behind[node] + rate * step / 2 if apart else behind[node] * 0.6
            lag = at - since[node] + luck.uniform(0.08, 0.22)
            series.up.append(up)
            series.lag.append(lag if up else nan)
            series.missing.append(int(behind[node]))
            series.tentative.append(int(lag * rate))
            series.commits.append(int(total - behind[node]))
            series.settled.append(max(0, int(total - lag * rate)))
            series.accepted.append(int(accepted[node]))
            series.refused.append(int(refused[node]))
    for fault in faults:
        if fault.kind in CUTS:
            for site, members in names.items():
                label = f"only {site} holds some commits that it acknowledged"
                line.risks.append(Span(KEPT, label, fault.begins + 0.2, fault.ends, tuple(members)))
            for node in nodes:
                waits = ", ".join(fault.where if node not in fault.where else fault.towards)
                label = f"nothing becomes final at {node}: it waits for {waits}"
                line.risks.append(Span(FINAL, label, fault.begins + 1, fault.ends, (node,)))
            for _ in range(23):
                at, stream = luck.uniform(fault.begins, fault.ends), luck.randrange(9)
                what = f"an append to order-{stream} is rejected"
                line.conflicts.append(Moment(at, luck.choice(nodes), what))
    for fault in faults:
        line.notes.append(Moment(fault.begins, "", f"{fault.label} begins"))
        line.notes.append(Moment(fault.ends, "", f"{fault.label} ends"))
    line.whole_at = healed + min(1.3, 0.02 * length)
    line.expected = [
        Verdict("whole again within 5 s", True, "after 1.3 s"),
        Verdict("writes went on at every site", True, "never more than 210 ms without one"),
        Verdict("lag at least 2 min", True, "3 min at london2"),
    ]
    line.checked = [
        Verdict("nothing acknowledged is lost", True),
        Verdict("settled is the same everywhere and never changes", True),
        Verdict("one of those that expect the same revision wins", True),
        Verdict("equal roots mean equal sets", True),
    ]
    line.totals = {
        "nodes": len(nodes),
        "simulated seconds": length,
        "appends accepted": int(sum(accepted.values())),
        "appends refused": int(sum(refused.values())),
        "commits settled": int(total),
        "conflicts": len(line.conflicts),
        "longest lag, seconds": 180.2,
        "faults": len(faults),
        "replay": f"anabranch simulate two-sites-split --seed {seed}",
    }
    return line


def two_sites() -> Timeline:
    london, frankfurt = ("london1", "london2"), ("frankfurt1", "frankfurt2")
    cut = Span("cut", "cut at london towards frankfurt", 200.0, 380.0, london, frankfurt)
    return made_up(
        "Two sites, split during trading hours",
        {"london": 2, "frankfurt": 2},
        [cut],
        length=612.0,
        why="Two datacenters lose the line between them for three minutes, in the middle of the\n"
        "day. Both have customers who go on trading.\n\nBoth sites should go on taking orders. "
        "Nothing that is written meanwhile is final, and where both sites sold the same thing "
        "one of the two sales has to lose: the same one everywhere.",
    )


def three_sites() -> Timeline:
    paris, oslo, rome = ("paris1", "paris2"), ("oslo1", "oslo2"), ("rome1",)
    return made_up(
        "Three sites: a one-way cut, a crash, a clock an hour ahead",
        {"paris": 2, "oslo": 2, "rome": 1},
        [
            Span("one-way", "one-way at paris towards oslo", 15.0, 35.0, paris, oslo),
            Span("silent", "silent at rome towards paris", 38.0, 44.0, rome, paris),
            Span("crash", "crash at oslo1", 20.0, 31.0, ("oslo1",)),
            Span("clock", "clock at rome1 (3600 seconds ahead)", 30.0, 70.0, rome),
            Span("disk-full", "disk-full at paris2", 50.0, 62.0, ("paris2",)),
            Span(
                "slow", "slow at oslo towards rome (10 times the latency)", 40.0, 66.0, oslo, rome
            ),
            Span(
                "loss",
                "loss (0.05 share of frames)",
                54.0,
                60.0,
                paris + oslo + rome,
                rome + oslo + paris,
            ),
        ],
        length=90.0,
    )


def a_week() -> Timeline:
    day = 86_400.0
    tokyo, lima = ("tokyo1", "tokyo2", "tokyo3"), ("lima1", "lima2", "lima3")
    return made_up(
        "A site is lost for days",
        {"tokyo": 3, "lima": 3},
        [
            Span("cut", "cut at tokyo", day, 4.5 * day, tokyo, lima),
            Span("stop", "stop at lima2", 2 * day, 3 * day, ("lima2",)),
        ],
        length=7 * day,
        rate=0.05,
        samples=2000,
    )


def six_seconds() -> Timeline:
    where, towards = ("a1",), ("b1",)
    cut = Span("flap", "flap at a (0.5 share of the time that it is cut)", 1.0, 3.5, where, towards)
    return made_up("Seed 4711", {"a": 1, "b": 1, "c": 1}, [cut], length=6.2, samples=300, rate=80)


def failed() -> Timeline:
    line = three_sites()
    line.title, line.whole_at = "A run that failed", None
    label, detail = "settled is the same everywhere and never changes", "oslo2: shard 3, number 41"
    line.checked[1] = Verdict(label, False, detail)
    return line


def nine_nodes() -> Timeline:
    luck = Generator("nine nodes")
    sites = {"amsterdam": 3, "singapore": 3, "virginia": 3}
    nodes = [f"{site}{n}" for site in sites for n in (1, 2, 3)]
    kinds = ["cut", "slow", "drip", "loss", "reorder", "garble", "reset", "flap"]
    lonely = ["crash", "pause", "clock", "drift", "disk-slow", "disk-stall", "stop", "lose-index"]
    faults = []
    for _ in range(46):
        at, lasts = luck.uniform(3, 40), luck.uniform(0.2, 6)
        if luck.random() < 0.5:
            kind, where = luck.choice(kinds), tuple(sorted(luck.sample(nodes, luck.randint(1, 3))))
            towards = tuple(node for node in nodes if node not in where)
            label = f"{kind} at {', '.join(where)}"
            faults.append(Span(kind, label, at, at + lasts, where, towards))
        else:
            kind, node = luck.choice(lonely), luck.choice(nodes)
            faults.append(Span(kind, f"{kind} at {node}", at, at + lasts, (node,)))
    return made_up("Seed 90125", sites, faults, length=60.0, samples=2000)


def hostile() -> Timeline:
    """Every text wants to be markup, and every number is odd."""
    bad = "</script><img src=x onerror=alert(1)>&\"'"
    line = two_sites()
    return replace(
        line,
        title=bad,
        why=bad,
        trace=bad,
        sites=[(bad, ["london1", "london2"]), ("frankfurt", ["frankfurt1", "gone"])],
        faults=[
            Span(bad, bad, -5.0, inf, ("london1",)),
            Span("cut", bad, 9e9, 9e9, ("london1",), ("x",)),
        ],
        conflicts=[Moment(9e9, bad, bad), Moment(-1.0, bad, bad)],
        notes=[Moment(3.0, bad, bad)],
        risks=[Span(bad, bad, 1.0, 2.0, ("nobody",))],
        expected=[Verdict(bad, False, bad)],
        totals={bad: bad, "x seconds": nan},
    )


def empty() -> Timeline:
    return Timeline("Nothing", "", 0)


RUNS = [two_sites, three_sites, a_week, six_seconds, failed, nine_nodes, hostile, empty]
