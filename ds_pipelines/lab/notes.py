"""What a script notes while it runs: parameters, metrics, figures, a verdict.

What belongs here: the calls by which a script tells what it does, and writing that down at once, so that a process
that is killed loses nothing of it. What does not: running scripts (run.py, child.py), what a run notices by itself
(seeds.py, autolog.py), storing notes in MLflow (tracking.py), and models (save.py).

Outside of a run the same calls say what they were told and keep nothing, so that a script also runs by itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import sys
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, SupportsFloat, TypeVar

from ds_pipelines.errors import UnusableNoteError, UnusableParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from ds_pipelines.evidence import ModelCard, RunInput, Verdict

Value = TypeVar("Value", bool, int, float, str, date)

NAME = re.compile(r"\w[\w .\-]{0,199}")
DOTS_PER_INCH = 110


KINDS = {
    "code": None, "environment": None, "evidence/model.json": None, "evidence/predictions.parquet": "predictions",
    "evidence/verdict.json": "text", "evidence": None, "model/MLmodel": None, "model": "model", "plots": "figure",
    "tables": "table", "files": "file", "notebook.ipynb": "notebook", "stdout.txt": "text",
}  # fmt: skip
"""Kind of an output by the artifact or the folder it lies in; None: it says something of the run, and is no output.

MLmodel names the moment at which it was written, so that it never is the same again.
"""
PROGRESS_SECONDS = 1.0
"""Progress is told no more often."""


def kind_of(artifact: str) -> str | None:
    """What an artifact is, as an output of the run; None if it is none."""
    return KINDS.get(artifact, KINDS.get(artifact.partition("/")[0]))


@dataclass
class Notes:
    """What one run has noted so far; `folder` holds the files that become its artifacts.

    With a journal, every note is a line of it the moment it is made.
    """

    folder: Path
    overrides: Mapping[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    figures: dict[str, bytes] = field(default_factory=dict)
    verdict: Verdict | None = None
    model: ModelCard | None = None
    journal: Path | None = None
    tell: Callable[[str], None] | None = None
    """Told in words of numbers and progress as they come: Dagster's event log."""
    noticed: dict[str, str] = field(default_factory=dict)
    """Parameters that were noticed without being noted."""
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def keep(self, artifact: str, content: bytes) -> Path:
        """Writes one artifact, its path given relative to the run's artifacts."""
        path = self.folder / artifact
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.output(artifact, content)
        return path

    def output(self, artifact: str, content: bytes) -> None:
        """Notes that an artifact was made, now and with this content."""
        kind = kind_of(artifact)
        if kind is not None:
            sha256 = hashlib.sha256(content).hexdigest()
            self.write("output", artifact=artifact, kind=kind, sha256=sha256, bytes=len(content))

    def parameter(self, name: str, value: str) -> None:
        """Notes a parameter that the script asked for."""
        self.parameters[name] = value
        self.write("parameter", name=name, value=value)

    def notice(self, name: str, value: str) -> None:
        """Notes a parameter that nobody noted; the script's own word for the same name counts more."""
        if self.noticed.get(name) != value:
            self.noticed[name] = value
            self.write("noticed", name=name, value=value)

    def number(self, name: str, value: float, *, noticed: bool = False) -> None:
        """Notes a metric; one that was only noticed never replaces the script's own."""
        if not (noticed and name in self.metrics):
            self.metrics[name] = value
            self.write("metric", name=name, value=value)
            if self.tell is not None:
                self.tell(f"{name} = {value:.6g}")

    def read(self, inputs: Sequence[RunInput]) -> None:
        """Notes snapshots that were read."""
        self.write(
            "inputs", inputs=[{"table": each.table, "day": str(each.day), "digest": each.digest} for each in inputs]
        )

    def write(self, note: str, **facts: object) -> None:
        """Writes one line into the journal, if there is one; from any thread."""
        if self.journal is not None:
            line = json.dumps({"note": note, **facts}, ensure_ascii=False)
            with self._lock, self.journal.open("a", encoding="utf-8") as journal:
                journal.write(f"{line}\n")


_current: ContextVar[Notes | None] = ContextVar("notes", default=None)
_adopted: list[Notes] = []


def adopt(notes: Notes) -> None:
    """Makes this process the run's: whatever it notes, in any thread, goes into `notes`."""
    _adopted[:] = [notes]


def current() -> Notes | None:
    """The notes of the run in which this is called; None outside of a run."""
    return _current.get() or (_adopted[0] if _adopted else None)


@contextmanager
def noting(notes: Notes) -> Iterator[Notes]:
    """While it is open, what this thread notes goes into `notes`."""
    token = _current.set(notes)
    try:
        yield notes
    finally:
        _current.reset(token)


def say(text: str) -> None:
    """A line for whoever watches; in a run it is also kept in `stdout.txt`."""
    sys.stdout.write(f"{text}\n")


def param(name: str, default: Value) -> Value:
    """A setting of the experiment: `default`, unless the run was started with another value for it.

    Args:
        name: Letters, digits, spaces, `_`, `-` and dots.
        default: A bool, int, float, str or date; a value given to the run is read as the same type.

    Raises:
        UnusableNoteError: the name has other characters, or the default another type.
        UnusableParameterError: the run was started with a value that is not of the default's type.
    """
    require_name("param", name)
    if not isinstance(default, (bool, int, float, str, date)):
        raise UnusableNoteError("param", name, "a default that is a bool, int, float, str or date")
    notes = current()
    given = notes.overrides.get(name) if notes else None
    value = default if given is None else _read(name, given, default)
    if notes is None:
        say(f"parameter {name} = {value}")
    else:
        notes.parameter(name, str(value))
    return value


def metric(name: str, value: SupportsFloat) -> None:
    """Notes one number that the run reached, under a name of letters, digits, spaces, `_`, `-` and dots.

    Raises:
        UnusableNoteError: the value is not a finite number, or the name has other characters.
    """
    require_name("metric", name)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UnusableNoteError("metric", name, "a finite number")
    say(f"{name} = {number:.6g}")
    notes = current()
    if notes is not None:
        notes.number(name, number)


def progress(done: float, of: float) -> None:
    """Tells those who watch how far a run has come, as `lab.progress(3, 10)`; at most once a second, and at the end.

    Raises:
        UnusableNoteError: these are no numbers of which the second is positive.
    """
    if not (math.isfinite(done) and math.isfinite(of) and of > 0):
        raise UnusableNoteError("progress", f"{done} of {of}", "two numbers, the second one positive")
    now = time.monotonic()
    if done < of and now - _told.get("progress", -math.inf) < PROGRESS_SECONDS:
        return
    _told["progress"] = now
    text = f"{done:g} of {of:g} ({done / of:.0%})"
    notes = current()
    if notes is not None and notes.tell is not None:
        notes.tell(text)
    else:
        say(text)


_told: dict[str, float] = {}
"""When something was told last."""


def figure(drawing: Figure, name: str) -> None:
    """Keeps a matplotlib figure as `plots/<name>.png`; a figure of pyplot's is closed.

    Raises:
        UnusableNoteError: it is no matplotlib figure, or the name has characters that a file's should not.
    """
    require_name("figure", name)
    if not hasattr(drawing, "savefig"):
        raise UnusableNoteError("figure", name, "a matplotlib figure")
    notes = current()
    if notes is None:
        say(f"figure {name}: kept when the script is run as an experiment")
        return
    png = io.BytesIO()
    # The library's version would make equal figures unequal files.
    drawing.savefig(png, format="png", dpi=DOTS_PER_INCH, bbox_inches="tight", metadata={"Software": None})
    notes.figures[name] = png.getvalue()
    notes.keep(f"plots/{name}.png", png.getvalue())
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(drawing)


def require_name(call: str, name: str) -> None:
    """Refuses a name that MLflow or a file system would."""
    if not NAME.fullmatch(name):
        raise UnusableNoteError(call, name, "a name of letters, digits, spaces, _, - and dots, beginning with a letter")


def _read(name: str, text: str, default: Value) -> Value:
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.strip().lower()]
        if isinstance(default, date):
            return date.fromisoformat(text.strip())
        return type(default)(text)
    except (KeyError, ValueError):
        kinds = {bool: "true or false", int: "a whole number", float: "a number", date: "a day as YYYY-MM-DD"}
        raise UnusableParameterError(name, kinds[type(default)]) from None
