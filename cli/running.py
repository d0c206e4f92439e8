"""From a command to its coroutine, with an end that Ctrl-C and SIGTERM can ask for."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import typer

Result = TypeVar("Result")


def complete(
    main: Coroutine[Any, Any, Result],
    *,
    interrupted: int = 1,
    run: Callable[[Coroutine[Any, Any, Result]], Result] = asyncio.run,
) -> Result:
    """Run `main` to its end; if a person ends it first, leave with the status `interrupted`."""
    try:
        return run(_ending_on_sigterm(main))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(interrupted) from None


async def _ending_on_sigterm(main: Coroutine[Any, Any, Result]) -> Result:
    task = asyncio.current_task()
    assert task is not None
    with suppress(NotImplementedError):  # Windows has no handlers in the loop
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await main
