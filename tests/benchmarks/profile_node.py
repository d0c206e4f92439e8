"""Where a node's processor time goes under a load, by function and by line.

    python tests/benchmarks/profile_node.py singles
    python tests/benchmarks/profile_node.py commits --calls

It samples the stack of the node's main thread at every few milliseconds of processor time, which
costs next to nothing; time in C counts for the line that called it. Start and preparation are left
out. `--calls` counts every call instead (cProfile), from the start on: it names C functions too,
but makes Python calls look dearer than they are.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import signal
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec

from anabranch.tests.benchmarks.load import Result
from anabranch.tests.benchmarks.machine import cores
from anabranch.tests.benchmarks.rows import COMMIT_EVENTS, DATA_BYTES, SITES, wait_settled
from anabranch.tests.benchmarks.servers import Server, load, nodes

SAMPLE_SECONDS: Final = 0.001  # of processor time; the kernel may take larger steps
STACK_MAX: Final = 100
ALWAYS: Final = 0.95  # what is in so many of the stacks says nothing
READ_EVENTS: Final = 100_000
SHAPES: Final[dict[str, dict[str, Any]]] = {
    "singles": {"connections": 64, "events": 1, "data_bytes": DATA_BYTES, "streams": 256},
    "commits": {
        "connections": 4,
        "events": COMMIT_EVENTS,
        "data_bytes": DATA_BYTES,
        "streams": 4,
    },
    "settled": {"connections": 1, "ack": "settled", "data_bytes": DATA_BYTES},
    "settled-16": {"connections": 16, "ack": "settled", "data_bytes": DATA_BYTES},
    "read": {"connections": 1, "events": READ_EVENTS, "stream": "s0"},
    "read-singles": {"connections": 1, "events": READ_EVENTS, "stream": "s0"},
}


class Samples(msgspec.Struct):
    """How many samples fell on each function and line: itself on top, or anywhere in the stack."""

    taken: int = 0
    top: dict[str, int] = {}
    within: dict[str, int] = {}
    lines: dict[str, int] = {}


def sampled(directory: Path, arguments: list[str]) -> int:
    """Run a node and write what was sampled when it ends."""
    from anabranch.__main__ import main

    top: Counter[str] = Counter()
    within: Counter[str] = Counter()
    lines: Counter[str] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        top[_function(frame)] += 1
        lines[f"{_place(frame.f_code.co_filename)}:{frame.f_lineno}"] += 1
        stack: set[str] = set()
        while frame is not None and len(stack) < STACK_MAX:
            stack.add(_function(frame))
            frame = frame.f_back
        within.update(stack)

    def forget(*_: object) -> None:
        for counts in (top, within, lines):
            counts.clear()

    signal.signal(signal.SIGUSR2, forget)
    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
    sys.argv = ["anabranch", *arguments]
    try:
        return main()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        found = Samples(top.total(), dict(top), dict(within), dict(lines))
        _out(directory, arguments).write_bytes(msgspec.json.encode(found))


def counted(directory: Path, arguments: list[str]) -> int:
    """Run a node and write cProfile's figures when it ends."""
    from anabranch.__main__ import main

    sys.argv = ["anabranch", *arguments]
    profile = cProfile.Profile()
    try:
        return profile.runcall(main)
    finally:
        profile.dump_stats(_out(directory, arguments))


def _out(directory: Path, arguments: list[str]) -> Path:
    """Where a node's figures go, by its name."""
    return directory / f"{arguments[1]}.profile"


def _function(frame: FrameType) -> str:
    return f"{_place(frame.f_code.co_filename)}:{frame.f_code.co_qualname}"


def _place(path: str) -> str:
    return "/".join(path.split("/")[-2:])


def measure(given: argparse.Namespace) -> None:
    """Start what is to be profiled, load its first node, end it, and show what was found."""
    inside = "--calls" if given.calls else "--samples"
    sites = SITES if given.what.startswith("settled") else SITES[:1]
    with tempfile.TemporaryDirectory(prefix="anabranch-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        command = (sys.executable, __file__, inside, str(directory))
        core = cores().server if len(sites) == 1 else None
        cluster = nodes(directory, sites, core, command=command)
        with stack:
            for node in cluster:
                stack.enter_context(node)
            for node in cluster:
                node.ready()
            prepare(given, cluster[0])
            shown = cluster[given.node]
            if not given.calls:
                os.kill(shown.pid, signal.SIGUSR2)
            before = shown.cpu_seconds()
            found = run(given, cluster[0])
            used = shown.cpu_seconds() - before
        show(given, found, used, directory / f"{sites[given.node]}1.profile")


def prepare(given: argparse.Namespace, node: Server) -> None:
    """Write what is to be read."""
    if given.what.startswith("read"):
        events = 1 if given.what == "read-singles" else COMMIT_EVENTS
        fill: dict[str, Any] = {"requests": READ_EVENTS // events, "events": events, "streams": 1}
        load(node, cores(), "append", connections=64 if events == 1 else 4, **fill)
        wait_settled(node, "s0", READ_EVENTS)


def run(given: argparse.Namespace, node: Server) -> Result:
    kind = "read" if given.what.startswith("read") else "append"
    spread = given.what.startswith("settled")
    return load(node, cores(), kind, spread=spread, seconds=given.seconds, **SHAPES[given.what])


def show(given: argparse.Namespace, found: Result, used: float, out: Path) -> None:
    each = used * 1e6 / found.in_all
    print(
        f"{given.what}: {found.events_per_second:,.0f} events/s while it was profiled; "
        f"{used:.1f} s of the node's processor time, {each:.1f} us an answer"
    )
    if given.calls:
        stats = pstats.Stats(str(out))
        stats.sort_stats("tottime").print_stats(given.lines)
        return
    samples = msgspec.json.decode(out.read_bytes(), type=Samples)
    for title, counts in (
        ("itself (with the C functions that it calls)", samples.top),
        ("with all that it calls", samples.within),
        ("by line", samples.lines),
    ):
        print(f"\n{title}")
        shares = ((name, count / samples.taken) for name, count in counts.items())
        known = [(part, name) for name, part in shares if part < ALWAYS]
        for part, name in sorted(known, reverse=True)[: given.lines]:
            print(f"  {part:6.1%} {part * each:8.1f} us  {name}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Profile a node under a load.")
    parser.add_argument("what", choices=SHAPES)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--calls", action="store_true", help="count calls instead of sampling")
    parser.add_argument("--node", type=int, choices=[0, 1, 2], default=0, help="which of three")
    parser.add_argument("--lines", type=int, default=40, help="how many to show")
    given = parser.parse_args()
    if given.node and not given.what.startswith("settled"):
        parser.error(f"{given.what} has one node only")
    return given


if __name__ == "__main__":
    if sys.argv[1:2] == ["--samples"]:
        sys.exit(sampled(Path(sys.argv[2]), sys.argv[3:]))
    if sys.argv[1:2] == ["--calls"]:
        sys.exit(counted(Path(sys.argv[2]), sys.argv[3:]))
    measure(arguments())
