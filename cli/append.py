"""`anabranch append`: one commit, from the command line, a file or a pipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from .client import JSON, NDJSON, REQUEST_SECONDS, Client
from .errors import BadInput, CommandError, NodeRefused
from .model import Appended
from .options import AckLevel, AsJson, Url, expected_revision, seconds
from .running import complete

ACK_SECONDS = 10.0

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def append(  # noqa: PLR0913, PLR0917
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream to append to.")],
    url: Url,
    type_: Annotated[
        str | None,
        typer.Option("--type", metavar="T", help="The type; what is given is then data alone."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="JSON", help="The data of one event.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", exists=True, dir_okay=False, help="NDJSON to send."),
    ] = None,
    expected: Annotated[
        str | None,
        typer.Option(
            parser=expected_revision,
            metavar="REVISION",
            help="any, none, exists, or the revision of the stream's last event.",
        ),
    ] = None,
    on_conflict: Annotated[
        Literal["reject", "keep"] | None,
        typer.Option(help="What becomes of it if in the final order `--expected` does not hold."),
    ] = None,
    ack: Annotated[AckLevel | None, typer.Option(help="Where it must be safe first.")] = None,
    timeout: Annotated[
        float,
        typer.Option(parser=seconds, metavar="TIME", help="How long to wait for `--ack`."),
    ] = ACK_SECONDS,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Idempotency key: the same key is the same append."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Append events to a stream: all of them in one commit, or none.

    Events come from --data (with --type), from --file, or from standard input, one JSON object a
    line: whole events (`{"type": ..., "data": ...}`), or with --type the data alone.
    """
    body, media = _body(type_, data, file)
    query = {"expected": expected, "on_conflict": on_conflict, "ack": ack}
    if ack not in {None, "local"}:
        query["timeout"] = f"{timeout:g}"
    headers = {"Content-Type": media} | ({"Idempotency-Key": key} if key else {})
    given = {name: value for name, value in query.items() if value is not None}
    try:
        status, answer = complete(_send(url, stream, body, headers, given, timeout))
    except NodeRefused as refused:
        if refused.code != 409:
            raise
        _show_conflict(refused, as_json)
        raise typer.Exit(1) from None
    _show(status, answer, as_json, ack or "local")
    raise typer.Exit(0 if status == 201 else 1)


async def _send(
    url: str,
    stream: str,
    body: bytes,
    headers: dict[str, str],
    query: dict[str, str],
    wait: float,
) -> tuple[int, Appended]:
    async with Client(url, timeout=REQUEST_SECONDS + wait) as node:
        status, answer, _ = await node.append(stream, body, headers=headers, query=query)
    return status, answer


def _body(type_: str | None, data: str | None, file: Path | None) -> tuple[bytes, str]:
    if data is not None:
        if file is not None:
            raise typer.BadParameter("--data and --file exclude each other")
        if type_ is None:
            raise typer.BadParameter("--data needs --type, the event's type")
        return _event(type_, _json_argument(data)), JSON
    return _lines(_read(file), type_), NDJSON


def _json_argument(text: str) -> msgspec.Raw:
    try:
        return msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        raise typer.BadParameter(
            f"--data is no JSON ({error}); a string needs its quotes"
        ) from None


def _event(type_: str, data: msgspec.Raw) -> bytes:
    return msgspec.json.encode({"type": type_, "data": data})


def _read(file: Path | None) -> bytes:
    if file is not None:
        return file.read_bytes()
    if sys.stdin.isatty():
        raise typer.BadParameter("give --data, --file, or NDJSON on standard input")
    return sys.stdin.buffer.read()


def _lines(content: bytes, type_: str | None) -> bytes:
    lines = []
    for line_number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            raw = msgspec.json.decode(line, type=msgspec.Raw)
            if type_ is None:
                msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"Line {line_number} is no JSON object: {error}.") from None
        lines.append(bytes(raw) if type_ is None else _event(type_, raw))
    if not lines:
        raise CommandError("There is no event to append: the input is empty.")
    return b"\n".join(lines) + b"\n"


def _show(status: int, answer: Appended, as_json: bool, wanted: str) -> None:
    from .show import console, print_json, safe

    if as_json:
        print_json(msgspec.to_builtins(answer) | {"acknowledged": status == 201})
        return
    again = ", was already there" if answer.duplicate else ""
    print(f"{safe(answer.stream)}: {_places(answer)}, {answer.outcome}{again}")
    print(f"commit {answer.commit}, safe at: {answer.acked}")
    if status != 201:
        console(errors=True).print(
            f"Kept and spreading, but `{wanted}` was not reached in time; do not send it anew "
            "without the same --key."
        )


def _places(answer: Appended) -> str:
    from .show import count

    first, last = answer.first_revision, answer.last_revision
    if first is None or last is None:
        return "not shown"
    upto = f" to {last}" if last > first else ""
    return f"{count(last - first + 1, 'event')} at revision {first}{upto}"


def _show_conflict(refused: NodeRefused, as_json: bool) -> None:
    from .show import print_json, safe

    if as_json:
        print_json(refused.problem)
        return
    print(f"anabranch: {safe(str(refused))}", file=sys.stderr)
    unseen = refused.problem.get("events")
    if isinstance(unseen, list) and unseen:
        print("Not seen yet:", file=sys.stderr)
        for one in unseen:
            print(
                f"  revision {one.get('revision')}: {safe(str(one.get('type')))}", file=sys.stderr
            )
