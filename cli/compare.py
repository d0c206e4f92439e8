"""`anabranch compare`: do these nodes have the same settled history?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from .client import Client
from .comparison import (
    Entry,
    Verdict,
    Walked,
    first_parting,
    named,
    other_commits,
    same_digests,
    surely_different,
)
from .errors import NodeRefused
from .model import Conflict, Digest, Event
from .options import AsJson, node_url, seconds
from .running import complete

POLL_SECONDS = 0.25

_Entry = TypeVar("_Entry", Event, Conflict)
_UNREAD = Walked(None, 0, 0)

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@dataclass(frozen=True)
class Compared:
    """What came out for one pair: the first node and another.

    `hashes`: shards with as many commits and another running hash, which no waiting makes the same.
    `roots`: those with other Merkle roots at one cut. Conflicts are looked at where these say that
    two nodes differ, and the events do not say where. `disputed`: shards in which one of the two
    settles no further, so that waiting may be in vain.
    """

    verdict: Verdict
    url: str
    events: Walked = _UNREAD
    conflicts: Walked = _UNREAD
    hashes: list[int] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    disputed: list[int] = field(default_factory=list)


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
    give it time with --wait. Nodes that will never be the same are named with the shards in which
    they differ, also if all events that they show are the same.
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
        at_cut = await _digests_at_one_cut(nodes, digests)
        pairs = zip(nodes[1:], digests[1:], at_cut[1:], strict=True)
        return digests, [
            await _pair(nodes[0], other, digests[0], theirs, other_commits(at_cut[0], at_theirs))
            for other, theirs, at_theirs in pairs
        ]


def _may_still_become_equal(digests: list[Digest]) -> bool:
    if same_digests(digests):
        return False
    return not any(surely_different(digests[0], other) for other in digests[1:])


async def _digests(nodes: list[Client]) -> list[Digest]:
    return await asyncio.gather(*(node.digest() for node in nodes))


async def _digests_at_one_cut(nodes: list[Client], digests: list[Digest]) -> list[Digest]:
    """Digests whose roots are over the same time: the one up to which all have settled."""
    cut = min(digest.cut for digest in digests)
    try:
        return await asyncio.gather(*(node.digest(cut or None) for node in nodes))
    except NodeRefused:
        return digests  # one has restarted and is not there yet: what is of other cuts says nothing


async def _pair(
    first: Client, other: Client, mine: Digest, theirs: Digest, roots: list[int]
) -> Compared:
    if mine.settled == theirs.settled and not roots:
        return Compared("equal", other.url)
    hashes = surely_different(mine, theirs)
    disputed = sorted({dispute.shard for dispute in (*mine.disputes, *theirs.disputes)})
    events, conflicts = await walk(first.history(), other.history()), _UNREAD
    if events.parting is None and (hashes or roots):
        conflicts = await walk(first.all_conflicts(), other.all_conflicts())
    verdict: Verdict = "different" if events.parting or hashes or roots else "behind"
    return Compared(verdict, other.url, events, conflicts, hashes, roots, disputed)


async def walk(first: AsyncGenerator[list[_Entry]], other: AsyncGenerator[list[_Entry]]) -> Walked:
    """Read two histories side by side, until they part or one ends; then the other to its end."""
    async with aclosing(first) as lefts, aclosing(other) as rights:
        left: list[_Entry] = []
        right: list[_Entry] = []
        read = [0, 0]
        while True:
            more_left = [] if left else await anext(lefts, [])
            more_right = [] if right else await anext(rights, [])
            read[0] += len(more_left)
            read[1] += len(more_right)
            left, right = left or more_left, right or more_right
            both = min(len(left), len(right))
            parting = first_parting(left[:both], right[:both], start=read[0] - len(left))
            if parting is not None:
                return Walked(parting, read[0], read[1])
            if not both:
                beyond = next(iter(left or right), None)
                read[0] += sum([len(page) async for page in lefts])
                read[1] += sum([len(page) async for page in rights])
                return Walked(None, read[0], read[1], beyond)
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
    for digest in digests:
        for dispute in digest.disputes:
            line = f"{digest.node} disputes shard {dispute.shard}: {dispute.why}"
            screen.print(cell(line, "bold red"))
    for pair, digest in zip(found, digests[1:], strict=True):
        for line in sentences(digests[0].node, digest.node, pair):
            screen.print(cell(line, _STYLES[pair.verdict]))


_STYLES = {"equal": "green", "behind": "yellow", "different": "bold red"}


def sentences(first: str, other: str, pair: Compared) -> list[str]:
    """What came out for a pair, for a person."""
    from .show import count

    if pair.verdict == "equal":
        return [f"{first} and {other}: the same settled history"]
    said = [f"{first} and {other} surely differ {where}" for where in _surely(pair)]
    parting = pair.events.parting or pair.conflicts.parting
    if parting is not None:
        return [*said, f"{first} and {other} part at {parting.sentence()}"]
    both = count(min(pair.events.left, pair.events.right), "event")
    if said:
        return [*said, f"what both show is the same: {both}", *_beyond(first, other, pair)]
    behind = pair.events.left - pair.events.right
    slow, fast = (other, first) if behind > 0 else (first, other)
    so_far = f"{slow} is {count(abs(behind), 'event')} behind {fast}, the same so far"
    if pair.disputed:
        so_far = so_far if behind else f"what {first} and {other} show is the same: {both}"
        return [f"{so_far}. No waiting helps while {_shards(pair.disputed)} may not settle"]
    if behind == 0:
        return [f"{first} and {other} had caught up when their histories were read; compare again"]
    return [f"{so_far} (wait for it with --wait 30s)"]


def _surely(pair: Compared) -> list[str]:
    """In which shards two nodes differ, and how that is known."""
    reasons = (
        (pair.hashes, "as many commits are settled, with another hash over what became of them"),
        (pair.roots, "they hold other commits up to the same time"),
    )
    return [f"in {_shards(shards)}: {reason}" for shards, reason in reasons if shards]


def _shards(shards: list[int]) -> str:
    from .show import listing

    return f"shard{'' if len(shards) == 1 else 's'} {listing(shards)}"


def _beyond(first: str, other: str, pair: Compared) -> list[str]:
    """What only one of two shows that surely differ: they part there, or one is ahead as well."""
    from .show import count

    lines = []
    for one, walked in (("event", pair.events), ("conflict", pair.conflicts)):
        if walked.beyond is not None:
            more = count(abs(walked.left - walked.right), one)
            fast = first if walked.left > walked.right else other
            lines.append(f"{fast} shows {more} more, from {named(walked.beyond)} on")
    return lines


def _print_json(urls: list[str], digests: list[Digest], found: list[Compared]) -> None:
    from .show import print_json

    nodes = [
        {"url": url, "node": digest.node, "site": digest.site}
        | {"settled": msgspec.to_builtins(digest.settled)}
        | {"tentative_commits": digest.tentative_commits}
        | {"disputes": msgspec.to_builtins(digest.disputes)}
        for url, digest in zip(urls, digests, strict=True)
    ]
    equal = all(pair.verdict == "equal" for pair in found)
    print_json({"equal": equal, "nodes": nodes, "pairs": [_pair_json(pair) for pair in found]})


def _pair_json(pair: Compared) -> dict[str, Any]:
    made: dict[str, Any] = {"url": pair.url, "verdict": pair.verdict}
    made["behind_by"] = pair.events.left - pair.events.right
    made["shards_that_differ"] = {"in_hash": pair.hashes, "in_root": pair.roots}
    parting = pair.events.parting or pair.conflicts.parting
    if parting is not None:
        made["first_difference"] = {
            "among": parting.among,
            "index": parting.index,
            "fields": parting.fields,
            "left": _entry_json(parting.left),
            "right": _entry_json(parting.right),
        }
    for among, walked in (("events", pair.events), ("conflicts", pair.conflicts)):
        if walked.beyond is not None:
            made.setdefault("only_one_shows", {})[among] = _entry_json(walked.beyond)
    return made


def _entry_json(entry: Entry) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(entry))
    return decoded
