"""Each kind of fault says what it needs, and what to do where that is not here."""

from __future__ import annotations

from pathlib import Path

import pytest

from anabranch.chaos.injection.needs import _REMEDIES, NEEDS, may_trace, missing, require
from anabranch.storage.errors import ConfigError

ALL = list(NEEDS)


def machine(*, tools: str = "", root: bool = False, library: bool = False, traces: bool = True):
    return {
        "which": lambda name: f"/usr/bin/{name}" if name in tools.split() else None,
        "geteuid": lambda: 0 if root else 1000,
        "library": lambda: Path("/lib/libfaketime.so.1") if library else None,
        "traces": lambda: traces,
    }


def test_nothing_is_missing_where_everything_is():
    everything = machine(tools="strace ip", root=True, library=True)
    assert missing(ALL, **everything) == []
    require(ALL, **everything)


def test_kinds_that_need_nothing_run_anywhere():
    assert missing(["kill", "pause", "cut"], **machine(traces=False)) == []


def test_each_thing_is_named_once_with_those_who_ask_and_the_remedy():
    found = missing(["clock", "disk-slow", "drift", "disk-full", "namespaces"], **machine())
    assert "\n".join(found) == (
        "clock, drift: libfaketime is missing, it fakes the clocks of nodes; "
        "`apt-get install libfaketime`.\n"
        "disk-slow: strace is missing, it makes the system calls of nodes slow, or fail; "
        "`apt-get install strace`.\n"
        "disk-full: root is missing, only root can mount a file system of limited size; "
        "run as root.\n"
        "namespaces: root is missing, only root can make network namespaces; run as root.\n"
        "namespaces: ip is missing, it makes network namespaces; `apt-get install iproute2`."
    )


def test_strace_that_may_not_trace_is_another_matter():
    (only,) = missing(["power"], **machine(tools="strace", traces=False))
    assert only.startswith("power: tracing is missing")
    assert "ptrace_scope" in only


def test_require_tells_all_in_one_error():
    with pytest.raises(ConfigError, match=r"libfaketime`.* run as root.* Or leave these faults"):
        require(["clock", "no-room"], **machine())


def test_everything_in_the_table_has_a_remedy():
    for needs in NEEDS.values():
        assert all(need.package or need.name in _REMEDIES for need in needs)


def test_whether_tracing_is_allowed_is_tried_out(monkeypatch):
    assert may_trace.__wrapped__() in {True, False}
    monkeypatch.setenv("PATH", "")
    assert may_trace.__wrapped__() is False
