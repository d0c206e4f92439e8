"""The time axis that all rows share, and the blocks that stand below each other on it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..timeline import Span, Timeline
from .canvas import Box, Canvas, Font, text_width
from .words import duration

CUTS = frozenset({"cut", "reset", "one-way", "silent", "flap"})
NARROW = 600.0  # below this, the names of rows stand above them
_COLUMNS_MAX = 5  # with more cuts, shading them through all rows tells nothing
_AWAY = 4.0  # words from a line beside them
_NICE = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800),
    *(21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600),
)


@dataclass(frozen=True)
class Frame:
    """Where a moment is on the x axis."""

    width: float
    length: float  # seconds
    marks: tuple[float, ...] = ()  # moments that a line is drawn at through all rows

    @property
    def narrow(self) -> bool:
        """Whether there is no room beside the rows."""
        return self.width < NARROW

    @property
    def left(self) -> float:
        """Where the first moment is."""
        return 1.0 if self.narrow else 160.0

    @property
    def right(self) -> float:
        """Where the last moment is."""
        return self.width - (1.0 if self.narrow else 12.0)

    @property
    def size(self) -> float:
        """Of letters."""
        return 11.5 if self.narrow else 12.0

    @property
    def head(self) -> float:
        """Height of a row's name, if it stands above it."""
        return 17.0 if self.narrow else 0.0

    def x(self, moment: float) -> float:
        """The place of a moment; what lies outside is drawn at the edge."""
        share = min(max(moment / self.length, 0.0), 1.0) if self.length > 0 else 0.0
        return self.left + share * (self.right - self.left)

    def seconds(self, pixels: float) -> float:
        """How long so many pixels are."""
        return pixels * self.length / (self.right - self.left)

    def beside_marks(self, x: float, wide: float, of: tuple[float, float]) -> float:
        """Where to begin words that would begin at `x`: the nearest place that no mark crosses.

        They stay with what they are `of`, from its left to its right. Where that leaves no place,
        they begin at `x`.
        """
        lines = [self.x(mark) for mark in self.marks]
        sides = [side for line in lines for side in (line - wide - _AWAY, line + _AWAY)]
        first, last = of[0] - wide - 2 * _AWAY, of[1] + 2 * _AWAY
        free = [
            place
            for place in (x, *sides)
            if self.left <= place <= self.right - wide
            and first <= place <= last
            and not any(place < line < place + wide for line in lines)
        ]
        return min(free, key=lambda place: abs(place - x), default=x)

    def ticks(self) -> list[tuple[float, str]]:
        """Moments to name."""
        room = self.seconds(64.0 if self.narrow else 86.0)
        step = next((step for step in _NICE if step >= room), _NICE[-1])
        while self.length / step > 40:
            step *= 2
        unit, name = _unit(step)
        count = int(self.length / step + 1e-9) if self.length > 0 else 0
        return [(n * step, f"{n * step / unit:g} {name}" if n else "0") for n in range(count + 1)]


def _unit(step: float) -> tuple[float, str]:
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if step >= unit:
            return unit, name
    return 1, "s"


class Block(NamedTuple):
    """A part of the scene."""

    height: float
    draw: Callable[[Canvas, float], None]  # the canvas, and where the block begins


def row_name(canvas: Canvas, frame: Frame, top: float, middle: float, name: str) -> None:
    """Write a row's name beside its middle, or above it where it is narrow."""
    if frame.narrow:
        canvas.text(0, top + 12, shortened(name, frame.width, frame.size), Font(frame.size))
        return
    room = frame.left - 10
    lines = textwrap.wrap(name, int(room / (0.57 * frame.size)))[:3] or [""]
    for number, line in enumerate(lines):
        y = middle + 4 + 15 * (number - (len(lines) - 1) / 2)
        canvas.text(0, y, shortened(line, room, frame.size), Font(frame.size))


def shortened(name: str, width: float, size: float) -> str:
    """As much of a name as fits."""
    fits = int(width / (0.52 * size))
    return name if len(name) <= fits else name[: max(1, fits - 3)] + "..."


def heading(frame: Frame, title: str, note: str) -> Block:
    """What the rows below are, and how they are read."""
    room = frame.right - (0 if frame.narrow else frame.left)
    lines = textwrap.wrap(note, int(room / (0.53 * frame.size)))

    def draw(canvas: Canvas, top: float) -> None:
        canvas.line([(0, top + 14), (frame.right, top + 14)], "rule")
        canvas.text(0, top + 36, title, Font(13, bold=True))
        for number, line in enumerate(lines):
            x = 0 if frame.narrow else frame.left
            y = top + 36 + 16 * (number + frame.narrow)
            canvas.text(x, y, line, Font(frame.size, "muted"))

    return Block(46 + 16 * (len(lines) - 1 + frame.narrow), draw)


def axis(frame: Frame) -> Block:
    """The moments, named."""

    def draw(canvas: Canvas, top: float) -> None:
        for moment, name in frame.ticks():
            x = frame.x(moment)
            half = text_width(name, 11) / 2
            anchor = "start" if x - half < frame.left else "middle"
            anchor = "end" if x + half > frame.width else anchor
            canvas.text(x, top + 13, name, Font(11, "muted", anchor=anchor))

    return Block(20, draw)


def milestones(frame: Frame, timeline: Timeline) -> list[tuple[str, float, str]]:
    """Moments that are marked through all rows: name, when, colour."""
    found = [("all faults over", timeline.over_at, "ink")]
    if timeline.whole_at is not None:
        after = duration(max(0.0, timeline.whole_at - timeline.over_at))
        found.append((f"whole again, {after} later", timeline.whole_at, "good"))
    found += [
        ("every node restarted", phase.begins, "muted")
        for phase in timeline.phases
        if phase.kind == "restart" and not _fits(frame, phase)
    ]
    return found


def _fits(frame: Frame, phase: Span) -> bool:
    """Whether there is room for a phase's name."""
    return text_width(phase.label, 11) + 8 < frame.x(phase.ends) - frame.x(phase.begins)


def opening(frame: Frame, timeline: Timeline) -> Block:
    """The phases and the milestones, by name."""
    marked = milestones(frame, timeline)

    def draw(canvas: Canvas, top: float) -> None:
        for phase in timeline.phases:
            if _fits(frame, phase):
                canvas.text(frame.x(phase.begins) + 5, top + 14, phase.label, Font(11, "muted"))
        for number, (name, moment, colour) in enumerate(marked):
            x, y = frame.x(moment), top + 32 + 16 * number
            ends = x + text_width(name, frame.size) + 8 > frame.right
            font = Font(frame.size, colour, bold=True, anchor="end" if ends else "start")
            canvas.text(x + (-6 if ends else 6), y, name, font)

    return Block(24 + 16 * len(marked), draw)


def backdrop(canvas: Canvas, frame: Frame, timeline: Timeline, top: float, bottom: float) -> None:
    """What lies behind all rows: phases, cuts, the grid and the milestones."""
    for phase in timeline.phases:
        if phase.kind in {"trouble", "frozen"}:
            _column(canvas, frame, phase, (top, bottom), phase.kind)
    marked = milestones(frame, timeline)
    rows = top + 42 + 16 * len(marked), bottom - 20
    cuts = [fault for fault in timeline.faults if fault.kind in CUTS]
    for cut in cuts if len(cuts) <= _COLUMNS_MAX else ():
        _column(canvas, frame, cut, rows, "column")
    for moment, _ in frame.ticks():
        canvas.line([(frame.x(moment), y) for y in rows], "rule")
    for number, (_, moment, colour) in enumerate(marked):
        x = frame.x(moment)
        canvas.line([(x, top + 22 + 16 * number), (x, bottom)], colour, 1.5 if number else 1.0)


def _column(
    canvas: Canvas, frame: Frame, span: Span, ends: tuple[float, float], colour: str
) -> None:
    x = frame.x(span.begins)
    box = Box(x, ends[0], frame.x(span.ends) - x, ends[1] - ends[0])
    canvas.rect(box, colour, span.label)
