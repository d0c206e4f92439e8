"""What a machine is, as far as it bears on the figures. What is not known is left out."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import msgspec

PROBE_BYTES: Final = 4096
PROBES: Final = 400
PACKAGES: Final = ("aiohttp", "uvloop", "msgspec", "rocksdict")


class Machine(msgspec.Struct, frozen=True):
    """One machine and one data directory on it."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    packages: dict[str, str]
    disk: str
    sync_ms: float  # median of 4 KiB appends with fdatasync
    load: float  # runnable processes over the last minute, before the run
    pinned: str


class Cores(msgspec.Struct, frozen=True):
    """Which core the server under test has to itself, and which the load. None: not pinned."""

    server: int | None = None
    load: int | None = None

    def __str__(self) -> str:
        if self.server is None:
            return "server and load are not pinned to cores"
        return f"server on core {self.server}, load on core {self.load}"


def cores() -> Cores:
    """Two cores, where there are two and the system lets a process choose."""
    if sys.platform != "linux":
        return Cores()
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[1]) if len(usable) > 1 else Cores()


def describe(directory: Path) -> Machine:
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gib=round(_memory_bytes() / (1 << 30), 1),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={name: found for name in PACKAGES if (found := _version(name))},
        disk=_disk(directory),
        sync_ms=round(_sync_ms(directory), 3),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
        pinned=str(cores()),
    )


def on_memory(directory: Path) -> bool:
    """Whether a directory is in memory, where a sync costs nothing."""
    return _mount(directory)[1] in ("tmpfs", "ramfs")


def _cpu() -> str:
    fields = _fields(Path("/proc/cpuinfo"))
    return fields.get("model name") or platform.processor() or platform.machine()


def _fields(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in reversed(lines))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _mount(directory: Path) -> tuple[str, str]:
    """The device and the file system that a directory is on."""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "", ""
    path, found, length = directory.resolve(), ("", ""), -1
    for line in lines:
        device, point, kind = line.split(" ")[:3]
        if path.is_relative_to(point) and len(point) >= length:
            found, length = (device, kind), len(point)
    return found


def _disk(directory: Path) -> str:
    device, kind = _mount(directory)
    if not kind:
        return "unknown"
    number = directory.stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    turning = next(
        (
            place / "queue/rotational"
            for place in (block, block.parent)
            if (place / "queue").is_dir()
        ),
        None,
    )
    says = {"0": "not rotating", "1": "says it is rotating"}
    try:
        how = says.get(turning.read_text().strip(), "") if turning else ""
    except OSError:
        how = ""
    what = "virtual" if "virtio" in str(block) else ""
    return ", ".join(part for part in (f"{kind} on {device}", what, how) if part)


def _sync_ms(directory: Path) -> float:
    """How long a small durable append takes here: no acknowledgement can be faster."""
    sync = getattr(os, "fdatasync", os.fsync)
    path = directory / "probe"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    times = []
    try:
        for _ in range(PROBES):
            start = time.perf_counter()
            os.write(file, b"\xa5" * PROBE_BYTES)
            sync(file)
            times.append(time.perf_counter() - start)
    finally:
        os.close(file)
        path.unlink()
    return statistics.median(times) * 1e3
