"""How the commands look: one console, tables without walls, short numbers, no control characters.

Without a terminal there are no colours, no cursor movements and no live lines, and a table may be
as wide as it needs to be.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 160
_CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def console(*, errors: bool = False) -> Console:
    """A console on standard output, or on standard error."""
    stream = sys.stderr if errors else sys.stdout
    width = None
    if not stream.isatty() and "COLUMNS" not in os.environ:
        width = WIDTH_WITHOUT_TERMINAL
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)


def print_json(value: object) -> None:
    """Print one JSON document, indented."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def safe(text: str) -> str:
    """A producer's text with its control characters made visible, so it can't steer a terminal."""
    if text.isprintable():
        return text
    return "".join(_visible(one) for one in text)


def _visible(one: str) -> str:
    if unicodedata.category(one) not in _CONTROL:
        return one
    return one.encode("unicode_escape", "replace").decode("ascii")


def table(*columns: str, right: Sequence[str] = (), title: str | None = None) -> Table:
    """An empty table; the columns named in `right` hold numbers."""
    made = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False
    )
    for name in columns:
        numbers = name in right
        made.add_column(name, justify="right" if numbers else "left", no_wrap=numbers)
    return made


def cell(value: object, style: str = "") -> Text:
    """A table's cell, taken literally."""
    return Text(safe(str(value)), style=style)


def number(value: float) -> str:
    """50,414."""
    return f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """12 ms, 1.4 s, 75 s, 12 min, 5 h; a dash when it is not known."""
    if seconds is None:
        return "-"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def size(bytes_: float) -> str:
    """512 B, 3.2 KiB, 1.5 MiB."""
    value = float(bytes_)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def count(many: int, one: str, more: str | None = None) -> str:
    """`1 event`, `1,200 events`."""
    return f"{number(many)} {one if many == 1 else more or one + 's'}"


def listing(names: Sequence[Any], most: int = 5) -> str:
    """`a, b and 7 more`."""
    shown = ", ".join(safe(str(name)) for name in names[:most])
    left = len(names) - most
    return f"{shown} and {left} more" if left > 0 else shown
