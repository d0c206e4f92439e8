"""`anabranch drill`: a cut on a live cluster that heals by itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from .client import Client
from .errors import BadAnswer, CommandError, NodeRefused, NodeUnreachable
from .model import Member, Status
from .options import AsJson, Url, seconds
from .running import complete

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Cut a site off for a while, to see what happens.",
)


@dataclass(frozen=True)
class Done:
    """What one member was asked to do, and did."""

    member: Member
    cut: list[str]
    error: str | None = None


@app.command()
def cut(
    site: Annotated[str, typer.Argument(metavar="SITE", help="The site to cut off.")],
    url: Url,
    for_: Annotated[
        float,
        typer.Option("--for", parser=seconds, metavar="TIME", help="When it heals by itself."),
    ] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Cut all links between a site and the others, in both directions, for a while.

    Only nodes that were started with --drills take part. The cut heals by itself.
    """
    if for_ <= 0:
        raise typer.BadParameter("--for must be more than 0; to end a cut use `drill heal`")
    done = complete(_at_every_member(url, site, for_))
    _report(done, as_json, f"{site} is cut off for {for_:g} s")


@app.command()
def heal(url: Url, as_json: AsJson = False) -> None:
    """End all cuts at every member, at once."""
    _report(complete(_at_every_member(url, None, 0.0)), as_json, "all cuts are ended")


def orders(said: Status, site: str | None) -> list[tuple[Member, list[str]]]:
    """Which sites each member must cut, so that `site` is alone; nothing when `site` is None."""
    sites = sorted({member.site for member in said.members})
    if site is None:
        return [(member, []) for member in said.members]
    if site not in sites:
        raise CommandError(
            f"There is no site {site!r} in {said.cluster}; it has {', '.join(sites)}."
        )
    others = [one for one in sites if one != site]
    if not others:
        raise CommandError(f"{site} is the only site of {said.cluster}: there is no link to cut.")
    return [(member, others if member.site == site else [site]) for member in said.members]


async def _at_every_member(url: str, site: str | None, for_: float) -> list[Done]:
    async with Client(url) as node:
        said = await node.status()
    return await asyncio.gather(*(_order(*order, for_) for order in orders(said, site)))


async def _order(member: Member, sites: list[str], for_: float) -> Done:
    try:
        async with Client(member.url) as node:
            answer = await node.drill(sites, for_)
    except (NodeUnreachable, NodeRefused, BadAnswer) as error:
        return Done(member, [], str(error))
    return Done(member, answer.cut)


def _report(done: list[Done], as_json: bool, success: str) -> None:
    from .show import cell, console, print_json, table

    failed = [one for one in done if one.error is not None]
    if as_json:
        print_json({"members": [_json(one) for one in done], "complete": not failed})
        raise typer.Exit(1 if failed else 0)
    made = table("member", "site", "cut off from", "")
    for one in done:
        note = cell(one.error or "", "red")
        made.add_row(cell(one.member.name, "bold"), cell(one.member.site), _names(one), note)
    console().print(made)
    if failed:
        raise CommandError(
            f"{len(failed)} of {len(done)} members did not take part, so the cut may be in one "
            "direction or none. Were they started with --drills?"
        )
    print(success)


def _names(one: Done) -> str:
    from .show import listing

    return listing(one.cut) if one.cut else "-"


def _json(one: Done) -> dict[str, Any]:
    return {"member": one.member.name, "site": one.member.site, "cut": one.cut, "error": one.error}
