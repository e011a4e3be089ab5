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
from typing import Any


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
    queued, started = _queued(), time.perf_counter()
    try:
        # Once only: a second call finds memory that the first has got from the kernel, as the whole will not.
        function(sample)
    except Exception as error:  # its message may quote data
        return {"failure": type(error).__name__}
    seconds = time.perf_counter() - started
    peak = max(0, _peak(reset=False) - base)
    before, after = queued, _queued()
    waited = max((after[thread] - before.get(thread, 0.0) for thread in after), default=0.0)
    return {"failure": None, "seconds": seconds, "waited": min(waited, seconds), "memory": peak, "base": base}


def _queued() -> dict[str, float]:
    """Seconds that each thread stood ready while other programs had the processors, where the kernel tells."""
    found = {}
    for task in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError, IndexError, ValueError):
            found[task.parent.name] = int(task.read_text().split()[1]) / 1e9
    return found


if __name__ == "__main__":
    place = Path(sys.argv[1])
    told_here = place / "report.json.part"
    told_here.write_text(json.dumps(_perform(place)))
    told_here.rename(place / "report.json")
