"""`anabranch verify`: whether everything in a stopped node's directory is what was written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..node.verify import REMEDY, IndexCheck, synced_in
from ..storage.disk import FileDisk
from ..storage.errors import DamagedIndex, DamagedLog
from ..storage.files import LogFiles
from ..storage.index import Index
from ..storage.index_rocks import RocksIndex
from ..storage.segment import FOLDER
from ..storage.verify import Finding, Progress, repair, verify
from .errors import CommandError
from .options import AsJson

if TYPE_CHECKING:
    from rich.table import Table

INDEX = "index"

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
_LOST_END = "missing: the log has lost its end, which the index knows to have been on disk"
Tell = Callable[[str, int, int], None]  # a file, how far it is, and its size


@dataclass
class Read:
    """What was read of one file."""

    name: str
    size: int = 0
    records: int = 0
    wrong: int = 0
    known: int = 0


@dataclass
class Verdict:
    """All that was read, and what is wrong with it."""

    files: dict[str, Read] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    repaired: list[Finding] = field(default_factory=list)
    index: list[str] = field(default_factory=list)
    has_index: bool = False
    settled: int | None = None  # commits in the index; None if it was not read to its end
    unreadable: int = 0  # settled commits whose records can't be read

    @property
    def wrong(self) -> list[Finding]:
        """What nobody has taken care of."""
        return [one for one in self.findings if not one.known and one not in self.repaired]

    @property
    def has_lost_its_end(self) -> bool:
        """Whether the log ends before what the index knows to have been on disk."""
        return any(one.what == _LOST_END for one in self.findings)

    @property
    def is_good(self) -> bool:
        """Whether all is well."""
        return not (self.wrong or self.index or self.unreadable)


@app.command(name="verify")
def command(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The data directory of a node that is stopped.")
    ],
    mend: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Cut a torn tail and remove what an interrupted sealer left. Nothing else is "
            "ever cut: other damage is healed by the node from its peers.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every record, block, tree and index entry of a node's directory.

    Exit status 1 if anything is wrong; the places are named.
    """
    if not (directory / "lock").exists():
        raise CommandError(
            f"{directory} is no data directory of a node: it has no `lock`. Give the directory "
            "that the node was started with as --data"
        )
    disk = FileDisk(directory)
    try:
        with _telling(as_json) as tell:
            verdict = _check(disk, tell, mend=mend)
    finally:
        disk.close()
    if as_json:
        from .show import print_json

        print_json(_json(verdict))
    else:
        _print(verdict, directory)
    raise typer.Exit(0 if verdict.is_good else 1)


def _check(disk: FileDisk, tell: Tell, *, mend: bool) -> Verdict:
    verdict = Verdict()
    index, synced = _open_index(disk, verdict)
    for found in verify(disk):
        read = verdict.files.setdefault(found.name, Read(found.name))
        if isinstance(found, Progress):
            read.size, read.records = found.size, found.records
            tell(found.name, found.read, found.size)
            continue
        told = found.repair == "cut" and found.position < synced
        verdict.findings.append(found._replace(what=_LOST_END, repair="") if told else found)
        read.wrong += not found.known
        read.known += found.known
    if mend:
        for finding in [one for one in verdict.findings if one.repair]:
            repair(disk, finding)
            verdict.repaired.append(finding)
    if index is not None:
        verdict.has_index = True
        _check_index(index, synced, disk, tell, verdict)
    return verdict


def _open_index(disk: FileDisk, verdict: Verdict) -> tuple[Index | None, int]:
    """The index, and up to where it knows the log to have been on disk."""
    path = disk.directory / INDEX
    if not path.exists():
        return None, 0
    try:
        index = RocksIndex.to_look_at(path)
        return index, synced_in(index)
    except DamagedIndex as error:  # the log is judged without it
        verdict.index.append(str(error))
        return None, 0


def _check_index(index: Index, synced: int, disk: FileDisk, tell: Tell, verdict: Verdict) -> None:
    try:
        files = LogFiles(disk)
    except DamagedLog as error:  # its segments don't make up one log
        if not verdict.wrong:
            verdict.findings.append(Finding(FOLDER, 0, 0, 0, str(error)))
        return
    if synced > files.end and not verdict.has_lost_its_end:
        verdict.findings.append(Finding(FOLDER, 0, files.end, synced - files.end, _LOST_END))
    check = IndexCheck(index, files)
    try:
        for found in check.run():
            if found is None:
                tell(INDEX, check.commits, 0)
            else:
                verdict.index.append(found)
    except DamagedIndex as error:
        verdict.index.append(str(error))
        return
    verdict.settled, verdict.unreadable = check.commits, check.unreadable


@contextmanager
def _telling(quiet: bool) -> Iterator[Tell]:
    """Show how far it is, if somebody looks on."""
    if quiet or not sys.stderr.isatty():
        yield _nothing
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from .show import console

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=console(errors=True)) as progress:
        tasks: dict[str, Any] = {}

        def tell(name: str, done: int, total: int) -> None:
            if name not in tasks:
                for task in tasks.values():
                    progress.update(task, visible=False)
                tasks[name] = progress.add_task(name, total=total or None)
            progress.update(tasks[name], completed=done)

        yield tell


def _nothing(_name: str, _done: int, _total: int) -> None:
    """Nobody looks on."""


def _print(verdict: Verdict, directory: Path) -> None:
    from .show import cell, console, count, number

    screen = console()
    screen.print(_files(verdict))
    if verdict.settled is None:
        screen.print(_unread(verdict))
    else:
        good = "every entry and tree agrees with the log" if not verdict.index else ""
        line = f"Index: {count(verdict.settled, 'settled commit')}"
        screen.print(f"{line}, {good}." if good else f"{line}.")
    for finding in verdict.findings:
        style = "green" if finding in verdict.repaired else "dim" if finding.known else "bold red"
        screen.print(cell(_sentence(finding, repaired=finding in verdict.repaired), style))
    for sentence in verdict.index[:100]:
        screen.print(cell(f"{INDEX}: {sentence}", "bold red"))
    if len(verdict.index) > 100:
        screen.print(f"and {number(len(verdict.index) - 100)} more in the index")
    if verdict.has_lost_its_end:
        screen.print(
            f"Keep the folder `{INDEX}`: nothing else knows that the log has lost its end."
        )
    elif verdict.index:
        screen.print(f"To mend the index, {REMEDY}.")
    if verdict.unreadable:
        screen.print(
            cell(
                f"{count(verdict.unreadable, 'settled commit')} can't be read: started beside its "
                "peers, the node heals them.",
                "bold red",
            )
        )
    torn = [one for one in verdict.wrong if one.repair]
    if torn:
        screen.print("The node itself, or --repair, takes care of what was cut short.")
    if verdict.is_good:
        screen.print(cell(f"{directory}: all is as it was written.", "green"))


def _unread(verdict: Verdict) -> str:
    """Why nothing is said of what an index holds."""
    if verdict.index:
        return "The index can't be read to its end."
    if verdict.has_index:
        return "The index was not compared: the segments don't make up one log."
    return "There is no index; the node makes it when it starts."


def _files(verdict: Verdict) -> Table:
    from .show import cell, number, size, table

    made = table("file", "size", "records", "state", right=("size", "records"))
    for read in sorted(verdict.files.values(), key=lambda one: one.name):
        state = cell("good", "green")
        if read.wrong:
            state = cell(f"{read.wrong} wrong", "bold red")
        elif read.known:
            state = cell(f"{read.known} known", "yellow")
        made.add_row(cell(read.name), size(read.size), number(read.records), state)
    return made


def _sentence(finding: Finding, *, repaired: bool) -> str:
    where = f"{finding.name}, offset {finding.offset}"
    if finding.length:
        where += f" (positions {finding.position:#x} to {finding.position + finding.length:#x})"
    done = {"cut": "; it was cut", "remove": "; it was removed"}
    return f"{where}: {finding.what}{done.get(finding.repair, '') if repaired else ''}"


def _json(verdict: Verdict) -> dict[str, Any]:
    return {
        "good": verdict.is_good,
        "files": [asdict(verdict.files[name]) for name in sorted(verdict.files)],
        "findings": [
            one._asdict() | {"repaired": one in verdict.repaired} for one in verdict.findings
        ],
        "index": {
            "settled_commits": verdict.settled,
            "unreadable_commits": verdict.unreadable,
            "wrong": verdict.index,
        },
    }
