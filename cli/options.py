"""The options that several commands share, and how their values are read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

import typer
from yarl import URL

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def node_url(text: str) -> str:
    """A node's address without a slash at its end; `http://` may be left out."""
    full = text if "://" in text else f"http://{text}"
    try:
        url = URL(full)
        usable = url.scheme in {"http", "https"} and bool(url.host) and url.port is not None
    except ValueError:
        usable = False
    if not usable or url.query_string or url.fragment:
        raise typer.BadParameter(
            f"{text!r} is no URL of a node; http://127.0.0.1:7101 would be one"
        )
    return full.rstrip("/")


def seconds(text: str | float) -> float:
    """`30s`, `500ms`, `2m`, `1h` or a bare number of seconds."""
    found = _DURATION.fullmatch(str(text).strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration; 30s, 500ms or 2m would be one")
    return float(found[1]) * _SECONDS[found[2]]


def expected_revision(text: str) -> str:
    """`any`, `none`, `exists` or the revision of the stream's last event."""
    if text in {"any", "none", "exists"} or text.isdecimal():
        return text
    raise typer.BadParameter(f"{text!r} is not any, none, exists or a revision such as 0 or 17")


def new_file(path: Path | None) -> Path | None:
    """A file that is written at the end of a run; where it can't be is said before the run."""
    if path is not None and not os.access(path.parent, os.W_OK):
        what = "may not be written to" if path.parent.is_dir() else "is not there"
        raise typer.BadParameter(f"the folder {path.parent} {what}; make it, or name another")
    return path


ReadLevel = Literal["latest", "settled", "session", "bounded", "strong"]
AckLevel = Literal["local", "site", "quorum", "each_site", "all", "settled"]

Url = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="ANABRANCH_URL",
        parser=node_url,
        metavar="URL",
        help="The node to ask; any node serves any request.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Page = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="HTML",
        dir_okay=False,
        callback=new_file,
        help="Write a page of the run.",
    ),
]
