"""Positions: an order key and an event's place in its commit, as an opaque, sortable text."""

from __future__ import annotations

from ..storage.errors import BadRequest
from .fold import OrderKey

_COMMIT_LETTERS = 36
_LETTERS = 44


def commit_position(key: OrderKey) -> str:
    """The part of a position that all events of a commit share."""
    return f"{key[0]:016x}{key[1]:04x}{key[2]:016x}"


def position(key: OrderKey, place: int) -> str:
    """The position of an event."""
    return f"{commit_position(key)}{place:08x}"


def read_position(text: str) -> tuple[OrderKey, int]:
    """The order key and the place that a position names. Raises BadRequest."""
    try:
        if len(text) != _LETTERS or not text.isalnum():
            raise ValueError
        key = (int(text[:16], 16), int(text[16:20], 16), int(text[20:36], 16))
        return key, int(text[_COMMIT_LETTERS:], 16)
    except ValueError:
        raise BadRequest(
            f"{text[:60]!r} is no position; use the `position` or `next` of an earlier answer"
        ) from None
