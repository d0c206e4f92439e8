"""A canvas that becomes SVG, inside a page that says what the colours are."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from .canvas import Box, Font, Points


class SvgCanvas:
    """Collects elements; `name` keeps the ids of several drawings on one page apart."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parts: list[str] = []
        self._patterns: dict[str, str] = {}

    def document(self, width: float, height: float, label: str, data: str = "") -> str:
        """The whole drawing."""
        label = escape(label)
        patterns = "".join(self._patterns[key] for key in sorted(self._patterns))
        return (
            f'<svg viewBox="0 0 {_n(width)} {_n(height)}" role="img" aria-label="{label}" {data}>'
            f"<defs>{patterns}</defs>{''.join(self._parts)}</svg>"
        )

    def rect(self, box: Box, colour: str, title: str = "") -> None:
        """Fill a rectangle."""
        self._add(f'<rect {_box(box)} class="f-{colour}"', "rect", title)

    def hatch(self, box: Box, pattern: str, colour: str, title: str = "") -> None:
        """Fill a rectangle with a pattern."""
        below = f'<rect {_box(box)} rx="2" class="f-{colour}-soft s-{colour}"'
        if pattern == "solid":
            self._add(below, "rect", title)
            return
        key = f"{self._name}-{pattern}-{colour}"
        self._patterns[key] = _pattern(key, pattern, colour)
        self._add(below, "rect", "")
        self._add(f'<rect {_box(box)} fill="url(#{key})"', "rect", title)

    def line(
        self, points: Points, colour: str, width: float = 1.0, dash: tuple[float, float] = (0, 0)
    ) -> None:
        """Draw a line through points."""
        dashes = f' stroke-dasharray="{_n(dash[0])} {_n(dash[1])}"' if any(dash) else ""
        wide = f' stroke-width="{_n(width)}"' if width != 1 else ""
        self._parts.append(f'<path d="{_path(points)}" class="l s-{colour}"{wide}{dashes}/>')

    def area(self, points: Points, colour: str, title: str = "") -> None:
        """Fill a polygon."""
        self._add(f'<path d="{_path(points)}z" class="f-{colour}"', "path", title)

    def text(self, x: float, y: float, words: str, font: Font) -> None:
        """Write one line."""
        anchor = f' text-anchor="{font.anchor}"' if font.anchor != "start" else ""
        bold = ' font-weight="600"' if font.bold else ""
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(font.size)}"{anchor}{bold}'
            f' class="f-{font.colour}">{escape(words)}</text>'
        )

    def _add(self, element: str, tag: str, title: str) -> None:
        end = f"><title>{escape(title)}</title></{tag}>" if title else "/>"
        self._parts.append(element + end)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _box(box: Box) -> str:
    return f'x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}"'


def _path(points: Points) -> str:
    """In tenths and relative to the last point, which is shortest."""
    tenths = [(round(x * 10), round(y * 10)) for x, y in points]
    parts = [f"M{_t(tenths[0][0])} {_t(tenths[0][1])}"]
    for (x, y), (next_x, next_y) in pairwise(tenths):
        right, down = next_x - x, next_y - y
        if right and down:
            parts.append(f"l{_t(right)} {_t(down)}".replace(" -", "-"))
        elif right or down:
            parts.append(f"h{_t(right)}" if right else f"v{_t(down)}")
    return "".join(parts)


def _t(tenths: int) -> str:
    return _n(tenths / 10).replace("0.", ".", 1) if abs(tenths) < 10 else _n(tenths / 10)


def _pattern(key: str, pattern: str, colour: str) -> str:
    size, turn, mark = {
        "diagonal": ("6", "45", '<path d="M1 0V6"'),
        "broken": ("9", "0", '<path d="M3 0V9" stroke-width="4"'),
        "upright": ("7", "0", '<path d="M3 0V7"'),
    }[pattern]
    return (
        f'<pattern id="{key}" width="{size}" height="{size}" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate({turn})">{mark} class="l s-{colour}"/></pattern>'
    )
