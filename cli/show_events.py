"""How events look in a table and on a line."""

from __future__ import annotations

from base64 import b64decode

import msgspec
from rich.table import Table

from .model import Event
from .show import cell, safe, table

DATA_CHARACTERS = 100


def event_table(events: list[Event], *, streams: bool = False) -> Table:
    """Events, one a row; with a column for the stream if they are of several."""
    columns = ["revision", "recorded", "site", "type", "", "data"]
    made = table(*(["stream"] if streams else []), *columns, right=["revision"])
    for event in events:
        row = [
            cell(event.revision),
            cell(event.recorded),
            cell(event.site),
            cell(event.type, "bold"),
            cell("" if event.settled else "tentative", "yellow"),
            cell(data_text(event)),
        ]
        made.add_row(*([cell(event.stream)] if streams else []), *row)
    return made


def event_line(event: Event, *, streams: bool) -> str:
    """One event on one line."""
    where = f"{safe(event.stream)}  " if streams else ""
    mark = "" if event.settled else "  (tentative)"
    return (
        f"{event.recorded}  {event.site:<8} {where}{event.revision:>4}  "
        f"{safe(event.type)}  {data_text(event)}{mark}"
    )


def data_text(event: Event) -> str:
    """The data, short."""
    packed = event.data_base64
    if isinstance(packed, str):
        kind = event.content_type if isinstance(event.content_type, str) else "bytes"
        text = f"<{kind}, {len(b64decode(packed))} bytes>"
    else:
        text = bytes(event.data).decode("utf-8", "replace")
    return text if len(text) <= DATA_CHARACTERS else text[: DATA_CHARACTERS - 1] + "…"


def event_json(event: Event) -> str:
    """One event as one line of JSON, with its data as it was sent."""
    return msgspec.json.encode(event).decode("utf-8")
