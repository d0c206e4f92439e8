"""The floor: an append server that does only what can't be avoided, to measure the node against.

Each body is read, joins the group that gathers, is written and synced with it, and is answered
with 201. Nothing is parsed, checked, hashed, framed, stamped or indexed. So the ratio of a node
to the floor says what all of that costs, whatever the machine is.

    python tests/benchmarks/floor.py PORT DIRECTORY [--parse]

With `--parse` it also does what any store that answers for its input must do: see that every
line is JSON with a type. That is not the floor of the targets, but it tells parsing from the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

SWITCH_SECONDS: Final = 0.0005  # or the thread that syncs waits 5 ms for the interpreter lock
FILE_BYTES_MAX: Final = 64 << 20  # then a new file, as a log does
IDLE_SECONDS: Final = 0.3  # then full files are removed: the disk need not hold all of a run
BUFFERS_MAX: Final = 1024  # what one writev takes
ANSWER: Final = b'{"commit":"00000000000000000000000000000000","first_revision":0}'
sync = getattr(os, "fdatasync", os.fsync)


class Line(msgspec.Struct):
    """What an event must have; the data stays as it came."""

    type: str
    data: msgspec.Raw = msgspec.Raw(b"null")


_LINES = msgspec.json.Decoder(Line)


class GroupFile:
    """The files that groups of bodies are written to, one after the other; used by one thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._full: list[Path] = []
        self._begin(0)

    def write(self, group: list[bytes]) -> None:
        size = sum(map(len, group))
        if hasattr(os, "writev"):
            parts = range(0, len(group), BUFFERS_MAX)
            done = sum(os.writev(self._file, group[at : at + BUFFERS_MAX]) for at in parts)
        else:
            done = os.write(self._file, b"".join(group))
        if done != size:
            raise OSError(f"only {done} of {size} bytes were written to {self._path}")
        sync(self._file)
        self._bytes += size
        if self._bytes >= FILE_BYTES_MAX:
            os.close(self._file)
            self._full.append(self._path)
            self._begin(self._number + 1)

    def tidy(self) -> None:
        """Remove what is full: it takes long enough to be seen in the figures."""
        while self._full:
            self._full.pop().unlink()

    def _begin(self, number: int) -> None:
        self._number = number
        self._path = self._directory / f"{number:06d}.floor"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        self._bytes = 0


class Floor:
    """The group that gathers, the handler that adds to it, and the task that writes it."""

    def __init__(self, directory: Path, *, parse: bool) -> None:
        self._file = GroupFile(directory)
        self._parse = parse
        self._group: list[bytes] = []
        self._written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wake = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        if body:
            if self._parse:
                _LINES.decode_lines(body)
            self._group.append(body)
            self._wake.set()
            await self._written
        return web.Response(body=ANSWER, status=201, content_type="application/json")

    async def write(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread:
            while True:
                if not self._wake.is_set():
                    try:
                        async with asyncio.timeout(IDLE_SECONDS):
                            await self._wake.wait()
                    except TimeoutError:
                        await loop.run_in_executor(thread, self._file.tidy)
                        continue
                self._wake.clear()
                group, self._group = self._group, []
                written, self._written = self._written, loop.create_future()
                await loop.run_in_executor(thread, self._file.write, group)
                written.set_result(None)


async def serve(port: int, directory: Path, *, parse: bool) -> None:
    floor = Floor(directory, parse=parse)
    server = web.Server(floor.handle, access_log=None)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port)
    async with listening:
        await floor.write()


def main() -> None:
    parser = argparse.ArgumentParser(description="The floor program.")
    parser.add_argument("port", type=int)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--parse", action="store_true", help="also see that every line is JSON")
    given = parser.parse_args()
    sys.setswitchinterval(SWITCH_SECONDS)
    run = asyncio.run
    if sys.platform != "win32":
        import uvloop

        run = uvloop.run
    run(serve(given.port, given.directory, parse=given.parse))


if __name__ == "__main__":
    main()
