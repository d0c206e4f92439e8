"""What a run of chaos came to, for its page and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from ..simulations.expectations import checked, verdicts
from ..simulations.plans.plan import Plan
from ..simulations.runner import Outcome as SimulatedOutcome
from ..simulations.timeline import Timeline, Verdict
from .runner import Outcome
from .tally import CUT_P99_SECONDS, Tally, grown, histogram, share_of

_WHOLE_EDGES = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
_TOOK_EDGES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)


def fill(outcome: Outcome, replay: str) -> Timeline:
    """Put verdicts and figures into the timeline of a run."""
    line, tally = outcome.timeline, outcome.tally
    line.checked = checked(outcome.violations)
    line.expected = _expected(outcome.plan, outcome)
    line.totals = {**figures(tally), "replay": replay}
    line.spreads = spreads(tally)
    return line


def problems(outcome: Outcome) -> list[str]:
    """All that was not as it should be."""
    unmet = [one for one in outcome.timeline.expected if not one.held]
    return outcome.violations + [f"expected: {one.label}: {one.detail}" for one in unmet]


def _expected(plan: Plan, outcome: Outcome) -> list[Verdict]:
    """What a story expects, as a simulation would judge it."""
    if not plan.expect:
        return []
    as_simulated = SimulatedOutcome(
        plan,
        outcome.history,
        "",
        outcome.violations,
        outcome.tally.seconds,
        faults=Counter(outcome.tally.faults),
        timeline=outcome.timeline,
    )
    return verdicts(as_simulated)


def figures(tally: Tally) -> dict[str, int | float | str]:
    """The figures of a run, by name."""
    made: dict[str, int | float | str] = {
        "real seconds": round(tally.seconds, 1),
        "rounds": tally.rounds,
        "faults": tally.faults.total(),
        "kills": tally.kills,
        "appends": tally.operations,
        "acknowledged": tally.acknowledged,
        "turned down or refused": tally.refused.total(),
        "without an answer": tally.unknown,
        "reads": tally.reads,
        "commits settled": tally.commits,
        "longest time to converge, seconds": round(max(tally.whole_after, default=0.0), 3),
        "an append took (p50), seconds": round(share_of(tally.took, 0.5), 4),
        "an append took (p99), seconds": round(share_of(tally.took, 0.99), 4),
    }
    if tally.took_cut:
        made["while links were cut (p99), seconds"] = round(share_of(tally.took_cut, 0.99), 4)
        made["not taken while links were cut"] = tally.untaken_cut.total()
    return made


def target(tally: Tally) -> str:
    """How appends were while links were cut, against what is aimed at."""
    if not tally.took_cut:
        return "No links were cut, or nobody appended then."
    p99 = share_of(tally.took_cut, 0.99)
    met = "met" if p99 <= CUT_P99_SECONDS else "MISSED"
    why = ", ".join(f"{what} {count}" for what, count in tally.untaken_cut.most_common())
    return (
        f"While links were cut: {len(tally.took_cut):,} appends at nodes with no other trouble, "
        f"p99 {1000 * p99:.1f} ms (aim: {1000 * CUT_P99_SECONDS:.0f} ms, {met}), "
        f"{tally.untaken_cut.total()} not taken{f' ({why})' if why else ''}."
    )


def spreads(tally: Tally) -> dict[str, list[tuple[str, int]]]:
    """Histograms of what took how long, in seconds."""
    return {
        "Seconds from a heal, or the last restart, until all nodes were equal": histogram(
            tally.whole_after, _WHOLE_EDGES
        ),
        "Seconds that an append took (ack=local)": histogram(tally.took, _TOOK_EDGES),
    }


def run_data(outcome: Outcome, replay: str) -> dict[str, object]:
    """A run for programs."""
    line, tally = outcome.timeline, outcome.tally
    found = problems(outcome)
    return {
        "title": line.title,
        "seed": line.seed,
        "well": not found,
        "violations": found,
        "figures": figures(tally),
        "spreads": spreads(tally),
        "whole_after": tally.whole_after,
        "whole_within": tally.whole_within,
        "faults_by_kind": dict(sorted(tally.faults.items())),
        "refused": dict(sorted(tally.refused.items())),
        "resolved": dict(sorted(tally.resolved.items())),
        "not_taken_while_cut": dict(sorted(tally.untaken_cut.items())),
        "phases": [one.data() for one in line.phases],
        "faults": [one.data() for one in line.faults],
        "notes": [asdict(one) for one in line.notes],
        "growth": [one._asdict() for one in grown(tally)],
        "replay": replay,
    }
