"""The house rules, as pure functions: sources in, findings out.

A source is a path from the repository root and its text. No rule reads a file, so each
can be shown to fail on a few bad lines (test_rules_can_fail.py) before it is trusted
with the tree (test_house.py).
"""

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60  # docstring left out

# Folder -> folders that it may import. "" stands for the modules at the root.
MAY_IMPORT = {
    "storage": {"storage"},
    "gossip": {"storage", "gossip"},
    "node": {"storage", "gossip", "node"},
    "simulations": {"storage", "gossip", "node", "simulations"},
    "chaos": {"storage", "gossip", "node", "simulations", "chaos"},
    "cli": {"", "storage", "gossip", "node", "simulations", "chaos", "cli"},
    "": {"", "storage", "gossip", "node", "cli"},
}
SEEDED = {"simulations", "chaos"}  # what is random there is drawn by a seed
HTTP_FACE = ("node.http", "node.http_*")
HTTP_FACE_USERS = {"node", "cli", ""}

VAGUE = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"}

# Dotted name (or a name and all below it) -> the seam that it belongs behind.
BANNED = {
    "time": "clock",
    "datetime.datetime.now": "clock",
    "datetime.datetime.utcnow": "clock",
    "datetime.datetime.today": "clock",
    "datetime.date.today": "clock",
    "random": "random",
    "secrets": "random",
    "uuid.uuid1": "random",
    "uuid.uuid4": "random",
    "uuid.uuid6": "random",
    "uuid.uuid7": "random",
    "uuid.getnode": "random",
    "os.urandom": "random",
    "os.getrandom": "random",
    "numpy.random": "random",
    "socket": "network",
    "socketserver": "network",
    "ssl": "network",
    "select": "network",
    "selectors": "network",
    "http.client": "network",
    "http.server": "network",
    "urllib.request": "network",
    "aiohttp": "network",
    "uvloop": "network",
    "asyncio.start_server": "network",
    "asyncio.start_unix_server": "network",
    "asyncio.open_connection": "network",
    "asyncio.open_unix_connection": "network",
    "os": "disk",
    "io.open": "disk",
    "io.FileIO": "disk",
    "pathlib.Path": "disk",
    "pathlib.PosixPath": "disk",
    "aiofiles": "disk",
    "rocksdict": "disk",
    "fcntl": "disk",
    "glob": "disk",
    "mmap": "disk",
    "shelve": "disk",
    "shutil": "disk",
    "sqlite3": "disk",
    "tempfile": "disk",
    "threading": "thread",
    "concurrent.futures": "thread",
    "asyncio.to_thread": "thread",
    "multiprocessing": "process",
    "subprocess": "process",
    "signal": "process",
    "asyncio.create_subprocess_exec": "process",
    "asyncio.create_subprocess_shell": "process",
}
# Below a banned name, yet only arithmetic on what is handed in.
HARMLESS = {"os.path.basename", "os.path.dirname", "os.path.join", "os.fspath", "os.PathLike"}
# Methods of an event loop; whatever the variable is called.
BANNED_METHODS = {
    "run_in_executor": "thread",
    "create_server": "network",
    "create_connection": "network",
    "create_datagram_endpoint": "network",
    "sock_connect": "network",
}

# Spelled in pieces, so that this file does not find itself.
_MACHINE_WORDS = (
    *("/" + word for word in ("work/", "root/", "tmp/" + "bash")),
    *("pypi" + ".org", "python" + "hosted.org", "artifact" + "ory"),
    *("--" + word for word in ("index-url", "extra-index-url", "trusted-host")),
)
MACHINE_WORDS = re.compile("|".join(rf"(?<!\w){re.escape(word)}" for word in _MACHINE_WORDS))


class Source(NamedTuple):
    """A file's path from the repository root, and its text."""

    path: str
    text: str

    @property
    def folder(self) -> str:
        parts = PurePosixPath(self.path).parts
        return parts[0] if len(parts) > 1 else ""

    @property
    def module(self) -> str:
        """The dotted name inside the package: storage/log.py -> storage.log, __init__.py -> ""."""
        parts = PurePosixPath(self.path).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def is_package(self) -> bool:
        return PurePosixPath(self.path).name == "__init__.py"

    def nodes(self) -> tuple[ast.AST, ...]:
        return _nodes(self.text)


@cache
def _nodes(text: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(text)))


class Finding(NamedTuple):
    """One place that breaks a rule; prints as file:line: what and what to do."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class Import(NamedTuple):
    line: int
    module: str  # dotted, inside the package
    names: frozenset[str]  # names taken from the package's own __init__, if any


# --- imports -----------------------------------------------------------------------------


def layering(sources: Collection[Source]) -> list[Finding]:
    """Imports run one way: cli, simulations -> node -> gossip -> storage."""
    modules = {source.module for source in sources}
    found: list[Finding] = []
    for source in sources:
        found += _absolute_imports(source)
        if source.folder not in MAY_IMPORT:
            found.append(Finding(source.path, 1, f"no rule says what {source.folder}/ may import"))
            continue
        for item in _imports(source, modules):
            message = _forbidden(source.folder, item)
            if message:
                found.append(Finding(source.path, item.line, message))
    return found


def _forbidden(folder: str, item: Import) -> str:
    target = item.module.split(".")[0]
    if target not in MAY_IMPORT:
        target = ""  # a module at the root
    here = f"{folder or 'the root'}{'/' if folder else ''}"
    if target == "" and item.module == "" and item.names == {"__version__"}:
        return ""
    if target not in MAY_IMPORT[folder]:
        return f"{here} must not import {item.module or 'the root'}: imports run downward"
    face = any(fnmatch(item.module, pattern) for pattern in HTTP_FACE)
    if face and folder not in HTTP_FACE_USERS:
        return f"{here} must not import {item.module}: nothing below sees the HTTP face"
    return ""


def _absolute_imports(source: Source) -> Iterator[Finding]:
    for node in source.nodes():
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "anabranch":
                message = f"import {name}: inside the package imports are relative"
                yield Finding(source.path, node.lineno, message)


def _imports(source: Source, modules: Collection[str]) -> Iterator[Import]:
    """What a source imports from the package, each with the module that is really meant."""
    package = source.module.split(".") if source.module else []
    if not source.is_package:
        package = package[:-1]
    for node in source.nodes():
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        base = package[: len(package) - (node.level - 1)]
        target = ".".join([*base, *(node.module.split(".") if node.module else [])])
        own = set()
        for alias in node.names:
            inner = f"{target}.{alias.name}".lstrip(".")
            if inner in modules or any(name.startswith(f"{inner}.") for name in modules):
                yield Import(node.lineno, inner, frozenset())
            else:
                own.add(alias.name)
        if own:
            yield Import(node.lineno, target, frozenset(own))


def circles(sources: Collection[Source]) -> list[Finding]:
    """No module reaches itself through imports; those for type checking alone do not count."""
    by_module = {source.module: source for source in sources}
    graph = {}
    for name, source in by_module.items():
        skipped = _type_checking_lines(source)
        graph[name] = {
            item.module: item.line
            for item in _imports(source, by_module)
            if item.module in by_module and item.module != name and item.line not in skipped
        }
    found, reported = [], set()
    for start in sorted(graph):
        way = _way_back(graph, start)
        if way and frozenset(way) not in reported:
            reported.add(frozenset(way))
            line = graph[start][way[1]]
            message = "imports run in a circle: " + " -> ".join(name or "(root)" for name in way)
            found.append(Finding(by_module[start].path, line, message))
    return found


def _way_back(graph: Mapping[str, Mapping[str, int]], start: str) -> list[str]:
    """The shortest way from start to start, or nothing."""
    ways, seen = [[start]], set()
    for way in ways:  # grows while it is read: breadth first
        for target in graph[way[-1]]:
            if target == start:
                return [*way, start]
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return []


def _type_checking_lines(source: Source) -> set[int]:
    lines: set[int] = set()
    for node in source.nodes():
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                lines.update(range(child.lineno, (child.end_lineno or child.lineno) + 1))
    return lines


# --- seams and purity ----------------------------------------------------------------------


def seams(sources: Collection[Source], allowed: Mapping[str, Collection[str]]) -> list[Finding]:
    """Time, chance, network, disk, threads and processes are touched in the seam files only."""
    found = []
    for source in sources:
        matching = (kinds for glob, kinds in allowed.items() if fnmatch(source.path, glob))
        free = set().union(*matching)
        seen = set()
        for line, name, kind in _touches(source):
            if kind not in free and (line, name) not in seen:
                seen.add((line, name))
                message = f"{name} belongs behind the {kind} seam: take it from the constructor"
                found.append(Finding(source.path, line, message))
    return found


def _touches(source: Source) -> Iterator[tuple[int, str, str]]:
    """Every use of a banned name: (line, name, seam)."""
    aliases = _aliases(source)
    seeded = _seeded_randoms(source, aliases) if source.folder in SEEDED else set()
    inside = {id(node.value) for node in source.nodes() if isinstance(node, ast.Attribute)}
    for node in source.nodes():
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            if source.folder in SEEDED:
                names = [name for name in names if name != "random.Random"]
        elif isinstance(node, ast.Name | ast.Attribute) and id(node) not in inside:
            names = [] if node in seeded else [_dotted(node, aliases)]
        else:
            continue
        for name in names:
            kind = _kind(name)
            if kind:
                yield node.lineno, name, kind
    yield from _calls(source, aliases)


def _calls(source: Source, aliases: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """Built-ins and methods, which no import gives away."""
    in_hash = {
        id(inner)
        for node in source.nodes()
        if isinstance(node, ast.FunctionDef) and node.name == "__hash__"
        for inner in ast.walk(node)
    }
    for node in source.nodes():
        if not isinstance(node, ast.Call):
            continue
        call = node.func
        if isinstance(call, ast.Name) and call.id == "open" and "open" not in aliases:
            yield node.lineno, "open()", "disk"
        elif isinstance(call, ast.Name) and call.id == "hash" and id(node) not in in_hash:
            yield node.lineno, "hash(), another in every process,", "random"
        elif isinstance(call, ast.Attribute) and call.attr in BANNED_METHODS:
            yield node.lineno, f".{call.attr}()", BANNED_METHODS[call.attr]


def _seeded_randoms(source: Source, aliases: Mapping[str, str]) -> set[ast.AST]:
    """Uses of random.Random with a seed, or as a type."""
    uses: set[ast.AST] = set()
    unseeded: set[ast.AST] = set()
    for node in source.nodes():
        if isinstance(node, ast.Name | ast.Attribute) and _dotted(node, aliases) == "random.Random":
            uses.add(node)
        elif isinstance(node, ast.Call) and not node.args:
            unseeded.add(node.func)
    return uses - unseeded


def _aliases(source: Source) -> dict[str, str]:
    """Local name -> what it was imported as."""
    aliases = {}
    for node in source.nodes():
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                aliases[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                origin = f"{node.module}." if node.level == 0 else "."
                aliases[alias.asname or alias.name] = origin + alias.name
    return aliases


def _dotted(node: ast.AST, aliases: Mapping[str, str]) -> str:
    """time.monotonic under any alias; nothing for names that were not imported."""
    rest: list[str] = []
    while isinstance(node, ast.Attribute):
        rest.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in aliases:
        return ""
    return ".".join([aliases[node.id], *rest])


def _kind(name: str) -> str:
    parts = name.split(".")
    heads = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    if any(head in HARMLESS for head in heads):
        return ""
    return next((BANNED[head] for head in heads if head in BANNED), "")


def purity(sources: Collection[Source], pure: Collection[str]) -> list[Finding]:
    """Pure modules are plain functions of their input: no async, and no module that has it."""
    modules = {source.module for source in sources}
    shells = {source.module for source in sources if any(_asynchronous(source))}
    found = []
    for source in sources:
        if source.path not in pure:
            continue
        found += [
            Finding(source.path, line, f"{what}: a pure module waits for nothing")
            for line, what in _asynchronous(source)
        ]
        found += [
            Finding(source.path, item.line, f"a pure module must not import {item.module}, a shell")
            for item in _imports(source, modules)
            if item.module in shells
        ]
    return found


def _asynchronous(source: Source) -> Iterator[tuple[int, str]]:
    for node in source.nodes():
        if isinstance(node, ast.AsyncFunctionDef):
            yield node.lineno, f"async def {node.name}"
        elif isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield node.lineno, type(node).__name__.lower()
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [] if node.level else [node.module or ""]
            if any(name.split(".")[0] == "asyncio" for name in names):
                yield node.lineno, "import asyncio"


# --- shape of the tree ---------------------------------------------------------------------


def packages(listed: Collection[str], paths: Iterable[str]) -> list[Finding]:
    """The packages in pyproject.toml are exactly the folders with an __init__.py."""
    present = {
        ".".join(("anabranch", *PurePosixPath(path).parent.parts))
        for path in paths
        if PurePosixPath(path).name == "__init__.py" and not path.startswith("tests/")
    }
    found = [
        Finding("pyproject.toml", 1, f"{name} has an __init__.py but is not in packages")
        for name in sorted(present - set(listed))
    ]
    found += [
        Finding("pyproject.toml", 1, f"{name} is in packages but has no __init__.py")
        for name in sorted(set(listed) - present)
    ]
    return found


def sizes(sources: Collection[Source]) -> list[Finding]:
    """A file has one subject, a function one thought."""
    found = []
    for source in sources:
        lines = source.text.count("\n")
        if lines > FILE_LINES_MAX:
            message = f"{lines} lines, over {FILE_LINES_MAX}: two subjects make two files"
            found.append(Finding(source.path, FILE_LINES_MAX + 1, message))
        for node in source.nodes():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = _lines(node)
                if length > FUNCTION_LINES_MAX:
                    message = f"{node.name} has {length} lines, over {FUNCTION_LINES_MAX}: split it"
                    found.append(Finding(source.path, node.lineno, message))
    return found


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        length -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return length


def machine_words(sources: Iterable[Source]) -> list[Finding]:
    """No file names a machine's folders or a package host: it must make sense anywhere."""
    return [
        Finding(source.path, number, f"{match.group()!r} is true on one machine only: leave it out")
        for source in sources
        if MACHINE_WORDS.search(source.text)
        for number, line in enumerate(source.text.splitlines(), 1)
        for match in MACHINE_WORDS.finditer(line)
    ]


def vague_names(paths: Iterable[str]) -> list[Finding]:
    """A module's name says what lives there."""
    return [
        Finding(path, 1, f"{part!r} says nothing: name what lives here")
        for path in paths
        if path.endswith(".py")
        for part in PurePosixPath(path).with_suffix("").parts
        if set(part.strip("_").split("_")) & VAGUE
    ]


def documents(texts: Mapping[str, str], folders: Collection[str]) -> list[Finding]:
    """README.md and ARCHITECTURE.md stand at the root; the second has a word on every folder."""
    found = [
        Finding(name, 1, "is missing")
        for name in ("README.md", "ARCHITECTURE.md")
        if name not in texts
    ]
    if "ARCHITECTURE.md" in texts:
        found += [
            Finding("ARCHITECTURE.md", 1, f"does not say what may live in {folder}/")
            for folder in sorted(folders)
            if f"{folder}/" not in texts["ARCHITECTURE.md"]
        ]
    return found
