"""One node as a process: the real seams, the signals and the exit status.

Exit status: 0 ended as asked; 1 could not start; 2 the configuration is wrong; 3 ended because
nothing it would say could be trusted any more (a failed sync, a damaged record).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from ..gossip.transport import WebSocketNetwork
from ..node.clock import SystemClock, SystemRandom
from ..node.config import ClusterConfig, load
from ..node.http import Face
from ..node.logs import set_up
from ..node.node import Node
from ..storage.disk import FileDisk
from ..storage.errors import AnabranchError, ConfigError, DiskFull
from ..storage.index_rocks import RocksIndex
from ..storage.log import RESERVE

_log = logging.getLogger(__name__)
_SWITCH_SECONDS: Final = 0.001  # the thread that waits for the disk must get the lock back soon
_GC_THRESHOLDS: Final = (20_000, 20, 100)  # requests make much that dies young, and no cycles
_GRACE_SECONDS: Final = 5.0  # for requests under way when the node is told to stop


def run(name: str, config: Path, data: Path, *, drills: bool, join: bool) -> int:
    """Run a node until SIGTERM or SIGINT; its exit status."""
    set_up(name)
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        cluster = load(config)
        cluster.member(name)
        return _run(_serve(cluster, name, data, drills=drills, join=join))
    except ConfigError as error:
        _log.critical("%s", error)
        return 2
    except AnabranchError as error:
        _log.critical("%s", error)
        return 1


def _run(main: asyncio._CoroutineLike[int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)  # type: ignore[arg-type]
    return uvloop.run(main)  # type: ignore[arg-type]


def _open_index(disk: FileDisk) -> RocksIndex:
    """Open the index, if need be with the room that is kept for a full disk."""
    try:
        return RocksIndex(disk.directory / "index")
    except DiskFull:
        if RESERVE not in disk.list(""):
            raise
        disk.remove(RESERVE)
        return RocksIndex(disk.directory / "index")


async def _serve(cluster: ClusterConfig, name: str, data: Path, *, drills: bool, join: bool) -> int:
    ended = asyncio.Event()
    disk = FileDisk(data)
    node = Node(
        cluster,
        name,
        disk=disk,
        index=_open_index(disk),
        clock=SystemClock(),
        random=SystemRandom(),
        network=WebSocketNetwork(),
        on_failure=lambda _: ended.set(),
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await node.start()
    if join:  # also if this directory is one that left
        node.store.left, node.membership.asks = False, True
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    runner = web.ServerRunner(Face(node, drills=drills).server(), shutdown_timeout=_GRACE_SECONDS)
    await runner.setup()
    place = urlsplit(node.me.url)
    try:
        await web.TCPSite(runner, place.hostname, place.port, backlog=1024).start()
    except OSError as error:
        await node.stop()
        raise ConfigError(
            f"can't listen at {node.me.url}: {os.strerror(error.errno or 0)}; what runs there?"
        ) from None
    _log.info("%s serves %s", name, node.me.url)
    await ended.wait()
    _log.info("%s stops", name)
    await node.end_links()
    await runner.cleanup()
    await node.stop()
    return 0 if node.failure is None else 3
