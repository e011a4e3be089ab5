"""One call of a function on a sample, measured from within; the program of a pilot's process.

What belongs here: reading what the folder of a pilot holds, the call, and its figures. What does not: making that
folder, or starting this (`lab.pilots`). Like all of this room it loads fast: what the function needs, it imports.
"""

from __future__ import annotations

import json
import pickle
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT_SECONDS = 0.3
"""A call that is shorter is made twice: the machine's other work hits it by chance."""


def _peak(*, reset: bool) -> int:
    """The most that this process held, in bytes; where the kernel allows it, since the last reset."""
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
    if kind in {"lazy", "eager"}:
        import polars as pl
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
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


if __name__ == "__main__":
    place = Path(sys.argv[1])
    told_here = place / "report.json.part"
    told_here.write_text(json.dumps(_perform(place)))
    told_here.rename(place / "report.json")
