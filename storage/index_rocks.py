"""The index in RocksDB, without its write-ahead log: our own log is the write-ahead log.

All keys are in one column family, whose memory tables are flushed in order and whole, so after a
crash the index is as after some earlier write. If it can't be opened it is thrown away and
rebuilt: deleting it loses nothing.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rocksdict import (
    BlockBasedOptions,
    Cache,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from .limits import MIB

_MEMORY_TABLE_BYTES: Final = 4 * MIB  # stays in the processor's cache: half the cost of 16 MiB
_BLOCK_CACHE_BYTES: Final = 32 * MIB
_log = logging.getLogger(__name__)


class RocksIndex:
    """The index of one data directory."""

    def __init__(self, path: Path) -> None:
        self._db = _open(path)
        self._write_options = WriteOptions()
        # An attribute, whatever the type stubs say.
        setattr(self._write_options, "disable_wal", True)  # noqa: B010

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        value: bytes | None = self._db.get(key)
        return value

    def scan(
        self, start: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """All pairs with start <= key < stop."""
        first = stop if reverse else start
        pairs: Iterator[tuple[bytes, bytes]] = self._db.items(  # type: ignore[assignment]
            backwards=reverse, from_key=first
        )
        for key, value in pairs:
            if start <= key < stop:
                yield key, value
            elif key != first:
                return

    def write(self, puts: Iterable[tuple[bytes, bytes]]) -> None:
        """Store all pairs, or after a crash none of them."""
        batch = WriteBatch(raw_mode=True)
        for key, value in puts:
            batch.put(key, value)
        self._db.write(batch, self._write_options)

    def flush(self) -> None:
        """Return when all that was written survives a crash."""
        self._db.flush(wait=True)

    def close(self) -> None:
        """Flush and let go."""
        self._db.flush(wait=True)
        self._db.close()


def _open(path: Path) -> Rdict:
    try:
        return Rdict(str(path), _options())
    except Exception as error:  # noqa: BLE001 - rocksdict raises bare Exception
        _log.warning("the index is damaged and will be rebuilt from the log: %s", error)
        shutil.rmtree(path, ignore_errors=True)
        return Rdict(str(path), _options())


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
