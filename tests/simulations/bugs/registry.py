"""How a bug is planted: a line of the real code is replaced, for as long as a context lasts."""

from __future__ import annotations
import __future__ as future

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType
from typing import Any

Bug = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Unseen:
    """What would have to be drawn for a bug, and the test under tests/ that finds it instead."""

    wants: str
    test: str


EVERY: dict[str, Bug] = {}
BUGS: dict[str, Bug] = {}  # those that the seeds find
UNSEEN: dict[str, Unseen] = {}  # those that they do not find yet


def planted(bug: Bug) -> Bug:
    """Add a bug to the list, under the name of its function."""
    BUGS[_named(bug)] = bug
    return bug


def unseen(wants: str, test: str) -> Callable[[Bug], Bug]:
    """Keep a bug that no seed finds yet, with what they lack and the test that finds it."""

    def keep(bug: Bug) -> Bug:
        UNSEEN[_named(bug)] = Unseen(wants, test)
        return bug

    return keep


def _named(bug: Bug) -> str:
    name = bug.__name__.replace("_", " ")
    assert name not in EVERY, f"two bugs are called {name}"
    EVERY[name] = bug
    return name


@contextmanager
def edited(function: Any, *edits: tuple[str, str]) -> Iterator[None]:
    """Run a function as if its source had other text in some places, each of which is one place.

    Its code is exchanged in place, so it does not matter who has imported it, or bound it.
    """
    function = function.fget if isinstance(function, property) else inspect.unwrap(function)
    sound = function.__code__
    function.__code__ = _compiled(function, edits)
    try:
        yield
    finally:
        function.__code__ = sound


@contextmanager
def together(*contexts: AbstractContextManager[Any]) -> Iterator[None]:
    """One bug that takes several edits."""
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


@cache
def _compiled(function: FunctionType, edits: tuple[tuple[str, str], ...]) -> CodeType:
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in edits:
        count = source.count(old)
        assert count == 1, f"{old!r} is in {function.__qualname__} {count} times, not once"
        source = source.replace(old, new)
    flags = future.annotations.compiler_flag
    module = compile(source, inspect.getfile(function), "exec", flags, dont_inherit=True)
    return _code_named(function.__name__, module)


def _code_named(name: str, module: CodeType) -> CodeType:
    """The code of the one function that a module defines."""
    return next(
        part for part in module.co_consts if isinstance(part, CodeType) and part.co_name == name
    )
