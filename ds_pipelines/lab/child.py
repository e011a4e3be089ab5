"""The process in which an experiment runs: `python -m ds_pipelines.lab.child <run folder>`.

What belongs here: executing a script as `python <script>` would, while everything it does is noted at once. What does
not: starting and ending this process (launch.py), and what becomes of the notes (record.py).

It imports as little as possible before the script does, knows no secret, and talks to nobody but the gateway.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import sys
import time
import traceback
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ds_pipelines.errors import DsPipelinesError
from ds_pipelines.lab import autolog, seeds, shown
from ds_pipelines.lab.imports import Watch
from ds_pipelines.lab.layout import Layout
from ds_pipelines.lab.notes import Notes, adopt
from ds_pipelines.lab.threads import threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXECUTES = {"notebook": "ds_pipelines.lab.notebooks", "r": "ds_pipelines.lab.rscripts"}
"""By kind of script, the module that executes it; Python is executed here."""
PARENT_DIED = 1
"""Linux's PR_SET_PDEATHSIG."""


def main(folder: Path) -> int:
    """Runs the experiment whose task lies in a run folder, and returns the process' exit status."""
    _die_with_the_parent()
    layout = Layout(folder)
    held = layout.child_lock.open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    task = json.loads(layout.task.read_bytes())
    notes = Notes(layout.artifacts, overrides=task["parameters"], journal=layout.journal)
    adopt(notes)
    os.chdir(layout.work)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # text files, as every process has them
    started = time.monotonic()
    notes.write("began")
    with _reporting(task["pipes"], notes):
        failure = _attempt(task, layout, notes)
        notes.write("threads", threads=threads())
        notes.write("ended", seconds=round(time.monotonic() - started, 3))
    return 0 if failure is None else 1 if isinstance(failure, (Exception, SystemExit)) else 128 + signal.SIGINT


def _attempt(task: dict[str, Any], layout: Layout, notes: Notes) -> BaseException | None:
    """Executes the script; what it raised is noted, without its message, which may quote data."""
    path = Path(task["script"])
    watch = Watch(task["bases"], notes)
    try:
        autolog.install(watch, notes, seeds.install(watch, notes))
        shown.install(watch, notes)
        with watch:
            if task["kind"] == "python":
                _execute(path, layout.code)
            else:
                import_module(EXECUTES[task["kind"]]).execute(path, notes)
        shown.keep_open(notes)
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            return _failed(leaving, path, notes)
        shown.keep_open(notes)
    except BaseException as error:  # an interruption is noted, too
        return _failed(error, path, notes)
    return None


def _failed(failure: BaseException, path: Path, notes: Notes) -> BaseException:
    line, ours = _line(failure, path), isinstance(failure, DsPipelinesError)
    account = _account(failure, path, line)
    interrupted = not isinstance(failure, (Exception, SystemExit))
    said = str(failure) if ours else None
    notes.write("failure", kind=type(failure).__name__, line=line, said=said, interrupted=interrupted)
    notes.keep("failure.txt", account.encode())
    sys.stderr.write(account)
    with suppress(Exception):  # a figure that cannot be drawn is not why the run failed
        shown.keep_open(notes)
    return failure


def _execute(path: Path, code: Path) -> None:
    """Runs the script as `python <path>` would: as `__main__`, its folder first among those it imports from.

    What is executed is the copy made when the run began, so that no edit in between escapes the record.
    """
    module = ModuleType("__main__")
    module.__dict__.update(__file__=str(path), __builtins__=__builtins__)
    sys.modules["__main__"] = module  # what it pickles, and the processes it starts, find it there
    sys.argv = [str(path)]
    sys.path[0] = str(path.parent)
    exec(compile(code.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102 - running it is what we are for


def _line(failure: BaseException, path: Path) -> int | None:
    """The line of the script that was being executed."""
    if isinstance(failure, SyntaxError) and failure.filename == str(path):
        return failure.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(failure.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def _account(failure: BaseException, path: Path, line: int | None) -> str:
    """The traceback from the script on, with the exception's type; its message is left out, it may quote data."""
    frames = traceback.extract_tb(failure.__traceback__)
    first = next((place for place, frame in enumerate(frames) if frame.filename == str(path)), len(frames))
    shown_frames = traceback.StackSummary.from_list(frames[first:]).format()
    return "".join([f"Line {line} of the script\n" if line else "", *shown_frames, f"{type(failure).__name__}\n"])


@contextmanager
def _reporting(pipes: dict[str, str], notes: Notes) -> Iterator[None]:
    """Through Dagster Pipes, where Dagster asked for the run: numbers and progress appear in its log as they come."""
    if not pipes:
        yield
        return
    from dagster_pipes import PipesMappingParamsLoader, open_dagster_pipes

    context = open_dagster_pipes(params_loader=PipesMappingParamsLoader(pipes))
    tell: Callable[[str], None] = context.log.info
    notes.tell = tell
    try:
        yield
    finally:
        notes.tell = None
        context.close()


def _die_with_the_parent() -> None:
    """On Linux: no run outlives the process that watches it, however that one ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DIED, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
