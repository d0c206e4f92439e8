"""Fake nodes to talk to, and a way to run a command as a shell would."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from anabranch.cli.app import run as run_command

sys.path.insert(0, str(Path(__file__).parent))

from fake_cluster import Serving, World


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def call(*arguments: str) -> Ran:
        status = run_command([str(one) for one in arguments])
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return call


@pytest.fixture
def world() -> World:
    return World(("ny", "london", "tokyo"))


@pytest.fixture
def cluster(world: World) -> Iterator[Serving]:
    with Serving(world) as serving:
        yield serving


@pytest.fixture
def alone() -> Iterator[Serving]:
    with Serving(World(("ny",))) as serving:
        yield serving
