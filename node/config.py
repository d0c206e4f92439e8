"""The file that describes a cluster, and the numbers a node can be tuned by."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ..gossip.members import Member
from ..storage.errors import ConfigError
from ..storage.limits import (
    COMPARE_SECONDS,
    EVICT_AFTER_SECONDS,
    HEARTBEAT_SECONDS,
    KIB,
    MAX_CLOCK_OFFSET_MS,
    MEMBERS_MAX,
    PULL_BYTES_PER_SECOND,
    PUSH_WINDOW_BYTES,
    SCRUB_SECONDS,
    SEGMENT_BYTES,
    SHARDS_DEFAULT,
    SHARDS_MAX,
    SILENCE_SECONDS,
)

NAME_BYTES_MAX = 64
EVICT_AFTER_SECONDS_MIN: Final = 5 * SILENCE_SECONDS  # a link that comes up again is no loss
# Key of [tuning] -> attribute, whether it is a whole number, the least and the most.
_TUNING: Final[dict[str, tuple[str, bool, float, float]]] = {
    "heartbeat": ("heartbeat_seconds", False, 0.01, SILENCE_SECONDS / 2),
    "segment_bytes": ("segment_bytes", True, 4 * KIB, 1 << 40),
    "push_window_bytes": ("push_window_bytes", True, 4 * KIB, 1 << 40),
    "pull_bytes_per_second": ("pull_bytes_per_second", True, 4 * KIB, 1 << 40),
    "max_clock_offset": ("max_clock_offset_ms", False, MAX_CLOCK_OFFSET_MS / 1000, 3600),
    "compare": ("compare_seconds", False, 0.1, 24 * 3600),
    "scrub": ("scrub_seconds", False, 1, 366 * 24 * 3600),
}


@dataclass(frozen=True, slots=True)
class Tuning:
    """Numbers that change speed and memory, never what is right."""

    heartbeat_seconds: float = HEARTBEAT_SECONDS  # how long settlement waits for idle members
    segment_bytes: int = SEGMENT_BYTES
    push_window_bytes: int = PUSH_WINDOW_BYTES  # memory for peers that are close behind
    pull_bytes_per_second: int = PULL_BYTES_PER_SECOND  # so that catching up leaves room for pushes
    max_clock_offset_ms: int = MAX_CLOCK_OFFSET_MS  # DESIGN 4; the same at all nodes
    compare_seconds: float = COMPARE_SECONDS  # between two comparisons with a member nearby
    scrub_seconds: float = SCRUB_SECONDS  # in which all that is on the disk is read once
    evict_after_seconds: float | None = EVICT_AFTER_SECONDS  # of silence; None: never by itself
    all_confirm: bool = False  # a start is sure of its directory only once all members say so


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """A cluster as its file describes it."""

    name: str
    shards: int
    members: tuple[Member, ...]
    tuning: Tuning = Tuning()

    def member(self, name: str) -> Member:
        """The member of a name. Raises ConfigError."""
        for member in self.members:
            if member.name == name:
                return member
        names = ", ".join(member.name for member in self.members)
        raise ConfigError(f"no [[member]] is named {name!r}; the file has {names}")


def load(path: Path) -> ClusterConfig:
    """Read a cluster's file. Raises ConfigError with the file, the field and what to change."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse(text: str) -> ClusterConfig:
    """Read the text of a cluster's file. Raises ConfigError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from None
    _only(document, "the file", {"cluster", "member", "tuning"})
    cluster = document.get("cluster")
    if not isinstance(cluster, dict):
        raise ConfigError("there is no [cluster] table; it needs at least `name`")
    _only(cluster, "[cluster]", {"name", "shards", "evict_after", "confirm"})
    shards = cluster.get("shards", SHARDS_DEFAULT)
    if type(shards) is not int or not 1 <= shards <= SHARDS_MAX:
        raise ConfigError(f"shards is {shards!r}; use a whole number from 1 to {SHARDS_MAX}")
    tuning = Tuning(
        evict_after_seconds=_evict_after(cluster),
        all_confirm=_all_confirm(cluster),
        **_tuned(document.get("tuning", {})),
    )
    name = _name(cluster.get("name"), "cluster.name")
    return ClusterConfig(name, shards, _members(document.get("member")), tuning)


def _tuned(table: Any) -> dict[str, Any]:
    _only(table, "[tuning]", set(_TUNING))
    found: dict[str, Any] = {}
    for key, value in table.items():
        attribute, whole, least, most = _TUNING[key]
        kinds = (int,) if whole else (int, float)
        if type(value) not in kinds or not least <= value <= most:
            what = "a whole number" if whole else "seconds"
            raise ConfigError(f"{key} is {value!r}; use {what} from {least:g} to {most:g}")
        found[attribute] = value
    if "max_clock_offset_ms" in found:
        found["max_clock_offset_ms"] = round(1000 * found["max_clock_offset_ms"])
    return found


def _evict_after(cluster: dict[str, Any]) -> float | None:
    value = cluster.get("evict_after", EVICT_AFTER_SECONDS)
    if value == "off":
        return None
    if type(value) not in (int, float) or not EVICT_AFTER_SECONDS_MIN <= value < inf:
        raise ConfigError(
            f"evict_after is {value!r}; use seconds, {EVICT_AFTER_SECONDS_MIN:g} or more, as 60, "
            'or "off"'
        )
    return float(value)


def _all_confirm(cluster: dict[str, Any]) -> bool:
    value = cluster.get("confirm", "majority")
    if value not in ("majority", "all"):
        raise ConfigError(f'confirm is {value!r}; use "majority" or "all"')
    return bool(value == "all")


def _members(rows: Any) -> tuple[Member, ...]:
    if not isinstance(rows, list) or not rows:
        raise ConfigError("there is no [[member]]; each needs `name`, `site` and `url`")
    if len(rows) > MEMBERS_MAX:
        raise ConfigError(f"{len(rows)} members; {MEMBERS_MAX} are the most")
    members: list[Member] = []
    priorities: dict[str, int] = {}
    for row in rows:
        _only(row, "[[member]]", {"name", "site", "url", "priority"})
        name = _name(row.get("name"), "member.name")
        site = _name(row.get("site"), f"the site of {name}")
        given = row.get("priority")
        priority = priorities.setdefault(site, len(priorities) if given is None else given)
        if given is not None and given != priority:
            raise ConfigError(
                f"site {site!r} has priorities {priority} and {given}; give it one, or none"
            )
        if type(priority) is not int or not 0 <= priority < 1 << 16:
            raise ConfigError(f"the priority of {name} is {priority!r}; use 0 to 65535")
        if any(member.name == name for member in members):
            raise ConfigError(f"two members are named {name!r}")
        members.append(Member(name, site, priority, _url(row.get("url"), name)))
    for first in members:
        for second in members:
            if first is not second and first.url == second.url:
                raise ConfigError(f"{first.name} and {second.name} have the same url {first.url}")
    return tuple(members)


def _only(table: Any, where: str, known: set[str]) -> None:
    if not isinstance(table, dict):
        raise ConfigError(f"{where} should be a table")
    unknown = sorted(set(table) - known)
    if unknown:
        raise ConfigError(
            f"{where} has {', '.join(unknown)}, which means nothing; "
            f"known are {', '.join(sorted(known))}"
        )


def _name(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value.encode()) <= NAME_BYTES_MAX:
        raise ConfigError(f"{what} is {value!r}; use a text of 1 to {NAME_BYTES_MAX} bytes")
    if not all(letter.isalnum() or letter in "-_." for letter in value):
        raise ConfigError(f"{what} is {value!r}; use letters, digits, '-', '_' and '.'")
    return value


def _url(value: Any, name: str) -> str:
    text = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        good = parts.scheme == "http" and parts.hostname and parts.port
    except ValueError:
        good = False
    if not good or parts.path not in {"", "/"} or parts.query:
        raise ConfigError(
            f"the url of {name} is {value!r}; use http://HOST:PORT, as http://127.0.0.1:7101"
        )
    return text.rstrip("/")
