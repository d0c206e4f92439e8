"""A planted bug that no random run finds yet is found by a test that says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .bugs import UNSEEN

TESTS = Path(__file__).parents[1]
FAILED = 1  # what pytest ends with if a test did; another number: it did not run
RUN = """
import sys, pytest
from anabranch.tests.simulations.bugs import EVERY
with EVERY[sys.argv[1]]():
    sys.exit(pytest.main(["-q", "-m", "", "-p", "no:cacheprovider", sys.argv[2]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", UNSEEN)
def test_it_is_found(name):
    command = [sys.executable, "-c", RUN, name, UNSEEN[name].test]
    ran = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == FAILED, ran.stdout
    assert " failed" in ran.stdout
