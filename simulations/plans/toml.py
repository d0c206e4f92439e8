"""Writes the values of TOML; the standard library only reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ESCAPED = re.compile(r'[\x00-\x1f\x7f"\\]')
_ESCAPED_IN_PROSE = re.compile(r'[\x00-\x08\x0b-\x1f\x7f\\]|""(?=")|"(?=$)')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quoted(text: str) -> str:
    """A text on one line."""
    return f'"{_ESCAPED.sub(_escape, text)}"'


def prose(text: str) -> str:
    """A text, on several lines if it has any."""
    if "\n" not in text:
        return quoted(text)
    ends = "" if text.endswith("\n") else "\\\n"  # a backslash takes the line's end away
    return '"""\n' + _ESCAPED_IN_PROSE.sub(_escape, text) + ends + '"""'


def inline(value: Any) -> str:
    """Any value, tables within one line."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {inline(of)}" for key, of in value.items()) + " }"
    if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        return "[\n" + "".join(f"    {inline(one)},\n" for one in value) + "]"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    assert isinstance(value, int | float), f"a plan holds no {type(value).__name__}"
    return repr(value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else quoted(key)


def _escape(match: re.Match[str]) -> str:
    return "".join(_SHORT.get(letter, f"\\u{ord(letter):04x}") for letter in match[0])
