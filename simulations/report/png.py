"""A canvas that becomes a PNG, in the light colours, and the picture of a run."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from unicodedata import combining, normalize

from PIL import Image, ImageDraw, ImageFont

from ..timeline import Timeline
from .canvas import Box, Font, Points
from .colours import LIGHT
from .scene import headed

SCALE = 2  # pixels a unit, for sharpness
WIDTH = 1120.0
MARGIN = 28.0
_HALO = 3  # pixels around letters, so that they stay readable on lines

_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def picture(timeline: Timeline) -> bytes:
    """The timeline of a run as a PNG."""
    scene = headed(timeline, WIDTH)
    canvas = PngCanvas(scene.width + 2 * MARGIN, scene.height + 2 * MARGIN)
    scene.draw(canvas)
    return canvas.document()


class PngCanvas:
    """Draws with Pillow and the font that it brings along, so it needs no other."""

    def __init__(self, width: float, height: float) -> None:
        size = round(width * SCALE), round(height * SCALE)
        self._image = Image.new("RGB", size, LIGHT["paper"])
        self._draw = ImageDraw.Draw(self._image)

    def document(self) -> bytes:
        """The whole drawing."""
        out = BytesIO()
        self._image.save(out, "PNG", optimize=True)
        return out.getvalue()

    def rect(self, box: Box, colour: str, title: str = "") -> None:
        """Fill a rectangle."""
        self._draw.rectangle(_corners(box), fill=LIGHT[colour])

    def hatch(self, box: Box, pattern: str, colour: str, title: str = "") -> None:
        """Fill a rectangle with a pattern, drawn on its own and put into place."""
        (left, top), (right, bottom) = _corners(box)
        width, height = max(1, round(right - left)), max(1, round(bottom - top))
        tile = Image.new("RGB", (width, height), LIGHT[f"{colour}-soft"])
        draw, ink = ImageDraw.Draw(tile), LIGHT[colour]
        if pattern == "diagonal":
            for x in range(-height, width, round(8.5 * SCALE)):
                draw.line([(x, height), (x + height, 0)], ink, SCALE)
        elif pattern == "broken":
            for x in range(SCALE, width, 9 * SCALE):
                draw.rectangle([(x, 0), (x + 4 * SCALE, height)], ink)
        elif pattern == "upright":
            for x in range(3 * SCALE, width, 7 * SCALE):
                draw.line([(x, 0), (x, height)], ink, SCALE)
        draw.rectangle([(0, 0), (width - 1, height - 1)], outline=ink, width=SCALE)
        self._image.paste(tile, (round(left), round(top)))

    def line(
        self, points: Points, colour: str, width: float = 1.0, dash: tuple[float, float] = (0, 0)
    ) -> None:
        """Draw a line through points; only level lines are dashed."""
        wide, ink = max(1, round(width * SCALE)), LIGHT[colour]
        (x, y), (end, level) = points[0], points[-1]
        if any(dash) and y == level and len(points) == 2:
            while x < end:
                self._line([(x, y), (min(x + dash[0], end), y)], ink, wide)
                x += sum(dash)
        else:
            self._line(points, ink, wide)

    def _line(self, points: Points, ink: str, wide: int) -> None:
        self._draw.line([_at(*point) for point in points], ink, wide, joint="curve")

    def area(self, points: Points, colour: str, title: str = "") -> None:
        """Fill a polygon."""
        if len(points) > 1:
            self._draw.polygon([_at(*point) for point in points], fill=LIGHT[colour])

    def text(self, x: float, y: float, words: str, font: Font) -> None:
        """Write one line."""
        anchor, ink = _ANCHORS[font.anchor], LIGHT[font.colour]
        stroke = 0.6 if font.bold else 0
        letters, where, plain = _letters(font.size), _at(x, y), _plain(words)
        self._draw.text(where, plain, LIGHT["paper"], letters, anchor, stroke_width=_HALO)
        self._draw.text(where, plain, ink, letters, anchor, stroke_width=stroke)


def _plain(words: str) -> str:
    """In the letters that Pillow's font has."""
    words = normalize("NFKD", words.replace("\N{EN DASH}", "-"))
    return "".join(c if c.isascii() else "?" for c in words if not combining(c))


@cache
def _letters(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)


def _at(x: float, y: float) -> tuple[float, float]:
    return (x + MARGIN) * SCALE, (y + MARGIN) * SCALE


def _corners(box: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    return _at(box.x, box.y), _at(box.x + box.width, box.y + box.height)
