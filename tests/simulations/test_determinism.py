"""The same seed is the same run, frame by frame and answer by answer, in any process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from anabranch.gossip.messages import Hello, Message, Sender
from anabranch.gossip.wire import to_frame
from anabranch.simulations.plans.draw import plan_of
from anabranch.simulations.runner import run_plan
from anabranch.simulations.world.network import SimLink
from anabranch.simulations.world.world import World

from .stories import THREE, in_virtual_time

SEEDS = (0, 17, 23)

PROGRAM = """
import logging
from anabranch.simulations.plans.draw import plan_of
from anabranch.simulations.runner import run_plan
logging.disable(logging.CRITICAL)
ballast = [bytearray(number) for number in range({ballast})]
print([run_plan(plan_of(seed)).trace for seed in {seeds}])
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


def trace(seed: int) -> str:
    return run_plan(plan_of(seed)).trace


def test_the_same_seed_leaves_the_same_trace_in_any_process():
    assert traces(1, 10) == traces(4242, 12_345)


def test_the_same_seed_leaves_the_same_trace_twice_in_one_process():
    assert trace(SEEDS[0]) == trace(SEEDS[0])


def test_another_seed_leaves_another_trace():
    assert len({trace(seed) for seed in SEEDS}) == len(SEEDS)


@in_virtual_time
async def test_links_are_closed_in_the_order_in_which_they_were_opened():
    """An order by address in memory would be another one in each process."""
    world = World(1, THREE)
    await world.start("ny1", "tok1")
    hello: Hello = world.nodes["tok1"].members.hello()
    frame = to_frame(Message(Sender(1, world.nodes["tok1"].store.boot, 1, 1), hello))
    links = []
    for _ in range(12):
        link = await world.network.connect("tok1", "ny1")
        await link.send(frame)
        await link.receive()
        links.append(link.peer)
    closed = []
    close = SimLink.close

    async def watched(self: SimLink) -> None:
        closed.append(self)
        await close(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SimLink, "close", watched)
        await world.nodes["ny1"].replication.close()
    assert [link for link in dict.fromkeys(closed) if link in links] == links
