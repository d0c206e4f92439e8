"""Every house rule reports a bad sample, and leaves a good one alone."""

import pytest

from . import rules
from .rules import Source

MODULES = [
    Source("__init__.py", '__version__ = "1"\n'),
    Source("storage/__init__.py", ""),
    Source("storage/log.py", ""),
    Source("gossip/__init__.py", ""),
    Source("gossip/push.py", ""),
    Source("node/__init__.py", ""),
    Source("node/node.py", ""),
    Source("node/http.py", ""),
    Source("simulations/__init__.py", ""),
    Source("simulations/world.py", ""),
    Source("cli/__init__.py", ""),
]


def lines(findings):
    return [finding.line for finding in findings]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("storage/bad.py", "from ..gossip import push"),
        ("storage/bad.py", "from ..gossip.push import Push"),
        ("storage/bad.py", "def f():\n    from .. import node"),
        ("gossip/bad.py", "from ..node.node import Node"),
        ("node/bad.py", "from ..simulations import world"),
        ("bad.py", "from .simulations import world"),
        ("node/bad.py", "from ..cli import anything"),
        ("simulations/bad.py", "from ..node.http import Face"),
        ("simulations/bad.py", "from ..node import http"),
        ("node/bad.py", "from anabranch.storage import log"),
        ("node/bad.py", "import anabranch"),
        ("storage/bad.py", "from .. import everything"),
        ("elsewhere/bad.py", ""),
    ],
)
def test_layering_reports(path, text):
    (finding,) = rules.layering([*MODULES, Source(path, text)])
    assert finding.path == path
    assert str(finding).startswith(f"{path}:{finding.line}: ")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("gossip/good.py", "from ..storage.log import Log\nfrom . import push"),
        ("node/good.py", "from .http import Face\nfrom .. import __version__"),
        ("simulations/good.py", "from ..node.node import Node"),
        ("cli/good.py", "from ..simulations import world\nfrom ..node import http"),
        ("__main__.py", "from .cli import app"),
    ],
)
def test_layering_accepts(path, text):
    assert rules.layering([*MODULES, Source(path, text)]) == []


def test_circles_reports_the_way_round():
    circle = [
        Source("storage/a.py", "\nfrom .b import x"),
        Source("storage/b.py", "from . import c"),
        Source("storage/c.py", "def f():\n    from ..storage.a import y"),
    ]
    (finding,) = rules.circles(circle)
    assert (finding.path, finding.line) == ("storage/a.py", 2)
    assert "storage.a -> storage.b -> storage.c -> storage.a" in finding.message


def test_circles_leaves_type_checking_out():
    pair = [
        Source("storage/a.py", "from .b import x"),
        Source("storage/b.py", "if TYPE_CHECKING:\n    from .a import y"),
    ]
    assert rules.circles(pair) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("import time\ntime.time()", "clock"),
        ("import time as t\nwhen = t.monotonic", "clock"),
        ("\nfrom time import monotonic", "clock"),
        ("import datetime\ndatetime.datetime.now()", "clock"),
        ("from datetime import datetime as d\nd.utcnow()", "clock"),
        ("from datetime import date\ndate.today()", "clock"),
        ("import random\nrandom.random()", "random"),
        ("import random\nrandom.Random(1)", "random"),
        ("\nfrom secrets import token_bytes", "random"),
        ("import uuid\nuuid.uuid4()", "random"),
        ("import os\nos.urandom(8)", "random"),
        ("\nhash('a')", "random"),
        ("import socket\nsocket.socket()", "network"),
        ("import aiohttp\naiohttp.ClientSession()", "network"),
        ("\nfrom aiohttp import web", "network"),
        ("import asyncio\nasyncio.open_connection('a', 1)", "network"),
        ("\nloop.create_server(f)", "network"),
        ("\nopen('a')", "disk"),
        ("import os\nos.rename('a', 'b')", "disk"),
        ("\nfrom os import fsync", "disk"),
        ("import pathlib\npathlib.Path('a').read_text()", "disk"),
        ("\nfrom rocksdict import Rdict", "disk"),
        ("import threading\nthreading.Lock()", "thread"),
        ("import asyncio\nasyncio.to_thread(f)", "thread"),
        ("\nloop.run_in_executor(None, f)", "thread"),
        ("import subprocess\nsubprocess.run('a')", "process"),
    ],
)
def test_seams_reports(text, kind):
    source = Source("node/bad.py", text)
    findings = rules.seams([source], {})
    assert lines(findings) == [2]
    assert f"the {kind} seam" in findings[0].message
    assert rules.seams([source], {"node/*.py": {kind}}) == []
    everything_else = {"clock", "random", "network", "disk", "thread", "process"} - {kind}
    assert rules.seams([source], {"node/bad.py": everything_else, "gossip/*": {kind}})


@pytest.mark.parametrize(
    "text",
    [
        "self.clock.time()\ndisk.open('a')\nrandom.random()",  # handed in, not imported
        "from .clock import time\ntime()",
        "from datetime import datetime, UTC\ndatetime.fromtimestamp(0, UTC)",
        "import os\nos.path.join('a', 'b')",
        "import uuid\nuuid.UUID(int=1)\nuuid.uuid5(a, b)",
        "import asyncio\nasyncio.sleep(1)",
        "class A:\n    def __hash__(self):\n        return hash(self.a)",
    ],
)
def test_seams_accepts(text):
    assert rules.seams([Source("node/good.py", text)], {}) == []


def test_simulations_may_seed_their_own_chance():
    good = "from random import Random\nimport random\ndef f(r: Random):\n    random.Random(7)"
    assert rules.seams([Source("simulations/good.py", good)], {}) == []
    for bad in ("\nrandom.Random()", "\nrandom.choice(a)", "\nrandom.seed(1)"):
        findings = rules.seams([Source("simulations/bad.py", "import random" + bad)], {})
        assert lines(findings) == [2]


@pytest.mark.parametrize(
    "text",
    [
        "\nasync def f(): pass",
        "\nimport asyncio",
        "\nfrom asyncio import Queue",
        "\nfrom .shell import run",
    ],
)
def test_purity_reports(text):
    shell = Source("storage/shell.py", "async def run(): pass")
    pure = Source("storage/stamp.py", text)
    assert lines(rules.purity([shell, pure], {"storage/stamp.py"})) == [2]
    assert rules.purity([shell, pure], {"storage/other.py"}) == []


def test_packages_reports_both_ways():
    paths = ["__init__.py", "node/__init__.py", "tests/__init__.py", "gossip/push.py"]
    assert rules.packages(["anabranch", "anabranch.node"], paths) == []
    assert len(rules.packages(["anabranch"], paths)) == 1
    assert len(rules.packages(["anabranch", "anabranch.node", "anabranch.cli"], paths)) == 1


def test_sizes_reports_long_files_and_functions():
    body = "    x = 1\n"
    fits = "def f():\n" + '    """A\n\n    B."""\n' + body * (rules.FUNCTION_LINES_MAX - 1)
    assert rules.sizes([Source("node/good.py", fits)]) == []
    assert lines(rules.sizes([Source("node/bad.py", "\n" + fits + body)])) == [2]
    long = "\n" * rules.FILE_LINES_MAX
    assert rules.sizes([Source("node/good.py", long)]) == []
    assert lines(rules.sizes([Source("node/bad.py", long + "\n")])) == [rules.FILE_LINES_MAX + 1]


@pytest.mark.parametrize("word", ["/work", "/root"])
def test_machine_words_reports(word):
    assert lines(rules.machine_words([Source("a.md", f"\nsee {word}/x")])) == [2]
    assert rules.machine_words([Source("a.md", f"see net{word}/x and {word}")]) == []


def test_machine_words_reports_package_hosts():
    host = "py" + "pi.org"
    assert lines(rules.machine_words([Source("a.txt", f"\n\nhttps://{host}/simple")])) == [3]


@pytest.mark.parametrize("path", ["node/utils.py", "node/common/log.py", "tests/log_helpers.py"])
def test_vague_names_reports(path):
    assert len(rules.vague_names([path])) == 1
    assert rules.vague_names(["node/uncommon.py", "docs/common.md", "node/__init__.py"]) == []


def test_documents_reports_what_is_missing():
    good = {"README.md": "", "ARCHITECTURE.md": "`node/` lives"}
    assert rules.documents(good, {"node"}) == []
    assert len(rules.documents(good, {"node", "gossip"})) == 1
    assert [finding.path for finding in rules.documents({}, {"node"})] == [
        "README.md",
        "ARCHITECTURE.md",
    ]
