"""`anabranch members`: who belongs to the cluster, and how that is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .client import Client
from .errors import CommandError
from .model import MembersAnswer, MembersCheck
from .options import AsJson, Url, seconds
from .running import complete

if TYPE_CHECKING:
    from rich.table import Table

_GRACE_SECONDS = 10.0  # for the answer, after the time that the node may take

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
Verb = Literal["join", "leave", "replace", "evict", "withdraw"]
_NAMES = {"join": (1, 64), "leave": (1, 1), "replace": (2, 2), "evict": (1, 64), "withdraw": (0, 0)}
_TAKES = {
    "join": "join takes the names of nodes that wait",
    "leave": "leave takes the name of one member",
    "replace": "replace takes two names: the member that goes, and the node that comes",
    "evict": "evict takes the names of members",
    "withdraw": "withdraw takes no name",
}


@app.command()
def members(
    url: Url,
    verb: Annotated[
        Verb | None, typer.Argument(metavar="[join|leave|replace|evict|withdraw]")
    ] = None,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Decide without a majority; says what that gives up.")
    ] = False,
    wait: Annotated[
        float,
        typer.Option("--timeout", parser=seconds, metavar="TIME", help="How long to wait for it."),
    ] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Show who belongs to the cluster, or change it. Any member takes any order.

    **join NAME** lets a node in that waits. **leave NAME** has a member hand over all and go.
    **replace OLD NEW** lets NEW in and removes OLD. **evict NAME** removes a member that is lost.
    **withdraw** takes back what that node wants and is not decided. Exit status 0 only if done.
    """
    if verb is None:
        _show(url, as_json)
        return
    order = _order(verb, names or [], force, wait)
    asks = verb in {"leave", "replace", "evict"} or force
    if asks and as_json and not yes:
        raise typer.BadParameter("--json can't ask: add --yes")
    if verb == "leave":
        url = complete(_url_of(url, order["name"]))
    if verb != "withdraw":
        _agree_on(complete(_check(url, order)), ask=asks and not yes, quiet=as_json)
    _report(complete(_give(url, order, wait)), as_json)


def _order(verb: Verb, names: list[str], force: bool, wait: float) -> dict[str, Any]:
    """The order as the node takes it."""
    least, most = _NAMES[verb]
    if not least <= len(names) <= most:
        raise typer.BadParameter(_TAKES[verb])
    if force and verb in {"leave", "withdraw"}:
        raise typer.BadParameter(f"there is no --force for {verb}")
    order: dict[str, Any] = {"action": verb, "force": force, "timeout": wait}
    if verb == "replace":
        return order | {"name": names[0], "with": names[1]}
    return order | {"name": names if len(names) > 1 else "".join(names)}


async def _url_of(url: str, name: str) -> str:
    async with Client(url) as node:
        said = await node.members()
    for one in said.members:
        if one.name == name:
            return url if one.self_ else one.url
    names = ", ".join(one.name for one in said.members)
    raise CommandError(f"No member is named {name!r}; the members are {names}.")


async def _check(url: str, order: dict[str, Any]) -> MembersCheck:
    async with Client(url) as node:
        return await node.check_members(order)


async def _give(url: str, order: dict[str, Any], wait: float) -> dict[str, Any]:
    async with Client(url, timeout=wait + _GRACE_SECONDS) as node:
        return await node.order_members(order)


def _agree_on(check: MembersCheck, *, ask: bool, quiet: bool) -> None:
    """Show what an order would do, and ask whether that is wanted."""
    from .show import safe

    if not quiet:
        for line in check.says:
            print(safe(line))
    if check.objection is not None or not check.possible:
        raise CommandError(f"Nothing was changed: {check.objection or check.needs_force}.")
    if ask and not typer.confirm(safe(f"{check.change}: do it?")):
        raise CommandError("Nothing was changed.")


def _show(url: str, as_json: bool) -> None:
    from .show import cell, console, print_json, table

    if as_json:
        print_json(complete(_raw(url)))
        return
    said = complete(_ask(url))
    screen = console()
    style = "bold green" if said.state == "stable" else "bold yellow"
    screen.print(cell(f"{said.cluster}, epoch {said.epoch}: {said.state}", style))
    for wanted in said.wanted:
        screen.print(cell(f"{said.node} wants, and it is not decided: {wanted}", "yellow"))
    screen.print(_members(said))
    if said.waiting:
        waiting = table("waits to join", "site", "url", "")
        for one in said.waiting:
            how = "is let in by itself" if one.asks else f"`anabranch members join {one.name}`"
            waiting.add_row(cell(one.name, "bold"), cell(one.site), cell(one.url), cell(how))
        screen.print(waiting)


def _members(said: MembersAnswer) -> Table:
    from .show import cell, duration, table

    made = table("member", "site", "url", "link", "silent", "", right=["silent"])
    for one in said.members:
        link = "this node" if one.self_ else one.link or "-"
        silent = duration(one.silent_seconds) if one.suspected_since else "-"
        made.add_row(
            cell(one.name, "bold"),
            cell(one.site),
            cell(one.url),
            cell(link, "green" if link in {"connected", "this node"} else "red"),
            silent,
            cell(one.will_be or "", "yellow"),
        )
    return made


async def _ask(url: str) -> MembersAnswer:
    async with Client(url) as node:
        return await node.members()


async def _raw(url: str) -> Any:
    async with Client(url) as node:
        return await node.raw("/v1/members")


def _report(answer: dict[str, Any], as_json: bool) -> None:
    from .show import print_json, safe

    if as_json:
        print_json(answer)
        raise typer.Exit(0 if answer["done"] else 1)
    if not answer["done"]:
        raise CommandError(f"Not done yet: {answer['why']}.")
    names = ", ".join(one["name"] for one in answer["members"])
    print(safe(f"done: epoch {answer['epoch']}, members {names}"))
