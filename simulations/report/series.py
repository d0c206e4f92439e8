"""From samples to as many points as can be seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import isfinite
from typing import NamedTuple

Point = tuple[float, float]

_SEEN = 0.5  # pixels


def runs(points: Iterable[Point]) -> Iterator[list[Point]]:
    """The stretches between points that have no value."""
    run: list[Point] = []
    for point in points:
        if isfinite(point[1]):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def thin(points: Sequence[Point], step: float = 2.5) -> list[Point]:
    """The lowest and the highest point of each `step` in x, and both ends; the rest is unseen."""
    if len(points) < 3:
        return list(points)
    kept: list[Point] = [points[0]]
    bucket: list[Point] = []
    for point in points[1:-1]:
        if bucket and int(point[0] / step) != int(bucket[0][0] / step):
            kept += _extremes(bucket)
            bucket = []
        bucket.append(point)
    kept += _extremes(bucket)
    kept.append(points[-1])
    return _straightened(kept)


def _extremes(bucket: Sequence[Point]) -> list[Point]:
    """In the order in which they come."""
    places = range(len(bucket))
    low = min(places, key=lambda place: bucket[place][1])
    high = max(places, key=lambda place: bucket[place][1])
    return [bucket[place] for place in sorted({low, high})]


def _straightened(points: Sequence[Point]) -> list[Point]:
    """Without what lies on a straight line between others, as far as can be seen."""
    kept = {0, len(points) - 1}
    open_ = [(0, len(points) - 1)]
    while open_:
        first, last = open_.pop()
        (x, y), (end, level) = points[first], points[last]
        slope = (level - y) / (end - x) if end > x else 0.0
        off, farthest = max(
            (
                (abs(points[n][1] - y - slope * (points[n][0] - x)), n)
                for n in range(first + 1, last)
            ),
            default=(0.0, first),
        )
        if off > _SEEN:
            kept.add(farthest)
            open_ += [(first, farthest), (farthest, last)]
    return [points[place] for place in sorted(kept)]


class Rate(NamedTuple):
    """So many a second, for a while."""

    begins: float
    ends: float
    value: float


def rates(times: Sequence[float], counts: Sequence[int], shortest: float) -> list[Rate]:
    """How fast a count grows, over stretches of at least `shortest` seconds."""
    found: list[Rate] = []
    if not times:
        return found
    since, before = times[0], counts[0]
    for now, count in zip(times[1:], counts[1:], strict=True):
        if now - since >= shortest and now > since:
            found.append(Rate(since, now, max(0, count - before) / (now - since)))
            since, before = now, count
    return found


def steps(rates: Sequence[Rate]) -> list[Point]:
    """Rates as a line of steps; stretches that follow each other are joined."""
    points: list[Point] = []
    for rate in rates:
        points += [(rate.begins, rate.value), (rate.ends, rate.value)]
    return points


def summed(series: Sequence[Sequence[int]]) -> list[int]:
    """One sum for each sample."""
    return [sum(values) for values in zip(*series, strict=True)]


def changes(times: Sequence[float], up: Sequence[bool]) -> list[tuple[float, bool]]:
    """When a node came and went, after the first sample."""
    pairs = pairwise(zip(times, up, strict=True))
    return [(now, is_up) for (_, was_up), (now, is_up) in pairs if was_up != is_up]
