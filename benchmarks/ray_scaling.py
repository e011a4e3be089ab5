"""From which size on does scoring by Ray pay? The same delivered bytes as by one process, at every size.

Each size is scored by the engine local and by the engine ray on a cluster of this machine's cores, with Ray's start and
without. One machine's cores are what both share, so what Ray can win here is only what one process leaves idle; a
cluster of several machines divides the scoring itself, and the table says from which size its start is worth while.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from benchmarks.report import conclude
from benchmarks.scoring import JOB, ours, prepare
from ds_pipelines.scoring import score
from ds_pipelines.scoring.folder import Folder
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from benchmarks.scoring import Kind
    from ds_pipelines.settings import Settings

SIZES = (200_000, 1_000_000, 4_000_000)
KIND: Kind = "lightgbm"
WORKERS = 8
"""Of the cluster that the figure is for: its part of the scoring takes an eighth of the time."""


def scored(features: Path, engine: str, place: Path) -> tuple[float, bytes]:
    """Seconds, and the bytes of all rows in the key's order with their deciles."""
    engines: dict[str, Any] = {} if engine == "local" else {JOB.name: engine}
    settings: Settings = load_settings(scoring_folder=place / "work", engines=engines)
    model, work = ours(features.parent, KIND), Folder(settings)
    began = time.monotonic()
    spill, least = score.scores_of(features, JOB, model, settings, work.path)
    seconds = time.monotonic() - began
    rows = pl.concat(spill.pieces())
    made = rows["customer_id"].to_numpy().tobytes() + rows["score"].to_numpy().tobytes() + np.array(least).tobytes()
    work.remove()
    return seconds, made


def main() -> None:
    import ray

    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    chosen = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    same, scoring, extra = True, 0.0, 0.0
    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        warm = prepare(place / "warm", 1_000)
        scored(warm / "features.parquet", "local", place)
        began = time.monotonic()
        ray.init("local", include_dashboard=False, log_to_driver=False)
        start = time.monotonic() - began
        for size in chosen.sizes:
            features = prepare(place / str(size), size, warm) / "features.parquet"
            here, expected = scored(features, "local", place)
            there, found = scored(features, "ray", place)
            same = same and found == expected
            scoring, extra = here / size, max(there - here, 0.0)
            told = "the same" if found == expected else "DIFFERENT"
            rows.append((f"{size:,}", f"{here:.1f}", f"{there:.1f}", f"{there + start:.1f}", told))
            features.unlink()
        ray.shutdown()
    # What Ray adds once, against what it saves of each customer's scoring.
    pays = (start + extra) / (scoring * (1 - 1 / WORKERS))
    rows.append((f"load: {os.getloadavg()[0]:.1f}", "", "", "", ""))
    conclude(
        "ray_scaling",
        rows,
        header=("customers", "local s", "ray s", "with its start", "bytes"),
        figure=pays / 1e6,
        goal=f"the same bytes at every size; the figure is the size in M customers from which {WORKERS} workers pay",
        limit="none: on these cores one process is the limit",
        holds=same,
    )


if __name__ == "__main__":
    main()
