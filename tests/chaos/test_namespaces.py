"""Nodes in namespaces reach each other until they are cut, and nothing of it is left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from anabranch.chaos.links import namespaces
from anabranch.chaos.links.namespaces import Namespaces
from anabranch.storage.errors import ConfigError

PORT = 7000
WAIT_SECONDS = 10.0
# Echoes what it gets. A line on its input has it talk to that address, for at most half a second:
# over a connection of its own, or over one that it keeps.
CHILD = """
import socket, sys, threading
PORT, kept = int(sys.argv[1]), {}

def echo(one):
    while data := one.recv(65536):
        one.sendall(data)

def listen(server):
    while True:
        threading.Thread(target=echo, args=server.accept()[:1], daemon=True).start()

server = socket.create_server(("0.0.0.0", PORT))
threading.Thread(target=listen, args=(server,), daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    how, address = line.split()
    try:
        one = kept.get(address) or socket.create_connection((address, PORT), 0.5)
        if how == "keep":
            kept[address] = one
        one.settimeout(0.5 if how != "wait" else 9)
        if how != "wait":
            one.sendall(b"x")
        print("echoed" if one.recv(1) else "closed", flush=True)
    except TimeoutError:
        print("silence", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


class Child:
    def __init__(self, network: Namespaces, name: str) -> None:
        self.process = subprocess.Popen(
            [*network.prefix(name), sys.executable, "-c", CHILD, str(PORT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def says(self, how: str, address: str) -> str:
        self.process.stdin.write(f"{how} {address}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_SECONDS)
        self.process.stdin.close()
        self.process.stdout.close()


def ours() -> list[str]:
    """What of any network of ours, or of dead processes, stands in this machine's network."""
    shown = [
        subprocess.run(["ip", *what], capture_output=True, check=True, text=True).stdout
        for what in (["netns", "list"], ["-brief", "link"])
    ]
    lines = "".join(shown).splitlines()
    return [line for line in lines if line.startswith(("anabranch-", "ab")) and "-" in line]


def opened(*names: str) -> Namespaces:
    network = Namespaces(names)
    try:
        network.open()
    except ConfigError as error:
        pytest.skip(str(error))
    return network


@pytest.fixture
def network() -> Iterator[Namespaces]:
    made = opened("a", "b")
    yield made
    made.close()
    assert not [line for line in ours() if f"{os.getpid()}-" in line]


@pytest.fixture
def children(network) -> Iterator[dict[str, Child]]:
    made: dict[str, Child] = {}
    try:
        for name in ("a", "b"):
            made[name] = Child(network, name)
        yield made
    finally:
        for child in made.values():
            child.close()


def test_a_command_keeps_its_process_id(network):
    command = [*network.prefix("a"), sys.executable, "-c", "import os; print(os.getpid())"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert int(process.communicate(timeout=WAIT_SECONDS)[0]) == process.pid


def test_this_process_reaches_every_node(network, children):
    for name in children:
        with socket.create_connection((network.address(name), PORT), 2) as one:
            one.sendall(b"hello")
            assert one.recv(5) == b"hello"
            assert one.getsockname()[0] == network.host


def test_a_cut_is_one_way_for_new_connections_and_old_ones(network, children):
    a, b = network.address("a"), network.address("b")
    assert children["a"].says("keep", b) == "echoed"
    network.cut("a", "b")
    assert children["a"].says("new", b) == "silence"
    assert children["b"].says("new", a) == "silence"  # the answer does not arrive
    with socket.create_connection((b, PORT), 2):
        pass  # from the host
    network.mend("a", "b")
    assert children["a"].says("wait", b) == "echoed"  # the kernel sends it again
    assert children["a"].says("new", b) == "echoed"
    assert children["b"].says("new", a) == "echoed"
    network.mend("a", "b")


def test_heal_mends_all(network, children):
    a, b = network.address("a"), network.address("b")
    network.cut("a", "b")
    network.cut("b", "a")
    assert children["a"].says("new", b) == "silence"
    network.heal()
    assert children["a"].says("new", b) == children["b"].says("new", a) == "echoed"


def test_a_rate_slows_what_a_node_sends(network, children):
    def seconds() -> float:
        began = time.monotonic()
        with socket.create_connection((network.address("a"), PORT), WAIT_SECONDS) as one:
            one.sendall(bytes(100_000))
            left = 100_000
            while left:
                left -= len(one.recv(left))
        return time.monotonic() - began

    network.rate("a", 200_000)
    assert seconds() > 0.25
    network.rate("a", None)
    assert seconds() < 0.25


def test_what_a_killed_process_left_is_swept_by_the_next(network):
    code = (
        "import os, signal; from anabranch.chaos.links.namespaces import Namespaces\n"
        "Namespaces(['x', 'y']).open(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    process.wait(WAIT_SECONDS)
    assert len([line for line in ours() if f"{process.pid}-" in line]) == 4
    second = opened("a")
    try:
        assert second.address("a") != network.address("a")
        assert not [line for line in ours() if f"{process.pid}-" in line]
        assert len([line for line in ours() if f"{os.getpid()}-" in line]) == 4 + 3
    finally:
        second.close()


def test_names_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="can't name a namespace"):
        Namespaces(["a b"])
    with pytest.raises(ConfigError, match="different names"):
        Namespaces(["a", "a"])


def test_without_root_it_says_so(monkeypatch):
    monkeypatch.setattr(namespaces.os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="run as root"):
        Namespaces(["a"]).open()
