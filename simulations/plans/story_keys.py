"""The keys of a story: the tables in their order, and how each value is read and written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from math import isfinite
from typing import Any, NamedTuple

from ...storage.limits import MEMBERS_MAX, SHARDS_MAX
from ..claims import duration, flag, nearest, texts
from .bounds import Bounds
from .clients import SHAPES
from .durations import duration_text, seconds_of
from .kinds import KINDS
from .plan import Plan
from .toml import inline, prose, quoted

_SITE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,40}(?<=[A-Za-z])", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9.-]{1,60}", re.ASCII)
_ANY = Plan(0, ())  # for what can be read without knowing the plan


class Codec(NamedTuple):
    """How a value is read, which raises ValueError with what to write instead, and written."""

    read: Callable[[Any], Any]
    write: Callable[[Any], str]


class Key(NamedTuple):
    """A key of a table, the attribute that it is for, and how."""

    name: str
    codec: Codec
    attribute: str | None = None  # None: named like the key

    def of(self, thing: object) -> Any:
        """What a plan, or a part of it, has."""
        return getattr(thing, self.attribute or self.name)


def _text(given: Any) -> str:
    if isinstance(given, str):
        return given
    raise ValueError('write a text, as "london"')


def _site(given: Any) -> str:
    if not isinstance(given, str) or not _SITE.fullmatch(given):
        raise ValueError("write letters, digits and '-', with a letter first and last")
    return given


def _name(given: Any) -> str:
    """What a payload can begin with (clients.py)."""
    if not isinstance(given, str) or not _NAME.fullmatch(given):
        raise ValueError("write letters, digits, '-' and '.', without a space")
    return given


def _between(given: Any) -> tuple[str, ...]:
    if len(texts(_ANY, given)) != 2:
        raise ValueError('write two sites, as ["london", "tokyo"], or one twice')
    return texts(_ANY, given)


def _number(given: Any) -> float:
    if type(given) not in {int, float} or not isfinite(given):
        raise ValueError("write a number, as 2.5")
    return float(given)


def _positive(given: Any) -> float:
    if _number(given) <= 0:
        raise ValueError("write a number above 0")
    return float(given)


def _share(given: Any) -> float:
    if not 0 <= _number(given) <= 1:
        raise ValueError("write a share, from 0.0 to 1.0")
    return float(given)


def _amount(given: Any) -> float:
    """A number, or a length of time with its sign."""
    if not isinstance(given, str):
        return _number(given)
    try:
        return seconds_of(given)
    except ValueError:
        raise ValueError('write a number, or a length of time as "1h" or "-1h"') from None


def _whole(least: int, most: int = 1 << 62) -> Codec:
    def read(given: Any) -> int:
        if type(given) is not int or not least <= given <= most:
            upper = f"to {most}" if most < 1 << 62 else "on"
            raise ValueError(f"write a whole number from {least} {upper}")
        return given

    return Codec(read, str)


def _one_of(known: Iterable[str]) -> Codec:
    words = sorted(known)

    def read(given: Any) -> str:
        if given not in words:
            raise ValueError(nearest(str(given), words))
        return str(given)

    return Codec(read, quoted)


def _write_number(number: float) -> str:
    whole = number == int(number) and abs(number) < 1e15
    return str(int(number)) if whole else repr(float(number))


def _write_names(names: tuple[str, ...]) -> str:
    return quoted(names[0]) if len(names) == 1 else inline(list(names))


def _write_ms(milliseconds: int) -> str:
    return quoted(duration_text(milliseconds / 1000))


_FLAG = Codec(lambda given: flag(_ANY, given), lambda of: "true" if of else "false")
_TEXT = Codec(_text, quoted)
_NAMES = Codec(lambda given: texts(_ANY, given), _write_names)
_DURATION = Codec(lambda given: duration(_ANY, given), lambda of: quoted(duration_text(of)))
_MS = Codec(lambda given: round(1000 * duration(_ANY, given)), _write_ms)
_NUMBER = Codec(_number, _write_number)
_RATE = Codec(_positive, _write_number)
_SHARE = Codec(_share, _write_number)
_BOUND = _whole(1)

HEAD = (Key("title", _TEXT), Key("why", Codec(_text, prose)))
SEED = Key("seed", _whole(-(1 << 62)))
PHASES = tuple(Key(name, _DURATION) for name in ("warm_up", "trouble", "frozen", "patience"))
PLAN = (*HEAD, SEED, *PHASES)
CLUSTER = (
    Key("shards", _whole(1, SHARDS_MAX)),
    Key("sync", _DURATION),
    Key("start_apart", _FLAG),
)
TUNING = (
    Key("heartbeat", _DURATION, "heartbeat_seconds"),
    Key("segment_bytes", _BOUND),
    Key("push_window_bytes", _BOUND),
    Key("pull_bytes_per_second", _BOUND),
    Key("compare", _DURATION, "compare_seconds"),
    Key("scrub", _DURATION, "scrub_seconds"),
    Key("max_clock_offset", _MS, "max_clock_offset_ms"),
    Key("evict_after", _DURATION, "evict_after_seconds"),
    Key("all_confirm", _FLAG),
)
BOUNDS = tuple(Key(one.name, _BOUND) for one in fields(Bounds))
TABLES: dict[str, tuple[Key, ...]] = {
    "site": (Key("name", Codec(_site, quoted)), Key("nodes", _whole(1, MEMBERS_MAX))),
    "road": (
        Key("between", Codec(_between, lambda names: inline(list(names)))),
        Key("latency", _DURATION),
        Key("jitter", _SHARE),
        Key("tail", _SHARE),
        Key("bandwidth", _RATE),
        Key("loss", _SHARE),
    ),
    "client": (
        Key("name", Codec(_name, quoted)),
        Key("at", _NAMES),
        Key("rate", _RATE),
        Key("limit", _whole(0)),
        Key("starts", _DURATION),
        Key("ends", _DURATION),
        Key("shape", _one_of(SHAPES)),
        Key("ack_settled", _SHARE),
        Key("timeout", _DURATION),
        Key("retries", _SHARE),
        Key("conditional", _SHARE),
        Key("reads", _SHARE),
        Key("doubles", _SHARE),
    ),
    "fault": (
        Key("kind", _one_of(KINDS)),
        Key("at", _DURATION),
        Key("lasts", _DURATION),
        Key("where", _NAMES),
        Key("towards", _NAMES),
        Key("amount", Codec(_amount, _write_number)),
        Key("every", _DURATION),
        Key("point", _TEXT),
    ),
}
