"""From a row to an event: which column is the stream, which the type, which the time.

A mapping is a small TOML file, or the same by options:

    stream = "order-{id}"       # a column's name, a text with {columns} in it, or "=a fixed text"
    type = "action"
    time = "timestamp"          # left out: the event has no time of its own
    time_unit = "ms"            # s, ms, us; or rfc3339, the default

    [data]                      # left out: all columns, as they are
    price = "price"
    volume = "volume:integer"   # text, integer, number or json

NDJSON needs no mapping when its lines are events with a `stream`, as `tail --json` prints them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from ..storage.limits import EVENT_BYTES_MAX, STREAM_NAME_BYTES_MAX
from .errors import BadInput, CommandError
from .rows import Row

_PLACE = re.compile(r"\{([^{}]+)\}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_EVENT_FIELDS = ("id", "type", "time", "data", "data_base64", "content_type", "metadata", "tags")
_KINDS = ("text", "integer", "number", "json")


@dataclass(frozen=True)
class Mapping:
    """How rows become events."""

    stream: str
    type: str
    time: str | None = None
    time_unit: str = "rfc3339"
    data: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.time_unit not in {*_UNITS, "rfc3339"}:
            raise CommandError(
                f"time_unit = {self.time_unit!r} is not one of s, ms, us and rfc3339."
            )
        for name, column in self.data.items():
            kind = column.rpartition(":")[2] if ":" in column else "text"
            if kind not in _KINDS:
                raise CommandError(
                    f"data.{name} = {column!r}: {kind!r} is not one of {', '.join(_KINDS)}."
                )


@dataclass(frozen=True)
class Outgoing:
    """One event, ready to be sent."""

    line: int
    stream: str
    body: bytes


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file."""
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert(fields, Mapping, strict=True)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise CommandError(f"{path} is no mapping: {error}.") from None


def to_outgoing(row: Row, mapping: Mapping | None) -> Outgoing:
    """The event of a row; what is wrong with it is named with its line."""
    try:
        stream, event = _as_event(row) if mapping is None else _mapped(row, mapping)
    except _Unfit as unfit:
        raise BadInput(f"Line {row.line}: {unfit}.") from None
    body = msgspec.json.encode(event)
    size = len(stream.encode("utf-8", "surrogatepass"))
    if not 1 <= size <= STREAM_NAME_BYTES_MAX:
        raise BadInput(
            f"Line {row.line}: a stream's name has 1 to {STREAM_NAME_BYTES_MAX} bytes, "
            f"this one {size}."
        )
    if len(body) > EVENT_BYTES_MAX:
        raise BadInput(f"Line {row.line}: the event has {len(body):,} bytes; 1 MiB is the most.")
    return Outgoing(row.line, stream, body)


class _Unfit(Exception):
    pass


def _as_event(row: Row) -> tuple[str, dict[str, Any]]:
    for name in ("stream", "type"):
        value = row.values.get(name)
        if not isinstance(value, str) or not value:
            raise _Unfit(f"there is no {name!r}; add it, or give --stream and --type")
    event = {name: row.values[name] for name in _EVENT_FIELDS if row.values.get(name) is not None}
    if row.values.get("data_base64") is not None:
        event.pop("data", None)
    return row.values["stream"], event


def _mapped(row: Row, mapping: Mapping) -> tuple[str, dict[str, Any]]:
    event: dict[str, Any] = {"type": _text(row, mapping.type)}
    if not event["type"]:
        raise _Unfit("the type is empty")
    if mapping.time is not None:
        event["time"] = _time(_column(row, mapping.time), mapping.time_unit)
    event["data"] = (
        {name: _value(row, column) for name, column in mapping.data.items()}
        if mapping.data
        else row.values
    )
    return _text(row, mapping.stream), event


def _text(row: Row, pattern: str) -> str:
    if pattern.startswith("="):
        return pattern[1:]
    if "{" not in pattern:
        return _plain(_column(row, pattern))
    return _PLACE.sub(lambda found: _plain(_column(row, found[1])), pattern)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8")


def _column(row: Row, name: str) -> Any:
    if name in row.values:
        return row.values[name]
    value: Any = row.values
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise _Unfit(f"there is no column {name!r}; it has {', '.join(row.values)}")
        value = value[part]
    return value


def _value(row: Row, column: str) -> Any:
    name, _, kind = column.rpartition(":") if ":" in column else (column, "", "text")
    value = _column(row, name)
    if kind == "text":
        return value
    try:
        return _CONVERTERS[kind](value)
    except (ValueError, TypeError, msgspec.DecodeError):
        raise _Unfit(f"{name} = {value!r} is no {kind}") from None


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "integer": int,
    "number": float,
    "json": msgspec.json.decode,
}


def _time(value: object, unit: str) -> str:
    try:
        if unit == "rfc3339":
            moment = datetime.fromisoformat(str(value))
            if moment.tzinfo is None:
                raise _Unfit(f"the time {value!r} has no offset from UTC, such as a Z at its end")
            return moment.isoformat().replace("+00:00", "Z")
        moment = _EPOCH + timedelta(microseconds=int(float(str(value)) * _UNITS[unit]))
    except (ValueError, OverflowError):
        raise _Unfit(f"{value!r} is no time in {unit}") from None
    return rfc3339(moment)


def rfc3339(moment: datetime) -> str:
    """A UTC time as events carry it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
