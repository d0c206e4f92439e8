"""`make bench`: measures a node against the floor and the targets, and says on what machine.

    make bench
    make bench ARGS="singles commits --quick"
    python tests/benchmarks/run.py --json > measured.json

A target that is missed is a result, so the exit status is 0; it is 1 if something could not be
measured, and 2 for wrong use. Figures from two machines do not compare; ratios nearly do.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from anabranch.tests.benchmarks import anti_entropy, simulation, storage
from anabranch.tests.benchmarks import rows as of_nodes
from anabranch.tests.benchmarks.machine import Machine, cores, describe, on_memory
from anabranch.tests.benchmarks.rows import Bench, Measured, Row
from anabranch.tests.benchmarks.servers import CannotMeasure

ROWS: Final = (*of_nodes.ROWS, *storage.ROWS, *anti_entropy.ROWS, *simulation.ROWS)
SECONDS: Final = 4.0
ROUNDS: Final = 5
QUICK_SECONDS: Final = 1.5
QUICK_ROUNDS: Final = 3
ROUNDS_MIN: Final = 3
IDLE_LOAD: Final = 1.0

Outcome = Measured | str  # or why it could not be measured


def measure(rows: Sequence[Row], bench: Bench) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for row in rows:
        try:
            found[row.name] = row.run(bench)
        except (CannotMeasure, OSError, msgspec.MsgspecError) as error:
            found[row.name] = str(error)
    return found


def table(rows: Sequence[Row], found: dict[str, Outcome]) -> Table:
    shown = Table(title="anabranch, measured", title_justify="left", show_lines=True)
    for name in ("row", "what"):
        shown.add_column(name, overflow="fold")
    for name in ("target", "measured", "min to max"):
        shown.add_column(name, justify="right")
    shown.add_column("met")
    shown.add_column("detail", overflow="fold")
    for row in rows:
        outcome = found[row.name]
        if isinstance(outcome, str):
            shown.add_row(row.name, row.title, row.target, "-", "-", "[red]not measured", outcome)
            continue
        met = {True: "[green]yes", False: "[red]no", None: "-"}[row.met(outcome)]
        value = f"{number(outcome.value)} {row.unit}"
        spread = f"{number(outcome.low)} to {number(outcome.high)}"
        shown.add_row(row.name, row.title, row.target, value, spread, met, outcome.detail)
    return shown


def number(value: float) -> str:
    """As many digits as mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def about(machine: Machine) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    return (
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib} GiB; {machine.kernel}; "
        f"{machine.python} ({packages}).\n"
        f"Disk of the data: {machine.disk}; 4 KiB append and sync {machine.sync_ms} ms. "
        f"Load of the machine before: {machine.load}. {machine.pinned.capitalize()}; "
        "the three nodes of a cluster are not pinned."
    )


def report(rows: Sequence[Row], found: dict[str, Outcome], machine: Machine) -> bytes:
    """Everything as JSON."""
    lines: list[dict[str, Any]] = []
    for row in rows:
        line: dict[str, Any] = {
            "row": row.name,
            "what": row.title,
            "unit": row.unit,
            "target": row.target,
        }
        outcome = found[row.name]
        if isinstance(outcome, str):
            line["not_measured"] = outcome
        else:
            line |= {"met": row.met(outcome), **msgspec.to_builtins(outcome)}
        lines.append(line)
    return msgspec.json.format(msgspec.json.encode({"machine": machine, "rows": lines}))


def arguments() -> argparse.Namespace:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        prog="make bench", description="Measure a node against the floor and the targets."
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="shorter, smaller, less certain")
    parser.add_argument("--seconds", type=float, help=f"of one round; {SECONDS:g} unless given")
    parser.add_argument("--rounds", type=int, help=f"at least {ROUNDS_MIN}; {ROUNDS} unless given")
    parser.add_argument("--data", type=Path, help="a directory on the disk to measure")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    given = parser.parse_args()
    unknown = sorted(set(given.rows) - set(names))
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(names)}")
    given.seconds = given.seconds or (QUICK_SECONDS if given.quick else SECONDS)
    given.rounds = given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS)
    if given.rounds < ROUNDS_MIN or not 0 < given.seconds <= 600:
        parser.error(f"--rounds is {ROUNDS_MIN} or more, --seconds above 0 and at most 600")
    if given.data is not None and not given.data.is_dir():
        parser.error(f"{given.data} is no directory")
    return given


def base(given: Path | None) -> Path:
    """Where the data goes: not into memory, where a sync costs nothing."""
    choices = [given] if given else [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]
    return next((each for each in choices if each.is_dir() and not on_memory(each)), choices[0])


def main() -> int:
    given = arguments()
    rows = [row for row in ROWS if not given.rows or row.name in given.rows]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all is ended and removed
    progress = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="anabranch-bench-", dir=base(given.data)) as directory,
        progress.status("looks at the machine") as status,
    ):
        machine = describe(Path(directory))
        found: dict[str, Outcome] = {}
        began = time.monotonic()
        for at, row in enumerate(rows):
            front = f"{row.name} ({at + 1} of {len(rows)})"

            def say(text: str, front: str = front) -> None:
                status.update(f"{front}: {text} [{time.monotonic() - began:.0f} s]")

            bench = Bench(
                directory=Path(directory),
                cores=cores(),
                seconds=given.seconds,
                rounds=given.rounds,
                quick=given.quick,
                say=say,
            )
            found |= measure([row], bench)
    if given.json:
        print(report(rows, found, machine).decode())
    else:
        console = Console()
        console.print(table(rows, found))
        console.print(about(machine), highlight=False)
        if machine.load > IDLE_LOAD:
            console.print(
                f"[yellow]The machine was busy (load {machine.load}): ratios may be off by a "
                "tenth or two, and absolute figures by more. Repeat it when it is idle."
            )
    return 1 if any(isinstance(outcome, str) for outcome in found.values()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
