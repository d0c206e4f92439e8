"""Which rows a run has: its nodes, its links, and what was at risk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from ..timeline import Span, Timeline
from .canvas import Canvas
from .colours import of_site
from .frame import Block, Frame
from .series import changes
from .strips import Bar, strip
from .words import duration, listing, short

_LINK_ROWS_MAX = 8
_BRIEF_FROM = 6  # risks of one kind; with more, only places are named
_WAITS = ": it waits for "

_LOOKS = {
    **dict.fromkeys(("cut", "reset", "one-way", "silent", "drill"), ("diagonal", "cut")),
    "flap": ("broken", "cut"),
    **dict.fromkeys(("slow", "drip"), ("upright", "worse")),
    **dict.fromkeys(("loss", "duplicate", "reorder", "garble"), ("upright", "worse")),
    **dict.fromkeys(("clock", "drift", "strobe"), ("upright", "clock")),
    **dict.fromkeys(
        ("disk-full", "disk-stall", "disk-fails", "write-fails", "misread", "bit-rot"),
        ("diagonal", "disk"),
    ),
    "disk-slow": ("upright", "disk"),
    "pause": ("upright", "node"),
}


def told(span: Span) -> str:
    """All there is to say about something that lasted."""
    return f"{span.label}; from {duration(span.begins)}, for {duration(span.ends - span.begins)}"


def bar_of(span: Span, label: str = "", arrow: int = 0) -> Bar:
    """A fault as it is drawn."""
    pattern, colour = _LOOKS.get(span.kind, ("solid", "node"))
    label = label or short(span)
    return Bar(span.begins, span.ends, label, pattern, colour, told(span), arrow)


# -- nodes ---------------------------------------------------------------------------------------


def node_rows(frame: Frame, timeline: Timeline) -> Iterator[Block]:
    """A lane for each node: what was wrong with it, and when it was up."""
    for number, (_, nodes) in enumerate(timeline.sites):
        for node in nodes:
            bars = [
                bar_of(fault)
                for fault in timeline.faults
                if not fault.towards and node in fault.where
            ]
            yield strip(frame, node, bars, _Life(frame, timeline, node, of_site(number)))


class _Life:
    """The line of a node: drawn while it is up, crossed out where it went, a head where it came."""

    def __init__(self, frame: Frame, timeline: Timeline, node: str, colour: str) -> None:
        self._frame = frame
        self._colour = colour
        series, times = timeline.nodes.get(node), timeline.times
        self._changes: list[tuple[float, bool]] = []
        self._first, self._begins, self._ends = False, 0.0, timeline.length
        if series and times:
            self._first, self._begins, self._ends = series.up[0], times[0], times[-1]
            self._changes = changes(times, series.up)

    def __call__(self, canvas: Canvas, y: float) -> None:
        """Draw it."""
        since, is_up = self._begins, self._first
        for moment, now_up in [*self._changes, (self._ends, not self._first)]:
            self._piece(canvas, since, moment, y, is_up=is_up)
            since, is_up = moment, now_up
        for moment, now_up in self._changes:
            self._mark(canvas, self._frame.x(moment), y, came=now_up)

    def _piece(self, canvas: Canvas, since: float, until: float, y: float, *, is_up: bool) -> None:
        points = [(self._frame.x(since), y), (self._frame.x(until), y)]
        if is_up:
            canvas.line(points, self._colour, 3.0)
        else:
            canvas.line(points, "calm", 1.0, (2, 4))

    def _mark(self, canvas: Canvas, x: float, y: float, *, came: bool) -> None:
        if came:
            canvas.area([(x - 1, y - 6), (x + 7, y), (x - 1, y + 6)], self._colour)
        else:
            canvas.line([(x - 4, y - 5), (x + 4, y + 5)], "ink", 1.75)
            canvas.line([(x - 4, y + 5), (x + 4, y - 5)], "ink", 1.75)


# -- links ---------------------------------------------------------------------------------------


def link_rows(frame: Frame, timeline: Timeline) -> Iterator[Block]:
    """A row for each two sites: what was wrong between them."""
    sites = [site for site, _ in timeline.sites]
    rows: dict[str, list[Bar]] = {}
    if len(sites) <= 3:
        rows = {_pair(one, other): [] for one, other in combinations(sites, 2)}
    for fault in timeline.faults:
        if fault.towards:
            for row, bar in _links(timeline, fault):
                rows.setdefault(row, []).append(bar)
    if len(rows) > _LINK_ROWS_MAX:
        rows = _by_sides(timeline)
    for row, bars in rows.items():
        yield strip(frame, row, bars, _open(frame, timeline.length), over=True)


def _pair(one: str, other: str) -> str:
    return f"{one} \N{EN DASH} {other}" if one != other else f"within {one}"


def _open(frame: Frame, length: float) -> Callable[[Canvas, float], None]:
    """The line of a link."""

    def draw(canvas: Canvas, y: float) -> None:
        canvas.line([(frame.x(0), y), (frame.x(length), y)], "calm", 1.5)

    return draw


def _links(timeline: Timeline, fault: Span) -> Iterator[tuple[str, Bar]]:
    """The rows that a fault of links belongs to."""
    sites = [site for site, _ in timeline.sites]
    here, there = _sites(timeline, fault.where), _sites(timeline, fault.towards)
    pairs = {
        (min(a, b), max(a, b))
        for a in map(sites.index, here)
        for b in map(sites.index, there)
        if a != b
    }
    if len(pairs) == len(sites) * (len(sites) - 1) // 2 > 1:
        yield "every link", bar_of(fault)
        return
    if not pairs:
        yield f"within {listing(here)}", bar_of(fault, _narrowed(timeline, fault))
    for a, b in sorted(pairs):
        arrow = _arrow(fault, sites[a] in here)
        label = _narrowed(timeline, fault)
        if arrow:
            ends = (sites[a], sites[b])[::arrow]
            label += f", nothing from {ends[0]} to {ends[1]}"
        yield _pair(sites[a], sites[b]), bar_of(fault, label, arrow)


def _arrow(fault: Span, from_first: bool) -> int:  # noqa: FBT001 - which end it is
    if fault.kind not in {"one-way", "silent"}:
        return 0
    return 1 if from_first else -1


def _narrowed(timeline: Timeline, fault: Span) -> str:
    """A fault's name, and the nodes that it is about if that is not all of their sites."""
    named = {*fault.where, *fault.towards}
    touched = _sites(timeline, [*fault.where, *fault.towards])
    only = [
        node
        for site, nodes in timeline.sites
        if site in touched and not named.issuperset(nodes)
        for node in nodes
        if node in named
    ]
    return short(fault) + (f", only {listing(only)}" if only else "")


def _sites(timeline: Timeline, nodes: Sequence[str]) -> list[str]:
    """The sites that nodes are in."""
    return [site for site, members in timeline.sites if any(node in nodes for node in members)]


def _by_sides(timeline: Timeline) -> dict[str, list[Bar]]:
    """Where the pairs are too many: a row for each place that faults begin at."""
    rows: dict[str, list[Bar]] = {}
    for fault in timeline.faults:
        if fault.towards:
            here = _sites(timeline, fault.where)
            row = "every link" if len(here) == len(timeline.sites) else f"links of {listing(here)}"
            there = listing(_sites(timeline, fault.towards))
            rows.setdefault(row, []).append(bar_of(fault, f"{short(fault)}, towards {there}"))
    return rows


# -- promises ------------------------------------------------------------------------------------


def risk_rows(frame: Frame, timeline: Timeline) -> Iterator[Block]:
    """A row for each promise that hung by a thread; what nodes of a site share is told once."""
    rows: dict[str, list[Span]] = {}
    for span in timeline.risks:
        rows.setdefault(span.kind, []).append(span)
    for kind in sorted(rows):
        spans = _merged(timeline, rows[kind])
        bars = [_risk(timeline, span, brief=len(spans) > _BRIEF_FROM) for span in spans]
        yield strip(frame, kind, bars, lambda _canvas, _y: None, over=True)


def _merged(timeline: Timeline, spans: Sequence[Span]) -> list[Span]:
    """What overlaps in one site, as one."""
    done: list[Span] = []
    last: dict[tuple[str, ...], int] = {}  # site -> the place of its newest in `done`
    for span in sorted(spans, key=lambda span: (span.begins, span.where)):
        site = tuple(_sites(timeline, span.where))
        before = done[last[site]] if site in last else None
        if before and span.begins <= before.ends:
            where = tuple(dict.fromkeys((*before.where, *span.where)))
            done[last[site]] = replace(before, ends=max(before.ends, span.ends), where=where)
        else:
            last[site] = len(done)
            done.append(span)
    return done


def _risk(timeline: Timeline, span: Span, *, brief: bool) -> Bar:
    _, waits, whom = span.label.partition(_WAITS)
    who = listing(_places(timeline, span.where))
    label = f"{who} waits for {_whom(timeline, whom)}" if waits else span.label
    if brief and who:
        label = f"only {who}" if label.startswith("only ") else who
    return Bar(span.begins, span.ends, label, "solid", "worse", told(span))


def _whom(timeline: Timeline, names: str) -> str:
    return listing(_places(timeline, names.split(", ")))


def _places(timeline: Timeline, nodes: Sequence[str]) -> list[str]:
    """Nodes by name, or a site's name if they are all of it."""
    whole = {
        node: site
        for site, members in timeline.sites
        if len(members) > 1 and set(members) <= set(nodes)
        for node in members
    }
    return list(dict.fromkeys(whole.get(node, node) for node in nodes))


def reason(timeline: Timeline, nodes: Sequence[str]) -> str:
    """For whom nodes had to wait longest before something was final."""
    longest, found = 0.0, ""
    for span in timeline.risks:
        _, _, whom = span.label.partition(_WAITS)
        lasted = span.ends - span.begins
        if whom and lasted > longest and any(node in nodes for node in span.where):
            longest, found = lasted, f"waits for {_whom(timeline, whom)}"
    return found
