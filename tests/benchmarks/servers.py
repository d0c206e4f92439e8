"""The processes of a measurement: floor, nodes, load. All on loopback, all ended by their ids."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from anabranch.tests.benchmarks.load import Result
from anabranch.tests.benchmarks.machine import Cores

HERE: Final = Path(__file__).parent
READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.05
LOAD_SPARE_SECONDS: Final = 60.0  # on top of what a load was told to take
SHOWN_LINES: Final = 20


class CannotMeasure(Exception):
    """Something that a measurement needs did not work."""


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started in here runs on one core, with all threads that it will ever have."""
    if core is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Server:
    """A process that listens on a port; use it as `with Server(...)`."""

    def __init__(
        self, name: str, command: Sequence[str], port: int, log: Path, *, core: int | None = None
    ) -> None:
        self.name = name
        self.port = port
        self._command = command
        self._log = log
        self._core = core
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log, on_core(self._core):
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the measurement, which then ends this
            )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None, "use `with Server(...)`"
        return self._process.pid

    def ready(self, path: str = "/readyz", status: int = 200) -> Self:
        """Wait until it answers at a path."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                found, _ = ask(self.port, path)
            except OSError as error:
                found, why = 0, str(error)
            else:
                why = f"{path} answers {found}"
            if found == status:
                return self
            self.check()
            if time.monotonic() > deadline:
                raise CannotMeasure(
                    f"{self.name} is not ready after {READY_SECONDS:.0f} s: {why}.\n{self._tail()}"
                )
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Raise if it has ended."""
        assert self._process is not None, "use `with Server(...)`"
        status = self._process.poll()
        if status is not None:
            raise CannotMeasure(f"{self.name} has ended with status {status}.\n{self._tail()}")

    def rss_mib(self) -> float:
        """Memory that the process holds now."""
        try:
            text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        except FileNotFoundError:
            shown = subprocess.run(
                ["ps", "-o", "rss=", "-p", str(self.pid)],
                capture_output=True,
                check=True,
                text=True,
            )
            return int(shown.stdout) / 1024
        line = next(line for line in text.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def cpu_seconds(self) -> float:
        """Processor time that the process has used; 0 where that can't be read."""
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
        except FileNotFoundError:
            return 0.0
        fields = text[text.rindex(")") + 2 :].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-SHOWN_LINES:]) or "It has logged nothing."


def floor(directory: Path, core: int | None, *, parse: bool = False) -> Server:
    """The floor program, with its files below a directory."""
    name = "floor-parse" if parse else "floor"
    data = directory / name
    data.mkdir()
    (port,) = free_ports(1)
    command = [sys.executable, str(HERE / "floor.py"), str(port), str(data)]
    return Server(
        name,
        [*command, *(["--parse"] if parse else [])],
        port,
        directory / f"{name}.log",
        core=core,
    )


def nodes(
    directory: Path,
    sites: Sequence[str],
    core: int | None = None,
    *,
    command: Sequence[str] = (sys.executable, "-m", "anabranch"),
) -> list[Server]:
    """The nodes of a fresh cluster with one node in each site."""
    ports = free_ports(len(sites))
    config = directory / "cluster.toml"
    members = "".join(
        f'\n[[member]]\nname = "{site}1"\nsite = "{site}"\nurl = "http://127.0.0.1:{port}"\n'
        for site, port in zip(sites, ports, strict=True)
    )
    config.write_text(f'[cluster]\nname = "bench"\nshards = 64\n{members}', encoding="utf-8")
    return [
        Server(
            f"node {site}1",
            [
                *(*command, "node", f"{site}1"),
                *("--config", str(config), "--data", str(directory / f"{site}1")),
            ],
            port,
            directory / f"{site}1.log",
            core=core,
        )
        for site, port in zip(sites, ports, strict=True)
    ]


def load(server: Server, cores: Cores, what: str, *, spread: bool = False, **given: Any) -> Result:
    """Run the load against a server; `spread` lets it run on any core."""
    options = [
        part
        for name, value in given.items()
        if value is not None
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    limit = float(given.get("warmup", 0)) + float(given.get("seconds", 600)) + LOAD_SPARE_SECONDS
    command = [sys.executable, str(HERE / "load.py"), what, "--port", str(server.port), *options]
    with on_core(None if spread else cores.load):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise CannotMeasure(f"the load did not end within {limit:.0f} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    server.check()
    if process.returncode != 0:
        raise CannotMeasure(f"{server.name}: {err.decode('utf-8', 'replace').strip()}")
    return msgspec.json.decode(out, type=Result)


def ask(port: int, path: str, timeout: float = 10.0) -> tuple[int, bytes]:
    """GET a path; the status and the body. Raises OSError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
    finally:
        connection.close()


def free_ports(many: int) -> list[int]:
    """Ports on loopback that nobody listens on just now."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(many)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in taken]
