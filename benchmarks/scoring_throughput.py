"""What does scoring cost: 5 M customers × 20 features, against a bare loop and MLflow's pyfunc?

The bare loop reads the file by Polars in the same batches, calls NumPy or LightGBM, and keeps customer and score. Ours
verifies the model and every batch, finds deciles, and gives the rows of the contract in the key's order. pyfunc is
given the same batches as pandas frames. Reading is most of what all of them do, so predicting is measured alone, too: on
batches in memory, of Polars for ours and of pandas for pyfunc, and that is what the two are compared by. A side is its
best of some runs, alternating; CPU seconds, because wall time is the machine's.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from benchmarks.report import conclude
from benchmarks.scoring import JOB, NAMES, Took, ours, prepare, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.scoring import Kind

MODULE = "benchmarks.scoring_throughput"  # and not __main__, which another process does not have
DAY, RELEASE = date(2025, 3, 3), "5" * 64
OVERHEAD, FASTER_LINEAR, FASTER_LIGHTGBM, COPY_SHARE, GROWTH, TIMES = 1.25, 2.5, 1.0, 0.7, 1.15, 4
SIDES = ("bare", "ours", "pyfunc", "alone_ours", "alone_pyfunc")
HELD = 8
"""Batches in memory, of those that predicting alone is measured on."""
SLACK = 0.97
"""Two equal sides differ by so much on a busy machine."""


def _batches(folder: str) -> Iterator[pl.DataFrame]:
    from ds_pipelines.scoring.engines import batch

    yield from pl.scan_parquet(f"{folder}/features.parquet").collect_batches(chunk_size=batch.ROWS)


def bare_linear(folder: str) -> None:
    import skops.io

    pipeline = skops.io.load(f"{folder}/model-linear/model.skops", trusted=[])
    scaler, last = pipeline[0], pipeline[1]
    weights = last.coef_[0] / scaler.scale_
    shift = last.intercept_[0] - (scaler.mean_ * weights).sum()
    kept = []
    for rows in _batches(folder):
        scores = 1 / (1 + np.exp(-(rows.select(NAMES).to_numpy() @ weights + shift)))
        kept.append(rows.select("customer_id", score=pl.Series(scores)))
    assert pl.concat(kept).height


def bare_lightgbm(folder: str) -> None:
    import lightgbm

    booster = lightgbm.Booster(model_file=f"{folder}/model-lightgbm/model.lgb")
    kept = []
    for rows in _batches(folder):
        scores = booster.predict(rows.select(NAMES).to_numpy())
        kept.append(rows.select("customer_id", score=pl.Series(scores)))
    assert pl.concat(kept).height


def _ours(folder: str, kind: Kind) -> None:
    assert sum(rows.height for rows in scored(Path(folder), kind))


def scored(folder: Path, kind: Kind) -> Iterator[pl.DataFrame]:
    """The rows of the contract, in batches, as a day's scoring gives them."""
    from ds_pipelines.scoring import score
    from ds_pipelines.scoring.folder import Folder
    from ds_pipelines.settings import load_settings

    settings = load_settings(scoring_folder=folder / "work")
    work, features = Folder(settings), folder / "features.parquet"
    spill, least = score.scores_of(features, JOB, ours(folder, kind), settings, work.path)
    with score.Scored(JOB, DAY, RELEASE, (), features, least, spill, work) as made:
        yield from made.batches()


def ours_linear(folder: str) -> None:
    _ours(folder, "linear")


def ours_lightgbm(folder: str) -> None:
    _ours(folder, "lightgbm")


def _pyfunc(folder: str, kind: Kind) -> None:
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(f"{folder}/model-{kind}")
    kept = []
    for rows in _batches(folder):
        given: Any = np.asarray(model.predict(rows.select(NAMES).to_pandas()))
        kept.append(rows.select("customer_id", score=pl.Series(given[:, 1] if given.ndim == 2 else given)))
    assert pl.concat(kept).height


def pyfunc_linear(folder: str) -> None:
    _pyfunc(folder, "linear")


def pyfunc_lightgbm(folder: str) -> None:
    _pyfunc(folder, "lightgbm")


def _alone(predict: Callable[[Any], Any], given: Sequence[Any]) -> float:
    """CPU seconds of predicting alone, for the rows of the whole file."""
    began = time.process_time()
    for each in given:
        predict(each)
    return time.process_time() - began


def _held(folder: str) -> list[pl.DataFrame]:
    return [rows.select(NAMES) for rows in islice(_batches(folder), HELD)]


def alone_ours_linear(folder: str) -> float:
    return _alone(ours(Path(folder), "linear").predict, _held(folder))


def alone_ours_lightgbm(folder: str) -> float:
    return _alone(ours(Path(folder), "lightgbm").predict, _held(folder))


def _alone_pyfunc(folder: str, kind: Kind) -> float:
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(f"{folder}/model-{kind}")
    return _alone(model.predict, [rows.to_pandas() for rows in _held(folder)])


def alone_pyfunc_linear(folder: str) -> float:
    return _alone_pyfunc(folder, "linear")


def alone_pyfunc_lightgbm(folder: str) -> float:
    return _alone_pyfunc(folder, "lightgbm")


def measured(folder: Path, warm: Path, times: int) -> dict[str, Took]:
    """The best of each side, run alternately."""
    sides = [f"{side}_{kind}" for kind in ("linear", "lightgbm") for side in SIDES]
    found: dict[str, list[Took]] = {side: [] for side in sides}
    for _ in range(times):
        for side in sides:
            found[side].append(run(MODULE, side, folder, warm))
    return {side: min(took, key=lambda each: each.cpu) for side, took in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--times", type=int, default=3, help="How often each side runs")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        warm = prepare(place / "warm", 20_000)
        folder = prepare(place / "rows", chosen.rows, warm)
        took = measured(folder, warm, chosen.times)
        small = min(run(MODULE, "ours_linear", folder, warm).peak for _ in range(2))
        (folder / "features.parquet").unlink()
        many = prepare(place / "many", chosen.rows * TIMES, warm)
        large = min(run(MODULE, "ours_linear", many, warm).peak for _ in range(2))
    linear, trees = ({side: took[f"{side}_{kind}"].cpu for side in SIDES} for kind in ("linear", "lightgbm"))
    overhead = max(linear["ours"] / linear["bare"], trees["ours"] / trees["bare"])
    growth = large / small
    rows = [
        (side.replace("_", ", "), f"{each.cpu:.2f}", f"{each.wall:.2f}", f"{each.peak:.0f}")
        for side, each in took.items()
    ]
    rows += [
        ("ours / bare, the larger", f"{overhead:.2f}", "", ""),
        ("pyfunc / ours, linear, with reading", f"{linear['pyfunc'] / linear['ours']:.2f}", "", ""),
        ("pyfunc / ours, lightgbm, with reading", f"{trees['pyfunc'] / trees['ours']:.2f}", "", ""),
        ("pyfunc / ours, linear", f"{linear['alone_pyfunc'] / linear['alone_ours']:.2f}", "", ""),
        ("pyfunc / ours, lightgbm", f"{trees['alone_pyfunc'] / trees['alone_ours']:.2f}", "", ""),
        (f"peak at {TIMES} x the rows", "", "", f"{large:.0f} = {growth:.2f} x"),
        (f"load: {os.getloadavg()[0]:.1f}", "", "", ""),
    ]
    holds = (
        overhead <= OVERHEAD
        and linear["alone_pyfunc"] >= FASTER_LINEAR * linear["alone_ours"]
        and trees["alone_pyfunc"] >= FASTER_LIGHTGBM * SLACK * trees["alone_ours"]
        and growth <= GROWTH
    )
    conclude(
        "scoring_throughput",
        rows,
        header=(f"{chosen.rows:,} customers", "CPU s", "seconds", "peak MiB"),
        figure=overhead,
        goal=f"<= {OVERHEAD} x bare; pyfunc >= {FASTER_LINEAR} x for linear, never faster for LightGBM; "
        f"peak at {TIMES} x the rows <= {GROWTH} x",
        limit="1.0 (the bare loop)",
        holds=holds,
    )


if __name__ == "__main__":
    main()
