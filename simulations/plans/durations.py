"""Lengths of time as people write them: "90s", "1h 30m", "35ms", "7d"."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = {
    "d": Decimal(86_400),
    "h": Decimal(3_600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
    "us": Decimal("0.000001"),
}
_PART = r"(\d+(?:\.\d+)?(?:e[+-]?\d{1,3})?)\s*(d|h|ms|m|s|us)"
_WHOLE = re.compile(rf"(-?)\s*{_PART}(?:\s*{_PART})*", re.ASCII)
_EXACT = Decimal("1e9")  # beyond it, and far below a second, units only hide the number


def seconds_of(text: str) -> float:
    """Read a length of time. Raises ValueError if it is none."""
    match = _WHOLE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no length of time")
    parts = re.findall(_PART, text, re.ASCII)
    seconds = float(sum(Decimal(number) * _UNITS[unit] for number, unit in parts))
    return -seconds if match[1] else seconds


def duration_text(seconds: float) -> str:
    """Write a length of time, so that it is read as exactly the same number."""
    if seconds < 0:
        return "-" + duration_text(-seconds)
    exact = Decimal(repr(seconds))
    if exact >= _EXACT or 0 < exact < _UNITS["us"]:
        return f"{seconds!r}s"
    if exact < 1:
        return f"{_plain(exact / _UNITS['ms'])}ms" if exact else "0s"
    parts = []
    for unit in ("d", "h", "m"):
        count, exact = divmod(exact, _UNITS[unit])
        if count:
            parts.append(f"{_plain(count)}{unit}")
    if exact or not parts:
        parts.append(f"{_plain(exact)}s")
    return " ".join(parts)


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
