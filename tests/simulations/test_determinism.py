"""The same seed is the same run, frame by frame and answer by answer, in any process."""

from __future__ import annotations

import os
import subprocess
import sys

from .workload import run_seed

SEEDS = (0, 17, 23)

PROGRAM = """
import logging
from anabranch.tests.simulations.workload import run_seed
logging.disable(logging.CRITICAL)
ballast = [bytearray(number) for number in range({ballast})]
print([run_seed(seed).trace for seed in {seeds}])
"""


def traces(hash_seed: int, ballast: int) -> str:
    """The traces of all seeds, from a process with its own hashes and addresses."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(ballast=ballast, seeds=SEEDS)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout


def test_the_same_seed_leaves_the_same_trace_in_any_process():
    assert traces(1, 10) == traces(4242, 12_345)


def test_the_same_seed_leaves_the_same_trace_twice_in_one_process():
    assert run_seed(SEEDS[0]).trace == run_seed(SEEDS[0]).trace


def test_another_seed_leaves_another_trace():
    assert len({run_seed(seed).trace for seed in SEEDS}) == len(SEEDS)
