"""Running an experiment: a plain script, executed in this process and recorded whole.

What belongs here: what surrounds a script while it runs, and the record of it. What does not: what a script notes
(notes.py), MLflow (tracking.py), or deciding which scripts run when.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import resource
import runpy
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ds_pipelines.errors import DsPipelinesError, ExperimentFailedError, UnusableParameterError, listing
from ds_pipelines.evidence import RunInput, RunRecord, Verdict
from ds_pipelines.lab.notes import Notes, noting
from ds_pipelines.lab.scripts import Script, find
from ds_pipelines.lab.table import reading
from ds_pipelines.lab.tracking import Status, TrackedRun
from ds_pipelines.settings import PROJECT, Settings, load_settings, quiet_libraries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGES = ("ds-pipelines", "polars", "pandas", "numpy", "scikit-learn", "lightgbm", "matplotlib", "mlflow", "skops")
"""Whose versions a run records; the lock's digest stands for the rest."""
LOCK = PROJECT / "requirements.lock"
DIGITS = 7
"""Of the code's digest, in a run's name."""


@dataclass(frozen=True)
class Ran:
    """A run that succeeded, with what a page may show of it."""

    record: RunRecord
    verdict: Verdict | None
    figures: dict[str, bytes]
    """PNG by name."""


def run(
    script: str | Path,
    *,
    settings: Settings | None = None,
    parameters: Mapping[str, str] | None = None,
    dagster_run: str | None = None,
) -> Ran:
    """Runs an experiment in this process and records it in MLflow, whether it succeeds or not.

    Args:
        script: The script's path, or the experiment's name.
        settings: Where experiments and MLflow are; by default, as `lab.table` always, what the environment says.
        parameters: Values, as text, that replace the defaults of `lab.param` in the script.
        dagster_run: The id of the Dagster run that asked for it, if one did.

    Raises:
        UnknownExperimentError: there is no such script.
        TrackingUnreachableError: MLflow does not answer; if it never did, the script has not been run.
        UnusableParameterError: a parameter is not one that the script asks for.
        ExperimentFailedError: the script raised; what it had noted is kept in a failed run.
    """
    quiet_libraries()
    settings = settings or load_settings()
    found = find(script, settings.experiments)
    place = _place(found, settings.experiments)
    code = found.path.read_bytes()
    digest = hashlib.sha256(code).hexdigest()
    tags = {"ds.experiment": found.name, "ds.code_digest": digest, "mlflow.source.name": place}
    if dagster_run is not None:
        tags["ds.dagster_run"] = dagster_run
    with tempfile.TemporaryDirectory(prefix="ds-run-") as folder:
        notes = Notes(Path(folder), dict(parameters or {}))
        notes.keep(f"code/{found.path.name}", code)
        tracked = TrackedRun.start(found.name, name=f"{found.name} {digest[:DIGITS]}", tags=tags, settings=settings)
        attempt = _attempt(found.path, notes)
        record = RunRecord(
            run_id=tracked.run_id,
            experiment=found.name,
            script=place,
            code_digest=digest,
            inputs=attempt.inputs,
            parameters=notes.parameters,
            metrics=notes.metrics,
            verdict=notes.verdict.answer if notes.verdict else None,
            started_at=attempt.started_at,
            seconds=attempt.seconds,
            url=tracked.url,
        )
        notes.keep("evidence/run.json", record.model_dump_json(indent=2).encode())
        notes.keep("evidence/environment.json", json.dumps(_environment(), indent=2).encode())
        if attempt.failure is not None:
            notes.keep("failure.txt", _account(attempt.failure, found.path).encode())
        tracked.finish(
            attempt.status,
            parameters=notes.parameters,
            metrics=notes.metrics,
            tags=_judged(notes.verdict),
            inputs=record.inputs,
            artifacts=notes.folder,
        )
    if attempt.failure is not None:
        raise _explained(attempt.failure, found.path, place) from None
    return Ran(record, notes.verdict, notes.figures)


def _judged(verdict: Verdict | None) -> dict[str, str]:
    """Tags that say how a run was judged, and on which held-out rows: runs that share them looked at the same ones."""
    if verdict is None:
        return {}
    look = {} if verdict.look is None else {"ds.look": str(verdict.look)}
    return {"ds.verdict": verdict.answer, "ds.question": verdict.question, "ds.holdout": verdict.holdout or "", **look}


@dataclass(frozen=True)
class _Attempt:
    """How a script's execution went."""

    inputs: tuple[RunInput, ...]
    failure: BaseException | None
    started_at: datetime
    seconds: float

    @property
    def status(self) -> Status:
        if self.failure is None:
            return "FINISHED"
        return "FAILED" if isinstance(self.failure, (Exception, SystemExit)) else "KILLED"


def _attempt(path: Path, notes: Notes) -> _Attempt:
    started_at, started = datetime.now(UTC), time.monotonic()
    failure: BaseException | None = None
    with reading() as inputs:
        try:
            with noting(notes), _teed(notes.folder / "stdout.txt"):
                _execute(path, notes)
            _require_asked(notes)
        except BaseException as error:  # an interruption is recorded, too, and raised again by the caller
            failure = error
    return _Attempt(tuple(inputs), failure, started_at, round(time.monotonic() - started, 3))


def _execute(path: Path, notes: Notes) -> None:
    """Runs a script as `python <path>` would: as `__main__`, its folder first among those it imports from.

    Modules beside the script are kept with its code and forgotten afterwards: the next run reads them again.
    """
    before = set(sys.modules)
    sys.path.insert(0, str(path.parent))
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            raise
    finally:
        sys.path.remove(str(path.parent))
        for name in set(sys.modules) - before:
            helper = Path(getattr(sys.modules[name], "__file__", None) or "")
            if helper.parent == path.parent and helper != path:
                notes.keep(f"code/{helper.name}", helper.read_bytes())
                del sys.modules[name]


def _require_asked(notes: Notes) -> None:
    unasked = set(notes.overrides) - set(notes.parameters)
    if unasked:
        asked = listing(notes.parameters) or "none"
        raise UnusableParameterError(listing(unasked), f"one that the script asks for, which are {asked}")


class _Tee(io.TextIOBase):
    """Text that goes to several streams."""

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()


@contextmanager
def _teed(path: Path) -> Iterator[None]:
    with path.open("w", encoding="utf-8") as kept, redirect_stdout(_Tee(sys.stdout, kept)):
        yield


def _explained(failure: BaseException, path: Path, place: str) -> BaseException:
    """What to raise: interruptions, and refusals of ours, as they are; what the script raised, by its type and line."""
    line, ours = _line(failure, path), isinstance(failure, DsPipelinesError)
    if not isinstance(failure, (Exception, SystemExit)) or (ours and line is None):
        return failure
    return ExperimentFailedError(place, line, type(failure).__name__, str(failure) if ours else None)


def _line(failure: BaseException, path: Path) -> int | None:
    """The line of the script that was being executed."""
    if isinstance(failure, SyntaxError) and failure.filename == str(path):
        return failure.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(failure.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def _account(failure: BaseException, path: Path) -> str:
    """The traceback from the script on, with the exception's type; its message is left out, it may quote data."""
    frames = traceback.extract_tb(failure.__traceback__)
    first = next((place for place, frame in enumerate(frames) if frame.filename == str(path)), len(frames))
    shown = traceback.StackSummary.from_list(frames[first:]).format()
    line = _line(failure, path)
    return "".join([f"Line {line} of the script\n" if line else "", *shown, f"{type(failure).__name__}\n"])


def _place(script: Script, folder: Path) -> str:
    """The script's path below the experiments folder; of a script from elsewhere, its name only."""
    return script.path.relative_to(folder).as_posix() if script.path.is_relative_to(folder) else script.path.name


def _environment() -> dict[str, object]:
    """What the run ran on. The peak of memory is that of the process, which may have run more than this script."""
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": {package: version(package) for package in PACKAGES},
        "lock_sha256": hashlib.sha256(LOCK.read_bytes()).hexdigest() if LOCK.is_file() else None,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20,
    }
