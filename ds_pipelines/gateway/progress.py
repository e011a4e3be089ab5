"""Progress of what takes long, for a person who looks on: on a terminal or in a notebook, and nowhere else.

What belongs here: when to draw a bar, and drawing it. What does not: what progresses. Logs and the output of runs never
get one: they are no terminal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Advance = Callable[[int], None]
"""Told of what was done since it was told last, in bytes or days."""

PAUSE = 1.0
"""Seconds that something must take before a bar appears."""


def silent(_: int) -> None:
    """Tells nobody."""


@contextmanager
def bar(title: str, total: int, *, of_bytes: bool = True, patient: bool = True) -> Iterator[Advance]:
    """A bar that appears when it gets long, and leaves no trace at its end.

    Args:
        title: What progresses.
        total: Of what `Advance` is told.
        of_bytes: Whether that is bytes; otherwise it is counted as it is.
        patient: Whether to wait a second before anything is drawn.
    """
    console = _console()
    if console is None:
        yield silent
        return
    with ExitStack() as stack:
        drawn: list[Callable[[int], None]] = []
        done, began = 0, time.monotonic()

        def advance(more: int) -> None:
            nonlocal done
            done += more
            if not drawn and (not patient or time.monotonic() - began >= PAUSE):
                progress = stack.enter_context(_progress(console, of_bytes=of_bytes))
                task = progress.add_task(title, total=total)
                drawn.append(lambda at: progress.update(task, completed=at))
            for draw in drawn:
                draw(done)

        yield advance


def _progress(console: Console, *, of_bytes: bool) -> Progress:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) if of_bytes else (MofNCompleteColumn(),)
    rest = () if of_bytes else (TimeElapsedColumn(),)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), *counts, *rest, console=console, transient=True,
    )  # fmt: skip


def _console() -> Console | None:
    """Where bars are drawn: the standard error if it is a terminal, or a notebook's cell, which needs ipywidgets."""
    if not sys.stderr.isatty() and ("ipykernel" not in sys.modules or find_spec("ipywidgets") is None):
        return None
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_terminal or console.is_jupyter else None
