"""Segments: the files of the log, by what they are called and which stretch of it they hold.

The log is one sequence of bytes. A segment is a file that holds a stretch of it and is named by
the position of its first byte, in hexadecimal: `.seg` as it was written, `.sealed` once it was
compressed. This file is pure but for the reads of a Disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from .disk import Disk
from .errors import DamagedLog
from .sealed import sealed_end, searched_end

FOLDER: Final = "log"
QUARANTINE: Final = "quarantine"  # what was damaged when its segment was sealed
TEMPORARY: Final = ".tmp"
_NAME: Final = re.compile(r"([0-9a-f]{16})\.(seg|sealed)")
_TEMPORARY: Final = re.compile(r"[0-9a-f]{16}\.tmp")
_REMEDY: Final = (
    "Nothing was changed. Move away the one that does not belong here, or start this node with an "
    "empty directory beside healthy peers"
)


class Segment(NamedTuple):
    """One file of the log; `size` is that of the stretch that it holds."""

    base: int
    size: int
    sealed: bool = False

    @property
    def name(self) -> str:
        """Its name on the disk."""
        return sealed_name(self.base) if self.sealed else segment_name(self.base)

    @property
    def end(self) -> int:
        """The position after its last byte."""
        return self.base + self.size


class Found(NamedTuple):
    """One good record."""

    kind: int
    position: int
    body: bytes


class Gap(NamedTuple):
    """Bytes of the log that are not what was written, between good records."""

    position: int
    end: int


class Torn(NamedTuple):
    """Where a torn tail begins, and how many bytes it has."""

    position: int
    length: int


def segment_name(base: int) -> str:
    """The file that begins at a position of the log, as it is written."""
    return f"{FOLDER}/{base:016x}.seg"


def sealed_name(base: int) -> str:
    """The same, sealed."""
    return f"{FOLDER}/{base:016x}.sealed"


def temporary_name(base: int) -> str:
    """The same, while it is being sealed."""
    return f"{FOLDER}/{base:016x}{TEMPORARY}"


def quarantine_name(gap: Gap) -> str:
    """Where the bytes of a gap are kept."""
    return f"{QUARANTINE}/{gap.position:016x}-{gap.end - gap.position}.bad"


def leftovers(disk: Disk) -> list[str]:
    """What a sealer that was interrupted has left."""
    return [f"{FOLDER}/{name}" for name in disk.list(FOLDER) if _TEMPORARY.fullmatch(name)]


def segments_of(disk: Disk) -> list[Segment]:
    """All segments in order; other files are left alone. One that is missing leaves a hole.

    Raises DamagedLog if two segments hold the same stretch.
    """
    found: list[Segment] = []
    for base, forms, until in forms_on(disk):
        segment = _segment(disk, base, forms, until)
        if until is not None and segment.end > until:
            raise DamagedLog(f"{segment.name} {collision(segment, until)}")
        found.append(segment)
    return found


def forms_on(disk: Disk) -> list[tuple[int, set[str], int | None]]:
    """Where segments begin, in which forms each is there, and where the next one begins."""
    forms: dict[int, set[str]] = {}
    for match in filter(None, map(_NAME.fullmatch, disk.list(FOLDER))):
        forms.setdefault(int(match[1], 16), set()).add(match[2])
    bases = sorted(forms)
    pairs = zip(bases, [*bases[1:], None], strict=False)
    return [(base, forms[base], until) for base, until in pairs]


def collision(segment: Segment, until: int) -> str:
    """What is wrong with a segment that reaches into the next one, and what to do."""
    return f"ends at {segment.end:#x}, behind {until:#x}, where another segment begins. {_REMEDY}"


def _segment(disk: Disk, base: int, forms: set[str], until: int | None) -> Segment:
    if "sealed" in forms:
        name = sealed_name(base)
        end = sealed_end(disk, name, base)
        if end is None and forms == {"sealed"}:  # its blocks will be searched for
            end = until if until is not None else searched_end(disk, name, base)
        if end is not None:
            return Segment(base, end - base, sealed=True)
    return Segment(base, disk.size(segment_name(base)))


def merged(gaps: Iterable[Gap]) -> list[Gap]:
    """The same ranges in order, each said once."""
    found: list[Gap] = []
    for gap in sorted(gaps):
        if found and gap.position <= found[-1].end:
            found[-1] = Gap(found[-1].position, max(found[-1].end, gap.end))
        else:
            found.append(gap)
    return found


def without(gaps: Iterable[Gap], hole: Gap) -> list[Gap]:
    """The same ranges but for what lies in another one."""
    parts = ((Gap(a, min(b, hole.position)), Gap(max(a, hole.end), b)) for a, b in gaps)
    return [part for pair in parts for part in pair if part.position < part.end]
