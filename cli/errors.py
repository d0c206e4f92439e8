"""What can go wrong in a command.

    CommandError             the answer is no, or it could not be done: exit status 1
    |-- NodeUnreachable      a node gave no answer
    |-- NodeRefused          a node answered, but with an error; holds its problem+json
    |-- BadAnswer            what answered does not speak as a node does
    `-- BadInput             a row, line or file that can't be used; names the place
    typer.BadParameter       wrong use: exit status 2, raised before anything is done

A message is one or two sentences and says what to do.
"""

from __future__ import annotations

from typing import Any

from ..storage.errors import AnabranchError


class CommandError(AnabranchError):
    """The command ends with status 1, and this message is all that it says."""


class NodeUnreachable(CommandError):
    """No answer came from a node."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"No answer from {url}: {why}. Is the node running, and the URL right?")
        self.url = url
        self.why = why


class NodeRefused(CommandError):
    """A node answered with a status of 400 or more; `problem` is its problem+json."""

    def __init__(self, url: str, code: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{url} answered {code}: {sentence_of(problem)}")
        self.url = url
        self.code = code
        self.problem = problem

    @property
    def passing(self) -> bool:
        """Whether another node, or this one later, may well say yes."""
        return self.code in {429, 503, 507} or (self.code >= 500 and self.code != 501)


class BadAnswer(CommandError):
    """The answer is none that a node gives."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(f"{url} does not answer as an anabranch node does ({what}).")


class BadInput(CommandError):
    """A file, or one line of it, can't be used."""


def sentence_of(problem: dict[str, Any]) -> str:
    """What a problem says to a person: its detail, else its title, else that there is nothing."""
    for name in ("detail", "title"):
        text = problem.get(name)
        if isinstance(text, str) and text.strip():
            return text.strip()
    return "it gave no reason"
