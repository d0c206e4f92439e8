"""Rows of what lasted: bars with their names above them, in as many lanes as they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .canvas import Box, Canvas, Font, text_width
from .frame import Block, Frame, row_name, shortened

LANES_MAX = 5  # more than this, and bars lose their names
_LANE = 29.0
_BAR = 11.0


class Bar(NamedTuple):
    """Something that lasted."""

    begins: float
    ends: float
    label: str
    pattern: str = "solid"
    colour: str = "node"
    title: str = ""
    arrow: int = 0  # 1: from the first to the second of the row's name; -1: back


class Placed(NamedTuple):
    """Where a bar goes."""

    bar: Bar
    lane: int
    x: float
    end: float
    label_x: float | None  # None: no room for its name


def place(frame: Frame, bars: Sequence[Bar]) -> list[Placed]:
    """Find lanes in which nothing overlaps; when they are used up, names give way."""
    found: list[Placed] = []
    free: list[float] = []  # the x from which on a lane is free
    for bar in sorted(bars):
        x = frame.x(bar.begins)
        end = max(frame.x(bar.ends), x + 3)
        wide = text_width(_label(frame, bar), frame.size)
        label_x = max(0.0 if frame.narrow else frame.left, min(x, frame.right - wide))
        label_x = frame.beside_marks(label_x, wide, (x, end))
        lane = next((n for n, until in enumerate(free) if until <= label_x), len(free))
        if lane >= LANES_MAX:
            lane = next((n for n, until in enumerate(free) if until <= x), LANES_MAX - 1)
            found.append(Placed(bar, lane, x, end, None))
            free[lane] = max(free[lane], end + 2)
            continue
        free[lane : lane + 1] = [max(end, label_x + wide) + 8]
        found.append(Placed(bar, lane, x, end, label_x))
    return found


def _label(frame: Frame, bar: Bar) -> str:
    return shortened(bar.label, frame.right - frame.left, frame.size)


def strip(
    frame: Frame,
    name: str,
    bars: Sequence[Bar],
    base: Callable[[Canvas, float], None],
    *,
    over: bool = False,
) -> Block:
    """A row of bars above a line that `base` draws, or `over` it: the lowest lane covers it."""
    placed = place(frame, bars)
    lanes = max((one.lane + 1 for one in placed), default=0)
    foot = 20.0 - (_BAR / 2 + 10.0 if over and lanes else 0.0)
    height = frame.head + lanes * _LANE + foot

    def draw(canvas: Canvas, top: float) -> None:
        bottom = top + frame.head + lanes * _LANE
        middle = bottom - _BAR / 2 if over and lanes else bottom + 10.0
        row_name(canvas, frame, top, middle, name)
        base(canvas, middle)
        for one in placed:
            _draw(canvas, frame, one, bottom - one.lane * _LANE)

    return Block(height, draw)


def _draw(canvas: Canvas, frame: Frame, one: Placed, bottom: float) -> None:
    bar = one.bar
    box = Box(one.x, bottom - _BAR, one.end - one.x, _BAR)
    canvas.hatch(box, bar.pattern, bar.colour, bar.title or bar.label)
    if bar.arrow:
        _arrows(canvas, box, bar)
    if one.label_x is not None:
        font = Font(frame.size, bar.colour)
        canvas.text(one.label_x, bottom - _BAR - 4, _label(frame, bar), font)


def _arrows(canvas: Canvas, box: Box, bar: Bar) -> None:
    """Heads that point to where nothing arrives any more."""
    count = max(1, int(box.width / 60))
    middle, half = box.y + box.height / 2, box.height / 2 + 1.5
    for number in range(count):
        x = box.x + box.width * (number + 0.5) / count
        tip, back = x + 5 * bar.arrow, x - 4 * bar.arrow
        canvas.area([(tip, middle), (back, middle - half), (back, middle + half)], bar.colour)
