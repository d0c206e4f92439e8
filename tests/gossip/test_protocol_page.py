"""docs/protocol.md says what the code does: numbers, kinds, causes and test vectors."""

import re
from pathlib import Path

import pytest

from anabranch.gossip import messages, pulling, pushing
from anabranch.gossip.agreeing import packed
from anabranch.gossip.clocks import WINDOW_SECONDS
from anabranch.gossip.members import Cause
from anabranch.gossip.transport import LINK_PATH
from anabranch.gossip.wire import from_frame, to_frame
from anabranch.storage import limits

from .messages_made import ONE_OF_EACH
from .test_agreeing import ONE_OF_EACH as ONE_PART_OF_EACH

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")


def table(section):
    """The cells of the first table of a section, without its head."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1:]]


def numbers(text):
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


def test_kinds_are_those_of_the_code():
    kinds = {int(kind): name for kind, name, *_ in table("Message")[6:] if kind.isdigit()}
    assert {name.upper(): kind for kind, name in kinds.items()} == {
        name: getattr(messages, name)
        for name in (
            *("HELLO", "REFUSE", "REPORT", "PUSH", "ACK", "PULL", "GIVE"),
            *("COMPARE", "COMPARED", "AGREE", "RECALL", "RECALLED", "JOIN"),
        )
    }


def test_causes_are_those_of_the_code():
    assert [cause.strip("`") for cause, _ in table("Hello")] == [cause.value for cause in Cause]


def test_times_and_bounds_are_those_of_the_code():
    page = {what: numbers(value) for what, value in table("Times and bounds")}
    assert list(page.values()) == [
        [limits.CONNECT_SECONDS],
        [limits.SILENCE_SECONDS],
        [limits.BACKOFF_SECONDS_MIN, limits.BACKOFF_SECONDS_MAX],
        [limits.HEARTBEAT_SECONDS, round(limits.HEARTBEAT_SECONDS * limits.IDLE_BEATS, 3)],
        [limits.FRAME_BYTES_MAX],
        [limits.HELLO_BYTES_MAX],
        [limits.COMPRESS_ABOVE_BYTES],
        [limits.PUSH_BYTES_MAX],
        [limits.PULL_BYTES_MAX],
        [limits.PULL_BYTES_PER_SECOND],
        [limits.PULL_LOGS_MAX],
        [limits.COMPARE_SHARDS_MAX],
        [limits.COMPARE_NODES_MAX],
        [limits.MEMBERS_MAX],
        [limits.SHARDS_MAX],
        [limits.CONFIRM_SECONDS],
        [2 * limits.SILENCE_SECONDS],
        [limits.EVICT_AFTER_SECONDS],
        [limits.ASK_AGAIN_SECONDS],
    ]


def test_parts_of_an_agree_are_those_of_the_code():
    rows = table("Epochs")
    kinds = {int(kind): is_.split(":")[0] for kind, _, is_ in rows}
    parts = {int(kind): part for kind, part, _ in rows}
    assert set(kinds) == {packed(message)[1] for message in ONE_PART_OF_EACH}
    for message in ONE_PART_OF_EACH:
        data = packed(message)
        assert kinds[data[1]] == type(message).__name__.lower()
        count = len(re.sub(r"\[[^\[\]]*\]", "", parts[data[1]][1:-1]).split(","))
        assert count == data[0] & 0x0F, message


@pytest.mark.parametrize(
    "says",
    [
        f"version {messages.PROTOCOL}\n",
        f"the path `{LINK_PATH}`",
        f"has held for {limits.RELAY_GRACE_SECONDS:.0f} s",
        f"{limits.PASS_ON_SECONDS:.0f} s for each mate",
        f"for {limits.FAIR_CHANCE_SECONDS} s",
        f"no answer for {limits.RELAY_GRACE_SECONDS:.0f} s",
        f"at most {limits.MAX_CLOCK_OFFSET_MS} ms",
        f"each {pushing.RETRY_SECONDS} s",
        f"repeated after {pushing.RETRY_SECONDS} s",
        f"no longer than {pulling.PULL_TURN_SECONDS * 1000:.0f} ms",
        f"the last {WINDOW_SECONDS:.0f} to {2 * WINDOW_SECONDS:.0f} seconds",
        f"whenever {limits.HEARTBEAT_SECONDS * 1000:.0f} ms",
        f"*shard* is 0 to {limits.SHARDS_MAX - 1}",
        f"{limits.CONFIRM_SECONDS:.0f} s after its start",
        f"It counts for {2 * limits.SILENCE_SECONDS:.0f} s",
    ],
)
def test_numbers_in_the_text_are_those_of_the_code(says):
    assert says in PAGE


def test_the_vectors_are_what_the_code_sends_and_reads():
    frames = {name: bytes.fromhex(frame.strip("`")) for name, frame in table("Test vectors")}
    assert list(frames.values()) == [to_frame(message) for message in ONE_OF_EACH]
    assert [from_frame(frame) for frame in frames.values()] == ONE_OF_EACH
