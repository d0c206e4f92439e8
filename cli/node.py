"""`anabranch node`: one node in this process. Loads no more than the node itself needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def node(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Which member of the cluster file to be.")
    ],
    config: Annotated[
        Path,
        typer.Option(
            "--config",
            exists=True,
            dir_okay=False,
            readable=True,
            metavar="FILE",
            help="The cluster file; it names this node, and the members or at least one of them.",
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            file_okay=False,
            metavar="DIR",
            help="Where the node keeps its log; made if it is missing.",
        ),
    ],
    drills: Annotated[
        bool, typer.Option("--drills", help="Let `anabranch drill` cut this node's links.")
    ] = False,
    join: Annotated[
        bool,
        typer.Option("--join", help="Become a member without `anabranch members join`."),
    ] = False,
) -> None:
    """Run one node until it is told to stop (Ctrl-C or SIGTERM).

    It listens where its own URL in the cluster file says, and dials the others. A new node has a
    file that names itself and a member. It copies what they hold, and waits to be let in.
    """
    from .process import run

    raise typer.Exit(run(name, config, data, drills=drills, join=join))
