"""Each bug in bugs/ is found by the tests that it names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import Phase, settings

from .bugs import BUGS, QUICK, UNSEEN

# One example that fails is enough: no time goes into a smaller one.
settings.register_profile(
    "hunt", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate)
)
TESTS = Path(__file__).parent.parent
SLOW = [name for name in BUGS if name not in QUICK]


def found(name: str) -> bool:
    """Whether a test that passes without a bug fails with it."""
    bug, tests = BUGS[name]
    options = ["-qx", "--tb=no", "-p", "no:cacheprovider", "--hypothesis-profile=hunt"]
    try:
        with bug():
            ended = pytest.main([*options, *(str(TESTS / test) for test in tests)])
    finally:
        settings.load_profile("ci")
    assert ended in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), "there are such tests"
    return ended == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("name", [*BUGS, *UNSEEN])
def test_a_bug_can_be_planted(name):
    with {**BUGS, **UNSEEN}[name][0]():
        pass


@pytest.mark.parametrize("name", QUICK)
def test_it_is_found(name):
    assert found(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_it_is_found_as_well(name):
    assert found(name)
