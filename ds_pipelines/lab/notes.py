"""What a script notes while it runs: parameters, metrics, figures, a verdict.

What belongs here: the calls by which a script tells what it does, and where that is held until the run ends. What does
not: running scripts (run.py), storing notes in MLflow (tracking.py), and models (save.py).

Outside of a run the same calls say what they were told and keep nothing, so that a script also runs by itself.
"""

from __future__ import annotations

import io
import math
import re
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, SupportsFloat, TypeVar

from ds_pipelines.errors import UnusableNoteError, UnusableParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from ds_pipelines.evidence import ModelCard, Verdict

Value = TypeVar("Value", bool, int, float, str, date)

NAME = re.compile(r"\w[\w .\-]{0,199}")
DOTS_PER_INCH = 110


@dataclass
class Notes:
    """What one run has noted so far; `folder` holds the files that become its artifacts."""

    folder: Path
    overrides: Mapping[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    figures: dict[str, bytes] = field(default_factory=dict)
    verdict: Verdict | None = None
    model: ModelCard | None = None

    def keep(self, artifact: str, content: bytes) -> Path:
        """Writes one artifact, its path given relative to the run's artifacts."""
        path = self.folder / artifact
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


_current: ContextVar[Notes | None] = ContextVar("notes", default=None)


def current() -> Notes | None:
    """The notes of the run in which this is called; None outside of a run."""
    return _current.get()


@contextmanager
def noting(notes: Notes) -> Iterator[Notes]:
    """While it is open, what a script notes goes into `notes`."""
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
        notes.parameters[name] = str(value)
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
        notes.metrics[name] = number


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
