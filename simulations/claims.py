"""What is said under [expect]: values, and where and when they have to hold.

Every key takes a value, or a table that says where and when it has to hold, or several tables:

    lag_at_most = "2s"
    lag_at_least = { is = "2m", at = "london", from = "3m", until = "6m" }
    settles = [{ is = false, at = "tokyo", during = "cut" }, { is = true, at = "london" }]

`at` names sites or nodes (all, if it is left out). `during` is a phase or a kind of fault. Without
a time, a claim is about everything from the beginning to the heal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..storage import errors
from .marks import MARKS
from .plans.durations import duration_text, seconds_of
from .plans.kinds import KINDS
from .plans.plan import Plan
from .timeline import Timeline

_TIMES = ("warm up", "trouble", "frozen", *KINDS)  # what `during` may name
_KEYS = frozenset({"is", "at", "from", "until", "during"})

Reader = Callable[[Plan, Any], Any]  # of a value in TOML; ValueError says what to write instead


@dataclass(frozen=True)
class Claim:
    """One thing that has to hold."""

    value: Any
    at: tuple[str, ...] = ()
    begins: float = 0.0
    ends: float | None = None  # None: the heal
    during: str | None = None

    def __str__(self) -> str:
        where = f" at {', '.join(self.at)}" if self.at else ""
        if self.during is not None:
            return f"{where}, during {self.during}"
        times = f", from {duration_text(self.begins)}" if self.begins else ""
        return where + times + (f" until {duration_text(self.ends)}" if self.ends else "")

    def window(self, line: Timeline) -> tuple[float, float]:
        """When it has to hold; what never was gives an empty time."""
        begins, ends = self.begins, line.healed_at
        if self.during is not None:
            spans = [one for one in [*line.phases, *line.faults] if one.kind == self.during]
            begins = min((span.begins for span in spans), default=ends)
            ends = max((min(span.ends, ends) for span in spans), default=0.0)
        return begins, ends if self.ends is None else self.ends


def read_claims(plan: Plan, given: Any, read: Reader) -> list[Claim]:
    """What is claimed of one key. Raises ValueError with what to write instead."""
    tables = isinstance(given, list) and given and all(isinstance(one, Mapping) for one in given)
    return [_claim(plan, one, read) for one in (given if tables else [given])]


def nearest(word: str, known: Iterable[str]) -> str:
    """What was probably meant, or what there is."""
    words = sorted(known)
    close = get_close_matches(word, words, 1, 0.5)
    return f"write {close[0]!r}" if close else f"known are {', '.join(words)}"


def _claim(plan: Plan, given: Any, read: Reader) -> Claim:
    if not isinstance(given, Mapping):
        return Claim(read(plan, given))
    for key in given:
        if key not in _KEYS:
            raise ValueError(f"{key!r} means nothing there; {nearest(key, _KEYS)}")
    if "is" not in given:
        raise ValueError("the table has no `is`; it says what has to hold")
    during = given.get("during")
    if during is not None and during not in _TIMES:
        raise ValueError(f"there is no phase or fault {during!r}; {nearest(during, _TIMES)}")
    if during is not None and ("from" in given or "until" in given):
        raise ValueError("`during` and `from` or `until` contradict each other; leave one out")
    return Claim(
        read(plan, given["is"]),
        places(plan, given.get("at", [])),
        duration(plan, given.get("from", "0s")),
        duration(plan, given["until"]) if "until" in given else None,
        during,
    )


def duration(_: Plan, given: Any) -> float:
    """A length of time."""
    try:
        seconds = seconds_of(given)
    except (TypeError, AttributeError, ValueError):
        seconds = -1.0
    if seconds < 0:
        raise ValueError('write a length of time, as "90s" or "1h 30m"')
    return seconds


def number(_: Plan, given: Any) -> int:
    """A whole number."""
    if type(given) is not int or given < 0:
        raise ValueError("write a whole number from 0 on")
    return given


def flag(_: Plan, given: Any) -> bool:
    """True or false."""
    if type(given) is not bool:
        raise ValueError("write true or false")
    return given


def only_true(_: Plan, given: Any) -> bool:
    """True: what is not expected is left out."""
    if given is not True:
        raise ValueError("write true, or leave it out")
    return True


def texts(_: Plan, given: Any) -> tuple[str, ...]:
    """Texts; one may stand alone."""
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError('write a list of texts, as ["one", "two"]')
    return tuple(found)


def places(plan: Plan, given: Any) -> tuple[str, ...]:
    """Names of sites and nodes."""
    known = [*(site.name for site in plan.sites), *plan.nodes]
    for name in texts(plan, given):
        if name not in known:
            raise ValueError(f"there is no site or node {name!r}; {nearest(name, known)}")
    return texts(plan, given)


def error_names(plan: Plan, given: Any) -> tuple[str, ...]:
    """Names of errors of the package."""
    known = [name for name, of in vars(errors).items() if isinstance(of, type)]
    for name in texts(plan, given):
        if name not in known:
            raise ValueError(f"there is no error {name!r}; {nearest(name, known)}")
    return texts(plan, given)


def mark_names(plan: Plan, given: Any) -> tuple[str, ...]:
    """Names of marks."""
    for name in texts(plan, given):
        if name not in MARKS:
            raise ValueError(f"there is no mark {name!r}; {nearest(name, MARKS)}")
    return texts(plan, given)
