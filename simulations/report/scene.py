"""The drawing of a run: the same rows on every canvas, at any width."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from ..timeline import Timeline
from .canvas import Canvas, Font
from .charts import Chart, Curve, Remark, Scale, chart, scale_of, sticks
from .colours import of_site
from .frame import Block, Frame, axis, backdrop, heading, milestones, opening
from .rows import link_rows, node_rows, reason, risk_rows
from .series import Point, rates, steps, summed
from .words import duration, listing, pace, tone, verdict

_LAG_TICKS = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 86_400.0)
_GAP = Block(10, lambda _canvas, _top: None)
_TONES = {"held": "good", "broke": "bad", "open": "muted"}
_DASHES = ((0, 0), (5, 3), (2, 3), (8, 3))


@dataclass(frozen=True)
class Scene:
    """Blocks below each other, and what lies behind them."""

    frame: Frame
    blocks: Sequence[Block]
    behind: Callable[[Canvas, float, float], None]  # from top to bottom
    header: Block | None = None

    @property
    def width(self) -> float:
        """Of all."""
        return self.frame.width

    @property
    def height(self) -> float:
        """Of all."""
        above = self.header.height if self.header else 0.0
        return above + sum(block.height for block in self.blocks)

    def draw(self, canvas: Canvas) -> None:
        """Draw it, once."""
        top = 0.0
        if self.header:
            self.header.draw(canvas, top)
            top = self.header.height
        self.behind(canvas, top, self.height)
        for block in self.blocks:
            block.draw(canvas, top)
            top += block.height


def scene(timeline: Timeline, width: float, header: Block | None = None) -> Scene:
    """All rows of a run, `width` wide."""
    frame = Frame(width, timeline.length)
    marks = tuple(moment for _, moment, _ in milestones(frame, timeline))
    frame = replace(frame, marks=marks)
    blocks = [opening(frame, timeline), axis(frame), *_rows(frame, timeline), axis(frame)]

    def behind(canvas: Canvas, top: float, bottom: float) -> None:
        backdrop(canvas, frame, timeline, top, bottom)

    return Scene(frame, blocks, behind, header)


def headed(timeline: Timeline, width: float) -> Scene:
    """The same below its title, for where there is no page around it."""

    def draw(canvas: Canvas, top: float) -> None:
        canvas.text(0, top + 24, timeline.title, Font(26, bold=True))
        canvas.text(0, top + 52, verdict(timeline), Font(15, _TONES[tone(timeline)]))
        where = f"seed {timeline.seed}" + (f", trace {timeline.trace}" if timeline.trace else "")
        canvas.text(0, top + 74, where, Font(11, "muted"))

    return scene(timeline, width, Block(100, draw))


def _rows(frame: Frame, timeline: Timeline) -> Iterator[Block]:
    """All sections; those that have nothing to show are left out."""
    parts: list[tuple[str, str, Sequence[Block]]] = [
        (
            "Nodes",
            "A line while it is up, a cross where it went down, an arrowhead where it came back.",
            list(node_rows(frame, timeline)),
        ),
        (
            "Links",
            "Hatched: nothing passes; an arrowhead: not that way. Striped: it passes, but badly.",
            list(link_rows(frame, timeline)),
        ),
        (
            "Appends",
            "Accepted ones above the line; refused ones below it, in red.",
            list(_append_rows(frame, timeline)),
        ),
        (
            "Lag",
            f"How far the watermark is behind: what is older is final{_scale_note(timeline)}.",
            list(_lag_rows(frame, timeline)),
        ),
        (
            "Missing",
            "Commits that are held elsewhere and that the site's most backward node still lacks.",
            list(_missing_rows(frame, timeline)),
        ),
        (
            "Conflicts",
            "Appends that came second: another had taken the revision that they expected.",
            _conflict_rows(frame, timeline),
        ),
        (
            "Promises at risk",
            "When a promise hung on one place alone, or had to wait; and for whom.",
            list(risk_rows(frame, timeline)),
        ),
    ]
    for title, note, blocks in parts:
        if blocks:
            yield heading(frame, title, note)
            yield from blocks
            yield _GAP


# -- appends -------------------------------------------------------------------------------------


def _append_rows(frame: Frame, timeline: Timeline) -> Iterator[Block]:
    """Accepted and refused ones of each site, on one scale."""
    found = []
    for number, (site, nodes) in enumerate(timeline.sites):
        known = [timeline.nodes[node] for node in nodes if node in timeline.nodes]
        if known and timeline.times:
            shortest = frame.seconds(8)
            accepted = summed([series.accepted for series in known])
            refused = summed([series.refused for series in known])
            taken = steps(rates(timeline.times, accepted, shortest))
            lost = steps(rates(timeline.times, refused, shortest))
            found.append((site, of_site(number), taken, lost, refused[-1] - refused[0]))
    scale = scale_of([value for _, _, *both, _ in found for line in both for _, value in line])
    for site, colour, taken, lost, count in found:
        curves = [Curve(taken, colour, filled=True)]
        remarks = _peak(taken, lambda value: f"at most {pace(value)}", colour)
        if count:
            curves.append(Curve(lost, "bad", filled=True, below=True))
            at = max(lost, key=lambda point: point[1])[0]
            remarks.append(Remark(at, 0, f"{count:,} refused", "bad", below=True))
        depth = 34 * scale.share(max(value for _, value in lost)) if count else 0.0
        yield chart(frame, Chart(site, scale, curves, remarks, height=34, depth=depth))


def _peak(points: Sequence[Point], say: Callable[[float], str], colour: str) -> list[Remark]:
    """What to write at the highest point."""
    if not points:
        return []
    at, value = max(points, key=lambda point: point[1])
    return [Remark(at, value, say(value), colour)] if value > 0 else []


# -- lag -----------------------------------------------------------------------------------------


def _lag_scale(timeline: Timeline) -> Scale:
    lags = [lag for series in timeline.nodes.values() for lag in series.lag]
    return scale_of(lags, may_be_log=True)


def _scale_note(timeline: Timeline) -> str:
    return " (logarithmic scale)" if _lag_scale(timeline).low else ""


def _lag_rows(frame: Frame, timeline: Timeline) -> Iterator[Block]:
    """A line for each node, in a chart for each site, on one scale."""
    scale = _lag_scale(timeline)
    ticks = _lag_ticks(scale)
    for number, (site, nodes) in enumerate(timeline.sites):
        lags = {node: timeline.nodes[node].lag for node in nodes if node in timeline.nodes}
        known = [lag for values in lags.values() for lag in values if isfinite(lag)]
        if not known:
            continue
        curves = [
            Curve(
                list(zip(timeline.times, values, strict=True)),
                of_site(number),
                filled=len(lags) == 1,
                dash=_DASHES[place % len(_DASHES)],
            )
            for place, values in enumerate(lags.values())
        ]
        remarks = [_longest(timeline, lags, of_site(number))]
        yield chart(frame, Chart(site, scale, curves, remarks, ticks, height=52))


def _lag_ticks(scale: Scale) -> list[tuple[float, str]]:
    if scale.low:
        shown = [tick for tick in _LAG_TICKS if scale.low <= tick <= scale.high]
        return [(tick, duration(tick)) for tick in shown]
    return [(scale.high, duration(scale.high))]


def _longest(timeline: Timeline, lags: dict[str, list[float]], colour: str) -> Remark:
    """The longest lag of a site: how long, whose, and for whom it had to wait."""
    most = {node: max(filter(isfinite, values), default=0.0) for node, values in lags.items()}
    high = max(most.values())
    whose = [node for node, value in most.items() if value >= 0.9 * high]
    at = timeline.times[lags[whose[0]].index(most[whose[0]])]
    words = f"{listing(whose)}: " if len(whose) < len(lags) else ""
    waits = reason(timeline, whose)
    words += duration(high) + (f", {waits}" if waits else "")
    return Remark(at, high, words, colour)


# -- the rest ------------------------------------------------------------------------------------


def _missing_rows(frame: Frame, timeline: Timeline) -> Iterator[Block]:
    """What the node farthest behind of each site does not hold yet."""
    found = []
    for number, (site, nodes) in enumerate(timeline.sites):
        known = [timeline.nodes[node].missing for node in nodes if node in timeline.nodes]
        most = [max(values) for values in zip(*known, strict=True)]
        points = [(at, float(value)) for at, value in zip(timeline.times, most, strict=False)]
        found.append((site, of_site(number), points))
    scale = scale_of([value for *_, points in found for _, value in points])
    if any(value for *_, points in found for _, value in points):
        for site, colour, points in found:
            remarks = _peak(points, lambda value: f"{value:,.0f}", colour)
            curves = [Curve(points, colour, filled=True)]
            yield chart(frame, Chart(site, scale, curves, remarks, height=34))


def _conflict_rows(frame: Frame, timeline: Timeline) -> list[Block]:
    if not timeline.conflicts:
        return []
    name = f"{len(timeline.conflicts):,} in all"
    return [sticks(frame, name, [conflict.at for conflict in timeline.conflicts], "cut")]
