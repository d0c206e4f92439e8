"""The tree keeps the house rules. What a finding means stands in rules.py."""

import subprocess
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from . import rules
from .rules import Finding, Source

ROOT = Path(__file__).parents[2]
NOT_THE_PACKAGE = {"tests", "examples", "docs", "build", "dist"}

# The seam files, and the only ones: file -> what it may touch.
SEAMS = {
    "storage/disk.py": {"disk", "thread"},
    "storage/index_rocks.py": {"disk"},
    "node/clock.py": {"clock", "random"},
    "node/config.py": {"disk"},  # reads the cluster's file
    "node/http.py": {"network"},
    "node/http_*.py": {"network"},
    "node/logs.py": {"clock"},  # lines carry the machine's time
    "gossip/transport.py": {"network"},
    "chaos/*": {"clock", "network", "disk", "thread", "process"},
    "cli/*": {"clock", "random", "network", "disk", "thread", "process"},
}
PURE = {
    *(
        f"storage/{name}.py"
        for name in ("errors", "limits", "stamp", "commit", "record", "keys", "state")
    ),
    *(
        f"gossip/{name}.py"
        for name in (
            "clocks",
            "frontier",
            "members",
            "messages",
            "outbox",
            "pace",
            "reports",
            "settlement",
            "wire",
        )
    ),
    *(f"node/{name}.py" for name in ("cloudevents", "fold", "intake", "position", "query")),
}


@cache
def paths() -> tuple[str, ...]:
    """Every file of the project, new ones too; what git ignores is left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
        listed = [name for name in done.stdout.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):  # a source archive
        listed = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*")]
        listed = [name for name in listed if not hidden(name)]
    return tuple(sorted({name for name in listed if (ROOT / name).is_file()}))


def hidden(name: str) -> bool:
    return any(
        part == "__pycache__" or (part.startswith(".") and part != ".ci")
        for part in Path(name).parts
    )


@cache
def package() -> tuple[Source, ...]:
    python = [name for name in paths() if name.endswith(".py")]
    inside = [name for name in python if Path(name).parts[0] not in NOT_THE_PACKAGE]
    return tuple(Source(name, (ROOT / name).read_text("utf-8")) for name in inside)


def texts() -> list[Source]:
    found = []
    for name in paths():
        content = (ROOT / name).read_bytes()
        if b"\0" not in content:
            found.append(Source(name, content.decode("utf-8", "replace")))
    return found


def none_of(findings: Sequence[Finding]) -> None:
    assert not findings, "\n" + "\n".join(map(str, findings))


def test_imports_run_downward():
    none_of(rules.layering(package()))


def test_imports_run_in_no_circle():
    none_of(rules.circles(package()))


def test_the_world_is_touched_in_the_seam_files_only():
    none_of(rules.seams(package(), SEAMS))


def test_pure_modules_wait_for_nothing():
    none_of(rules.purity(package(), PURE))


def test_pyproject_lists_the_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    none_of(rules.packages(project["tool"]["setuptools"]["packages"], paths()))


def test_files_and_functions_are_short():
    none_of(rules.sizes(package()))


def test_no_file_names_a_machine():
    none_of(rules.machine_words(texts()))


def test_module_names_say_something():
    none_of(rules.vague_names(paths()))


def test_the_documents_cover_the_tree():
    there = {name: (ROOT / name).read_text("utf-8") for name in paths() if name.endswith(".md")}
    none_of(rules.documents(there, {source.folder for source in package()} - {""}))
