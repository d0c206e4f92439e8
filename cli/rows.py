"""Rows of a file, with the line that each begins on: NDJSON, CSV, and either of them gzipped.

Read as a stream, so a file may be larger than memory. Whatever can't be read is named with its
line number.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiofiles
import msgspec

from .errors import BadInput

Format = Literal["csv", "ndjson"]

CHUNK_BYTES = 256 * 1024
LINE_BYTES_MAX = 16 * 1024 * 1024  # more than any event; a file without line ends is no such file
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
}
_GZIP_HEADER = 31  # zlib's way of saying: gzip with header and checksum


@dataclass(frozen=True)
class Row:
    """One row: where it begins, and its values by column."""

    line: int
    values: dict[str, Any]


def format_of(path: Path) -> Format | None:
    """The format that a file's name promises, with or without `.gz` behind it."""
    name = path.with_suffix("") if path.suffix == ".gz" else path
    return _SUFFIXES.get(name.suffix.lower())


async def rows(path: Path, kind: Format) -> AsyncGenerator[Row]:
    """The rows of a file, from the first to the last."""
    parser = CsvRows() if kind == "csv" else NdjsonRows()
    async for line in _lines(path):
        for row in parser.feed(line):
            yield row
    parser.finish()


class NdjsonRows:
    """One JSON object a line; empty lines are passed over."""

    def __init__(self) -> None:
        self._line = 0

    def feed(self, line: str) -> Iterator[Row]:
        """The row of a line, if it has one."""
        self._line += 1
        if not line.strip():
            return
        try:
            yield Row(self._line, msgspec.json.decode(line, type=dict[str, Any]))
        except msgspec.DecodeError as error:
            raise BadInput(f"Line {self._line} is no JSON object: {error}.") from None

    def finish(self) -> None:
        """Say that there are no more lines."""


class CsvRows:
    """RFC 4180: a header, then records; a field in quotes may go over several lines."""

    def __init__(self) -> None:
        self._line = 0
        self._begun = 1
        self._pending = ""
        self._columns: list[str] | None = None

    def feed(self, line: str) -> Iterator[Row]:
        """The row that a line completes, if it completes one."""
        self._line += 1
        if not self._pending:
            self._begun = self._line
        self._pending += line
        if self._pending.count('"') % 2:  # inside a quoted field: the record goes on
            if len(self._pending) > LINE_BYTES_MAX:
                raise self._unclosed()
            return
        record, self._pending = self._pending, ""
        fields = next(csv.reader([record]), [])
        if fields:
            yield from self._row(fields)

    def finish(self) -> None:
        """Say that there are no more lines."""
        if self._pending:
            raise self._unclosed()
        if self._columns is None:
            raise BadInput("The file is empty: it has not even a line with column names.")

    def _row(self, fields: list[str]) -> Iterator[Row]:
        if self._columns is None:
            self._columns = [name.strip() for name in fields]
            return
        if len(fields) != len(self._columns):
            raise BadInput(
                f"Line {self._begun} has {len(fields)} fields, but the header names "
                f"{len(self._columns)} columns."
            )
        yield Row(self._begun, dict(zip(self._columns, fields, strict=True)))

    def _unclosed(self) -> BadInput:
        return BadInput(f"Line {self._begun} opens a quoted field that is never closed.")


async def _lines(path: Path) -> AsyncGenerator[str]:
    """Lines with their ends, decoded."""
    pending = b""
    number = 0
    async for chunk in _chunks(path):
        *pieces, pending = (pending + chunk).split(b"\n")
        if len(pending) > LINE_BYTES_MAX:
            raise BadInput(f"Line {number + 1 + len(pieces)} has no end within 16 MiB.")
        for piece in pieces:
            number += 1
            yield _text(piece + b"\n", number)
    if pending:
        yield _text(pending, number + 1)


def _text(piece: bytes, number: int) -> str:
    try:
        return piece.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"Line {number} is not UTF-8 at byte {error.start + 1}.") from None


async def _chunks(path: Path) -> AsyncGenerator[bytes]:
    unpack = Unpacker() if path.suffix == ".gz" else None
    async with aiofiles.open(path, "rb") as file:
        while chunk := await file.read(CHUNK_BYTES):
            yield unpack.feed(chunk) if unpack else chunk
    if unpack and not unpack.whole:
        raise BadInput(f"{path.name} is cut short: the gzip data has no end.")


class Unpacker:
    """Gzip as a stream, of one or several members."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_HEADER)

    @property
    def whole(self) -> bool:
        """Whether what was fed so far ends where a member ends."""
        return self._member.eof

    def feed(self, chunk: bytes) -> bytes:
        """What a chunk unpacks to."""
        made = b""
        try:
            while chunk:
                if self._member.eof:
                    self._member = zlib.decompressobj(_GZIP_HEADER)
                made += self._member.decompress(chunk)
                chunk = self._member.unused_data
        except zlib.error as error:
            raise BadInput(f"The file is not gzip, or damaged: {error}.") from None
        return made
