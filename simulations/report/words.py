"""Numbers and outcomes in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite

from ..timeline import Span, Timeline, Verdict

_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def duration(seconds: float) -> str:
    """Seconds as a person says them: 120 ms, 1.3 s, 3 min 20 s, 6 d 4 h."""
    if not isfinite(seconds):
        return "unknown"
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.0005 else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    for unit, name, part, part_name in _UNITS:
        if seconds >= (2 * unit if unit == 60 and seconds % 60 else unit) - part / 2:
            whole, rest = divmod(round(seconds / part), unit // part)
            return f"{whole} {name}" + (f" {rest} {part_name}" if rest else "")
    return f"{seconds:.0f} s"


def number(value: float | str) -> str:
    """A number with its thousands apart."""
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def figure(key: str, value: float | str) -> tuple[str, str]:
    """A total's name and value, as the page shows them."""
    times = {"simulated seconds": "simulated time", "real seconds": "real time"}
    name = times.get(key, key.removesuffix(", seconds"))
    is_time = key.endswith("seconds") and not isinstance(value, str)
    return name, duration(float(value)) if is_time else number(value)


def failed(timeline: Timeline) -> list[Verdict]:
    """What should have held and did not."""
    return [one for one in (*timeline.expected, *timeline.checked) if not one.held]


def tone(timeline: Timeline) -> str:
    """How it went, in one word: held, broke, or open if that was not seen."""
    if failed(timeline):
        return "broke"
    checked = timeline.expected or timeline.checked
    return "held" if checked and timeline.whole_at is not None else "open"


def verdict(timeline: Timeline) -> str:
    """How it went, in one line."""
    bad = failed(timeline)
    if bad:
        every = len(timeline.expected) + len(timeline.checked)
        named = "; ".join(one.label for one in bad)
        return f"{len(bad)} of {every} did not hold: {named}. {whole(timeline)}"
    held = "All as expected." if timeline.expected else "All that has to hold held."
    if not (timeline.expected or timeline.checked):
        held = "Nothing was checked."
    return f"{held} {whole(timeline)}"


def whole(timeline: Timeline) -> str:
    """When all was whole again."""
    if timeline.whole_at is None:
        return "It was not seen whole again."
    after = max(0.0, timeline.whole_at - timeline.over_at)
    return f"Whole again {duration(after)} after the last fault."


def pace(a_second: float) -> str:
    """So many a second, a minute or an hour."""
    units = ((1, "second"), (60, "minute"), (3_600, "hour"))
    unit, name = next((one for one in units if a_second * one[0] >= 1), units[-1])
    value = a_second * unit
    return f"{value:,.0f} a {name}" if value >= 10 else f"{value:.1f} a {name}"


def short(span: Span) -> str:
    """A fault where its row says what it is about: its kind and its amount."""
    found = re.search(r"\((.*)\)$", span.label)
    if not found:
        return span.kind
    amount = found[1]
    seconds = re.match(r"(-?[\d.]+(?:e[+-]?\d+)?) seconds (.*)", amount)
    if seconds:
        amount = f"{duration(float(seconds[1]))} {seconds[2]}"
    return f"{span.kind}, {amount}"


def listing(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
