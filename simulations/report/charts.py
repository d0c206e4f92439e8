"""Rows of values over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, log10, nan
from typing import NamedTuple

from .canvas import Canvas, Font, Points, text_width
from .frame import Block, Frame, row_name
from .series import Point, runs, thin
from .words import duration

_DECADES = 10_000.0  # so much more than usual, and a scale is logarithmic
_APART = 11.0  # of two marks of a scale
_ABOVE = 16.0  # room over a chart for what is written at its peaks


@dataclass(frozen=True)
class Scale:
    """How high a value is; `low` is 0, or the smallest that a logarithmic scale tells apart."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """From 0 to 1."""
        if self.high <= self.low:
            return 0.0
        if not self.low:
            return min(max(value / self.high, 0.0), 1.0)
        value = min(max(value, self.low), self.high)
        return log10(value / self.low) / log10(self.high / self.low)


def scale_of(values: Sequence[float], *, may_be_log: bool = False) -> Scale:
    """One that holds all values."""
    known = sorted(value for value in values if isfinite(value) and value > 0)
    if not known:
        return Scale(0.0, 1.0)
    usual, high = known[len(known) // 4], known[-1]
    if may_be_log and high / usual > _DECADES:
        return Scale(10.0 ** int(log10(usual) - 1), high)
    return Scale(0.0, high)


class Curve(NamedTuple):
    """A line, or an area from the base, through (seconds, value)."""

    points: Sequence[Point]
    colour: str
    filled: bool = False
    below: bool = False  # hangs down from the base
    dash: tuple[float, float] = (0, 0)


class Remark(NamedTuple):
    """Words at a place in a chart."""

    at: float
    value: float
    words: str
    colour: str = "ink"
    below: bool = False


class Chart(NamedTuple):
    """What a row of values shows."""

    name: str
    scale: Scale
    curves: Sequence[Curve]
    remarks: Sequence[Remark] = ()
    ticks: Sequence[tuple[float, str]] = ()
    height: float = 40.0
    depth: float = 0.0  # below the base


def chart(frame: Frame, of: Chart) -> Block:
    """A row of values."""
    depth = of.depth + (15 if any(remark.below for remark in of.remarks) else 0)
    height = frame.head + _ABOVE + of.height + depth + 6

    def draw(canvas: Canvas, top: float) -> None:
        base = top + frame.head + _ABOVE + of.height
        row_name(canvas, frame, top, base - of.height / 2, of.name)
        above = inf
        for value, name in of.ticks:
            y = base - of.scale.share(value) * of.height
            if above - y < _APART:
                continue
            above = y
            canvas.line([(frame.left, y), (frame.right, y)], "rule")
            if not frame.narrow:
                canvas.text(frame.left - 6, y + 4, name, Font(10.5, "muted", anchor="end"))
        canvas.line([(frame.left, base), (frame.right, base)], "calm")
        for curve in of.curves:
            _draw(canvas, frame, of, curve, base)
        for remark in of.remarks:
            y = base + of.depth + 12
            if not remark.below:
                y = base - of.scale.share(remark.value) * of.height - 5
            _write(canvas, frame, remark, y)

    return Block(height, draw)


def _draw(canvas: Canvas, frame: Frame, of: Chart, curve: Curve, base: float) -> None:
    high = -of.height if curve.below else of.height
    for run in runs(curve.points):
        line = thin([(frame.x(at), base - of.scale.share(value) * high) for at, value in run])
        if curve.filled:
            line = [(x, base if abs(y - base) < 0.5 else y) for x, y in line]
            if any(y != base for _, y in line):
                around = [(line[0][0], base), *line, (line[-1][0], base)]
                canvas.area(around, f"{curve.colour}-soft")
                _outline(canvas, line, base, curve.colour)
        else:
            canvas.line(_visible(line), curve.colour, 1.5, curve.dash)


def _outline(canvas: Canvas, line: Points, base: float, colour: str) -> None:
    """Only where there is something: no line runs along the base."""
    ys = [base, *(y for _, y in line), base]
    beside = zip(ys, ys[2:], strict=False)
    off = (y != base or a != base or b != base for (_, y), (a, b) in zip(line, beside, strict=True))
    shown = ((x, y if keep else nan) for (x, y), keep in zip(line, off, strict=True))
    for piece in runs(shown):
        canvas.line(_visible(piece), colour, 1.25)


def _visible(line: Points) -> Points:
    return (
        line if len(line) > 1 else [(line[0][0] - 0.5, line[0][1]), (line[0][0] + 0.5, line[0][1])]
    )


def _write(canvas: Canvas, frame: Frame, remark: Remark, y: float) -> None:
    wide, at = text_width(remark.words, 11), frame.x(remark.at)
    x = min(max(at, frame.left + wide / 2), frame.right - wide / 2)
    x = frame.beside_marks(x - wide / 2, wide, (at, at)) + wide / 2
    canvas.text(x, y, remark.words, Font(11, remark.colour, anchor="middle"))


def sticks(frame: Frame, name: str, moments: Sequence[float], colour: str) -> Block:
    """A row of things that happened: the more at a time, the higher."""
    counts: dict[int, int] = {}
    for moment in moments:
        bucket = int(frame.x(moment) / 6)
        counts[bucket] = counts.get(bucket, 0) + 1
    most = max(counts.values(), default=1)

    def draw(canvas: Canvas, top: float) -> None:
        base = top + frame.head + 40
        row_name(canvas, frame, top, base - 10, name)
        canvas.line([(frame.left, base), (frame.right, base)], "calm")
        for bucket, count in sorted(counts.items()):
            x, high = min(bucket * 6 + 3, frame.right), 6 + 18 * count / most
            canvas.line([(x, base), (x, base - high)], colour, 1.5)
            tip = base - high
            canvas.area([(x - 3, tip), (x, tip - 3), (x + 3, tip), (x, tip + 3)], colour)
        if counts:
            peak = max(sorted(counts), key=lambda bucket: counts[bucket])
            words = f"at most {most:,} within {duration(frame.seconds(6))}"
            at = frame.seconds(peak * 6 + 3 - frame.left)
            _write(canvas, frame, Remark(at, 0, words, colour), base - 32)

    return Block(frame.head + 46, draw)
