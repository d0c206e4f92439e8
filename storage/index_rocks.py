"""The index in RocksDB, without its write-ahead log: our own log is the write-ahead log.

All keys are in one column family, whose memory tables are flushed in order and whole, so after a
crash the index is as after some earlier write. RocksDB checks what it reads. If it can't be opened,
or was condemned because of what it said, it is thrown away and rebuilt: deleting it loses nothing.

An iterator that meets a damaged block just ends, as if nothing came behind it. So the first and the
last key are markers: a scan that ends without having seen a key beyond its range has not seen all.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from .errors import DamagedIndex, DiskFull
from .limits import MIB

_MEMORY_TABLE_BYTES: Final = 4 * MIB  # stays in the processor's cache: half the cost of 16 MiB
_BLOCK_CACHE_BYTES: Final = 32 * MIB
_FIRST: Final = b"\x00"
_LAST: Final = b"\xff"
_log = logging.getLogger(__name__)


class RocksIndex:
    """The index of one data directory. Raises DamagedIndex, DiskFull."""

    def __init__(self, path: Path, db: Rdict | None = None) -> None:
        self._condemned = path.with_name(path.name + ".condemned")
        self._db = db if db is not None else _open(path, self._condemned)
        self._write_options = WriteOptions()
        # An attribute, whatever the type stubs say.
        setattr(self._write_options, "disable_wal", True)  # noqa: B010
        self._marked = self.get(_LAST) is not None
        if db is None and not self._marked:  # new, or a crash came before any flush
            self.write([(_FIRST, b""), (_LAST, b"")])
            self._marked = True

    @classmethod
    def to_look_at(cls, path: Path) -> RocksIndex:
        """An index that can be read only; nothing about it changes, whatever its state."""
        try:
            return cls(path, Rdict(str(path), _options(), access_type=AccessType.read_only()))
        except Exception as error:
            raise _said(error) from error

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise _said(error) from error
        return value

    def scan(
        self, start: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """All pairs with start <= key < stop."""
        start, stop = max(start, _FIRST + b"\x00"), min(stop, _LAST)
        if start >= stop:
            return
        first = stop if reverse else start
        try:
            pairs: Iterator[tuple[bytes, bytes]] = self._db.items(  # type: ignore[assignment]
                backwards=reverse, from_key=first
            )
            for key, value in pairs:
                if start <= key < stop:
                    yield key, value
                elif key != first:
                    return
        except Exception as error:
            raise _said(error) from error
        if self._marked:
            raise _said(Exception("a block of it can't be read"))

    def write(self, puts: Iterable[tuple[bytes, bytes]]) -> None:
        """Store all pairs, or after a crash none of them."""
        batch = WriteBatch(raw_mode=True)
        for key, value in puts:
            batch.put(key, value)
        try:
            self._db.write(batch, self._write_options)
        except Exception as error:
            raise _said(error) from error

    def flush(self) -> None:
        """Return when all that was written survives a crash."""
        try:
            self._db.flush(wait=True)
        except Exception as error:
            raise _said(error) from error

    def condemn(self) -> None:
        """It can't be trusted: be empty when it is opened again."""
        self._condemned.touch()

    def close(self) -> None:
        """Flush and let go."""
        try:
            self.flush()
        except (DamagedIndex, DiskFull) as error:
            _log.warning("the index could not be written to the end: %s", error)
        self._db.close()


def _said(error: Exception) -> Exception:
    """What RocksDB, which raises bare Exceptions, has to say, in our words."""
    if type(error) is not Exception:
        return error
    if "No space left" in str(error):
        return DiskFull(f"no room to write the index: {error}")
    return DamagedIndex(
        f"the index can't be used: {error}. The process ends; started again, it rebuilds the index "
        "from the log"
    )


def _open(path: Path, condemned: Path) -> Rdict:
    try:
        if condemned.exists():
            raise DamagedIndex("it was condemned")
        return _looked_at(Rdict(str(path), _options()))
    except Exception as error:
        if isinstance(said := _said(error), DiskFull):
            raise said from error  # what is there is not to blame
        _log.warning("the index is damaged and will be rebuilt from the log: %s", error)
        shutil.rmtree(path, ignore_errors=True)
        condemned.unlink(missing_ok=True)
        return Rdict(str(path), _options())


def _looked_at(db: Rdict) -> Rdict:
    """The same, if its markers can be read."""
    try:
        db.get(_FIRST), db.get(_LAST)
    except Exception:
        db.close()
        raise
    return db


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(_MEMORY_TABLE_BYTES)
    options.set_max_write_buffer_number(3)
    options.set_max_open_files(64)
    options.set_keep_log_file_num(2)
    table = BlockBasedOptions()
    table.set_block_cache(Cache(_BLOCK_CACHE_BYTES))
    table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    return options
