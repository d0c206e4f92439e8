"""What a story expects of its run: pure functions over the outcome (claims.py: where and when)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import isnan
from typing import Any, NamedTuple

from .checkers import ALL
from .claims import (
    Claim,
    Reader,
    duration,
    error_names,
    flag,
    mark_names,
    nearest,
    number,
    only_true,
    places,
    read_claims,
    texts,
)
from .history import Append
from .plans.durations import duration_text
from .plans.plan import Plan
from .risks import FINAL
from .runner import Outcome
from .timeline import NodeSeries, Timeline, Verdict

# A refusal that the client asked for: it expected a revision, or contradicted itself.
_ASKED_FOR = frozenset({"RevisionConflict", "Unprocessable"})


class Found(NamedTuple):
    """Whether a claim held, and what was found."""

    held: bool
    detail: str


class Expectation(NamedTuple):
    """A key of [expect]."""

    says: str  # with {} for the value
    read: Reader
    judge: Callable[[Outcome, Claim], Found]


def verdicts(outcome: Outcome) -> list[Verdict]:
    """What became of everything that a plan expects."""
    found = []
    for key, given in outcome.plan.expect.items():
        expectation = EXPECTATIONS[key]
        for claim in claims(outcome.plan, key, given):
            held, detail = expectation.judge(outcome, claim)
            found.append(Verdict(_label(expectation, claim), held, detail))
    return found


def checked(violations: list[str]) -> list[Verdict]:
    """What became of everything that always has to hold."""
    found = []
    for check in ALL:
        said = [one for one in violations if one.startswith(f"{check.__name__}: ")]
        detail = "; ".join(one.partition(": ")[2] for one in said[:3])
        found.append(Verdict(check.__name__.replace("_", " "), not said, detail))
    return found


def claims(plan: Plan, key: str, given: Any) -> list[Claim]:
    """What a key of [expect] claims. Raises ValueError with what to write instead."""
    if key not in EXPECTATIONS:
        raise ValueError(f"it means nothing; {nearest(key, EXPECTATIONS)}")
    return read_claims(plan, given, EXPECTATIONS[key].read)


def course(outcome: Outcome) -> Timeline:
    """The timeline of a run, which expectations are about."""
    assert outcome.timeline is not None, "expectations need a run with its timeline"
    return outcome.timeline


def _label(expectation: Expectation, claim: Claim) -> str:
    value = claim.value
    if isinstance(value, bool):
        shown = "" if value else "not "
    elif isinstance(value, tuple):
        shown = ", ".join(value) or "none"
    else:
        shown = duration_text(value) if expectation.read is duration else f"{value:,}"
    return expectation.says.format(shown) + str(claim)


# -- judges --------------------------------------------------------------------------------------


def _whole_again(outcome: Outcome, claim: Claim) -> Found:
    line, left = course(outcome), outcome.history.unsettled
    if left is not None or line.whole_at is None:
        return Found(held=False, detail=left or "it never was")
    after = line.whole_at - line.over_at
    return Found(after <= claim.value, f"{after:.2f} s after the last fault")


def _window(outcome: Outcome, claim: Claim) -> list[int]:
    """The samples that a claim is about."""
    begins, ends = claim.window(course(outcome))
    times = course(outcome).times
    return [number for number, time in enumerate(times) if begins <= time <= ends]


def _most(
    outcome: Outcome, claim: Claim, series: Callable[[NodeSeries], list[Any]], unit: str
) -> list[tuple[float, str]]:
    """For each node, the most that a series has in the window, and in words."""
    line, window, most = course(outcome), _window(outcome, claim), []
    for name in outcome.plan.among(claim.at):
        values = series(line.nodes[name])
        found = [(values[i], line.times[i]) for i in window if not isnan(values[i])]
        if found:
            value, time = max(found, key=lambda one: one[0])
            most.append((value, f"{name} {value:.4g}{unit} at {duration_text(round(time, 1))}"))
    return most


def _at_least(
    series: Callable[[NodeSeries], list[Any]], unit: str = ""
) -> Callable[[Outcome, Claim], Found]:
    def judge(outcome: Outcome, claim: Claim) -> Found:
        most = _most(outcome, claim, series, unit)
        held = bool(most) and all(value >= claim.value for value, _ in most)
        return Found(held, "at most: " + "; ".join(words for _, words in most))

    return judge


def _at_most(
    series: Callable[[NodeSeries], list[Any]], unit: str = ""
) -> Callable[[Outcome, Claim], Found]:
    def judge(outcome: Outcome, claim: Claim) -> Found:
        most = _most(outcome, claim, series, unit)
        if not most:
            return Found(held=False, detail="nobody was up then")
        value, words = max(most, key=lambda one: one[0])
        return Found(value <= claim.value, f"at most: {words}")

    return judge


def _settles(outcome: Outcome, claim: Claim) -> Found:
    line, window = course(outcome), _window(outcome, claim)
    if not window:
        return Found(held=False, detail="there was no such time")
    grown = {
        name: line.nodes[name].settled[window[-1]] - line.nodes[name].settled[window[0]]
        for name in outcome.plan.among(claim.at)
    }
    held = all((more > 0) is claim.value for more in grown.values())
    return Found(held, "; ".join(f"{more} more at {name}" for name, more in grown.items()))


def _waits_for(outcome: Outcome, claim: Claim) -> Found:
    begins, ends = claim.window(course(outcome))
    wanted, said, held = outcome.plan.among(claim.value), [], True
    for name in outcome.plan.among(claim.at):
        labels = [
            risk.label.partition("waits for ")[2]
            for risk in course(outcome).risks
            if risk.kind == FINAL and name in risk.where and risk.begins < ends
            if risk.ends > begins
        ]
        held &= any(set(label.split(", ")) == set(wanted) for label in labels)
        said.append(f"{name} waits for {' and for '.join(labels) or 'nobody'}")
    return Found(held, "; ".join(said))


def _conflicts(outcome: Outcome, claim: Claim) -> int:
    begins, ends = claim.window(course(outcome))
    nodes = outcome.plan.among(claim.at)
    here = {*nodes, ""} if not claim.at else set(nodes)
    conflicts = course(outcome).conflicts
    return sum(one.node in here and begins <= one.at <= ends for one in conflicts)


def _conflicts_at_least(outcome: Outcome, claim: Claim) -> Found:
    count = _conflicts(outcome, claim)
    return Found(count >= claim.value, f"{count} conflicts")


def _conflicts_at_most(outcome: Outcome, claim: Claim) -> Found:
    count = _conflicts(outcome, claim)
    return Found(count <= claim.value, f"{count} conflicts")


def _appends(outcome: Outcome, claim: Claim) -> list[Append]:
    begins, ends = claim.window(course(outcome))
    nodes = set(outcome.plan.among(claim.at))
    return [
        one for one in outcome.history.appends if one.node in nodes and begins <= one.began <= ends
    ]


def _refusals(outcome: Outcome, claim: Claim) -> list[Append]:
    return [
        append
        for append in _appends(outcome, claim)
        if append.error is not None and append.error not in _ASKED_FOR
    ]


def _nothing_refused(outcome: Outcome, claim: Claim) -> Found:
    refused = _refusals(outcome, claim)
    first = f"; first {refused[0]}: {refused[0].error}" if refused else ""
    return Found(not refused, f"{len(refused)} refused{first}")


def _refused_only(outcome: Outcome, claim: Claim) -> Found:
    refused = [str(append.error) for append in _refusals(outcome, claim)]
    held = set(refused) == set(claim.value)
    counts = [f"{refused.count(name)} {name}" for name in sorted(set(refused))]
    return Found(held, "; ".join(counts) or "nothing was refused")


def _refused_at(outcome: Outcome, claim: Claim) -> Found:
    nodes = [append.node for append in _refusals(outcome, claim)]
    return _exactly(outcome, claim, nodes, "refused")


def _unanswered_at(outcome: Outcome, claim: Claim) -> Found:
    nodes = [
        append.node
        for append in _appends(outcome, claim)
        if append.receipt is None and append.error is None
    ]
    return _exactly(outcome, claim, nodes, "without an answer")


def _exactly(outcome: Outcome, claim: Claim, nodes: list[str], what: str) -> Found:
    """Whether each place of a claim is among these nodes, and no other node is."""
    wanted = set(outcome.plan.among(claim.value)) if claim.value else set()
    everywhere = all(set(outcome.plan.among([place])) & set(nodes) for place in claim.value)
    counts = [f"{nodes.count(name)} {what} at {name}" for name in sorted(set(nodes))]
    return Found(everywhere and set(nodes) <= wanted, "; ".join(counts) or f"nothing {what}")


def _accepted(outcome: Outcome, claim: Claim) -> dict[str, int]:
    counts = dict.fromkeys(claim.at or [site.name for site in outcome.plan.sites], 0)
    for append in _appends(outcome, claim):
        for name in (append.node, outcome.plan.site_of(append.node)):
            if name in counts and append.receipt is not None:
                counts[name] += 1
    return counts


def _accepted_at_least(outcome: Outcome, claim: Claim) -> Found:
    counts = _accepted(outcome, claim)
    held = all(count >= claim.value for count in counts.values())
    return Found(held, "; ".join(f"{count:,} at {name}" for name, count in counts.items()))


def _accepted_at_most(outcome: Outcome, claim: Claim) -> Found:
    counts = _accepted(outcome, claim)
    held = all(count <= claim.value for count in counts.values())
    return Found(held, "; ".join(f"{count:,} at {name}" for name, count in counts.items()))


def _writes_every(outcome: Outcome, claim: Claim) -> Found:
    """The longest time without an accepted append, unless all nodes of a site were down."""
    line, (begins, ends) = course(outcome), claim.window(course(outcome))
    longest, where, when = 0.0, "", begins
    for place in claim.at or [site.name for site in outcome.plan.sites]:
        nodes = outcome.plan.among([place])
        moments = [a.ended for a in outcome.history.appends if a.node in nodes and a.receipt]
        down = [
            time for i, time in enumerate(line.times) if not any(line.nodes[n].up[i] for n in nodes)
        ]
        inside = [time for time in [*moments, *down] if time and begins < time < ends]
        for before, after in pairwise([begins, *sorted(inside), ends]):
            if after - before > longest:
                longest, where, when = after - before, place, before
    detail = f"longest pause: {longest:.3g} s at {where}, from {duration_text(round(when, 1))} on"
    return Found(longest <= claim.value, detail)


def _answered(outcome: Outcome, claim: Claim) -> Found:
    took = [
        (append.ended - append.began, append.node)
        for append in _appends(outcome, claim)
        if append.ack == "local" and append.receipt is not None and append.ended is not None
    ]
    longest, node = max(took, default=(0.0, "nobody"))
    held = bool(took) and longest <= claim.value
    return Found(held, f"longest of {len(took):,}: {1000 * longest:.3g} ms at {node}")


def _up(outcome: Outcome, claim: Claim) -> Found:
    line, window = course(outcome), _window(outcome, claim)
    nodes = outcome.plan.among(claim.at)
    share = {name: sum(line.nodes[name].up[i] for i in window) for name in nodes}
    wanted = len(window) if claim.value else 0
    held = bool(window) and all(count == wanted for count in share.values())
    return Found(held, "; ".join(f"{name} {n} of {len(window)}" for name, n in share.items()))


def _notes(outcome: Outcome, claim: Claim) -> Found:
    begins, ends = claim.window(course(outcome))
    nodes = {*outcome.plan.among(claim.at)} if claim.at else {*outcome.plan.nodes, ""}
    notes = [
        f"{note.node} {note.label}".strip()
        for note in course(outcome).notes
        if note.node in nodes and begins <= note.at <= ends
    ]
    unsaid = [text for text in claim.value if not any(text in note for note in notes)]
    return Found(not unsaid, f"never said: {', '.join(unsaid)}" if unsaid else "all said")


def _reaches(outcome: Outcome, claim: Claim) -> Found:
    never = [mark for mark in claim.value if not outcome.marks[mark]]
    return Found(not never, f"never reached: {', '.join(never)}" if never else "all reached")


def _lag(series: NodeSeries) -> list[float]:
    return series.lag


def _missing(series: NodeSeries) -> list[int]:
    return series.missing


EXPECTATIONS: dict[str, Expectation] = {
    "whole_again_within": Expectation("whole again within {}", duration, _whole_again),
    "lag_at_least": Expectation("finality is {} behind or more", duration, _at_least(_lag, " s")),
    "lag_at_most": Expectation("finality is {} behind at most", duration, _at_most(_lag, " s")),
    "misses_at_least": Expectation("each misses {} commits or more", number, _at_least(_missing)),
    "misses_at_most": Expectation("none misses more than {} commits", number, _at_most(_missing)),
    "settles": Expectation("writes do {}become final", flag, _settles),
    "waits_for": Expectation("finality waits for {} alone", places, _waits_for),
    "conflicts_at_least": Expectation("{} conflicts or more", number, _conflicts_at_least),
    "conflicts_at_most": Expectation("{} conflicts at most", number, _conflicts_at_most),
    "nothing_refused": Expectation("no append is refused", only_true, _nothing_refused),
    "refused_only": Expectation("appends are refused as {} alone", error_names, _refused_only),
    "refused_at": Expectation("appends are refused at {} alone", places, _refused_at),
    "unanswered_at": Expectation("appends stay unanswered at {} alone", places, _unanswered_at),
    "accepted_at_least": Expectation("each takes {} appends or more", number, _accepted_at_least),
    "accepted_at_most": Expectation("each takes {} appends at most", number, _accepted_at_most),
    "writes_every": Expectation("each site takes an append every {}", duration, _writes_every),
    "answered_within": Expectation("local appends answered in {}", duration, _answered),
    "up": Expectation("nodes are {}up", flag, _up),
    "notes_say": Expectation("the course says {}", texts, _notes),
    "reaches": Expectation("it comes to {}", mark_names, _reaches),
}
