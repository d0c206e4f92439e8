"""What a scene is drawn on, whatever comes of it. Units are CSS pixels, colours are roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

Points = Sequence[tuple[float, float]]


class Box(NamedTuple):
    """A place for something."""

    x: float
    y: float
    width: float
    height: float


class Font(NamedTuple):
    """How words look; `anchor` is the part of them that x names: start, middle or end."""

    size: float = 12.0
    colour: str = "ink"
    bold: bool = False
    anchor: str = "start"


class Canvas(Protocol):
    """A surface. What has a title tells more when it is pointed at, where that is possible."""

    def rect(self, box: Box, colour: str, title: str = "") -> None:
        """Fill a rectangle."""

    def hatch(self, box: Box, pattern: str, colour: str, title: str = "") -> None:
        """Fill a rectangle with one of PATTERNS, and give it an edge."""

    def line(
        self, points: Points, colour: str, width: float = 1.0, dash: tuple[float, float] = (0, 0)
    ) -> None:
        """Draw a line through points; `dash`: so much line, then so much gap."""

    def area(self, points: Points, colour: str, title: str = "") -> None:
        """Fill a polygon."""

    def text(self, x: float, y: float, words: str, font: Font) -> None:
        """Write one line; y is where the letters stand."""


PATTERNS = ("diagonal", "broken", "upright", "solid")


def text_width(words: str, size: float) -> float:
    """About how wide words are, rather too much than too little."""
    return 0.56 * size * len(words)
