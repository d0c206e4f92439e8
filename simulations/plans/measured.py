"""Latencies and outages that were really measured, to draw from (data/README.md has their sources).

This is the only file of the package that reads a file beside the code.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from random import Random as Generator
from statistics import median

# End-user machines have a very heavy tail (up to minutes): beyond its 99th percentile a link is
# as good as cut, which is a fault of its own and not a latency.
VARIATION_MAX = 20.0


def planetlab_rtt_seconds(generator: Generator, places: int) -> list[list[float]]:
    """Round-trip times between so many distinct hosts of PlanetLab; symmetric, 0 to itself."""
    rows = _planetlab()
    hosts = generator.sample(range(len(rows)), places)
    return [[_between(rows, here, there) for there in hosts] for here in hosts]


def variation(generator: Generator) -> list[float]:
    """How the round-trip time of a pair of end-user machines went, relative to its median."""
    return list(generator.choice(_seattle()))


def outage_seconds(generator: Generator) -> float:
    """How long one of the outages lasted that public monitors saw; good to some minutes."""
    return generator.choice(_outages())


def _between(rows: list[list[float]], here: int, there: int) -> float:
    return 0.0 if here == there else rows[max(here, there)][min(here, there)]


@cache
def _planetlab() -> list[list[float]]:
    """What lies below the diagonal, in seconds."""
    return [[], *([float(ms) / 1000 for ms in row] for row in _rows("planetlab"))]


@cache
def _seattle() -> list[list[float]]:
    return [_relative([float(seconds) for seconds in row[2:]]) for row in _rows("seattle")]


def _relative(series: list[float]) -> list[float]:
    there = [seconds for seconds in series if seconds]  # 0: nothing was measured
    middle = median(there)
    return [min(seconds / middle, VARIATION_MAX) for seconds in there]


@cache
def _outages() -> list[float]:
    return [float(seconds) for row in _rows("outages") for seconds in row[1:]]


def _rows(name: str) -> list[list[str]]:
    packed = files("anabranch.simulations").joinpath("data", f"{name}.txt.gz").read_bytes()
    return [line.split() for line in gzip.decompress(packed).decode().splitlines()]
