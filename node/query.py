"""The query of a request, read strictly: what is not known is refused, with the known names."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

from ..storage.errors import BadRequest
from ..storage.limits import STREAM_NAME_BYTES_MAX

T = TypeVar("T")
_FIELDS_MAX = 100


class Query:
    """Path and query of one request."""

    __slots__ = ("_fields", "path")

    def __init__(self, path: str, query: str) -> None:
        self.path = path
        self._fields: list[tuple[str, str]] = []
        if query:
            try:
                self._fields = parse_qsl(
                    query,
                    keep_blank_values=True,
                    strict_parsing=False,
                    errors="strict",
                    max_num_fields=_FIELDS_MAX,
                )
            except ValueError:
                raise BadRequest(
                    f"the query is not UTF-8, or has more than {_FIELDS_MAX} fields"
                ) from None

    def __bool__(self) -> bool:
        return bool(self._fields)

    def only(self, *known: str) -> None:
        """Refuse fields that are not known here, and all but `type` given twice."""
        if not self._fields:
            return
        seen: set[str] = set()
        for name, _ in self._fields:
            if name not in known:
                names = ", ".join(known) or "none"
                raise BadRequest(f"{name[:40]!r} is no field of this query; known: {names}")
            if name in seen and name != "type":
                raise BadRequest(f"{name!r} is given twice")
            seen.add(name)

    def get(self, name: str, default: str) -> str:
        """The text of a field."""
        for field, value in self._fields:
            if field == name:
                return value
        return default

    def all(self, name: str) -> list[str]:
        """All texts of a field."""
        return [value for field, value in self._fields if field == name]

    def whole(self, name: str, default: int | None, low: int, high: int) -> int | None:
        """A whole number within bounds."""
        text = self.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high):
            raise BadRequest(f"{name}={text[:40]!r}: use a whole number from {low} to {high}")
        return int(text)

    def seconds(self, name: str, default: float, high: float) -> float:
        """A number of seconds."""
        text = self.get(name, "")
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= high:
            raise BadRequest(f"{name}={text[:40]!r}: use a number of seconds from 0 to {high:g}")
        return value

    def one_of(self, name: str, choices: dict[str, T], default: T) -> T:
        """One of some words."""
        text = self.get(name, "")
        if not text:
            return default
        if text not in choices:
            raise BadRequest(f"{name}={text[:40]!r} is not known; use {' or '.join(choices)}")
        return choices[text]


def stream_name(encoded: str) -> str:
    """The name of a stream from its place in a path. Raises BadRequest."""
    raw = unquote_to_bytes(encoded)
    if not 0 < len(raw) <= STREAM_NAME_BYTES_MAX:
        raise BadRequest(
            f"a stream's name has 1 to {STREAM_NAME_BYTES_MAX} bytes, this has {len(raw)}"
        )
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadRequest("a stream's name is UTF-8, percent-encoded in the path") from None
