"""`anabranch compare`: do these nodes have the same settled history?"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import typer

from .client import Client
from .comparison import Parting, Verdict, first_parting, same_digests, surely_different
from .model import Digest, Event
from .options import AsJson, node_url, seconds
from .running import complete

POLL_SECONDS = 0.25

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@dataclass(frozen=True)
class Compared:
    """What came out for one pair: the first node and another."""

    verdict: Verdict
    url: str
    behind_by: int = 0
    parting: Parting | None = None


@app.command()
def compare(
    urls: Annotated[
        list[str], typer.Argument(parser=node_url, metavar="URL URL...", help="Two nodes or more.")
    ],
    wait: Annotated[
        float,
        typer.Option(parser=seconds, metavar="TIME", help="How long they may take to get there."),
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Say whether nodes have the same settled history, and if not, where they part first.

    Exit status 0 only if they have. A node that is merely behind is named as such, with status 1;
    give it time with --wait.
    """
    if len(urls) < 2:
        raise typer.BadParameter("give at least two URLs to compare")
    digests, found = complete(_compare(urls, wait))
    if as_json:
        _print_json(urls, digests, found)
    else:
        _print(urls, digests, found)
    raise typer.Exit(0 if all(pair.verdict == "equal" for pair in found) else 1)


async def _compare(urls: list[str], wait: float) -> tuple[list[Digest], list[Compared]]:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(Client(url)) for url in urls]
        digests = await _digests(nodes)
        deadline = asyncio.get_running_loop().time() + wait
        while _may_still_become_equal(digests) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(POLL_SECONDS)
            digests = await _digests(nodes)
        pairs = zip(nodes[1:], digests[1:], strict=True)
        return digests, [await _pair(nodes[0], digests[0], *pair) for pair in pairs]


def _may_still_become_equal(digests: list[Digest]) -> bool:
    if same_digests(digests):
        return False
    return not any(surely_different(digests[0], other) for other in digests[1:])


async def _digests(nodes: list[Client]) -> list[Digest]:
    return await asyncio.gather(*(node.digest() for node in nodes))


async def _pair(first: Client, mine: Digest, other: Client, theirs: Digest) -> Compared:
    if mine.settled == theirs.settled:
        return Compared("equal", other.url)
    parting, left, right = await walk(first, other)
    if parting is not None:
        return Compared("different", other.url, parting=parting)
    return Compared("behind", other.url, behind_by=left - right)


async def walk(first: Client, other: Client) -> tuple[Parting | None, int, int]:
    """Read two settled histories side by side: where they part, and how many events each has."""
    async with aclosing(first.history()) as lefts, aclosing(other.history()) as rights:
        left: list[Event] = []
        right: list[Event] = []
        lengths = [0, 0]
        while True:
            more_left = [] if left else await anext(lefts, [])
            more_right = [] if right else await anext(rights, [])
            lengths[0] += len(more_left)
            lengths[1] += len(more_right)
            left, right = left or more_left, right or more_right
            both = min(len(left), len(right))
            at = lengths[0] - len(left)
            parting = first_parting(left[:both], right[:both], start=at)
            if parting is not None or not both:
                return parting, lengths[0], lengths[1]
            left, right = left[both:], right[both:]


def _print(urls: list[str], digests: list[Digest], found: list[Compared]) -> None:
    from .show import cell, console, number, table

    right = ["commits", "events", "tentative"]
    made = table("node", "site", *right, "digest", "URL", right=right)
    for url, digest in zip(urls, digests, strict=True):
        settled = digest.settled
        made.add_row(
            cell(digest.node, "bold"),
            cell(digest.site),
            number(settled.commits),
            number(settled.events),
            number(digest.tentative_commits),
            cell(settled.hash[:16]),
            cell(url),
        )
    screen = console()
    screen.print(made)
    for pair, digest in zip(found, digests[1:], strict=True):
        screen.print(cell(sentence(digests[0].node, digest.node, pair), _STYLES[pair.verdict]))


_STYLES = {"equal": "green", "behind": "yellow", "different": "bold red"}


def sentence(first: str, other: str, pair: Compared) -> str:
    """What came out for a pair, for a person."""
    from .show import count

    if pair.verdict == "equal":
        return f"{first} and {other}: the same settled history"
    if pair.parting is not None:
        return f"{first} and {other} part at {pair.parting.sentence()}"
    if pair.behind_by == 0:
        return f"{first} and {other} had caught up when their histories were read; compare again"
    slow, fast = (other, first) if pair.behind_by > 0 else (first, other)
    many = count(abs(pair.behind_by), "event")
    return f"{slow} is {many} behind {fast}, the same so far (wait for it with --wait 30s)"


def _print_json(urls: list[str], digests: list[Digest], found: list[Compared]) -> None:
    from .show import print_json

    nodes = [
        {"url": url, "node": digest.node, "site": digest.site}
        | {"settled": msgspec.to_builtins(digest.settled)}
        | {"tentative_commits": digest.tentative_commits}
        for url, digest in zip(urls, digests, strict=True)
    ]
    equal = all(pair.verdict == "equal" for pair in found)
    print_json({"equal": equal, "nodes": nodes, "pairs": [_pair_json(pair) for pair in found]})


def _pair_json(pair: Compared) -> dict[str, Any]:
    made: dict[str, Any] = {"url": pair.url, "verdict": pair.verdict, "behind_by": pair.behind_by}
    if pair.parting is not None:
        made["first_difference"] = {
            "index": pair.parting.index,
            "fields": pair.parting.fields,
            "left": _event_json(pair.parting.left),
            "right": _event_json(pair.parting.right),
        }
    return made


def _event_json(event: Event) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event))
    return decoded
