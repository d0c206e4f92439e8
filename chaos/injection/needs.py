"""Which tools the kinds of faults need, and whether they are here. Other kinds need nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from ...storage.errors import ConfigError
from .clocks import find_library

_TRACE_SECONDS: Final = 10.0


class Need(NamedTuple):
    """Something that must be here; `package` is the Debian one that has it, empty if none."""

    name: str
    package: str
    why: str


CLOCKS: Final = Need("libfaketime", "libfaketime", "it fakes the clocks of nodes")
MOUNT: Final = Need("root", "", "only root can mount a file system of limited size")
NETWORK: Final = Need("root", "", "only root can make network namespaces")
IP: Final = Need("ip", "iproute2", "it makes network namespaces")
STRACE: Final = Need("strace", "strace", "it makes the system calls of nodes slow, or fail")
TRACING: Final = Need("tracing", "", "strace must be allowed to trace the processes it starts")

NEEDS: Final[dict[str, tuple[Need, ...]]] = {
    "clock": (CLOCKS,),
    "drift": (CLOCKS,),
    "strobe": (CLOCKS,),
    "reboot": (CLOCKS,),
    "disk-full": (MOUNT,),
    "no-room": (MOUNT,),
    "disk-slow": (STRACE, TRACING),
    "disk-stall": (STRACE, TRACING),
    "disk-fails": (STRACE, TRACING),
    "write-fails": (STRACE, TRACING),
    "write-full": (STRACE, TRACING),
    "misread": (STRACE, TRACING),
    "crash-writing": (STRACE, TRACING),
    "kill-at": (STRACE, TRACING),
    "power": (STRACE, TRACING),
    "namespaces": (NETWORK, IP),
}
_REMEDIES: Final = {
    "root": "run as root",
    "tracing": "allow ptrace (kernel.yama.ptrace_scope below 3; in a container, SYS_PTRACE)",
}


@cache
def may_trace() -> bool:
    """Whether strace can trace a process that it starts here."""
    command = ["strace", "-qq", "-e", "trace=none", "-o", os.devnull, "true"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_TRACE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def missing(
    kinds: Iterable[str],
    *,
    which: Callable[[str], str | None] = shutil.which,
    geteuid: Callable[[], int] = os.geteuid,
    library: Callable[[], Path | None] = find_library,
    traces: Callable[[], bool] = may_trace,
) -> list[str]:
    """What these kinds of faults need and is not here, a sentence for each."""

    def here(need: Need) -> bool:
        if need.name == "root":
            return geteuid() == 0
        if need.name == "libfaketime":
            return library() is not None
        if need.name == "tracing":
            return which("strace") is None or traces()  # without it, that is told already
        return which(need.name) is not None

    wanted: dict[Need, list[str]] = {}
    for kind in dict.fromkeys(kinds):
        for need in NEEDS.get(kind, ()):
            wanted.setdefault(need, []).append(kind)
    return [_sentence(need, asking) for need, asking in wanted.items() if not here(need)]


def require(
    kinds: Iterable[str],
    *,
    which: Callable[[str], str | None] = shutil.which,
    geteuid: Callable[[], int] = os.geteuid,
    library: Callable[[], Path | None] = find_library,
    traces: Callable[[], bool] = may_trace,
) -> None:
    """Raise ConfigError, with all that is missing, unless these kinds of faults can be had here."""
    absent = missing(kinds, which=which, geteuid=geteuid, library=library, traces=traces)
    if absent:
        raise ConfigError(" ".join([*absent, "Or leave these faults out."]))


def _sentence(need: Need, kinds: list[str]) -> str:
    remedy = f"`apt-get install {need.package}`" if need.package else _REMEDIES[need.name]
    return f"{', '.join(kinds)}: {need.name} is missing, {need.why}; {remedy}."
