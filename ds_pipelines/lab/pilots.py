"""One pilot: a function on a sample of a table, in a process of its own, so that its memory is its own.

What belongs here: taking samples of whatever a table is, the pilot's process, and measuring it. What does not: which
samples (forecast.py). As a program (`python -m ds_pipelines.lab.pilots FOLDER`) it is that process.
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
from ds_pipelines.settings import PROJECT, environment

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_SECONDS = 0.02
SEED = 20_250_301
WARM_UP_ROWS = 64
SHORT_SECONDS = 0.3
"""A call that is shorter is made twice: the machine's other work hits it by chance."""
GOLDEN = 2_654_435_769
"""Of 2³², its golden section: multiples of it, wrapped, spread evenly, so that any share of the rows can be taken."""


@dataclass(frozen=True)
class Pilot:
    """What one pilot took."""

    rows: int
    seconds: float
    busy: float
    """Seconds that processors worked for it; the steadier figure where the machine does other work, too."""
    spent: float
    """Seconds of all its calls; a short one is made twice, and the shorter counts."""
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
        share = min(1.0, rows / total)
        index = pl.int_range(pl.len(), dtype=pl.UInt64)
        chosen = (index * GOLDEN % 2**32) < round(share * 2**32)
        table.lazy().filter(chosen).head(rows).sink_parquet(folder / "sample.parquet", engine="streaming")
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
        (sys.executable, "-m", "ds_pipelines.lab.pilots", str(folder)),
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
    return Pilot(rows, told["seconds"], told["busy"], told["spent"], told["memory"] + helpers, told["base"])


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * tree.PAGE
    return 0


def _peak(*, reset: bool) -> int:
    """The most that this process held, in bytes; where the kernel allows it, since the last reset."""
    import resource

    if reset:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _read_sample(folder: Path) -> Any:
    kind = (folder / "kind").read_text()
    if kind == "lazy":
        return pl.scan_parquet(folder / "sample.parquet")
    if kind == "eager":
        return pl.read_parquet(folder / "sample.parquet")
    with (folder / "sample.pickle").open("rb") as file:
        return pickle.load(file)  # noqa: S301 - written a moment ago by the parent


def _perform(folder: Path) -> dict[str, object]:
    function = pickle.loads((folder / "function.pickle").read_bytes())  # noqa: S301 - as above
    warm_up = folder / "warm_up"
    with suppress(Exception):  # so few rows may be too few for it; then its imports count as its work
        function(_read_sample(warm_up))
    base = _peak(reset=True)
    sample = _read_sample(folder)
    try:
        seconds, busy = _timed(function, sample)
        spent, peak = seconds, _peak(reset=False)
        if seconds < SHORT_SECONDS:
            again, busy_again = _timed(function, sample)
            spent, seconds, busy = spent + again, min(seconds, again), min(busy, busy_again)
    except Exception as error:  # its message may quote data
        return {"failure": type(error).__name__}
    measured = {"seconds": seconds, "busy": busy, "spent": spent, "memory": max(0, peak - base), "base": base}
    return {"failure": None, **measured}


def _timed(function: Callable[[Any], object], sample: Any) -> tuple[float, float]:
    """Seconds by the clock, and seconds of processors, those of ended children among them."""
    began, started = _processors(), time.perf_counter()
    function(sample)
    return time.perf_counter() - started, _processors() - began


def _processors() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


if __name__ == "__main__":
    place = Path(sys.argv[1])
    told_here = place / "report.json.part"
    told_here.write_text(json.dumps(_perform(place)))
    told_here.rename(place / "report.json")
