"""Every payload that a node has is one that a client of this run sends, byte for byte (I2)."""

from __future__ import annotations

from ..history import History


def payloads_are_true(history: History) -> list[str]:
    """Work each payload out again from what it says that it is made of."""
    is_true = history.is_true
    if is_true is None:
        return []
    return [
        f"event {number} of {body.row} is not what anybody sent: {payload[:40]!r} at {body.node}"
        for body in history.bodies
        for number, payload in enumerate(body.payloads)
        if not is_true(payload)
    ]
