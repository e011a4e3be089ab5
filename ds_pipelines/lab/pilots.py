"""One pilot: a function on a sample of a table, in a process of its own, so that its memory is its own.

What belongs here: taking samples of whatever a table is, the pilot's process, and measuring it. What does not: which
samples (forecast.py), and what that process does (`caps.trial`).
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from ds_pipelines.caps import tree
from ds_pipelines.errors import PilotFailedError, UnfitForForecastError
from ds_pipelines.lab.shares import spread
from ds_pipelines.settings import PROJECT, environment

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_SECONDS = 0.02
SEED = 20_250_301
WARM_UP_ROWS = 64


@dataclass(frozen=True)
class Pilot:
    """What one pilot took."""

    rows: int
    seconds: float
    """Without those in which it stood ready, and other programs had the processors."""
    waited: float
    """Those seconds."""
    memory: int
    """Peak above what the process had before it got its sample, in bytes."""
    base: int
    """What it had before, in bytes: Python and the libraries."""


class TooMuchError(Exception):
    """A pilot reached its cap on time or memory; not shown to anybody."""


def rows_of(table: Any) -> int:
    """How many rows a table has.

    Raises:
        UnfitForForecastError: it has no rows to count.
    """
    if isinstance(table, pl.LazyFrame):
        return int(table.select(pl.len()).collect(engine="streaming").item())
    try:
        return len(table)
    except TypeError:
        raise UnfitForForecastError("a Polars or pandas table, an array or a sequence") from None


def write_sample(table: Any, rows: int, total: int, folder: Path) -> None:
    """A sample from all over the table, in its order, as the pilot's process reads it."""
    if isinstance(table, (pl.LazyFrame, pl.DataFrame)):
        table.lazy().filter(spread(min(1.0, rows / total))).head(rows).sink_parquet(
            folder / "sample.parquet", engine="streaming"
        )
        (folder / "kind").write_text("lazy" if isinstance(table, pl.LazyFrame) else "eager")
        return
    import numpy as np

    positions = np.sort(np.random.default_rng(SEED).choice(total, size=rows, replace=False))
    if hasattr(table, "iloc"):
        sample = table.iloc[positions]
    elif isinstance(table, np.ndarray):
        sample = table[positions]
    else:
        sample = [table[position] for position in positions]
    with (folder / "sample.pickle").open("wb") as file:
        pickle.dump(sample, file, protocol=5)
    (folder / "kind").write_text("pickle")


def write_function(function: Callable[[Any], object], folder: Path) -> None:
    """The function as the pilot's process calls it; what it refers to goes along.

    Raises:
        UnfitForForecastError: it refers to something that cannot be copied.
    """
    import cloudpickle

    try:
        content = cloudpickle.dumps(function)
    except Exception:
        raise UnfitForForecastError("a function that refers to nothing but data and modules") from None
    (folder / "function.pickle").write_bytes(content)


def measure(folder: Path, rows: int, *, seconds: float, memory: int) -> Pilot:
    """Runs the pilot that the folder holds.

    Raises:
        TooMuchError: it reached a cap.
        PilotFailedError: the function raised.
    """
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    variables = environment(PYTHONPATH=os.pathsep.join([str(PROJECT), *filter(None, sys.path)]))
    pilot = subprocess.Popen(
        (sys.executable, "-m", "ds_pipelines.caps.trial", str(folder)),
        env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    started, helpers = time.monotonic(), 0
    try:
        while pilot.poll() is None:
            processes = tree.descendants(pilot.pid)
            others = tree.memory(processes, memory // 2)
            helpers = max(helpers, others)
            if _resident(pilot.pid) + others > memory or time.monotonic() - started > seconds:
                raise TooMuchError
            time.sleep(POLL_SECONDS)
    finally:
        if pilot.poll() is None:
            for process in tree.descendants(pilot.pid):
                with suppress(ProcessLookupError):
                    os.kill(process.pid, 9)
            pilot.kill()
            pilot.wait()
    if not report.is_file():
        raise PilotFailedError(rows, f"its process ended with status {pilot.returncode}")
    told = json.loads(report.read_text())
    if told["failure"]:
        raise PilotFailedError(rows, told["failure"])
    undisturbed = told["seconds"] - told["waited"]
    return Pilot(rows, undisturbed, told["waited"], told["memory"] + helpers, told["base"])


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * tree.PAGE
    return 0
